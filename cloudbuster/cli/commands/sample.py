"""``cloudbuster sample``."""

from pathlib import Path
from typing import Literal

import click

from cloudbuster.cli.flags.common import workers_option
from cloudbuster.cli.parsing import Command
from cloudbuster.cli.progress import progress
from cloudbuster.cli.terminal import show


@click.command(cls=Command, short_help="Write a deterministic Sentinel-2 world.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--size",
    type=click.Choice(["small", "full"]),
    default="small",
    show_default=True,
    help="Tiles of 1024 or of 10980 pixels.",
)
@click.option(
    "--seed", type=int, default=7, show_default=True, help="The same seed gives the same bytes."
)
@click.option("--jp2/--no-jp2", default=False, help="Bands as JPEG 2000 instead of COG.")
@click.option(
    "--safe/--no-safe",
    default=False,
    help="Write the scenes as products too: SAFE folders in FOLDER/safe.",
)
@workers_option
def sample(
    *, folder: Path, size: Literal["small", "full"], seed: int, jp2: bool, safe: bool, workers: int
) -> None:
    """Write a deterministic Sentinel-2 world with its cloud-free truth.

    Prints the name of a request over it.

    Examples
    --------
    $ cloudbuster sample world/

    $ cloudbuster run world/request.json
    """
    from cloudbuster.sample import write_sample

    with progress() as on_event:
        world = write_sample(
            folder, size=size, seed=seed, jp2=jp2, workers=workers, on_event=on_event
        )
    if safe:
        from cloudbuster.sample.safe import write_products

        write_products(world.folder, world.folder / "safe")
    show(str(world.request))
