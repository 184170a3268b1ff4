"""Results: what the scenes cover, where the products are, and how the run ended."""

from typing import Literal

from pydantic import Field

from cloudbuster.models.base import SCHEMA_DESCRIPTION, Document, MosaicName
from cloudbuster.models.scene import SceneFailure
from cloudbuster.models.self_check import SelfCheck
from cloudbuster.models.work import ExpectedWork

RunEnd = Literal["covered", "no-more-candidates", "rounds-spent", "over-budget"]


class LayerCoverage(Document):
    """Share of the area that was seen clear a number of times."""

    times: int = Field(ge=1, description="Number of times.")
    covered_fraction: float = Field(
        ge=0, le=1, description="Share of the area seen clear at least `times` times, 0 to 1."
    )


class Assessment(Document):
    """What the gathered scenes cover, counted in cells of the mosaic's grid inside the area."""

    schema_: Literal["cloudbuster.assessment/1"] = Field(
        "cloudbuster.assessment/1", alias="schema", description=SCHEMA_DESCRIPTION
    )
    area_km2: float = Field(ge=0, description="Area on the WGS 84 ellipsoid, square kilometres.")
    coverage: tuple[LayerCoverage, ...] = Field(
        description="Share of the area seen clear at least 1, 2, ... times."
    )
    never_observed_fraction: float = Field(
        ge=0, le=1, description="Share of the area that no scene observed, 0 to 1."
    )
    never_clear_fraction: float = Field(
        ge=0, le=1, description="Share of the area observed but never clear, 0 to 1."
    )
    backstop_fraction: float = Field(
        ge=0, le=1, description="Share of the area filled from the backstop, 0 to 1."
    )
    hole_fraction: float = Field(
        ge=0, le=1, description="Share of the area without a value, 0 to 1."
    )
    scenes_selected: int = Field(
        ge=0,
        description="Number of scenes that the selection asks for; one that is also the backstop, "
        "or that is delivered in several rasters, counts once.",
    )
    scenes_gathered: int = Field(
        ge=0, description="Number of scenes that were gathered, counted as `scenes_selected`."
    )
    failures: tuple[SceneFailure, ...] = Field((), description="Scenes that were not gathered.")
    covered: bool = Field(
        description="Whether at most `filter.max_never_clear` of the area was never seen clear, "
        "and no place is without a value."
    )
    end: RunEnd | None = Field(
        None, description="Why no further round was made; null if one may follow."
    )
    rounds: int = Field(1, ge=1, description="Number of rounds of filter and gather.")
    decoded_pixels: int = Field(
        0, ge=0, description="Pixels of the scenes' bands that were decoded."
    )
    read_bytes: int = Field(
        0, ge=0, description="Bytes of the tiles of bands and masks that were read for that."
    )
    expected: ExpectedWork | None = Field(
        None,
        description="What was expected before the first scene was gathered; null if that is "
        "unknown.",
    )
    hole_file: str | None = Field(
        None,
        description="Path or URI of the GeoJSON of the places that were never seen clear; null "
        "if there are none.",
    )
    reasons: tuple[str, ...] = Field((), description="What is missing, in words.")

    @property
    def never_seen_clear_fraction(self) -> float:
        """Share of the area that no scene saw clear, whether one observed it or none, 0 to 1."""
        return self.never_clear_fraction + self.never_observed_fraction


