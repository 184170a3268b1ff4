"""The request of a mosaic: the options of every stage."""

from datetime import date
from typing import Annotated, Literal, Self

import orjson
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    NonNegativeInt,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from cloudbuster.core.pixels.composite_methods import (
    composite_names,
    delivered_layers,
    parse_composite,
)
from cloudbuster.core.projections.crs_text import MAX_CRS_CHARS
from cloudbuster.core.scenes.asset_mirror import parse_mirror
from cloudbuster.core.scenes.bands import BANDS, Kind, requested_bands
from cloudbuster.core.texts.detector_names import MAX_DETECTORS, DetectorNames, parse_detectors
from cloudbuster.core.texts.detector_names import PATTERN as DETECTOR_PATTERN
from cloudbuster.core.texts.patterns import MAX_PATTERN_CHARS, compile_pattern
from cloudbuster.models.base import (
    MAX_SCENE_INDEX,
    SCHEMA_DESCRIPTION,
    Address,
    Document,
    FileName,
    JsonObject,
    MosaicName,
    OnRadiometryConflict,
)
from cloudbuster.models.given import as_area, as_days

# Greatest size of an area inside a request, bytes of JSON: a quarter of the 256 KiB of state that
# Step Functions pass from one step to the next.
MAX_INLINE_AOI_BYTES = 64_000
# Where a search without dates ends: Sentinel-2A was launched on 2015-06-23, and some servers refuse
# years far from now. Not today's date: the same request must stay the same tomorrow.
FIRST_DAY, LAST_DAY = date(2015, 6, 23), date(2100, 1, 1)
# Bounds of what a request may ask for: far beyond any mosaic that makes sense, and far below what
# overflows or fills a machine.
EARLIEST_DAY = date(1970, 1, 1)
MAX_PERIODS = 1000
MAX_CANDIDATES = 10_000
MAX_MIRRORS = 100
MAX_SCALE = 1000
# The finest bands of Sentinel-2 have cells of 10 m; 100 km is the side of a tile.
MIN_GSD_M, MAX_GSD_M = 1, 100_000
MIN_MASK_GSD_M, MAX_MASK_GSD_M = 10, 10_000
MAX_DILATE_M = 10_000
# Radius of a disk of s2cloudless, cells: 16 km at its 160 m.
MAX_RADIUS_CELLS = 100
MAX_ROUNDS = 100
MAX_CLASSES = 1000
MAX_BUDGET_USD = 1_000_000

# The keys of a run's objects begin with it, and S3 takes keys of 1024 bytes.
MAX_OUTPUT_CHARS = 800

BandName = Annotated[str, Field(max_length=8)]
Day = Annotated[date, Field(ge=EARLIEST_DAY, le=LAST_DAY)]

BoundedDays = Annotated[tuple[Day, ...], Field(max_length=MAX_PERIODS)]
Days = Annotated[BoundedDays, BeforeValidator(as_days, json_schema_input_type=BoundedDays | Day)]
Area = Annotated[JsonObject, BeforeValidator(as_area, json_schema_input_type=JsonObject | str)]
DetectorType = Annotated[
    str,
    BeforeValidator(lambda text: str(parse_detectors(text)) if isinstance(text, str) else text),
    WithJsonSchema({"type": "string", "pattern": DETECTOR_PATTERN}),
]
Composite = Annotated[
    str, Field(max_length=32), AfterValidator(lambda text: str(parse_composite(text)))
]
ScoreFactor = Literal["date", "sun", "orbit", "nodata"]


