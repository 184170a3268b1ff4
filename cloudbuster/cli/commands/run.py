"""``cloudbuster run``."""

import os
from typing import TYPE_CHECKING, Any

import click

from cloudbuster.cli.flags.common import json_option, workers_option
from cloudbuster.cli.flags.detector import DetectorFlags, detector_options
from cloudbuster.cli.flags.filter import FilterFlags, filter_options
from cloudbuster.cli.flags.gather import GatherFlags, gather_options
from cloudbuster.cli.flags.kinds import ExpertLimitOption, RequestOption, given
from cloudbuster.cli.flags.merge import MergeFlags, merge_options
from cloudbuster.cli.flags.query import AreaFlags, QueryFlags, area_options, query_options
from cloudbuster.cli.parsing import Command
from cloudbuster.cli.progress import progress
from cloudbuster.cli.terminal import note, show

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudbuster.models import MergeResult, MosaicRequest
    from cloudbuster.runs.subruns import SubRun

    Published = Callable[[MergeResult], None]


@click.command(cls=Command, short_help="Make a mosaic: all stages, resuming.")
@click.argument("request_file", metavar="[REQUEST.json]", required=False)
@area_options
@click.option(
    "--each",
    metavar="NAME_PROPERTY",
    help="Make one mosaic of each feature, named after this property of it.",
)
@click.option("--name", cls=RequestOption, help="Base of the file names.")
@click.option("--output", cls=RequestOption, help="Folder of the run.  [default: ./NAME]")
@click.option(
    "--force/--no-force",
    default=None,
    cls=RequestOption,
    help="Do again what an earlier run finished.",
)
@click.option(
    "--refresh/--no-refresh",
    default=None,
    cls=RequestOption,
    help="Search the catalog again, and do what new scenes change.",
)
@click.option(
    "--publish",
    metavar="URL",
    help="Publish the item of each mosaic in this STAC API, or replace it there.",
)
@click.option(
    "--publish-collection", metavar="ID", help="Collection of --publish, which exists already."
)
@workers_option
@click.option("--dryrun/--no-dryrun", default=False, help="Print the request, and do nothing.")
@json_option
@query_options
@filter_options
@gather_options
@detector_options
@merge_options
@click.option(
    "--min-success-fraction",
    type=float,
    cls=ExpertLimitOption,
    help="Share of the area that must be observed if scenes fail.",
)
@click.option(
    "--max-rounds",
    type=int,
    cls=ExpertLimitOption,
    help="Greatest number of rounds of picking and gathering scenes.",
)
def run(
    *,
    request_file: str | None,
    area_flags: AreaFlags,
    each: str | None,
    name: str | None,
    output: str | None,
    force: bool | None,
    refresh: bool | None,
    publish: str | None,
    publish_collection: str | None,
    workers: int,
    dryrun: bool,
    as_json: bool,
    query_flags: QueryFlags,
    filter_flags: FilterFlags,
    gather_flags: GatherFlags,
    detector_flags: DetectorFlags,
    merge_flags: MergeFlags,
    min_success_fraction: float | None,
    max_rounds: int | None,
) -> None:
    r"""Make a mosaic of a request file, of options, or of both: an option overrides the file.

    The same request again resumes. Prints where the products are.

    Examples
    --------
    $ cloudbuster run request.json

    $ cloudbuster run request.json --maxclouds 30 --bands B04 B03 B02 --output denver-30

    $ cloudbuster run --geojson parcels.gpkg --each parcel_id --name parcels --mindate 2020-05-01

    $ cloudbuster run --geojson area.geojson --name denver-2020 \
          --mindate 2020-05-01 --maxdate 2020-10-01 --maxclouds 60
    """
    _check_usage(request_file, area_flags, name, (publish, publish_collection))
    changes = given(
        {
            "name": name,
            "aoi": _aoi(area_flags),
            "query": query_flags.fields(),
            "filter": filter_flags.fields(),
            "gather": gather_flags.fields(detector_flags),
            "merge": merge_flags.fields(),
            "limits": given(
                {"min_success_fraction": min_success_fraction, "max_rounds": max_rounds}
            ),
            "output": output,
            "force": force,
            "refresh": refresh,
        }
    )
    request = _request(request_file, changes)
    if dryrun and each is None:
        _show_request(request)
        return
    published = _publisher(publish, publish_collection)
    _run(request, each, published, workers=workers, dryrun=dryrun, as_json=as_json)


