"""What comes out: what the scenes cover, where the products are, and how the run ended."""

from typing import Literal

from pydantic import Field

from cloudbuster.models.base import Document, MosaicName
from cloudbuster.models.scene import SceneFailure


class LayerCoverage(Document):
    """How much of the area is seen clear at least ``times`` times."""

    times: int = Field(ge=1)
    covered_fraction: float = Field(ge=0, le=1, description="Share of the area, 0 to 1.")


class Assessment(Document):
    """What the gathered scenes cover, counted in pixels of the mosaic's grid inside the AOI."""

    schema_: Literal["cloudbuster.assessment/1"] = Field("cloudbuster.assessment/1", alias="schema")
    area_km2: float = Field(description="Area of the AOI.")
    coverage: tuple[LayerCoverage, ...]
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
    report: str | None = Field(None, description="Null of a mosaic made before there were reports.")
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
    execution: str | None = Field(
        None, description="Of the stack's run: name of the execution that this is of."
    )


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