class QueryOptions(Document):
    """Options of the query: which candidate scenes to find."""

    catalog: Address = Field(
        "earth-search",
        description="Name of a catalog, URL of a STAC API, or path of a local STAC catalog.",
    )
    kind: Kind = Field("L2A", description="Product level.")
    mindate: Days = Field(
        (), description="First UTC day of each period, inclusive; none for no earliest day."
    )
    maxdate: Days = Field(
        (),
        description="Last UTC day of each period, inclusive; pairs with `mindate`; none for no "
        "latest day.",
    )
    minclouds: float = Field(0, ge=0, le=100, description="Least cloud cover, percent.")
    maxclouds: float = Field(20, ge=0, le=100, description="Greatest cloud cover, percent.")
    limit: int = Field(
        1024, ge=1, le=MAX_CANDIDATES, description="Greatest number of candidates in all."
    )
    scale: float | None = Field(
        None,
        gt=0,
        le=MAX_SCALE,
        description="Factor by which each feature of the area is scaled about the centre of its "
        "bounding box; null for 1.",
    )
    original_shape: bool = Field(default=False, description="Whether to ignore `scale`.")
    asset_mirror: tuple[Address, ...] = Field(
        (),
        max_length=MAX_MIRRORS,
        description="FROM=TO for each prefix of asset hrefs to rewrite, for example "
        "s3://eodata=/eodata; the longest FROM that matches is used.",
    )

    @property
    def periods(self) -> tuple[tuple[date, date], ...]:
        """First and last UTC day of each period, inclusive; open ends are those of the mission."""
        firsts, lasts = self.mindate or (FIRST_DAY,), self.maxdate or (LAST_DAY,)
        return tuple(zip(firsts, lasts, strict=True))

    @field_validator("catalog", mode="before")
    @classmethod
    def _check_catalog(cls, catalog: object) -> object:
        """Refuse an empty catalog, which is not the default one."""
        if isinstance(catalog, str) and not catalog.strip():
            msg = (
                "is empty; leave it out for earth-search, or give a name, the URL of a STAC API, "
                "or a path"
            )
            raise ValueError(msg)
        return catalog

    @model_validator(mode="after")
    def _check_mirrors(self) -> Self:
        """Refuse a mirror that is not FROM=TO."""
        for text in self.asset_mirror:
            parse_mirror(text)
        return self

    @model_validator(mode="after")
    def _check_ranges(self) -> Self:
        """Refuse periods and a range of cloud cover that are upside down."""
        if len(self.mindate or (None,)) != len(self.maxdate or (None,)):
            msg = (
                f"{len(self.mindate)} mindate and {len(self.maxdate)} maxdate: "
                "they pair by position, give the same number of each"
            )
            raise ValueError(msg)
        for first, last in self.periods:
            if first > last:
                msg = f"mindate {first} is after maxdate {last}: swap them"
                raise ValueError(msg)
        if self.minclouds > self.maxclouds:
            msg = f"minclouds {self.minclouds:g} is above maxclouds {self.maxclouds:g}"
            raise ValueError(msg)
        return self


class FilterOptions(Document):
    """Options of the filter: which of the candidates to pick."""

    strategy: Literal["clear", "original"] = Field(
        "clear",
        description="Strategy that picks scenes: `clear` by what their thumbnails show clear, "
        "`original` by footprints and cloud cover, as the 2020 project did.",
    )
    coverage_count: int = Field(
        3, ge=1, le=100, description="Number of layers: how many times to cover each place."
    )
    max_never_clear: float = Field(
        0.01,
        ge=0,
        le=1,
        # Masks grown by 50 m call about a hundredth of clear ground cloud on each date, around
        # bright roofs and sand, so that a smaller limit would be missed in cloudless summers.
        description="Greatest share of the area that may never be seen clear, 0 to 1; a mosaic "
        "with more of it, or with a hole, is not covered.",
    )
    score: tuple[ScoreFactor, ...] = Field(
        ("date", "sun", "orbit", "nodata"),
        description="What strategy `clear` prefers among scenes that show as much: `date` near "
        "`target_date`, a high `sun`, the `orbit` that shows most of the area, little `nodata`.",
    )
    target_date: date | None = Field(
        None, description="Day that scenes should be close to; null for no preference."
    )
    max_uncovered: float = Field(
        0.0005,
        ge=0,
        le=1,
        description="Greatest mean, over the layers, of the share of the area that may stay "
        "uncovered, 0 to 1.",
    )
    max_selections: int | None = Field(
        None,
        ge=1,
        le=MAX_SCENE_INDEX,
        description="Greatest number of scenes to pick; null for no limit.",
    )
    backstop: bool = Field(
        default=True,
        description="Whether to pick scenes whose unmasked pixels fill places that are never "
        "clear.",
    )
    minclouds: float = Field(
        0, ge=0, le=100, description="Least cloud cover of a candidate, percent."
    )
    name_regexp: str | None = Field(
        None,
        max_length=MAX_PATTERN_CHARS,
        description="Keep only candidates whose item id (or original `name`) contains a match of "
        "this regular expression of RE2.",
    )
    date_regexp: str | None = Field(
        None,
        max_length=MAX_PATTERN_CHARS,
        description="Keep only candidates whose acquisition time (ISO 8601) contains a match of "
        "this regular expression of RE2.",
    )

    @field_validator("name_regexp", "date_regexp")
    @classmethod
    def _check_pattern(cls, pattern: str | None) -> str | None:
        """Refuse what is no regular expression, before any scene is searched."""
        compile_pattern(pattern or "")
        return pattern


