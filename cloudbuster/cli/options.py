"""Options that several commands share, by the part of the request that they set.

Those of one part reach a command as one parameter: what was given of it. Nothing here has a
default that the model has.
"""

import functools
import inspect
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import click

from cloudbuster.cli.parsing import EXPERT_SECTION, ListOption, ModelOption

Kind = Literal["L2A", "L1C"]
# Numbers of a bounding box: west, south, east, north.
BOX_NUMBERS = 4
Function = Callable[..., None]
Decorator = Callable[[Function], Function]


class RequestOption(ModelOption):
    """A field of the request itself."""


class QueryOption(ModelOption):
    """A field of ``query``."""

    part, section = "query", "Query"


class ExpertQueryOption(QueryOption):
    """A field of ``query`` that few need."""

    section = EXPERT_SECTION


class DaysOption(ListOption, QueryOption):
    """Days: ``2020-05-01 2021-05-01``."""

    further = re.compile(r"\d{4}-\d{1,2}-\d{1,2}(,\d{4}-\d{1,2}-\d{1,2})*,?")


class BoxOption(ListOption):
    """A bounding box: ``15.0,45.9,15.2,46.1``, or four numbers in a row, in brackets or not."""

    further = re.compile(r"[\[(]?[-+]?[\d.][\d.eE+-]*(,[-+]?[\d.][\d.eE+-]*)*,?[\])]?")

    def values_in(self, word: str) -> list[str]:
        """Split a word into numbers."""
        return super().values_in(word.strip("[]() "))


class MirrorsOption(ListOption, ExpertQueryOption):
    """Mirrors: ``s3://eodata=/eodata https://host=/copy``.

    After the first one only a mirror whose FROM has a scheme can follow: a path may hold ``=``.
    """

    further = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^=]*=.+")

    def values_in(self, word: str) -> list[str]:
        """Split at commas between two mirrors; an address may hold commas itself."""
        mirrors: list[str] = []
        for piece in word.split(","):
            if mirrors and not ("=" in piece and "=" in mirrors[-1]):
                mirrors[-1] += f",{piece}"
            else:
                mirrors.append(piece)
        return mirrors


class FilterOption(ModelOption):
    """A field of ``filter``."""

    part, section = "filter", "Filter"


class ExpertFilterOption(FilterOption):
    """A field of ``filter`` that few need."""

    section = EXPERT_SECTION


class GatherOption(ModelOption):
    """A field of ``gather``."""

    part, section = "gather", "Gather"


class ExpertGatherOption(GatherOption):
    """A field of ``gather`` that few need."""

    section = EXPERT_SECTION


class BandList(ListOption):
    """Bands: ``B04 B03`` or ``b04,b8a``."""

    further = re.compile(r"B\d{1,2}A?(,B\d{1,2}A?)*,?", re.IGNORECASE)

    def values_in(self, word: str) -> list[str]:
        """Split a word into bands, in upper case."""
        return [band.upper() for band in super().values_in(word)]


class ScoreList(ListOption, ExpertFilterOption):
    """Factors of the score: ``date sun`` or ``orbit,nodata``."""

    further = re.compile(r"(date|sun|orbit|nodata|none)(,(date|sun|orbit|nodata))*,?")


class BandsOption(BandList, GatherOption):
    """Bands of the mosaic."""


class DetectorOption(ModelOption):
    """A field of ``gather.detector``."""

    part, section = "gather.detector", "Clouds"


class ClassesOption(ListOption, DetectorOption):
    """Classes: ``1,2`` or ``1 2``."""

    further = re.compile(r"\d+(,\d+)*,?")


class ExpertDetectorOption(DetectorOption):
    """A field of ``gather.detector`` that few need."""

    section = EXPERT_SECTION


class MergeOption(ModelOption):
    """A field of ``merge``."""

    part, section = "merge", "Merge"


class ExpertLimitOption(ModelOption):
    """A field of ``limits``."""

    part, section = "limits", EXPERT_SECTION


class CloudOption(click.Option):
    """An option about clouds that is no field."""

    section = "Clouds"


class ExpertOption(click.Option):
    """An option that is no field, and that few need."""

    section = EXPERT_SECTION


def given(values: Mapping[str, object]) -> dict[str, object]:
    """Keep the values that were given: not None, and not empty."""
    return {name: value for name, value in values.items() if value not in (None, (), {})}


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


@dataclass(frozen=True)
class FilterFlags:
    """What was given of ``filter``: the attributes are fields of `FilterOptions`."""

    coverage_count: int | None
    max_selections: int | None
    max_uncovered: float | None
    backstop: bool | None
    name_regexp: str | None
    date_regexp: str | None
    strategy: str | None
    max_never_clear: float | None
    target_date: str | None
    score: tuple[str, ...] | None

    def fields(self) -> dict[str, object]:
        """Fields that were given."""
        fields = given(vars(self))
        return fields | {"score": ()} if self.score == ("none",) else fields


