"""The request of a mosaic: what to look for, what to take, and what to make of it."""

import re
from datetime import date
from typing import Literal, Self

import orjson
from pydantic import Field, field_validator, model_validator

from cloudbuster.core.asset_mirror import parse_mirror
from cloudbuster.core.bands import Kind, requested_bands
from cloudbuster.models.base import (
    MAX_SCENE_INDEX,
    Document,
    Geometry,
    MosaicName,
    OnRadiometryConflict,
)

# Step Functions pass at most 256 KiB of state, of which the AOI may take a quarter.
MAX_INLINE_AOI_BYTES = 64_000
# Where a search without dates ends: Sentinel-2A was launched on 2015-06-23, and some servers refuse
# years far from now. Not today's date: the same request must stay the same tomorrow.
FIRST_DAY, LAST_DAY = date(2015, 6, 23), date(2100, 1, 1)


class QueryOptions(Document):
    """Which candidate scenes to look for."""

    catalog: str = Field(
        "earth-search",
        description="Name of a catalog, URL of a STAC API, or path of a local STAC catalog.",
    )
    kind: Kind = Field("L2A", description="Product level.")
    mindate: tuple[date, ...] = Field(
        (), description="First UTC day of each period, inclusive; none for no earliest day."
    )
    maxdate: tuple[date, ...] = Field(
        (),
        description="Last UTC day of each period, inclusive; pairs with `mindate`; none for no "
        "latest day.",
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

    @property
    def periods(self) -> tuple[tuple[date, date], ...]:
        """First and last UTC day of each period, inclusive; open ends are those of the mission."""
        firsts, lasts = self.mindate or (FIRST_DAY,), self.maxdate or (LAST_DAY,)
        return tuple(zip(firsts, lasts, strict=True))

    @field_validator("catalog")
    @classmethod
    def _check_catalog(cls, catalog: str) -> str:
        if not catalog.strip():
            msg = (
                "is empty; leave it out for earth-search, or give a name, the URL of a STAC API, "
                "or a path"
            )
            raise ValueError(msg)
        return catalog

    @model_validator(mode="after")
    def _check_mirrors(self) -> Self:
        for text in self.asset_mirror:
            parse_mirror(text)
        return self

    @model_validator(mode="after")
    def _check_ranges(self) -> Self:
        if len(self.mindate or (None,)) != len(self.maxdate or (None,)):
            msg = (
                f"{len(self.mindate)} mindate and {len(self.maxdate)} maxdate: "
                "they pair by position, give as many of each"
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

    @field_validator("name_regexp", "date_regexp")
    @classmethod
    def _check_regexp(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            where = "" if error.pos is None else f" at position {error.pos}"
            msg = f"{pattern!r} is no regular expression: {error.msg}{where}; mend it there"
            raise ValueError(msg) from error
        except (OverflowError, RecursionError) as error:
            msg = (
                f"{len(pattern or '')} characters that are beyond what can be matched: simplify it"
            )
            raise ValueError(msg) from error
        return pattern


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
    query: QueryOptions = Field(default_factory=lambda: QueryOptions())
    filter: FilterOptions = Field(default_factory=lambda: FilterOptions())
    gather: GatherOptions = Field(default_factory=lambda: GatherOptions())
    merge: MergeOptions = Field(default_factory=lambda: MergeOptions())
    limits: LimitOptions = Field(default_factory=lambda: LimitOptions())
    output: str | None = Field(
        None, description="Folder or s3:// prefix of the run; null for ./{name}."
    )
    force: bool = Field(default=False, description="Do again what an earlier run finished.")

    @property
    def needs_twins(self) -> bool:
        """Whether the clouds of L2A scenes are found in their L1C twins, as s2cloudless does."""
        return self.query.kind == "L2A" and self.gather.detector.type == "s2cloudless"

    @model_validator(mode="after")
    def _check_request(self) -> Self:
        if len(orjson.dumps(self.aoi)) > MAX_INLINE_AOI_BYTES:
            msg = f'aoi is over {MAX_INLINE_AOI_BYTES} bytes: put it in a file, give {{"uri": ...}}'
            raise ValueError(msg)
        requested_bands(self.query.kind, self.gather.bands)
        return self