class DetectorOptions(Document):
    """Options of the cloud detector."""

    type: DetectorType = Field(
        "auto",
        description="Detector: `auto` (the best that is installed for the level), `stock`, "
        "`s2cloudless`, `csmask`, `omnicloudmask`, `pytorch`, `donor`, or one that an installed "
        "package registers. `A+B` masks what any of them masks, `A&B` what all of them mask.",
    )
    preset: Literal["standard", "strict", "original"] = Field(
        "standard", description="Which classes of the product's own masks are masked."
    )
    threshold: float = Field(
        0.4, ge=0, le=1, description="s2cloudless: probability above which a cell is cloud."
    )
    average_over: int = Field(
        4,
        ge=0,
        le=MAX_RADIUS_CELLS,
        description="s2cloudless: radius of the averaging disk, cells of the mask.",
    )
    dilation_size: int = Field(
        1,
        ge=0,
        le=MAX_RADIUS_CELLS,
        description="s2cloudless: radius of its own dilation disk, cells of the mask.",
    )
    mask_gsd_m: float | None = Field(
        None,
        ge=MIN_MASK_GSD_M,
        le=MAX_MASK_GSD_M,
        description="Cell size of the mask, metres; null for the detector's own.",
    )
    architecture: Address | None = Field(
        None, description="pytorch: URI of a Python file with `make_model(num_channels, ...)`."
    )
    weights: Address | None = Field(
        None,
        description="pytorch: URI of a state dict, or of a TorchScript or exported model; "
        "omnicloudmask: folder of its weights, null for where its package keeps them.",
    )
    trust_architecture: bool = Field(
        default=False,
        description="pytorch: whether the code in `architecture`, or in a TorchScript or exported "
        "model, may be run. On a stack its operator decides, and this has no effect.",
    )
    cloud_classes: tuple[NonNegativeInt, ...] | None = Field(
        None,
        min_length=1,
        max_length=MAX_CLASSES,
        description="pytorch: classes of a model of several classes that are cloud, from 0; null "
        "for a model that returns one logit for each cell.",
    )
    donor_mask: Address | None = Field(
        None, description="donor: URI of a mask, or of the folder or prefix that contains it."
    )
    donor_mask_name: FileName | None = Field(
        None, description="donor: name of the mask in `donor_mask`."
    )
    optional: tuple[str, ...] = Field(
        (),
        max_length=MAX_DETECTORS,
        description="Detectors of `A+B` that are left out for a scene without the bands that they "
        "need, which is rejected otherwise. `auto` sets it.",
    )
    doubtful_shadow: tuple[str, ...] = Field(
        (),
        max_length=MAX_DETECTORS,
        description="Detectors of `A+B` whose shadow is not masked, but used where no scene is "
        "clear, where another detector that knows shadow finds none; likewise, where they find "
        "nothing in cells of up to 30 m, what SCL leaves unclassified. `auto` sets it.",
    )
    also_stock: bool = Field(
        default=False,
        description="Whether to mask the cloud of the product's own masks as well: `+stock`.",
    )

    @model_validator(mode="after")
    def _check_detector(self) -> Self:
        """Require the files that a detector needs."""
        names = self.detectors.names
        if "pytorch" in names and self.weights is None:
            msg = "detector pytorch needs weights"
            raise ValueError(msg)
        if {"pytorch", "omnicloudmask"} <= set(names):
            msg = "detectors pytorch and omnicloudmask both take weights; join one of them"
            raise ValueError(msg)
        if "donor" in names and self.donor_mask is None:
            msg = "detector donor needs donor_mask"
            raise ValueError(msg)
        return self

    @property
    def detectors(self) -> DetectorNames:
        """Names in ``type``, and ``stock`` if the product's own masks are added."""
        names = parse_detectors(self.type)
        return names.with_name("stock") if self.also_stock else names


class GatherOptions(Document):
    """Options of gather: how a scene becomes a cloud-free raster on the mosaic's grid."""

    bands: tuple[BandName, ...] | None = Field(
        None,
        max_length=len(BANDS),
        description="Bands in output order; null for every reflectance band of the level.",
    )
    detector: DetectorOptions = Field(
        default_factory=lambda: DetectorOptions(), description="How clouds are found."
    )
    dilate_m: float = Field(
        50,
        ge=0,
        le=MAX_DILATE_M,
        description="Growth of cloud and shadow, metres between cell centres.",
    )
    bounds_clip: bool = Field(
        default=True,
        description="Whether to clip the mosaic to the area's bounding box; else it contains the "
        "whole scenes.",
    )
    crs: str = Field(
        "utm",
        max_length=MAX_CRS_CHARS,
        description="`utm` (zone of the area's centroid), `utm-each` (one mosaic per zone), the "
        "code of an authority (`EPSG:3035`) or WKT.",
    )
    gsd_m: float | None = Field(
        None,
        ge=MIN_GSD_M,
        le=MAX_GSD_M,
        description="Cell size of the mosaic, metres (also for a CRS in degrees); null for that of "
        "the finest band: 10, 20 or 60, or the cell size of the rasters if it is larger.",
    )
    index_start: int = Field(1, ge=1, le=MAX_SCENE_INDEX, description="Index of the first scene.")
    donate_mask: bool = Field(
        default=False, description="Whether to keep each scene's mask as `mask-{name}-{index}.tif`."
    )
    on_radiometry_conflict: OnRadiometryConflict = Field(
        "trust-pixels",
        description="What to do with a scene whose metadata about its radiometric offset "
        "contradict each other or its pixels: `trust-pixels`, `skip` the scene, or `fail`.",
    )