@dataclass(frozen=True)
class DetectorFlags:
    """What was given about clouds: fields of `DetectorOptions`, and which detector to use."""

    s2cloudless: bool | None
    architecture: str | None
    weights: str | None
    trust_architecture: bool | None
    cloud_classes: tuple[int, ...]
    donor_mask: str | None
    donor_mask_name: str | None
    also_stock: bool | None
    preset: str | None
    mask_gsd_m: float | None
    threshold: float | None
    average_over: int | None
    dilation_size: int | None

    def fields(self) -> dict[str, object]:
        """Fields that were given, and the type of the detector that they name, if any.

        Raises
        ------
        click.UsageError
            If they name several.
        """
        named = {
            "s2cloudless": bool(self.s2cloudless),
            "pytorch": bool(self.architecture or self.weights),
            "donor": bool(self.donor_mask),
        }
        types = [name for name, is_named in named.items() if is_named]
        if len(types) > 1:
            msg = f"{' and '.join(types)}: give the options of one detector"
            raise click.UsageError(msg)
        if not types and self.s2cloudless is False:
            types = ["stock"]
        fields = given(vars(self))
        fields.pop("s2cloudless", None)
        return fields | ({"type": types[0]} if types else {})


@dataclass(frozen=True)
class GatherFlags:
    """What was given of ``gather``: the attributes are fields of `GatherOptions`."""

    bands: tuple[str, ...]
    crs: str | None
    gsd_m: float | None
    dilate_m: float | None
    bounds_clip: bool | None
    index_start: int | None
    donate_mask: bool | None
    on_radiometry_conflict: str | None

    def fields(self, detector: DetectorFlags) -> dict[str, object]:
        """Fields that were given, those of the detector included."""
        return given(vars(self) | {"detector": detector.fields()})


def _as_one(kind: Callable[..., object], parameter: str, options: Sequence[Decorator]) -> Decorator:
    """Give a command these options, as one ``parameter`` that is a ``kind``."""
    names = list(inspect.signature(kind).parameters)

    def decorate(command: Function) -> Function:
        """Add the options to a command."""

        @functools.wraps(command)
        def collecting(**values: object) -> None:
            """Call the command with the values of the options as one object."""
            flags = kind(**{name: values.pop(name) for name in names})
            command(**values, **{parameter: flags})

        decorated: Function = collecting
        for option in reversed(options):
            decorated = option(decorated)
        return decorated

    return decorate


