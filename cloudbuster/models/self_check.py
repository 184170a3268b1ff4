"""What a mosaic says about its own error."""

from typing import Literal

from pydantic import Field

from cloudbuster.core.texts.number_texts import format_percent
from cloudbuster.models.base import Document

# Greatest DN of a raster of uint16.
MAX_DN = 65_535


class HeldOutSums(Document):
    """Sums of a self-check, which parts of a mosaic add up; see `HeldOutTally`."""

    blocks: tuple[int, ...] = Field(description="Numbers of blocks and of cells in them.")
    cells: tuple[int, ...] = Field(description="Numbers of cells by type of ground.")
    sums: tuple[int, ...] = Field(description="Sums of differences by type of ground and band.")


class BandCheck(Document):
    """Error of one band, DN (reflectance x 10 000)."""

    band: str = Field(description="Name of the band.")
    error_dn: float | None = Field(
        ge=0,
        le=MAX_DN,
        description="Probable error of the mosaic, root mean square: the middle, by squares, "
        "between `least_error_dn` and `difference_dn`; null without two clear dates.",
    )
    least_error_dn: float | None = Field(
        ge=0,
        le=MAX_DN,
        description="Error of the mosaic if the errors of dates are independent: "
        "sqrt(difference_dn^2 - floor_dn^2 / 2); null without two clear dates.",
    )
    difference_dn: float | None = Field(
        ge=0,
        le=MAX_DN,
        description="Root mean square difference between the mosaic of the other dates and the "
        "date that was held out; null if nothing was compared.",
    )
    floor_dn: float | None = Field(
        ge=0,
        le=MAX_DN,
        description="Root mean square difference between two clear dates in the same places; null "
        "if there was no second one.",
    )
    mae_dn: float | None = Field(
        ge=0, le=MAX_DN, description="Mean absolute difference; null if there is none."
    )
    bias_dn: float | None = Field(
        ge=-MAX_DN,
        le=MAX_DN,
        description="Mean difference, positive if the mosaic is brighter; null if there is none.",
    )


class GroundCheck(Document):
    """What was found on one type of ground."""

    ground: Literal["all", "land", "water", "snow"] = Field(description="Type of ground.")
    cells: int = Field(ge=0, description="Cells of the dates held out that are clear beyond doubt.")
    clear_fraction: float | None = Field(
        ge=0, le=1, description="Share of these that the mosaic of the other dates shows clear."
    )
    residual_cloud_fraction: float | None = Field(
        ge=0,
        le=1,
        description="Share of the clear cells that are over 500 DN brighter in B02 than on the "
        "date held out; null without B02.",
    )
    residual_shadow_fraction: float | None = Field(
        ge=0,
        le=1,
        description="Share of the clear cells that are over 800 DN darker in B08 than on the date "
        "held out; null without B08.",
    )
    bands: tuple[BandCheck, ...] = Field(description="Errors by band.")


class SelfCheck(Document):
    """Comparison of a mosaic with dates that were held out of it, block by block."""

    block_m: float = Field(gt=0, description="Side of a block, metres.")
    blocks: int = Field(ge=0, description="Number of blocks of the mosaic.")
    blocks_checked: int = Field(
        ge=0, description="Number of blocks that one date shows mostly clear, beside others."
    )
    checked_fraction: float = Field(
        ge=0, le=1, description="Share of the area's cells that lie in these blocks."
    )
    clear_fraction: float | None = Field(
        ge=0,
        le=1,
        description="Share of the cells of these blocks that the mosaic of the other dates shows "
        "clear; null if no block was checked.",
    )
    grounds: tuple[GroundCheck, ...] = Field(
        description="All ground, and then land, water and snow, as far as there is some."
    )

    @property
    def summary(self) -> str:
        """One line for people."""
        if not self.blocks_checked or self.clear_fraction is None:
            return "nothing to check: no block has a clear date beside those of the mosaic"
        everything = self.grounds[0]
        parts = [f"clear {format_percent(self.clear_fraction)}"]
        if everything.residual_cloud_fraction is not None:
            parts.append(f"residual cloud {format_percent(everything.residual_cloud_fraction)}")
        shown = next((each for each in everything.bands if each.band == "B02"), everything.bands[0])
        if shown.error_dn is not None and shown.floor_dn is not None:
            parts.append(f"{shown.band} ±{shown.error_dn:.0f} DN, floor {shown.floor_dn:.0f}")
        elif shown.difference_dn is not None:
            parts.append(f"{shown.band} differs by {shown.difference_dn:.0f} DN")
        place = f"on {format_percent(self.checked_fraction)} of the area"
        return f"without its clearest dates {', '.join(parts)} ({place})"