# No haze is brighter than a cloud.
MAX_HAZE_LIMIT_DN = 10_000


class MergeOptions(Document):
    """Options of merge: how the rasters become one mosaic."""

    haze_limit_dn: float = Field(
        260,
        ge=0,
        le=MAX_HAZE_LIMIT_DN,
        description="best: DN of haze from which a pixel does not count as clear; smaller for "
        "cleaner mosaics with more places that are never clear, 0 to reject none.",
    )
    composite: Composite = Field(
        "best",
        description=f"How each pixel is made: {', '.join(composite_names())}. `first` takes it "
        "from the first scene that sees it clear, `best` from the one that shows the least haze "
        "and shadow; the others compute it from all clear looks. All but `first` gather more "
        "looks.",
    )
    layout: Literal["multi-band", "per-band"] = Field(
        "multi-band",
        description="`per-band` writes each band of the mosaic to a file of its own too, and lists "
        "these in the STAC item.",
    )
    clip: bool = Field(
        default=False,
        description="Whether cells outside of the area are nodata; false fills the bounding box.",
    )
    self_check: bool = Field(
        default=False,
        description="Whether the mosaic measures its own error: the clearest date of each block of "
        "a few km is held out and compared with a mosaic of the rest. One layer more is gathered.",
    )


class LimitOptions(Document):
    """Limits at which a run stops."""

    budget_usd: float | None = Field(
        None,
        gt=0,
        le=MAX_BUDGET_USD,
        description="Greatest estimated cost on the stack, US dollars; null for none.",
    )
    max_rounds: int = Field(
        3, ge=1, le=MAX_ROUNDS, description="Greatest number of rounds of filter and gather."
    )
    min_success_fraction: float = Field(
        0.8,
        ge=0,
        le=1,
        description="Least share of the selected scenes that must be gathered, 0 to 1.",
    )


class MosaicRequest(Document):
    """Everything that decides a mosaic."""

    schema_: Literal["cloudbuster.request/1"] = Field(
        "cloudbuster.request/1", alias="schema", description=SCHEMA_DESCRIPTION
    )
    name: MosaicName = Field(description="Base of the file names.")
    aoi: Area = Field(
        description="Area of interest: a GeoJSON object, or the address of a file in a vector "
        'format, alone or as {"uri": ..., "layer": ...}; above 64 kB it must be a file.'
    )
    query: QueryOptions = Field(
        default_factory=lambda: QueryOptions(), description="Which candidate scenes to find."
    )
    filter: FilterOptions = Field(
        default_factory=lambda: FilterOptions(), description="Which of the candidates to pick."
    )
    gather: GatherOptions = Field(
        default_factory=lambda: GatherOptions(),
        description="How a scene becomes a cloud-free raster on the mosaic's grid.",
    )
    merge: MergeOptions = Field(
        default_factory=lambda: MergeOptions(), description="How the rasters become one mosaic."
    )
    limits: LimitOptions = Field(
        default_factory=lambda: LimitOptions(), description="Limits at which the run stops."
    )
    output: Address | None = Field(
        None,
        max_length=MAX_OUTPUT_CHARS,
        description="Folder or s3:// prefix of the run; null for ./{name}.",
    )
    force: bool = Field(
        default=False, description="Whether to do again what an earlier run finished."
    )
    refresh: bool = Field(
        default=False,
        description="Whether to search the catalog again and bring an earlier run up to date.",
    )

    @property
    def starts_anew(self) -> bool:
        """Whether each submission to the stack is a run of its own, with scenes of its own."""
        return self.force or self.refresh

    @property
    def needs_twins(self) -> bool:
        """Whether clouds of L2A scenes are detected in their L1C twins (s2cloudless)."""
        return self.query.kind == "L2A" and "s2cloudless" in self.gather.detector.detectors.names

    @property
    def delivered_layers(self) -> int:
        """How often each place is to be delivered clear, by scenes of strategy `clear`."""
        return delivered_layers(
            parse_composite(self.merge.composite),
            self.filter.coverage_count,
            self_check=self.merge.self_check,
        )

    @model_validator(mode="after")
    def _check_request(self) -> Self:
        """Refuse a large area inside the request, and bands that the level does not have."""
        if len(orjson.dumps(self.aoi)) > MAX_INLINE_AOI_BYTES:
            msg = f'aoi is over {MAX_INLINE_AOI_BYTES} bytes: put it in a file, give {{"uri": ...}}'
            raise ValueError(msg)
        requested_bands(self.query.kind, self.gather.bands)
        return self