area_options = _as_one(
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

query_options = _as_one(
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

filter_options = _as_one(
    FilterFlags,
    "filter_flags",
    [
        click.option(
            "--coverage-count",
            type=int,
            cls=FilterOption,
            help="How many times each place is to be seen.",
        ),
        click.option(
            "--max-selections", type=int, cls=FilterOption, help="Greatest number of scenes picked."
        ),
        click.option(
            "--max-uncovered",
            type=float,
            cls=FilterOption,
            help="Share (0 to 1) of the area, mean over the times, that may stay uncovered.",
        ),
        click.option(
            "--backstop/--no-backstop",
            default=None,
            cls=FilterOption,
            help="Pick scenes that fill what no clear pixel fills.",
        ),
        click.option("--name-regexp", cls=ExpertFilterOption, help="Keep scenes whose id matches."),
        click.option(
            "--date-regexp",
            cls=ExpertFilterOption,
            help="Keep scenes whose acquisition time (ISO 8601) matches.",
        ),
        click.option(
            "--strategy",
            type=click.Choice(["clear", "original"]),
            cls=FilterOption,
            help="Pick scenes by what their thumbnails show clear, or as the 2020 project did by "
            "footprints and cloud cover.",
        ),
        click.option(
            "--max-never-clear",
            type=float,
            cls=FilterOption,
            help="Share (0 to 1) of the area that may never be seen clear.",
        ),
        click.option(
            "--target-date",
            metavar="YYYY-MM-DD",
            cls=FilterOption,
            help="Prefer scenes near this day.",
        ),
        click.option(
            "--score",
            multiple=True,
            metavar="FACTOR...",
            cls=ScoreList,
            help="What to prefer among scenes that show as much: date, sun, orbit, nodata; none "
            "for nothing.",
        ),
    ],
)

detector_options = _as_one(
    DetectorFlags,
    "detector_flags",
    [
        click.option(
            "--s2cloudless/--no-s2cloudless",
            default=None,
            cls=CloudOption,
            help="Find clouds with s2cloudless; negated, by the product's own mask.  [default: "
            "the product's own mask for L2A, s2cloudless for L1C]",
        ),
        click.option(
            "--weights",
            cls=DetectorOption,
            help="Find clouds with a PyTorch model: state dict, TorchScript or exported model.",
        ),
        click.option(
            "--architecture",
            cls=DetectorOption,
            help="Python file with make_model, for a state dict.",
        ),
        click.option(
            "--trust-architecture/--no-trust-architecture",
            default=None,
            cls=DetectorOption,
            help="Let code run: that of the architecture, or of a TorchScript or exported model.",
        ),
        click.option(
            "--cloud-classes",
            type=int,
            multiple=True,
            metavar="CLASS...",
            cls=ClassesOption,
            help="Classes of a model of several classes that are cloud, from 0, as 1,2.",
        ),
        click.option(
            "--donor-mask",
            cls=DetectorOption,
            help="Take the mask that another run kept: its file, or the folder that holds it.",
        ),
        click.option(
            "--donor-mask-name", cls=DetectorOption, help="Name of the mask in --donor-mask."
        ),
        click.option(
            "--also-stock/--no-also-stock",
            default=None,
            cls=DetectorOption,
            help="Add the product's own mask to the detector's.",
        ),
        click.option(
            "--preset",
            type=click.Choice(["standard", "strict", "original"]),
            cls=DetectorOption,
            help="Which classes of the product's own mask count as cloud.",
        ),
        click.option(
            "--mask-gsd",
            "mask_gsd_m",
            type=float,
            cls=ExpertDetectorOption,
            help="Cell size of the mask, metres.  [default: the detector's own]",
        ),
        click.option(
            "--threshold",
            type=float,
            cls=ExpertDetectorOption,
            help="s2cloudless: probability above which a cell is cloud.",
        ),
        click.option(
            "--average-over",
            type=int,
            cls=ExpertDetectorOption,
            help="s2cloudless: radius of the averaging disk, cells of the mask.",
        ),
        click.option(
            "--dilation-size",
            type=int,
            cls=ExpertDetectorOption,
            help="s2cloudless: radius of its own dilation disk, cells of the mask.",
        ),
    ],
)

gather_options = _as_one(
    GatherFlags,
    "gather_flags",
    [
        click.option(
            "--bands",
            multiple=True,
            metavar="BAND...",
            cls=BandsOption,
            help="Bands in output order, as B04,B03,B02.  [default: all of the level]",
        ),
        click.option(
            "--crs",
            cls=GatherOption,
            help="utm, utm-each (`run`: one mosaic per UTM zone), or any CRS.",
        ),
        click.option(
            "--gsd",
            "gsd_m",
            type=float,
            cls=GatherOption,
            help="Cell size of the mosaic, metres.  [default: that of the finest band]",
        ),
        click.option(
            "--dilate-m",
            type=float,
            cls=GatherOption,
            help="Growth of cloud and shadow, metres between cell centres.",
        ),
        click.option(
            "--bounds-clip/--no-bounds-clip",
            default=None,
            cls=GatherOption,
            help="Clip to the bounding box of the area.",
        ),
        click.option(
            "--donate-mask/--no-donate-mask",
            default=None,
            cls=GatherOption,
            help="Keep the mask of each scene.",
        ),
        click.option(
            "--index-start", type=int, cls=ExpertGatherOption, help="Index of the first scene."
        ),
        click.option(
            "--on-radiometry-conflict",
            type=click.Choice(["trust-pixels", "skip", "fail"]),
            cls=ExpertGatherOption,
            help="What to do with a scene whose metadata and pixels disagree on its radiometric "
            "offset.",
        ),
    ],
)

layout_option = click.option(
    "--layout",
    type=click.Choice(["multi-band", "per-band"]),
    cls=MergeOption,
    help="Whether each band gets a file of its own, beside the mosaic.",
)

clip_option = click.option(
    "--clip/--no-clip",
    default=None,
    cls=MergeOption,
    help="Leave cells outside of the area without a value.",
)

composite_option = click.option(
    "--composite",
    metavar="NAME",
    cls=MergeOption,
    help="How each pixel is made: first, median, medoid, geomedian, percentile:P.",
)
self_check_option = click.option(
    "--self-check/--no-self-check",
    default=None,
    cls=MergeOption,
    help="Measure the error of the mosaic with dates that are held out.",
)
format_option = click.option(
    "--format",
    "style",
    type=click.Choice(["stac", "original"]),
    default="stac",
    show_default=True,
    help="Write a STAC ItemCollection, or what the original wrote.",
)
workers_option = click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=lambda: os.cpu_count() or 1,
    show_default="one for each CPU",
    help="Processes to work with.",
)
tmp_option = click.option(
    "--tmp", cls=ExpertOption, help="Folder for temporary files.  [default: the system's]"
)
dryrun_option = click.option(
    "--dryrun/--no-dryrun", default=False, help="Print what would be done, and do nothing."
)
stack_option = click.option(
    "--stack", default="CloudBuster", show_default=True, help="Name of the deployed stack."
)
json_option = click.option(
    "--json/--no-json", "as_json", default=False, help="Print the result as JSON."
)