class MergeResult(Document):
    """The products of a merge."""

    cloudless: str = Field(description="Path or URI of the mosaic.")
    cloudy: str = Field(description="Path or URI of the backstop.")
    quality: str = Field(description="Path or URI of the quality raster.")
    item: str = Field(description="Path or URI of the STAC item.")
    preview: str = Field(description="Path or URI of the preview.")
    report: str = Field(description="Path or URI of the report.")
    scene_count: int = Field(
        ge=0,
        description="Number of scenes that were merged; one that is also the backstop, or that was "
        "delivered in several rasters, counts once.",
    )
    clear_fraction: float = Field(
        ge=0,
        le=1,
        description="Share of the cells with a clear pixel, 0 to 1: of those inside the area, or "
        "of the whole grid if the merge knows no area.",
    )
    backstop_fraction: float = Field(
        ge=0, le=1, description="Share of the same cells that is filled from the backstop, 0 to 1."
    )
    hole_fraction: float = Field(
        ge=0, le=1, description="Share of the same cells without a value, 0 to 1."
    )
    self_check: SelfCheck | None = Field(
        None, description="What the mosaic measured of its own error; null if it was not asked to."
    )


class RunStatus(Document):
    """State of a run, for people and programs that wait for it."""

    schema_: Literal["cloudbuster.status/1"] = Field(
        "cloudbuster.status/1", alias="schema", description=SCHEMA_DESCRIPTION
    )
    name: MosaicName = Field(description="Name of the mosaic.")
    state: Literal["running", "succeeded", "failed"] = Field(description="State of the run.")
    stage: str = Field(description="Stage that the run is in, or ended in.")
    request_fingerprint: str = Field(
        description="SHA-256 of the request without `output`, `force` and `refresh`."
    )
    merge_fingerprint: str | None = Field(
        None, description="SHA-256 of what the products were merged from; null without products."
    )
    exit_code: int | None = Field(
        None, ge=0, le=255, description="Exit code of the run; null while it is running."
    )
    error: str | None = Field(None, description="Error, or what is not covered; null for none.")
    products: MergeResult | None = Field(None, description="Products; null while there are none.")
    execution: str | None = Field(
        None, description="Name of the execution on the stack; null for a run on one machine."
    )


class GatheredTasks(Document):
    """Where the tasks of the latest gathered execution of a run on the stack are."""

    schema_: Literal["cloudbuster.gathered-tasks/1"] = Field(
        "cloudbuster.gathered-tasks/1", alias="schema", description=SCHEMA_DESCRIPTION
    )
    tasks: str = Field(description="Prefix of the tasks.")


class JobError(Document):
    """Error of a job on the stack: ``N.error.json`` beside its task."""

    schema_: Literal["cloudbuster.job-error/1"] = Field(
        "cloudbuster.job-error/1", alias="schema", description=SCHEMA_DESCRIPTION
    )
    job_id: str = Field(description="Id of the job.")
    error: str = Field(description="Class of the error.")
    message: str = Field(description="Message of the error.")
    exit_code: int = Field(ge=0, le=255, description="Exit code of the job.")


class Claim(Document):
    """Mark of a place in a bucket that belongs to a run: ``claim.json`` beside the products."""

    schema_: Literal["cloudbuster.claim/1"] = Field(
        "cloudbuster.claim/1", alias="schema", description=SCHEMA_DESCRIPTION
    )
    name: MosaicName = Field(description="Name of the mosaic.")
    run: str = Field(description="Id of the run.")
    request_fingerprint: str = Field(
        description="SHA-256 of the request without `output` and `force`."
    )


class SubRunResult(Document):
    """Result of one part of a run by UTM zones or features; ``run --json`` prints a list."""

    name: MosaicName = Field(description="Name of the part's mosaic.")
    crs: str = Field(description="CRS that was asked for the part.")
    exit_code: int = Field(ge=0, le=255, description="Exit code of the part.")
    error: str | None = Field(None, description="Error, or what is not covered; null for none.")
    result: "RunResult | None" = Field(None, description="Result; null if the part failed.")


class RunResult(Document):
    """Result of a run; ``cloudbuster run --json`` prints it."""

    output: str = Field(description="Folder of the run.")
    products: MergeResult = Field(description="Products of the merge.")
    assessment: Assessment = Field(description="What the gathered scenes cover.")
    reused: tuple[str, ...] = Field(
        (), description="Documents and rasters that an earlier run had made."
    )
