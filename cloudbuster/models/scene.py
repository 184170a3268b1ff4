"""One scene of a mosaic: the task that decides its raster, and the record of the result."""

import re
from datetime import UTC, datetime
from itertools import groupby
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import AfterValidator, Field, field_validator, model_validator

from cloudbuster.core.arrays import BoolRaster
from cloudbuster.core.grids.grid import MAX_CELLS_ASIDE, Grid
from cloudbuster.core.offsets.radiometry import OffsetDecision
from cloudbuster.core.projections.crs_text import MAX_CRS_CHARS, check_crs_text
from cloudbuster.core.scenes.bands import BANDS, Kind
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
from cloudbuster.models.request import MAX_DILATE_M, BandName, DetectorOptions

# Coordinates of the Earth, in any unit from kilometres to feet or degrees, are far below this.
MAX_COORDINATE = 1e9
# Cells are between a millimetre (or its share of a degree) and the size of a continent.
MIN_CELL_SIZE, MAX_CELL_SIZE = 1e-9, 1e7

Coordinate = Annotated[float, Field(ge=-MAX_COORDINATE, le=MAX_COORDINATE)]
CellSize = Annotated[float, Field(ge=MIN_CELL_SIZE, le=MAX_CELL_SIZE)]


class GridDocument(Document):
    """A `Grid` as JSON."""

    crs: Annotated[str, AfterValidator(check_crs_text)] = Field(
        max_length=MAX_CRS_CHARS,
        description="Coordinate reference system: the code of an authority, or WKT.",
    )
    west: Coordinate = Field(description="x of the outer edge of the first column, units of `crs`.")
    north: Coordinate = Field(description="y of the outer edge of the first row, units of `crs`.")
    x_size: CellSize = Field(description="Width of a cell, units of `crs`.")
    y_size: CellSize = Field(description="Height of a cell, units of `crs`.")
    width: int = Field(ge=1, le=MAX_CELLS_ASIDE, description="Number of columns.")
    height: int = Field(ge=1, le=MAX_CELLS_ASIDE, description="Number of rows.")

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


# A row of parts in a delivery: how often it is repeated, and its digits.
DELIVERY_ROW = re.compile(r"([1-9][0-9]{0,3})\*([0-9a-f]+)")


