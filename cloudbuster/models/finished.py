"""What is found about a finished mosaic: why a pixel is what it is, and whether the files agree."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from cloudbuster.models.base import SCHEMA_DESCRIPTION, Document

CellStateName = Literal["never observed", "never clear", "backstop", "clear"]
Fate = Literal[
    "chosen",
    "low-rank",
    "later",
    "dearer",
    "refused",
    "used",
    "masked",
    "no-data",
    "not-delivered",
    "outside",
    "failed",
    "rejected",
    "not-picked",
    "unknown",
]
CheckStatus = Literal["agrees", "disagrees", "not-checked"]


class PixelSource(Document):
    """The scene that a pixel of a mosaic comes from."""

    index: int = Field(ge=1, description="Value of `scene_index`.")
    item_id: str | None = Field(description="Id of the STAC item; null if it was not recorded.")
    acquired: datetime | None = Field(description="Acquisition time, UTC; null if unknown.")


class SceneFate(Document):
    """Why a scene provides a place of the mosaic, or why it does not."""

    item_id: str | None = Field(description="Id of the STAC item; null if it was not recorded.")
    index: int | None = Field(
        ge=1, description="Value of `scene_index`; null for a scene that was not merged."
    )
    backstop: bool = Field(description="Whether the raster is the unmasked backstop.")
    acquired: datetime | None = Field(description="Acquisition time, UTC; null if unknown.")
    fate: Fate = Field(
        description="`chosen`; `low-rank`, `later` or `dearer` (the composite preferred another "
        "look); `refused` (clear by its mask, but hazy or shaded beside the other looks); `used` "
        "in the statistic of a synthetic composite; `masked`; `no-data`; `not-delivered` (not "
        "needed there); `outside` of its footprint; `failed`; `rejected` by the query or the "
        "filter; `not-picked`; `unknown`."
    )
    reason: str = Field(description="The same in a sentence.")


class Explanation(Document):
    """Why one pixel of a mosaic is what it is."""

    schema_: Literal["cloudbuster.explanation/1"] = Field(
        "cloudbuster.explanation/1", alias="schema", description=SCHEMA_DESCRIPTION
    )
    mosaic: str = Field(description="Name of the mosaic.")
    composite: str = Field(description="Name of the composite.")
    synthetic: bool = Field(
        description="Whether the pixel is a statistic of several scenes; `cloudless` is then the "
        "scene whose observation is nearest."
    )
    row: int = Field(ge=0, description="Row of the pixel, from 0.")
    col: int = Field(ge=0, description="Column of the pixel, from 0.")
    longitude: float = Field(
        ge=-180, le=180, description="Longitude of the pixel's centre, degrees."
    )
    latitude: float = Field(ge=-90, le=90, description="Latitude of the pixel's centre, degrees.")
    state: CellStateName = Field(description="State of the pixel.")
    times_observed: int = Field(ge=0, description="Acquisitions that observed the pixel.")
    times_clear: int = Field(ge=0, description="Acquisitions that saw it clear.")
    cloud_distance_m: int | None = Field(
        ge=0,
        description="Metres to the nearest masked cloud in the chosen scene; null for a backstop "
        "and for none.",
    )
    values: dict[str, int] = Field(
        description="Digital numbers by band, reflectance times 10 000; 0 is nodata."
    )
    cloudless: PixelSource | None = Field(description="Scene of the mosaic's pixel.")
    cloudy: PixelSource | None = Field(description="Scene of the backstop's pixel.")
    scenes: tuple[SceneFate, ...] = Field(
        description="The chosen scene, those that were merged in their order, and the others."
    )
    unknown: tuple[str, ...] = Field((), description="What cannot be known any more, and why.")


class Check(Document):
    """One check of a finished mosaic."""

    name: str = Field(description="Name of the check.")
    status: CheckStatus = Field(description="`not-checked` if something that it needs is missing.")
    checked: int = Field(0, ge=0, description="Number of things that were compared.")
    wrong: int = Field(0, ge=0, description="Number of them that disagree.")
    of: str = Field("", description="What is counted, in the plural.")
    message: str = Field("", description="What disagrees, or why it was not checked.")


class Verification(Document):
    """Result of ``cloudbuster verify``."""

    schema_: Literal["cloudbuster.verification/1"] = Field(
        "cloudbuster.verification/1", alias="schema", description=SCHEMA_DESCRIPTION
    )
    mosaic: str = Field(description="Name of the mosaic.")
    samples: int = Field(ge=0, description="Number of places whose sources were read.")
    seed: int = Field(ge=0, description="Seed of the random places.")
    checks: tuple[Check, ...] = Field(description="All checks, in the order of their making.")

    @property
    def disagreeing(self) -> tuple[Check, ...]:
        """Checks that found something."""
        return tuple(check for check in self.checks if check.status == "disagrees")
