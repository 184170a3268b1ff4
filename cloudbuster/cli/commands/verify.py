"""``cloudbuster verify``."""

import click

from cloudbuster.cli.commands.explain import run_option, scenes_option
from cloudbuster.cli.parsing import Command
from cloudbuster.cli.terminal import show


@click.command(cls=Command, short_help="Check a mosaic against its sources.")
@click.argument("mosaic")
@click.option(
    "--samples",
    type=click.IntRange(0, 100_000),
    default=100,
    show_default=True,
    help="Number of random places that are read from their source scenes.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Seed of the random places.",
)
@click.option("--offline/--no-offline", default=False, help="Read no source scene.")
@click.option("--json/--no-json", "as_json", default=False, help="Print the report as JSON.")
@run_option
@scenes_option
def verify(
    *,
    mosaic: str,
    samples: int,
    seed: int,
    offline: bool,
    as_json: bool,
    run: str | None,
    scenes: str | None,
) -> None:
    """Check that a mosaic is what its item says, and that its pixels are those of its scenes.

    MOSAIC is as for cloudbuster explain. Exits with 7 if anything disagrees.

    Examples
    --------
    $ cloudbuster verify summer-2023

    $ cloudbuster verify summer-2023/summer-2023.json --samples 500 --seed 1 --json
    """
    from cloudbuster.checks.verify import VerifyOptions, verification_text, verify_mosaic
    from cloudbuster.cli.inputs import json_text

    options = VerifyOptions(samples, seed, offline, run, scenes)
    verified = verify_mosaic(mosaic, options)
    report = verified.report
    show(json_text(report) if as_json else verification_text(report))
    verified.raise_for_disagreement()
