"""Read what several gathered scenes observed of a block, for composite `best`."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from cloudbuster.core.arrays import BoolRaster, UInt8Raster
from cloudbuster.core.grids.grid import Grid, GridWindow
from cloudbuster.core.pixels.best import (
    BestSettings,
    Floats,
    Observations,
    choose_best,
    cost_parts,
    haze_background,
)
from cloudbuster.core.pixels.composite_methods import parse_composite
from cloudbuster.core.pixels.masks import PixelClass
from cloudbuster.gathered.scene_raster import OpenScenes
from cloudbuster.models import SceneRecord

# Bands that decide, as far as the mosaic has them: blue, green, red, near and short-wave infrared.
DECIDING_BANDS = ("B02", "B03", "B04", "B08", "B11")
# Scenes that were acquired within this time belong to one pass: the tiles and the products of one
# datatake, and of two satellites that fly in tandem, show the same clouds.
PASS_TIME = timedelta(minutes=10)


@dataclass(frozen=True)
class BestPlan:
    """What composite `best` knows of all scenes of a mosaic, whatever part of it is made.

    Attributes
    ----------
    settings : BestSettings
        Settings of the mosaic.
    pass_numbers, cloudiness : dict
        Number of its pass, and share that is masked, of each raster, by file name.
    has_backstop : bool
        Whether places that are never clear are to be filled.
    """

    settings: BestSettings
    pass_numbers: dict[str, int]
    cloudiness: dict[str, float]
    has_backstop: bool

    @classmethod
    def of(cls, records: Sequence[SceneRecord], grid: Grid, haze_limit_dn: float) -> "BestPlan":
        """Make the plan of a mosaic from the records of all its scenes.

        Parameters
        ----------
        records : sequence of SceneRecord
            Records of all scenes.
        grid : Grid
            Grid of the mosaic.
        haze_limit_dn : float
            Limit of haze, DN; 0 for none.
        """
        clear = [record for record in records if not record.backstop]
        known = [
            (record.haze_dn, record.clear_fraction)
            for record in clear
            if record.haze_dn is not None
        ]
        settings = BestSettings.of(grid, haze_background(known), haze_limit_dn or None)
        return cls(
            settings,
            _pass_numbers(records),
            {record.raster: _cloudiness(record) for record in records},
            any(record.backstop for record in records),
        )


def comparing_plan(
    composite: str, records: Iterable[SceneRecord | None], grid: Grid, haze_limit_dn: float
) -> BestPlan | None:
    """Make the plan of a mosaic whose composite compares observations; None for another composite.

    Parameters
    ----------
    composite : str
        Name of the composite, for `parse_composite`.
    records : iterable of SceneRecord or None
        Records of all scenes; None for a scene without one.
    grid, haze_limit_dn
        As for `BestPlan.of`.
    """
    if not parse_composite(composite).method.is_comparing:
        return None
    return BestPlan.of([record for record in records if record], grid, haze_limit_dn)


def _cloudiness(record: SceneRecord) -> float:
    """Share of what a scene observes that is masked, 0 to 1."""
    if record.observed_fraction <= 0:
        return 1.0
    return min(1.0, max(0.0, 1 - record.clear_fraction / record.observed_fraction))


def _pass_numbers(records: Sequence[SceneRecord]) -> dict[str, int]:
    """Return the number of the pass of each raster; a scene of unknown time is a pass by itself."""
    numbers: dict[str, int] = {}
    last: datetime | None = None
    number = 0
    for record in sorted(records, key=lambda each: (str(each.acquired), each.raster)):
        time = record.acquired
        if time is None or last is None or time - last > PASS_TIME:
            number += 1
        numbers[record.raster] = number
        last = time
    return numbers


@dataclass(frozen=True, eq=False)
class BlockChoice:
    """The choice for the cells of one block.

    Attributes
    ----------
    winner, substitute : ndarray of intp, shape (y, x)
        As in `BestChoice`, but with the positions of the open scenes.
    rejected : dict of int to ndarray of bool, shape (y, x)
        Clear pixels that are rejected, by the position of the scene.
    """

    winner: npt.NDArray[np.intp]
    substitute: npt.NDArray[np.intp]
    rejected: dict[int, BoolRaster]

    def accepted_classes(self, position: int, classes: UInt8Raster) -> UInt8Raster:
        """Return the pixel classes of a scene with its rejected pixels masked."""
        rejected = self.rejected.get(position)
        if rejected is None:
            return classes
        return np.where(rejected, np.uint8(PixelClass.MASKED), classes)


@dataclass(frozen=True)
class GatheredRaster:
    """Name of the raster of a scene, and whether it is a backstop."""

    name: str
    backstop: bool


def choose_in_block(
    scenes: OpenScenes,
    rasters: Sequence[GatheredRaster],
    window: GridWindow,
    grid: Grid,
    plan: BestPlan,
    *,
    without: Collection[int] = (),
) -> BlockChoice | None:
    """Choose the scene of each cell of a block.

    Parameters
    ----------
    scenes : OpenScenes
        Gathered scenes.
    rasters : sequence of GatheredRaster
        What each of them is.
    window, grid : GridWindow, Grid
        The block, and the grid of the mosaic.
    plan : BestPlan
        Plan of the mosaic.
    without : collection of int
        Positions of scenes that are not to be used.

    Returns
    -------
    BlockChoice or None
        None if no scene sees any of the block clear.

    Raises
    ------
    RasterError
        If a raster is truncated or damaged.
    """
    around = window.grown(plan.settings.reach_cells).intersection(grid.window)
    inner = window.shifted(-around.row, -around.col)
    meeting = [position for position in scenes.intersecting(around) if position not in without]
    clear = [position for position in meeting if not rasters[position].backstop]
    seen = _observations(scenes, rasters, clear, around, plan, PixelClass.LOW_RANK)
    if seen is None:
        return None

    def witnesses() -> Observations | None:
        """Read the masked observations."""
        masked = [position for position in meeting if rasters[position].backstop]
        found = _observations(scenes, rasters, masked, around, plan, PixelClass.MASKED)
        return None if found is None else found.observations

    choice = choose_best(seen.observations, plan.settings, witnesses=witnesses)
    inside = inner.slices
    positions = seen.positions
    refused = (seen.observations.usable & ~choice.accepted)[:, *inside]
    # The last entry stands for no scene, whose number is -1.
    numbers = np.array([*positions, -1], dtype=np.intp)
    return BlockChoice(
        numbers[choice.winner[inside]],
        numbers[choice.substitute[inside]],
        dict(zip(positions, refused, strict=True)),
    )


def costs_in_block(
    scenes: OpenScenes,
    rasters: Sequence[GatheredRaster],
    window: GridWindow,
    grid: Grid,
    plan: BestPlan,
) -> dict[int, dict[str, Floats]]:
    """Return the parts of the costs by which the cells of a block are chosen.

    Parameters
    ----------
    scenes, rasters, window, grid, plan
        As for `choose_in_block`.

    Returns
    -------
    dict of int to dict of str to ndarray of float32, shape (y, x)
        Parts by what they stand for, by the position of the scene; they count where it is clear.
    """
    around = window.grown(plan.settings.reach_cells).intersection(grid.window)
    inside = window.shifted(-around.row, -around.col).slices
    clear = [place for place in scenes.intersecting(around) if not rasters[place].backstop]
    seen = _observations(scenes, rasters, clear, around, plan, PixelClass.LOW_RANK)
    if seen is None:
        return {}
    parts = cost_parts(seen.observations)
    return {
        position: {name: part[place][inside] for name, part in parts.items()}
        for place, position in enumerate(seen.positions)
    }


@dataclass(frozen=True, eq=False)
class _Seen:
    """Observations of a block, and the positions of their scenes."""

    observations: Observations
    positions: tuple[int, ...]


def _observations(
    scenes: OpenScenes,
    rasters: Sequence[GatheredRaster],
    candidates: Sequence[int],
    window: GridWindow,
    plan: BestPlan,
    least: PixelClass,
) -> _Seen | None:
    """Read the pixels that decide of the scenes with a pixel class of at least ``least``.

    Returns None if there is no such pixel.
    """
    classes = {position: _classes(scenes, position, window) for position in candidates}
    positions = tuple(place for place, codes in classes.items() if (codes >= least).any())
    if not positions:
        return None
    bands = [name for name in DECIDING_BANDS if name in scenes.open_raster(positions[0]).bands]
    shape = (len(positions), window.height, window.width)
    pixels = np.zeros((len(bands), *shape), dtype=np.float32)
    distance = np.zeros(shape, dtype=np.uint16)
    for place, position in enumerate(positions):
        raster = scenes.open_raster(position)
        if bands:
            pixels[:, place] = raster.read_bands(bands, window)
        distance[place] = raster.read_cloud_distance(window)
    codes = np.stack([classes[position] for position in positions])
    names = [rasters[position].name for position in positions]
    observations = Observations(
        usable=codes >= least,
        low_rank=codes == PixelClass.LOW_RANK,
        distance_m=distance,
        bands=dict(zip(bands, pixels, strict=True)),
        # Scenes without a record are passes of their own.
        pass_numbers=[plan.pass_numbers.get(name, -1 - place) for place, name in enumerate(names)],
        cloudiness=[plan.cloudiness.get(name, 0.0) for name in names],
    )
    return _Seen(observations, positions)


def _classes(scenes: OpenScenes, position: int, window: GridWindow) -> UInt8Raster:
    """Read the pixel classes of a scene, unobserved where it has no reflectance of its own."""
    raster = scenes.open_raster(position)
    classes = raster.read_classes(window)
    masked = classes == PixelClass.MASKED
    if masked.any():
        classes[masked & ~raster.read_present(window)] = PixelClass.UNOBSERVED
    return classes
