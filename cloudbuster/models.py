"""The contract: the request of a mosaic and the documents that the stages hand on.

One `MosaicRequest` is the file of ``cloudbuster run``, the input of the state machine, the request
object in S3 and the published JSON Schema. Documents are frozen and refuse unknown fields.
"""

import hashlib
from datetime import date, datetime
from typing import Annotated, Any, Literal, Self

import orjson
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from cloudbuster.core.asset_mirror import parse_mirror
from cloudbuster.core.bands import Kind, requested_bands
from cloudbuster.core.grid import MosaicGrid
from cloudbuster.core.radiometry import OffsetDecision

# Step Functions pass at most 256 KiB of state, of which the AOI may take a quarter.
MAX_INLINE_AOI_BYTES = 64_000
# `scene_index` is uint16 and 0 means none; 65535 is kept free as Sentinel-2's saturated value.
MAX_SCENE_INDEX = 65_534

Geometry = dict[str, Any]
"""A GeoJSON object: a geometry, a Feature or a FeatureCollection."""
Item = dict[str, Any]
"""A STAC item as a plain dict, as its catalog gave it."""

MosaicName = Annotated[
    str,
    StringConstraints(  # `$` alone lets Python accept a final newline.
        pattern=r"^(?!backstop-|mask-)[A-Za-z0-9_][A-Za-z0-9._-]*$(?!\n)", max_length=128
    ),
]


OnRadiometryConflict = Literal["trust-pixels", "skip", "fail"]


class Document(BaseModel):
    """Base of everything that crosses a process boundary as JSON."""

    # python-re: the pattern of `MosaicName` looks ahead, which the default engine cannot.
    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, regex_engine="python-re"
    )

    def to_json(self) -> bytes:
        """UTF-8 JSON with aliases, indented, keys in the order of the model, final newline."""
        content = self.model_dump(mode="json", by_alias=True)
        return orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    def fingerprint(self) -> str:
        """SHA-256 of the canonical JSON (sorted keys), hexadecimal."""
        content = self.model_dump(mode="json", by_alias=True)
        return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()


class QueryOptions(Document):
    """Which candidate scenes to look for."""

    catalog: str = Field(
        "earth-search",
        description="Name of a catalog, URL of a STAC API, or path of a local STAC catalog.",
    )
    kind: Kind = Field("L2A", description="Product level.")
    mindate: tuple[date, ...] = Field(
        min_length=1, description="First UTC day of each period, inclusive."
    )
    maxdate: tuple[date, ...] = Field(
        min_length=1, description="Last UTC day of each period, inclusive; pairs with `mindate`."
    )
    minclouds: float = Field(0, ge=0, le=100, description="Least cloud cover, percent.")
    maxclouds: float = Field(20, ge=0, le=100, description="Greatest cloud cover, percent.")
    limit: int = Field(1024, ge=1, description="Greatest number of candidates in all.")
    scale: float | None = Field(
        None, gt=0, description="Scale each feature about the centre of its bounding box."
    )
    original_shape: bool = Field(
        default=False, description="Take the features as they are; overrides `scale`."
    )
    asset_mirror: tuple[str, ...] = Field(
        (),
        description="FROM=TO for each prefix of asset hrefs to rewrite, as s3://eodata=/eodata; "
        "the longest FROM that fits is taken.",
    )

    @model_validator(mode="after")
    def _check_mirrors(self) -> Self:
        for text in self.asset_mirror:
            parse_mirror(text)
        return self

    @model_validator(mode="after")
    def _check_ranges(self) -> Self:
        if len(self.mindate) != len(self.maxdate):
            msg = (
                f"{len(self.mindate)} mindate and {len(self.maxdate)} maxdate: "
                "they pair by position, give as many of each"
            )
            raise ValueError(msg)
        for first, last in zip(self.mindate, self.maxdate, strict=True):
            if first > last:
                msg = f"mindate {first} is after maxdate {last}: swap them"
                raise ValueError(msg)
        if self.minclouds > self.maxclouds:
            msg = f"minclouds {self.minclouds:g} is above maxclouds {self.maxclouds:g}"
            raise ValueError(msg)
        return self


