"""``cloudbuster explain``."""

import click

from cloudbuster.cli.parsing import Command
from cloudbuster.cli.terminal import show

run_option = click.option(
    "--run",
    help="Folder or s3:// prefix of the documents of the run, if they are not beside the mosaic.",
)
scenes_option = click.option(
    "--scenes", help="Folder or s3:// prefix of the gathered scenes.  [default: the run's]"
)


@click.command(
    cls=Command,
    short_help="Explain a pixel of a mosaic.",
    # A longitude may be negative, and looks like an option then.
    context_settings={"ignore_unknown_options": True},
)
@click.argument("mosaic")
@click.argument("place", nargs=-1, metavar="[LON LAT]")
@click.option("--row", type=int, help="Row of the pixel, from 0, instead of a place.")
@click.option("--col", type=int, help="Column of the pixel, from 0.")
@click.option("--crs", help="Coordinate reference system of the place, if not degrees.")
@click.option("--json/--no-json", "as_json", default=False, help="Print the explanation as JSON.")
@run_option
@scenes_option
def explain(
    *,
    mosaic: str,
    place: tuple[str, ...],
    row: int | None,
    col: int | None,
    crs: str | None,
    as_json: bool,
    run: str | None,
    scenes: str | None,
) -> None:
    """Explain a pixel: which scene and date it comes from, and why each other scene lost.

    MOSAIC is the folder of a run, the item of a mosaic (NAME.json) or one of its rasters, here or
    on S3. LON and LAT are degrees.

    Examples
    --------
    $ cloudbuster explain summer-2023 15.05 46.01

    $ cloudbuster explain summer-2023/summer-2023-cloudless.tif --row 120 --col 88 --json

    $ cloudbuster explain summer-2023 --crs EPSG:32633 504000 5095000
    """
    from cloudbuster.cli.inputs import json_text
    from cloudbuster.mosaics.explain import explain_cell, explain_place, explanation_text
    from cloudbuster.mosaics.opened import open_mosaic

    if (row is None) != (col is None) or (row is None) == (not place):
        msg = "Give LON and LAT, or --row and --col"
        raise click.UsageError(msg)
    x, y = _numbers(place) if place else (0.0, 0.0)
    opened = open_mosaic(mosaic, run=run, scenes=scenes)
    if row is not None and col is not None:
        found = explain_cell(opened, row, col)
    else:
        found = explain_place(opened, x, y, crs=crs)
    show(json_text(found) if as_json else explanation_text(found))


def _numbers(place: tuple[str, ...]) -> tuple[float, float]:
    """Return the two numbers of a place, which may be joined by a comma."""
    words = [word for each in place for word in each.split(",") if word]
    try:
        x, y = (float(word) for word in words)
    except ValueError as error:
        msg = f"LON LAT must be two numbers, not {' '.join(place)}"
        raise click.UsageError(msg) from error
    return x, y
