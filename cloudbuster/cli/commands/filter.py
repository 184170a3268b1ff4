"""``cloudbuster filter``."""

from typing import Literal

import click

from cloudbuster.cli.flags.common import format_option
from cloudbuster.cli.flags.filter import FilterFlags, filter_options
from cloudbuster.cli.flags.kinds import BandList, ExpertOption, FilterOption, GatherOption, given
from cloudbuster.cli.flags.query import KINDS, Kind
from cloudbuster.cli.parsing import Command
from cloudbuster.cli.progress import progress
from cloudbuster.cli.terminal import show


@click.command(
    cls=Command,
    name="filter",
    short_help="Pick scenes that cover the area by clear sky.",
)
@click.option("--input", "source", required=True, help="Result of query; - reads stdin.")
@click.option("--output", required=True, help="File to write; - writes stdout.")
@format_option
@filter_options
@click.option(
    "--minclouds",
    type=float,
    cls=FilterOption,
    help="Drop scenes with less cloud cover, percent.",
)
@click.option(
    "--bands",
    multiple=True,
    metavar="BAND...",
    cls=BandList,
    help="Drop scenes that lack one of these, as B04,B03,B02.",
)
@click.option(
    "--crs",
    cls=GatherOption,
    help="CRS of the mosaic, as --crs of gather: its box is filled, not the area alone.",
)
@click.option(
    "--thumbnails",
    metavar="FOLDER",
    cls=ExpertOption,
    help="Keep the thumbnails of candidates here, and take those that are there.",
)
@click.option(
    "--frontier/--no-frontier",
    default=False,
    help="Print what each further scene adds to what is seen clear.",
)
@click.option("--kind", type=KINDS, cls=ExpertOption, help="Level of a document of the original's.")
def filter_(
    *,
    source: str,
    output: str,
    style: Literal["stac", "original"],
    filter_flags: FilterFlags,
    minclouds: float | None,
    bands: tuple[str, ...],
    crs: str | None,
    thumbnails: str | None,
    frontier: bool,
    kind: Kind | None,
) -> None:
    """Pick the scenes that cover the area several times by clear sky, and a backstop.

    Where the area cannot be covered as asked, what was picked goes to OUTPUT.ERROR, and the exit
    code is 4.

    Examples
    --------
    $ cloudbuster filter --input response.json --output selection.json --no-backstop

    $ cloudbuster filter --input response.json --output selection.json --frontier
    """
    from cloudbuster.cli.inputs import STDIN, read_input, write_output
    from cloudbuster.filter import filter_scenes
    from cloudbuster.inputs.areas import check_crs, document_area
    from cloudbuster.inputs.request_files import make_options
    from cloudbuster.models import FilterOptions, GatherOptions, QueryOptions
    from cloudbuster.original.documents import is_original, original_selection
    from cloudbuster.selection.clear_strategy import LookOptions
    from cloudbuster.selection.frontier import frontier_lines
    from cloudbuster.selection.messages import not_covered_error
    from cloudbuster.storage.files.documents import parse_candidates

    options = make_options(FilterOptions, filter_flags.fields() | given({"minclouds": minclouds}))
    level = kind or QueryOptions().kind
    candidates = parse_candidates(read_input(source), source=source, kind=level)
    if filter_flags.strategy is None and is_original(candidates):
        # Such documents say nothing of masks, by which strategy clear would judge.
        options = options.model_copy(update={"strategy": "original"})
    layers = _layers(options.coverage_count)
    look = LookOptions(folder=thumbnails, layers=layers)
    if crs is not None:
        mosaic = make_options(GatherOptions, {"crs": crs})
        check_crs(mosaic, document_area(candidates.cloudbuster.aoi))
        look = LookOptions.of(mosaic, thumbnails, layers=layers)
    with progress() as on_event:
        selection = filter_scenes(candidates, options, bands=bands, look=look, on_event=on_event)
    if frontier:
        click.echo("\n".join(frontier_lines(selection)), err=output == STDIN)
    content = original_selection(selection) if style == "original" else selection
    if not selection.cloudbuster.covered:
        if output != STDIN:
            write_output(f"{output}.ERROR", content)
        raise not_covered_error(selection, options)
    show(write_output(output, content))


def _layers(coverage_count: int) -> int:
    """Return how often the default composite wants each place delivered."""
    from cloudbuster.core.pixels.composite_methods import delivered_layers, parse_composite
    from cloudbuster.models import MergeOptions

    return delivered_layers(
        parse_composite(MergeOptions().composite), coverage_count, self_check=False
    )