class FilterOptions(Document):
    """Which of the candidates to take."""

    strategy: Literal["original"] = Field("original", description="How scenes are picked.")
    coverage_count: int = Field(
        3, ge=1, le=100, description="How many times each place is to be seen."
    )
    max_uncovered: float = Field(
        0.0005,
        ge=0,
        le=1,
        description="Mean over the layers of the share of the AOI's area still uncovered.",
    )
    max_selections: int | None = Field(
        None, ge=1, le=MAX_SCENE_INDEX, description="Greatest number of scenes picked."
    )
    backstop: bool = Field(
        default=True, description="Pick scenes that fill what no clear pixel fills."
    )
    minclouds: float = Field(
        0, ge=0, le=100, description="Drop candidates with less cloud cover, percent."
    )
    name_regexp: str | None = Field(
        None, description="Keep candidates whose item id (or original `name`) matches."
    )
    date_regexp: str | None = Field(
        None, description="Keep candidates whose acquisition time (ISO 8601) matches."
    )


class DetectorOptions(Document):
    """How the clouds of a scene are found."""

    type: Literal["auto", "stock", "s2cloudless", "pytorch", "donor"] = Field(
        "auto", description="`auto` is s2cloudless for L1C and stock for L2A."
    )
    preset: Literal["standard", "strict", "original"] = Field(
        "standard", description="Which classes of the product's own masks count as cloud."
    )
    threshold: float = Field(
        0.4, ge=0, le=1, description="s2cloudless: probability above which a cell is cloud."
    )
    average_over: int = Field(
        4, ge=0, description="s2cloudless: radius of the averaging disk, cells of the mask."
    )
    dilation_size: int = Field(
        1, ge=0, description="s2cloudless: radius of its own dilation disk, cells of the mask."
    )
    mask_gsd_m: float | None = Field(
        None, gt=0, description="Cell size of the mask, metres; null for the detector's own."
    )
    architecture: str | None = Field(
        None, description="pytorch: URI of a Python file with `make_model(num_channels, ...)`."
    )
    weights: str | None = Field(
        None, description="pytorch: URI of a state dict, or of a TorchScript or exported model."
    )
    trust_architecture: bool = Field(
        default=False, description="pytorch: the architecture's code may run."
    )
    donor_mask: str | None = Field(
        None, description="donor: URI of a mask, or of the folder or prefix that holds it."
    )
    donor_mask_name: str | None = Field(
        None, description="donor: name of the mask in `donor_mask`."
    )
    also_stock: bool = Field(
        default=False, description="Mask what the product's own masks call cloud as well."
    )

    @model_validator(mode="after")
    def _check_detector(self) -> Self:
        if self.type == "pytorch" and self.weights is None:
            msg = "detector pytorch needs weights"
            raise ValueError(msg)
        if self.type == "donor" and self.donor_mask is None:
            msg = "detector donor needs donor_mask"
            raise ValueError(msg)
        return self


class GatherOptions(Document):
    """How a scene becomes a cloud-free piece of the mosaic's grid."""

    bands: tuple[str, ...] | None = Field(
        None, description="Bands in output order; null for every reflectance band of the level."
    )
    detector: DetectorOptions = Field(default_factory=lambda: DetectorOptions())
    dilate_m: float = Field(
        50, ge=0, description="Growth of cloud and shadow, metres between cell centres."
    )
    bounds_clip: bool = Field(
        default=True, description="Clip to the AOI's bounding box; else keep whole scenes."
    )
    crs: str = Field(
        "utm",
        description="`utm` (zone of the AOI's centroid), `utm-each` (one mosaic per zone) or any "
        "CRS that pyproj reads.",
    )
    gsd_m: float = Field(
        10, gt=0, description="Cell size of the mosaic, metres (also for a CRS in degrees)."
    )
    index_start: int = Field(1, ge=1, le=MAX_SCENE_INDEX, description="Index of the first scene.")
    donate_mask: bool = Field(
        default=False, description="Keep each scene's mask as `mask-{name}-{index}.tif`."
    )
    on_radiometry_conflict: OnRadiometryConflict = Field(
        "trust-pixels",
        description="What to do with a scene whose metadata disagree on its radiometric offset, "
        "with each other or with its pixels: believe the pixels, leave it out, or stop.",
    )


