"""``cloudbuster query``."""

from typing import Any, Literal

import click

from cloudbuster.cli.flags.common import format_option
from cloudbuster.cli.flags.kinds import ExpertOption
from cloudbuster.cli.flags.query import AreaFlags, QueryFlags, area_options, query_options
from cloudbuster.cli.parsing import Command
from cloudbuster.cli.progress import progress
from cloudbuster.cli.terminal import show


@click.command(cls=Command, short_help="Find the candidate scenes of an area and of dates.")
@area_options
@click.option("--response", help="File to write, - for stdout; beats --aoi-name.")
@click.option("--aoi-name", "--area-name", help="Write NAME.json; beats --name-property.")
@click.option("--name-property", help="Property of the first feature that names the file.")
@format_option
@query_options
@click.option(
    "--refresh-token",
    cls=ExpertOption,
    help="Token of RasterFoundry (or secretsmanager:NAME); selects that catalog. Other users of "
    "this machine can see it here: CLOUDBUSTER_RF_REFRESH_TOKEN hides it.",
)
def query(
    *,
    area_flags: AreaFlags,
    response: str | None,
    aoi_name: str | None,
    name_property: str | None,
    style: Literal["stac", "original"],
    query_flags: QueryFlags,
    refresh_token: str | None,
) -> None:
    r"""Find the candidate scenes of an area and of dates in a catalog.

    Prints the name of the file that it writes; without a name, the document itself.

    Examples
    --------
    $ cloudbuster query --geojson area.geojson --response response.json \
          --mindate 2020-05-01 --maxdate 2020-10-01

    $ cloudbuster query --bbox 15.0,45.9,15.2,46.1 --catalog my-catalog/ --maxclouds 60 \
          --mindate 2020-05-01 2021-05-01 --maxdate 2020-10-01 2021-10-01
    """
    from cloudbuster.cli.inputs import read_aoi, write_output
    from cloudbuster.inputs.request_files import make_options
    from cloudbuster.models import QueryOptions
    from cloudbuster.original.documents import original_response
    from cloudbuster.query import query_scenes

    if not area_flags.is_given():
        msg = "Missing option '--geojson' or '--bbox'"
        raise click.UsageError(msg)
    aoi = read_aoi(area_flags)
    target = _target(aoi, response, aoi_name, name_property)
    options = make_options(QueryOptions, _fields(query_flags, refresh_token))
    with progress() as on_event:
        candidates = query_scenes(aoi, options, refresh_token=refresh_token, on_event=on_event)
    content = original_response(candidates) if style == "original" else candidates
    show(write_output(target, content))


def _fields(query_flags: QueryFlags, refresh_token: str | None) -> dict[str, Any]:
    """Return the fields of the query; a refresh token is for the catalog of Raster Foundry."""
    fields = query_flags.fields()
    if refresh_token:
        catalog = fields.setdefault("catalog", "rasterfoundry")
        if catalog != "rasterfoundry":
            msg = f"--refresh-token is for rasterfoundry, not {catalog}; leave one of them out"
            raise click.UsageError(msg)
    return fields


def _target(
    aoi: dict[str, Any], response: str | None, aoi_name: str | None, name_property: str | None
) -> str:
    """Name the file to write: --response, else --aoi-name, else --name-property, else stdout."""
    from cloudbuster.cli.inputs import file_name
    from cloudbuster.core.areas.aoi import feature_property
    from cloudbuster.errors import AoiError

    if response:
        return response
    if aoi_name:
        return f"{file_name(aoi_name, '--aoi-name')}.json"
    if not name_property:
        return "-"
    try:
        named = feature_property(aoi, name_property)
    except ValueError as error:
        raise AoiError(str(error)) from error
    return f"{file_name(named, f'property {name_property!r}')}.json"
