"""Rows of the report's scenes: one for each scene, whatever number of rasters it has."""

import colorsys
import re
from dataclasses import dataclass

from cloudbuster.models import SceneRecord
from cloudbuster.products.stac_item import MosaicDescription, MosaicScene
from cloudbuster.redaction import redacted, visible

# Step of the hue from one scene index to the next: the golden ratio spreads neighbours apart.
HUE_STEP = 0.618034
LIGHTNESS = (0.45, 0.65, 0.55)
SATURATION = 0.6

Colour = tuple[int, int, int]

# Folders of an address: the same scenes elsewhere give the same page.
# Scenes that are listed, and characters of a message: what keeps the page small.
MOST_SCENES = 200
MOST_CHARACTERS = 400
_FOLDERS = re.compile(r"(?:[A-Za-z][\w+.-]*://|(?<![\w.*])/)[^\s'\"<>]*/")


@dataclass(frozen=True)
class SceneRow:
    """One scene of a mosaic.

    Attributes
    ----------
    indices : tuple of int
        Values of the band ``scene_index`` for this scene, those of its backstop included.
    backstops : tuple of int
        Those of its backstop.
    expected : float or None
        Share of the area that it was expected to add to what is seen clear.
    clear_share, backstop_share : float or None
        Share of the area's cells that it gives, seen clear and as backstop; None without a raster
        of that kind.
    delivered_share : float or None
        Share of the mosaic's cells of which its rasters hold observations.
    record : SceneRecord or None
        Record of the scene.
    """

    indices: tuple[int, ...]
    backstops: tuple[int, ...]
    expected: float | None
    clear_share: float | None
    backstop_share: float | None
    delivered_share: float | None
    record: SceneRecord | None

    @property
    def codes(self) -> list[tuple[int, str]]:
        """Indices, each with its colour."""
        return [(index, colour_text(scene_colour(index))) for index in self.indices]

    @property
    def name(self) -> str:
        """Id of the item."""
        return self.record.item_id if self.record else "no document beside the raster"

    @property
    def day(self) -> str | None:
        """Day of the acquisition, UTC."""
        acquired = self.record.acquired if self.record else None
        return f"{acquired:%Y-%m-%d}" if acquired else None

    @property
    def given_share(self) -> float:
        """Share of the area's cells that it gives, clear or not."""
        return (self.clear_share or 0.0) + (self.backstop_share or 0.0)


def scene_rows(mosaic: MosaicDescription) -> list[SceneRow]:
    """Make a row of each scene, in the order of their first index."""
    groups: dict[str | int, list[MosaicScene]] = {}
    for each in mosaic.scenes:
        groups.setdefault(each.record.item_id if each.record else each.index, []).append(each)
    return [_scene_row(group) for group in groups.values()]


def _scene_row(rasters: list[MosaicScene]) -> SceneRow:
    """Make the row of one scene."""
    clear = [each for each in rasters if not each.backstop]
    backstops = [each for each in rasters if each.backstop]
    record = (clear or backstops)[0].record
    return SceneRow(
        indices=tuple(sorted({each.index for each in rasters})),
        backstops=tuple(sorted({each.index for each in backstops})),
        expected=next((each.expected_share for each in clear), None),
        clear_share=sum(each.share for each in clear) if clear else None,
        backstop_share=sum(each.share for each in backstops) if backstops else None,
        delivered_share=record.observed_fraction if record else None,
        record=record,
    )


def listed_scenes(rows: list[SceneRow]) -> list[tuple[int, SceneRow]]:
    """Return the scenes that a page lists, with their numbers: those that give most."""
    numbers = sorted(range(len(rows)), key=lambda number: -rows[number].given_share)
    return [(number, rows[number]) for number in sorted(numbers[:MOST_SCENES])]


def scene_colour(index: int) -> Colour:
    """Colour of a scene on the map and in the table: red, green and blue, 0 to 255."""
    hue = (index * HUE_STEP) % 1
    rgb = colorsys.hls_to_rgb(hue, LIGHTNESS[index % len(LIGHTNESS)], SATURATION)
    red, green, blue = (round(255 * part) for part in rgb)
    return red, green, blue


def colour_text(colour: Colour) -> str:
    """Write a colour as ``#56b4e9``."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def without_places(text: str) -> str:
    """Return a message without secrets, with the last part of each address, and not too long."""
    shown = _FOLDERS.sub("…/", visible(redacted(text)))
    return shown if len(shown) <= MOST_CHARACTERS else f"{shown[: MOST_CHARACTERS - 1]}…"