class Delivery(Document):
    """Parts of a scene that a mosaic needs."""

    grid: GridDocument = Field(description="Grid of the parts, in the CRS of the scene.")
    rows: tuple[str, ...] = Field(
        description="Rows of parts, as `COUNT*DIGITS`: so many equal rows, in hexadecimal digits "
        "of four parts each, with a 1 for each part that is needed; the first part is the highest "
        "bit of the first digit."
    )

    @classmethod
    def of(cls, grid: Grid, needed: BoolRaster) -> "Delivery":
        """Make the document of the parts of ``grid`` that are ``needed``."""
        texts = (np.packbits(row).tobytes().hex()[: -(-grid.width // 4)] for row in needed)
        runs = ((len(list(equal)), digits) for digits, equal in groupby(texts))
        return cls(
            grid=GridDocument.of(grid), rows=tuple(f"{count}*{digits}" for count, digits in runs)
        )

    def needed(self) -> BoolRaster:
        """Return which parts are needed, shape (y, x) of the grid."""
        rows = [_row_of_parts(text, self.grid.width) for text in self.rows]
        return np.concatenate([np.tile(row, (count, 1)) for count, row in rows])

    @model_validator(mode="after")
    def _check_rows(self) -> Self:
        """Refuse rows that do not fit the grid."""
        digits = -(-self.grid.width // 4)
        found = [DELIVERY_ROW.fullmatch(row) for row in self.rows]
        counts = [int(row[1]) for row in found if row is not None and len(row[2]) == digits]
        if len(counts) != len(found) or sum(counts) != self.grid.height:
            msg = f"rows must be {self.grid.height}, of {digits} hexadecimal digits each"
            raise ValueError(msg)
        return self


def _row_of_parts(text: str, width: int) -> tuple[int, BoolRaster]:
    """Return how often a row of parts is repeated, and the row."""
    count, _, digits = text.partition("*")
    packed = np.frombuffer(bytes.fromhex(digits + "0" * (len(digits) % 2)), dtype=np.uint8)
    return int(count), np.unpackbits(packed, count=width).astype(np.bool_)


class Radiometry(Document):
    """Decision about a scene's radiometric offset, with its reasons."""

    verdict: Literal["present", "removed", "none"] = Field(
        description="Whether the offset is in the pixels, was removed by the provider, or was "
        "never added."
    )
    offset_dn: int = Field(
        ge=-1000, le=0, description="DN to add to every valid pixel, -1000 or 0."
    )
    confidence: Literal["high", "low"] = Field(
        description="`high` if pixels confirm the verdict, of the scene or of overlapping ones."
    )
    conflict: bool = Field(
        default=False, description="Whether the metadata contradict each other or the pixels."
    )
    evidence: tuple[str, ...] = Field(description="What each source says, in words.")

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
    """Everything that decides the rasters of one scene."""

    schema_: Literal["cloudbuster.task/1"] = Field(
        "cloudbuster.task/1", alias="schema", description=SCHEMA_DESCRIPTION
    )
    name: MosaicName = Field(description="Base of the file names.")
    kind: Kind = Field(description="Product level.")
    catalog: Address = Field(description="Catalog of the item: a name, a URL or a path.")
    asset_mirror: tuple[str, ...] = Field(
        (), description="FROM=TO for each prefix of asset hrefs that was rewritten."
    )
    item: JsonObject = Field(description="STAC item of the scene.")
    index: int | None = Field(
        ge=1, le=MAX_SCENE_INDEX, description="Index of the cloud-free raster; null for none."
    )
    backstop_index: int | None = Field(
        ge=1, le=MAX_SCENE_INDEX, description="Index of the unmasked raster; null for none."
    )
    bands: tuple[BandName, ...] = Field(
        min_length=1, max_length=len(BANDS), description="Bands in output order."
    )
    grid: GridDocument = Field(description="Grid of the mosaic.")
    detector: DetectorOptions = Field(description="How clouds are found.")
    dilate_m: float = Field(
        ge=0,
        le=MAX_DILATE_M,
        description="Growth of cloud and shadow, metres between cell centres.",
    )
    donate_mask: bool = Field(default=False, description="Whether to keep the scene's mask.")
    radiometry: Radiometry | None = Field(
        None,
        description="Decision about the radiometric offset, made together with the other scenes; "
        "null to decide it from this scene alone.",
    )
    delivery: Delivery | None = Field(
        None, description="Parts of the scene to read and write; null for the whole scene."
    )
    backstop_pixels: Literal["all", "masked"] = Field(
        "all",
        description="Pixels of the backstop raster: `all` that the scene observes, or those that "
        "are `masked` in the cloud-free raster.",
    )
    on_radiometry_conflict: OnRadiometryConflict = Field(
        "trust-pixels", description="What to do if the decision about the offset is in conflict."
    )
    file_stamps: tuple[str | None, ...] | None = Field(
        None,
        description="Size and modification time of each of the scene's and the detector's files "
        "that was on this machine when the task was planned; null if all are elsewhere.",
    )
    output: Address = Field(description="Folder or prefix of the rasters.")

    @model_validator(mode="after")
    def _check_role(self) -> Self:
        """Require an index or a backstop index."""
        if self.index is None and self.backstop_index is None:
            msg = "a task needs an index, a backstop_index, or both"
            raise ValueError(msg)
        return self


class SceneRecord(Document):
    """Record of one gathered raster: the ``.json`` beside it."""

    schema_: Literal["cloudbuster.scene/1"] = Field(
        "cloudbuster.scene/1", alias="schema", description=SCHEMA_DESCRIPTION
    )
    name: MosaicName = Field(description="Base of the file names.")
    index: int = Field(ge=1, le=MAX_SCENE_INDEX, description="Index of the raster.")
    backstop: bool = Field(description="Whether the raster is unmasked, for the backstop.")
    item_id: str = Field(description="Id of the STAC item.")
    catalog: Address = Field(description="Catalog of the item: a name, a URL or a path.")
    collection: str | None = Field(description="Collection of the item.")
    acquired: datetime | None = Field(description="Acquisition time, UTC.")
    platform: str | None = Field(description="Platform, for example `sentinel-2a`.")
    mgrs_tile: str | None = Field(description="MGRS tile, for example `33TWL`.")
    baseline: str | None = Field(description="Processing baseline, for example `05.09`.")
    cloud_cover: float | None = Field(
        description="Cloud cover of the whole scene as the catalog gives it, percent."
    )
    detector: str = Field(description="Name and parameters of the cloud detector.")
    notes: tuple[str, ...] = Field(
        (),
        description="What is unusual about the scene's files and how they were understood: stored "
        "values, masks, place on the ground, cells that are too large.",
    )
    radiometry: Radiometry = Field(description="Decision about the radiometric offset.")
    bands: tuple[str, ...] = Field(description="Bands in output order.")
    grid: GridDocument = Field(description="Grid of the mosaic, of which the raster has a part.")
    observed_fraction: float = Field(
        ge=0, le=1, description="Share of the mosaic's cells that the scene observes, 0 to 1."
    )
    clear_fraction: float = Field(
        ge=0, le=1, description="Share of the mosaic's cells that the scene sees clear, 0 to 1."
    )
    haze_dn: float | None = Field(
        None,
        ge=-(2**15),
        le=2**15,
        description="Haze index (B02 less half of B04) that a third of the clear pixels do not "
        "exceed, DN; null if the mosaic lacks one of these bands, or no pixel is clear.",
    )
    decoded_pixels: int = Field(
        0,
        ge=0,
        description="Pixels of the scene's bands that were decoded for its rasters, counted in "
        "whole tiles of the files.",
    )
    read_bytes: int = Field(
        0, ge=0, description="Bytes of these tiles and of those of the masks in their files."
    )
    raster: FileName = Field(description="File name of the raster.")
    mask: FileName | None = Field(None, description="File name of the donated mask; null for none.")
    task_fingerprint: str = Field(description="Fingerprint of the task that made the raster.")
    version: str = Field(description="Version of this package.")
    item: JsonObject = Field(description="STAC item of the scene.")

    @property
    def identity(self) -> str:
        """File name of the raster and fingerprint of its task, separated by a space."""
        return f"{self.raster} {self.task_fingerprint}"

    @field_validator("acquired")
    @classmethod
    def _in_utc(cls, value: datetime | None) -> datetime | None:
        """Take a time without a zone as UTC, which all catalogs use."""
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


class SceneFailure(Document):
    """A scene that could not be gathered."""

    item_id: str = Field(description="Id of the STAC item.")
    index: int = Field(
        ge=0, le=MAX_SCENE_INDEX, description="Index of the raster; 0 if it is unknown."
    )
    error: str = Field(description="Class of the error, or how the job ended.")
    message: str = Field(description="Message of the error.")