class MergeOptions(Document):
    """How the pieces become one mosaic."""

    composite: Literal["first"] = Field("first", description="Which clear look gives a pixel.")


class LimitOptions(Document):
    """When to stop."""

    budget_usd: float | None = Field(None, gt=0, description="Greatest cost, US dollars.")
    max_rounds: int = Field(3, ge=1, description="Greatest number of filter-gather rounds.")
    min_success_fraction: float = Field(
        0.8, ge=0, le=1, description="Share of the selected scenes that must be gathered."
    )


class MosaicRequest(Document):
    """Everything that decides a mosaic."""

    schema_: Literal["cloudbuster.request/1"] = Field("cloudbuster.request/1", alias="schema")
    name: MosaicName = Field(description="Base of the file names.")
    aoi: Geometry = Field(
        description="Area of interest: a GeoJSON object in longitude and latitude, "
        'or {"uri": ...}; above 64 kB it must be a URI.'
    )
    query: QueryOptions
    filter: FilterOptions = Field(default_factory=lambda: FilterOptions())
    gather: GatherOptions = Field(default_factory=lambda: GatherOptions())
    merge: MergeOptions = Field(default_factory=lambda: MergeOptions())
    limits: LimitOptions = Field(default_factory=lambda: LimitOptions())
    output: str | None = Field(
        None, description="Folder or s3:// prefix of the run; null for ./{name}."
    )
    force: bool = Field(default=False, description="Do again what an earlier run finished.")

    @model_validator(mode="after")
    def _check_request(self) -> Self:
        if len(orjson.dumps(self.aoi)) > MAX_INLINE_AOI_BYTES:
            msg = f'aoi is over {MAX_INLINE_AOI_BYTES} bytes: put it in a file, give {{"uri": ...}}'
            raise ValueError(msg)
        requested_bands(self.query.kind, self.gather.bands)
        return self


class Dropped(Document):
    """A candidate that was not taken, and why."""

    item_id: str
    reason: str


class CandidatesInfo(Document):
    """What `Candidates` says beside its items."""

    schema_: Literal["cloudbuster.candidates/1"] = Field("cloudbuster.candidates/1", alias="schema")
    aoi: Geometry = Field(description="Area of interest, one geometry, longitude and latitude.")
    kind: Kind
    catalog: str
    asset_mirror: tuple[str, ...] = Field(
        (), description="FROM=TO for each prefix of asset hrefs that was rewritten."
    )
    dropped: tuple[Dropped, ...] = ()


class Candidates(Document):
    """Result of the query: a STAC ItemCollection, newest first."""

    type: Literal["FeatureCollection"] = "FeatureCollection"
    features: tuple[Item, ...]
    cloudbuster: CandidatesInfo


class SelectionEntry(Document):
    """One picked scene, in order of its pick."""

    item_id: str
    backstop: bool = Field(description="Whether its pixels are kept unmasked, beneath all others.")
    reused: bool = Field(
        default=False, description="Whether the same item is also among the clear looks."
    )
    weight: float | None = Field(
        None, description="What the pick gained: area times clear share, units of the strategy."
    )


