"""Options of the area of interest and of ``query``."""

from dataclasses import dataclass
from typing import Literal

import click

from cloudbuster.cli.flags.kinds import (
    BoxOption,
    DaysOption,
    ExpertQueryOption,
    MirrorsOption,
    QueryOption,
    as_one,
    given,
)

Kind = Literal["L2A", "L1C"]
# Numbers of a bounding box: west, south, east, north.
BOX_NUMBERS = 4


@dataclass(frozen=True)
class AreaFlags:
    """What was given about the area of interest.

    Attributes
    ----------
    geojson, layer : str or None
        File, URI or ``-``; and its layer.
    bbox : tuple of float
        West, south, east, north, degrees; empty if it was not given.
    """

    geojson: str | None
    layer: str | None
    bbox: tuple[float, ...]

    def is_given(self) -> bool:
        """Whether there is an area.

        Raises
        ------
        click.UsageError
            If there are two, or a part of one.
        """
        if self.geojson and self.bbox:
            msg = "--geojson and --bbox are two areas; give one of them"
            raise click.UsageError(msg)
        if self.bbox and len(self.bbox) != BOX_NUMBERS:
            msg = (
                f"--bbox takes four numbers, not {len(self.bbox)}: west, south, east, north, as in "
                "15.0,45.9,15.2,46.1"
            )
            raise click.UsageError(msg)
        if self.layer and not self.geojson:
            msg = "--layer is a layer of the file that --geojson names; give both"
            raise click.UsageError(msg)
        return bool(self.geojson or self.bbox)


@dataclass(frozen=True)
class QueryFlags:
    """What was given of ``query``: the attributes are fields of `QueryOptions`."""

    catalog: str | None
    kind: Kind | None
    mindate: tuple[str, ...]
    maxdate: tuple[str, ...]
    minclouds: float | None
    maxclouds: float | None
    limit: int | None
    scale: float | None
    original_shape: bool | None
    asset_mirror: tuple[str, ...]

    def fields(self) -> dict[str, object]:
        """Fields that were given."""
        return given(vars(self))


area_options = as_one(
    AreaFlags,
    "area_flags",
    [
        click.option(
            "--geojson",
            "--aoi",
            "geojson",
            help="Area of interest: GeoJSON, GeoPackage, Shapefile, KML, FlatGeobuf or GeoParquet "
            "in any CRS; - reads GeoJSON from stdin.",
        ),
        click.option("--layer", help="Layer of the area's file, where it has several."),
        click.option(
            "--bbox",
            type=float,
            multiple=True,
            metavar="W,S,E,N",
            cls=BoxOption,
            help="Area of interest: west, south, east, north in degrees.",
        ),
    ],
)

KINDS = click.Choice(["L2A", "L1C"])

query_options = as_one(
    QueryFlags,
    "query_flags",
    [
        click.option(
            "--catalog",
            cls=QueryOption,
            help="Named catalog (see `cloudbuster catalogs`), URL of a STAC API, or path of a "
            "local STAC catalog.",
        ),
        click.option("--kind", type=KINDS, cls=QueryOption, help="Product level."),
        click.option(
            "--mindate",
            multiple=True,
            metavar="DAY...",
            cls=DaysOption,
            help="First UTC day (YYYY-MM-DD) of each period; without it there is no first day.",
        ),
        click.option(
            "--maxdate",
            multiple=True,
            metavar="DAY...",
            cls=DaysOption,
            help="Last UTC day of each period, inclusive; several pair with --mindate.",
        ),
        click.option(
            "--maxclouds", type=float, cls=QueryOption, help="Greatest cloud cover, percent."
        ),
        click.option(
            "--minclouds", type=float, cls=QueryOption, help="Least cloud cover, percent."
        ),
        click.option(
            "--limit", type=int, cls=ExpertQueryOption, help="Greatest number of candidates."
        ),
        click.option(
            "--scale",
            type=float,
            cls=ExpertQueryOption,
            help="Scale each feature of the area about the centre of its bounding box.",
        ),
        click.option(
            "--original-shape/--no-original-shape",
            default=None,
            cls=ExpertQueryOption,
            help="Take the features as they are; overrides --scale.",
        ),
        click.option(
            "--asset-mirror",
            multiple=True,
            metavar="FROM=TO...",
            cls=MirrorsOption,
            help="Read assets whose address begins with FROM at TO.",
        ),
    ],
)
