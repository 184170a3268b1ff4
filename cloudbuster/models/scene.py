"""One scene of a mosaic: the task that decides it, and the record of what came of it."""

from datetime import UTC, datetime
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from cloudbuster.core.bands import Kind
from cloudbuster.core.grid import Grid
from cloudbuster.core.radiometry import OffsetDecision
from cloudbuster.models.base import (
    MAX_SCENE_INDEX,
    Document,
    Item,
    MosaicName,
    OnRadiometryConflict,
)
from cloudbuster.models.request import DetectorOptions


class GridDocument(Document):
    """A `Grid` as JSON."""

    crs: str
    west: float
    north: float
    x_size: float = Field(gt=0)
    y_size: float = Field(gt=0)
    width: int = Field(ge=1)
    height: int = Field(ge=1)

    @classmethod
    def of(cls, grid: Grid) -> "GridDocument":
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

    def grid(self) -> Grid:
        """Make the grid of this document."""
        return Grid(
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
    file_stamps: tuple[str | None, ...] | None = Field(
        None,
        description="Size and modification time of each of the scene's and the detector's files "
        "that was on this machine when the task was planned; null where all are elsewhere.",
    )
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

    @field_validator("acquired")
    @classmethod
    def _in_utc(cls, value: datetime | None) -> datetime | None:
        """Take a time without a zone as UTC, in which every catalog counts."""
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


class SceneFailure(Document):
    """A scene that could not be gathered, and why."""

    item_id: str
    index: int
    error: str
    message: str