class SelectionInfo(Document):
    """What `Selection` says beside its items."""

    schema_: Literal["cloudbuster.selection/1"] = Field("cloudbuster.selection/1", alias="schema")
    aoi: Geometry = Field(description="Area of interest, one geometry, longitude and latitude.")
    kind: Kind
    catalog: str
    strategy: str
    entries: tuple[SelectionEntry, ...]
    uncovered_by_look: tuple[float, ...] = Field(
        description="Share of the AOI's area that fewer than 1, 2, ... clear looks cover."
    )
    uncovered: float = Field(description="Mean of `uncovered_by_look`, 0 to 1.")
    backstop_uncovered: float | None = Field(
        None, description="Share of the AOI's area without backstop; null where none was asked."
    )
    covered: bool = Field(description="Whether every limit asked for was reached.")
    dropped: tuple[Dropped, ...] = ()


class Selection(Document):
    """Result of the filter: a STAC ItemCollection of the picked items, each once."""

    type: Literal["FeatureCollection"] = "FeatureCollection"
    features: tuple[Item, ...]
    cloudbuster: SelectionInfo


class GridDocument(Document):
    """A `MosaicGrid` as JSON."""

    crs: str
    west: float
    north: float
    x_size: float = Field(gt=0)
    y_size: float = Field(gt=0)
    width: int = Field(ge=1)
    height: int = Field(ge=1)

    @classmethod
    def of(cls, grid: MosaicGrid) -> "GridDocument":
        """Make the document of ``grid``."""
        return cls(
            crs=grid.crs,
            west=grid.west,
            north=grid.north,
            x_size=grid.x_size,
            y_size=grid.y_size,
            width=grid.width,
            height=grid.height,
        )

    def grid(self) -> MosaicGrid:
        """Make the grid of this document."""
        return MosaicGrid(
            self.crs, self.west, self.north, self.x_size, self.y_size, self.width, self.height
        )


class Radiometry(Document):
    """What was decided of a scene's radiometric offset, and why."""

    verdict: Literal["present", "removed", "none"] = Field(
        description="Offset still in the pixels, already removed by the provider, or never added."
    )
    offset_dn: int = Field(description="What is added to every valid DN: -1000 or 0.")
    confidence: Literal["high", "low"] = Field(
        description="Whether pixels confirm it, those of the scene or of others that overlap it."
    )
    conflict: bool = Field(
        default=False, description="Whether metadata disagree with each other or with the pixels."
    )
    evidence: tuple[str, ...] = Field(description="What spoke for it, in words.")

    @classmethod
    def of(cls, decision: OffsetDecision) -> "Radiometry":
        """Make the document of a decision."""
        return cls(
            verdict=decision.verdict,
            offset_dn=decision.offset_dn,
            confidence="high" if decision.confident else "low",
            conflict=decision.conflict,
            evidence=decision.evidence,
        )

    def decision(self) -> OffsetDecision:
        """Make the decision of this document."""
        return OffsetDecision(self.verdict, self.confidence == "high", self.conflict, self.evidence)


class GatherTask(Document):
    """Everything that decides one gathered scene."""

    schema_: Literal["cloudbuster.task/1"] = Field("cloudbuster.task/1", alias="schema")
    name: MosaicName
    kind: Kind
    catalog: str
    item: Item
    index: int | None = Field(
        ge=1, le=MAX_SCENE_INDEX, description="Index of the cloud-free scene; null for none."
    )
    backstop_index: int | None = Field(
        ge=1, le=MAX_SCENE_INDEX, description="Index of the unmasked scene; null for none."
    )
    bands: tuple[str, ...]
    grid: GridDocument
    detector: DetectorOptions
    dilate_m: float
    donate_mask: bool = False
    radiometry: Radiometry | None = Field(
        None, description="Decided beforehand, with the other scenes; null to decide it by itself."
    )
    on_radiometry_conflict: OnRadiometryConflict = "trust-pixels"
    output: str = Field(description="Folder or prefix of the scenes.")

    @model_validator(mode="after")
    def _check_role(self) -> Self:
        if self.index is None and self.backstop_index is None:
            msg = "a task needs an index, a backstop_index, or both"
            raise ValueError(msg)
        return self