def _check_usage(
    request_file: str | None,
    area_flags: AreaFlags,
    name: str | None,
    publishing: tuple[str | None, str | None],
) -> None:
    """Raise UsageError if there is no request, or only one of the two flags of publishing."""
    if publishing.count(None) == 1:
        msg = "Give --publish and --publish-collection, or neither"
        raise click.UsageError(msg)
    if request_file is None and not (area_flags.is_given() and name):
        msg = "Give a request file, or --name and an area by --geojson or --bbox"
        raise click.UsageError(msg)


def _aoi(area_flags: AreaFlags) -> dict[str, Any] | None:
    """Return the area of the flags as a request holds it; None without one."""
    from cloudbuster.cli.inputs import request_aoi

    return request_aoi(area_flags) if area_flags.is_given() else None


def _request(request_file: str | None, changes: dict[str, Any]) -> "MosaicRequest":
    """Read the request of a file with the changes of the flags, or make it of these alone."""
    from cloudbuster.inputs.request_files import load_request, make_request

    return load_request(request_file, changes) if request_file else make_request(changes)


def _show_request(request: "MosaicRequest") -> None:
    """Print a request."""
    from cloudbuster.cli.inputs import json_text

    show(json_text(request))


def _publisher(url: str | None, collection: str | None) -> "Published":
    """Return a function that publishes the item of a mosaic; it does nothing without a URL."""
    if url is None or collection is None:
        return lambda _products: None
    from cloudbuster.mosaics.publishing import TOKEN_VARIABLE, StacTarget, publish_item
    from cloudbuster.storage.addresses.trust import server_trust

    target = StacTarget(url, collection, server_trust(url), os.environ.get(TOKEN_VARIABLE))
    return lambda products: note(f"published {publish_item(products.item, target)}")


def _run(
    request: "MosaicRequest",
    each: str | None,
    published: "Published",
    *,
    workers: int,
    dryrun: bool,
    as_json: bool,
) -> None:
    """Run a request, or one for each feature of its area."""
    if each is None:
        _run_whole(request, published, workers=workers, as_json=as_json)
    else:
        _run_each(request, each, published, workers=workers, dryrun=dryrun, as_json=as_json)


def _run_whole(
    request: "MosaicRequest", published: "Published", *, workers: int, as_json: bool
) -> None:
    """Run a request, print what it made, and raise what it did not reach."""
    from cloudbuster.cli.inputs import json_text
    from cloudbuster.runs.pipeline import not_covered_error
    from cloudbuster.runs.pipeline import run as run_request
    from cloudbuster.runs.subruns import run_zones, wants_each_zone

    if wants_each_zone(request):
        with progress() as on_event:
            runs = run_zones(request, workers=workers, on_event=on_event)
        _show_parts(runs, published, as_json=as_json)
        return
    with progress() as on_event:
        result = run_request(request, workers=workers, on_event=on_event)
    show(json_text(result) if as_json else _products_text(result.products))
    published(result.products)
    error = not_covered_error(result.assessment)
    if error is not None:
        raise error


def _run_each(
    request: "MosaicRequest",
    name_property: str,
    published: "Published",
    *,
    workers: int,
    dryrun: bool,
    as_json: bool,
) -> None:
    """Run a request once for each feature of its area."""
    from cloudbuster.cli.inputs import json_text
    from cloudbuster.runs.subruns import feature_requests, run_parts

    requests = feature_requests(request, name_property)
    if dryrun:
        show(json_text(list(requests)))
        return
    with progress() as on_event:
        runs = run_parts(requests, stage="feature", workers=workers, on_event=on_event)
    _show_parts(runs, published, as_json=as_json)


def _show_parts(runs: "tuple[SubRun, ...]", published: "Published", *, as_json: bool) -> None:
    """Print what the parts of a request made, and raise what they did not reach."""
    from cloudbuster.cli.inputs import json_text
    from cloudbuster.runs.subruns import worst_error

    if as_json:
        show(json_text([part.document() for part in runs]))
    else:
        show("\n".join(_zone_text(part) for part in runs if part.result is not None))
    for part in runs:
        if part.result is not None:
            published(part.result.products)
    error = worst_error(runs)
    if error is not None:
        raise error


def _zone_text(part: "SubRun") -> str:
    """Write the name of a part and its products."""
    products = "" if part.result is None else _products_text(part.result.products)
    return f"{part.request.name}\n{products}"


def _products_text(products: "MergeResult") -> str:
    """Write one line for each product."""
    check = products.self_check
    return "\n".join(
        f"{label:9} {text}"
        for label, text in (
            ("mosaic", products.cloudless),
            ("backstop", products.cloudy),
            ("quality", products.quality),
            ("preview", products.preview),
            ("report", products.report),
            ("item", products.item),
            *([("check", check.summary)] if check else []),
        )
    )