class SceneRecord(Document):
    """What is known of one gathered scene: the `.json` beside its raster."""

    schema_: Literal["cloudbuster.scene/1"] = Field("cloudbuster.scene/1", alias="schema")
    name: MosaicName
    index: int = Field(ge=1, le=MAX_SCENE_INDEX)
    backstop: bool
    item_id: str
    catalog: str
    collection: str | None
    acquired: datetime | None = Field(description="Acquisition time, UTC.")
    platform: str | None
    mgrs_tile: str | None
    baseline: str | None = Field(description="Processing baseline.")
    cloud_cover: float | None = Field(description="Cloud cover by the catalog, percent.")
    detector: str
    radiometry: Radiometry
    bands: tuple[str, ...]
    grid: GridDocument = Field(description="The mosaic's grid; the raster holds a part of it.")
    observed_fraction: float = Field(description="Share of the mosaic's cells seen.")
    clear_fraction: float = Field(description="Share of the mosaic's cells seen clear.")
    raster: str = Field(description="File name of the raster.")
    mask: str | None = Field(None, description="File name of the donated mask.")
    task_fingerprint: str = Field(description="Of the task that made it.")
    version: str = Field(description="Of this package.")
    item: Item


class SceneFailure(Document):
    """A scene that could not be gathered, and why."""

    item_id: str
    index: int
    error: str
    message: str


class LookCoverage(Document):
    """How much of the area is seen clear at least ``looks`` times."""

    looks: int
    covered_fraction: float


class Assessment(Document):
    """What the gathered scenes cover, counted in pixels of the mosaic's grid inside the AOI."""

    schema_: Literal["cloudbuster.assessment/1"] = Field("cloudbuster.assessment/1", alias="schema")
    area_km2: float = Field(description="Area of the AOI.")
    coverage: tuple[LookCoverage, ...]
    never_observed_fraction: float = Field(description="Share that no scene saw.")
    never_clear_fraction: float = Field(description="Share seen, but never clear.")
    backstop_fraction: float = Field(description="Share that the backstop fills.")
    hole_fraction: float = Field(description="Share that stays without a value.")
    scenes_selected: int
    scenes_gathered: int
    failures: tuple[SceneFailure, ...] = ()
    covered: bool
    reasons: tuple[str, ...] = Field((), description="What is missing, in words.")


class MergeResult(Document):
    """Where the products of a merge are."""

    cloudless: str
    cloudy: str
    quality: str
    item: str
    preview: str
    scene_count: int
    clear_fraction: float = Field(description="Share of the grid's cells that are clear.")
    backstop_fraction: float
    hole_fraction: float


class RunStatus(Document):
    """State of a run, for people and programs that wait for it."""

    schema_: Literal["cloudbuster.status/1"] = Field("cloudbuster.status/1", alias="schema")
    name: MosaicName
    state: Literal["running", "succeeded", "failed"]
    stage: str
    request_fingerprint: str
    merge_fingerprint: str | None = Field(
        None, description="Of the scenes and options that the products were merged from."
    )
    exit_code: int | None = None
    error: str | None = None
    products: MergeResult | None = None


class ZoneResult(Document):
    """How one part of a run by UTM zones ended; ``cloudbuster run --json`` answers a list."""

    name: MosaicName
    crs: str = Field(description="Of the part's UTM zone.")
    exit_code: int
    error: str | None = Field(None, description="What failed, or what is not covered.")
    result: "RunResult | None" = None


class RunResult(Document):
    """What ``cloudbuster run`` answers."""

    output: str
    products: MergeResult
    assessment: Assessment
    reused: tuple[str, ...] = Field((), description="Stages and scenes that were done before.")
