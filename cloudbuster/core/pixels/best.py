"""Composite `best`: which of several clear observations of a place is the cleanest.

A detector misses haze, the edges of clouds, and shadow. Each observation that its scene's mask
calls clear is therefore compared with the others of the same place: it is rejected if it is
certainly hazy or shaded, and else has a cost in DN of blue; the lowest cost wins. All decisions
depend on the cells within `reach_cells` alone, so that the blocks of a mosaic can be decided one by
one.

The terms are those of best-available-pixel composites (Griffiths et al., IEEE JSTARS 6, 2013, as in
FORCE and openEO: distance to cloud, haze, opacity), without the day of year, which the selection of
the scenes prefers. The constants are measured on real L2A tiles at 10 and 120 m
(docs/compositing.md).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cloudbuster.core.arrays import BoolRaster, Raster, UInt16Raster
from cloudbuster.core.grids.grid import Grid
from cloudbuster.core.grids.ground import cell_size_m

Floats = npt.NDArray[np.float32]

# Haze index: blue less half of red, which soil and vegetation share and haze raises (as the haze
# optimized transform, Zhang et al., Remote Sensing of Environment 82, 2002).
HAZE_RED = 0.5
# Blue less a quarter of red orders the observations that are left better than the index: of two
# clear ones the darker is preferred, which is the one with less haze or glint.
COST_RED = 0.25
# Factors of the limit of haze. A pixel of low rank is contaminated more often than not at 200 DN;
# water is blue, and is hazy in 3 to 9 of 100 cases only at 300 DN.
LOW_RANK_FACTOR, WATER_FACTOR = 0.6, 1.4
# Haze over three times the limit is cloud unless two other observations agree; below, one suffices.
CERTAIN_FACTOR = 3
# Observations agree if they differ by at most this: share and DN of blue, share of near infrared.
SAME_BLUE, SAME_BLUE_DN, SAME_NIR = 0.1, 100.0, 0.15
# Snow: normalized difference of green and short-wave infrared, least green, and most infrared.
SNOW_INDEX, SNOW_GREEN_DN, SNOW_INFRARED_DN = 0.4, 2000, 1500
# Local shadow: near infrared below this share of the surroundings, within a distance of cloud.
SHADOW_NIR, SHADOW_DISTANCE_M, SURROUNDINGS_M = 0.6, 750, 300
# Haze and shadow are larger than the roofs and roads of a village: the mean of the area within this
# distance must be dark as well, and hazy by this share of the limit.
AREA_M, AREA_HAZE = 50, 0.5
# Shadow in time: no cost where the near infrared is at least the first share of the brightest
# other observation, the whole cost where it is the second share or less. A shadow is not brighter
# in blue by more than the tolerance; a harvested field is.
SHADE_FROM, SHADE_TO, SHADE_BLUE_DN, SHADE_COST = 0.75, 0.5, 60.0, 400.0
# Cost of a scene that is all cloud. What a mask misses grows with the cloud of its scene, and
# neighbouring cells come from the same scene.
CLOUDY_SCENE_COST = 350.0
# What a cell saves if its neighbours come from the same scene, and how often that is reconsidered.
NEIGHBOUR_COST, VOTES = 200.0, 5
# A cost above all sums of the terms, for observations that cannot be taken.
NEVER = np.float32(1e9)


@dataclass(frozen=True, eq=False)
class Observations:
    """Observations of the cells of one block, by the scenes that see some of them clear.

    Attributes
    ----------
    usable : ndarray of bool, shape (scene, y, x)
        Where the pixel is clear or of low rank.
    low_rank : ndarray of bool, shape (scene, y, x)
        Where it is of low rank.
    distance_m : ndarray of uint16, shape (scene, y, x)
        Distance to the nearest cloud of the same scene, metres.
    bands : dict of str to ndarray of float32, shape (scene, y, x)
        Harmonised DN of B02, B03, B04, B08 and B11, as far as the mosaic has these bands.
    pass_numbers : sequence of int, one for each scene
        Scenes of one pass of a satellite have the same number. They see the same clouds, and do not
        confirm each other.
    cloudiness : sequence of float, one for each scene
        Share of the scene that is masked, 0 to 1.
    """

    usable: BoolRaster
    low_rank: BoolRaster
    distance_m: UInt16Raster
    bands: dict[str, Floats]
    pass_numbers: Sequence[int]
    cloudiness: Sequence[float]

    def __len__(self) -> int:
        """Return the number of scenes."""
        return len(self.usable)


@dataclass(frozen=True)
class BestSettings:
    """What is the same in all blocks of a mosaic.

    Attributes
    ----------
    haze_background_dn : float or None
        Haze index of clear ground in this mosaic; None if it is unknown, and haze is not judged.
    haze_limit_dn : float or None
        Haze index above the background from which an observation is rejected; None rejects none.
    surroundings_cells : int
        Radius of the surroundings that a dark cell is compared with.
    area_cells : int
        Radius of the area that must be hazy or dark as a whole; 0 for cells as large as that.
    """

    haze_background_dn: float | None
    haze_limit_dn: float | None
    surroundings_cells: int
    area_cells: int = 0

    @classmethod
    def of(
        cls, grid: Grid, haze_background_dn: float | None, haze_limit_dn: float | None
    ) -> "BestSettings":
        """Make the settings of a mosaic on ``grid``."""
        size_m = max(cell_size_m(grid))
        return cls(
            haze_background_dn,
            haze_limit_dn,
            surroundings_cells=max(1, math.ceil(SURROUNDINGS_M / size_m)),
            area_cells=math.floor(AREA_M / size_m),
        )

    @property
    def reach_cells(self) -> int:
        """Distance in cells, along rows and columns, on which a decision depends."""
        # Surroundings are of accepted cells, which depend on their area.
        return self.surroundings_cells + self.area_cells + VOTES


@dataclass(frozen=True, eq=False)
class BestChoice:
    """The choice for each cell of one block.

    Attributes
    ----------
    winner : ndarray of intp, shape (y, x)
        Number of the scene that is taken; -1 where every observation is masked or rejected.
    substitute : ndarray of intp, shape (y, x)
        Number of the scene whose rejected observation is the least hazy, where there is no winner;
        else -1.
    accepted : ndarray of bool, shape (scene, y, x)
        Usable observations that are not rejected.
    """

    winner: npt.NDArray[np.intp]
    substitute: npt.NDArray[np.intp]
    accepted: BoolRaster


Witnesses = Callable[[], Observations | None]
"""Function that reads the masked observations of a block, which ``usable`` marks; None if there are
none."""


def choose_best(
    seen: Observations, settings: BestSettings, *, witnesses: Witnesses | None = None
) -> BestChoice:
    """Choose the scene of each cell.

    Parameters
    ----------
    seen : Observations
        Observations of a block, with `BestSettings.reach_cells` more cells on each side where the
        mosaic has them. Not modified.
    settings : BestSettings
        Settings of the mosaic.
    witnesses : callable, optional
        Reads the masked observations of the same cells, which are needed only where a clear one
        looks hazy.

    Returns
    -------
    BestChoice
        For the cells of ``seen``; those within the reach of its edge are right only at the edge of
        the mosaic.
    """
    accepted = accepted_observations(seen, settings, witnesses=witnesses)
    cost = _costs(seen)
    winner = _voted(np.where(accepted, cost, NEVER))
    none = ~accepted.any(axis=0)
    rejected = np.where(seen.usable & none, cost, NEVER)
    substitute = np.where(seen.usable.any(axis=0) & none, rejected.argmin(axis=0), -1)
    return BestChoice(np.where(none, -1, winner), substitute, accepted)


def accepted_observations(
    seen: Observations, settings: BestSettings, *, witnesses: Witnesses | None = None
) -> BoolRaster:
    """Reject hazy and shaded observations.

    Parameters
    ----------
    seen, settings, witnesses
        As for `choose_best`.

    Returns
    -------
    ndarray of bool, shape (scene, y, x)
        Usable observations that are not rejected.
    """
    if settings.haze_limit_dn is None:
        return seen.usable
    accepted = seen.usable & ~_hazy(seen, settings, witnesses)
    return accepted & ~_shaded(seen, accepted, settings)


def haze_background(scenes: Sequence[tuple[float, float]]) -> float | None:
    """Derive the haze index of clear ground from the scenes of a mosaic.

    Parameters
    ----------
    scenes : sequence of (float, float)
        For each scene, a third of whose clear pixels have at most this haze index, DN, and the
        share of the mosaic that it sees clear.

    Returns
    -------
    float or None
        Mean, weighted by these shares, over the least hazy scenes that together see as much clear
        as the mosaic is large. On real tiles it is within 10 DN of the 40th percentile of the least
        haze index of each cell, and needs no pixel. None without a scene.
    """
    left, total, weight = 1.0, 0.0, 0.0
    for haze_dn, share in sorted(scenes):
        taken = min(left, share)
        total, weight, left = total + haze_dn * taken, weight + taken, left - taken
        if left <= 0:
            break
    return total / weight if weight > 0 else None


def haze_index(blue: Raster, red: Raster) -> Floats:
    """Return the haze index of pixels, DN, float32, from their DN of B02 and B04."""
    return np.asarray(blue, np.float32) - np.float32(HAZE_RED) * np.asarray(red, np.float32)


def _is_water(seen: Observations) -> BoolRaster:
    """Find water: green is brighter than the near infrared, shape (scene, y, x)."""
    if not {"B03", "B08"} <= seen.bands.keys():
        return np.zeros_like(seen.usable)
    return np.asarray(seen.bands["B03"] > seen.bands["B08"])


def _hazy(seen: Observations, settings: BestSettings, witnesses: Witnesses | None) -> BoolRaster:
    """Find usable observations that are hazy, and whose ground is not known to be that bright."""
    limit_dn, background = settings.haze_limit_dn, settings.haze_background_dn
    if limit_dn is None or background is None or not {"B02", "B04"} <= seen.bands.keys():
        return np.zeros_like(seen.usable)
    excess = haze_index(seen.bands["B02"], seen.bands["B04"]) - np.float32(background)
    limit = np.where(seen.low_rank, np.float32(LOW_RANK_FACTOR), np.float32(1))
    limit = np.where(_is_water(seen), np.float32(WATER_FACTOR), limit) * np.float32(limit_dn)
    hazy = seen.usable & (excess >= limit) & ~_is_snow(seen)
    if not hazy.any():
        return hazy
    masked = witnesses() if witnesses is not None else None
    others = [seen] if masked is None else [seen, masked]
    for scene in range(len(seen)):
        mean = _area_mean(excess[scene], seen.usable[scene], settings.area_cells)
        hazy[scene] &= mean >= AREA_HAZE * limit[scene]
        cells = np.flatnonzero(hazy[scene])
        if cells.size:
            needed = np.where(excess[scene].flat[cells] < CERTAIN_FACTOR * limit_dn, 1, 2)
            hazy[scene].flat[cells] = _agreeing(seen, others, scene, cells) < needed
    return hazy


def _is_snow(seen: Observations) -> BoolRaster:
    """Find snow, which is bright in green and dark in the short-wave infrared, unlike cloud.

    The limits are those of MODIS's snow maps for the index (Hall et al., Remote Sensing of
    Environment 54, 1995), with one for the short-wave infrared that ice clouds exceed.
    """
    if not {"B03", "B11"} <= seen.bands.keys():
        return np.zeros_like(seen.usable)
    green, infrared = seen.bands["B03"], seen.bands["B11"]
    index_over = green - infrared > np.float32(SNOW_INDEX) * (green + infrared)
    return np.asarray(index_over & (green > SNOW_GREEN_DN) & (infrared < SNOW_INFRARED_DN))


def _agreeing(
    seen: Observations,
    others: Sequence[Observations],
    scene: int,
    cells: npt.NDArray[np.intp],
) -> npt.NDArray[np.intp]:
    """Count the other passes that show some flattened cells as ``scene`` does, masked or not.

    A masked observation counts because clouds move: ground that looks the same twice is bright.
    """
    own = {name: band[scene].flat[cells] for name, band in seen.bands.items()}
    counts = np.zeros(cells.size, dtype=np.intp)
    passes = {number for each in others for number in each.pass_numbers}
    for number in sorted(passes - {seen.pass_numbers[scene]}):
        agrees = np.zeros(cells.size, dtype=np.bool_)
        for given in others:
            for other in np.flatnonzero(np.equal(given.pass_numbers, number)):
                same = np.array(given.usable[other].flat[cells])
                difference = np.abs(given.bands["B02"][other].flat[cells] - own["B02"])
                same &= difference <= np.maximum(SAME_BLUE_DN, SAME_BLUE * own["B02"])
                if "B08" in own:
                    same &= _is_alike(own["B08"], given.bands["B08"][other].flat[cells])
                agrees |= same
        counts += agrees
    return counts


def _is_alike(nir: Floats, other: Floats) -> BoolRaster:
    """Whether the near infrared of two observations is about the same."""
    return np.asarray(np.abs(nir - other) <= np.float32(SAME_NIR) * other)


def _other_passes(seen: Observations, scene: int) -> Iterator[list[int]]:
    """Yield the scenes of each pass but that of ``scene``."""
    own = seen.pass_numbers[scene]
    for number in sorted(set(seen.pass_numbers) - {own}):
        yield [other for other, each in enumerate(seen.pass_numbers) if each == number]


def _shaded(seen: Observations, good: BoolRaster, settings: BestSettings) -> BoolRaster:
    """Find observations near cloud that are much darker than their surroundings.

    The surroundings are the mean of the brightest good observation of each cell. An observation
    that another pass confirms is kept: it shows dark ground.
    """
    nir = seen.bands.get("B08")
    if nir is None:
        return np.zeros_like(good)
    reach = settings.surroundings_cells
    count = np.maximum(_box_sum(np.asarray(good.any(axis=0)), reach), 1)
    around = _box_sum(np.where(good, nir, 0).max(axis=0), reach) / count
    dark = good & (nir < SHADOW_NIR * around) & (seen.distance_m < SHADOW_DISTANCE_M)
    dark &= ~_is_water(seen)
    for scene in map(int, np.flatnonzero(dark.any(axis=(1, 2)))):
        mean = _area_mean(nir[scene], good[scene], settings.area_cells)
        dark[scene] &= mean < SHADOW_NIR * around
    if "B03" in seen.bands:
        mean = np.where(good, seen.bands["B03"], 0).sum(axis=0) // np.maximum(good.sum(axis=0), 1)
        dark &= seen.bands["B03"] < _box_sum(mean, reach) / count
    for scene in range(len(seen)):
        if not dark[scene].any():
            continue
        for members in _other_passes(seen, scene):
            for other in members:
                dark[scene] &= ~(good[other] & _is_alike(nir[scene], nir[other]))
    return dark


def _area_mean(values: Floats, usable: BoolRaster, reach: int) -> Floats:
    """Mean of the usable values in the square of ``reach`` cells around each cell."""
    if reach == 0:
        return values
    # Values are halves of DN: twice of them are whole numbers.
    doubled = np.where(usable, np.rint(2 * values), 0)
    count = np.maximum(_box_sum(usable, reach), 1)
    return np.asarray(_box_sum(doubled, reach) / (2 * count), dtype=np.float32)


def _box_sum(values: Raster, reach: int) -> npt.NDArray[np.int64]:
    """Sum whole numbers over the square of ``reach`` cells around each cell, 0 outside.

    Unlike a running mean this is exact, so that a cell has the same sum in every block.
    """
    size = 2 * reach + 1
    padded = np.pad(values.astype(np.int64), ((reach + 1, reach), (reach + 1, reach)))
    sums = padded.cumsum(axis=0).cumsum(axis=1)
    return np.asarray(
        sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]
    )


def _costs(seen: Observations) -> Floats:
    """Return the cost of each usable observation, DN of blue, shape (scene, y, x)."""
    cost = np.zeros(seen.usable.shape, dtype=np.float32)
    for part in cost_parts(seen).values():
        cost += part
    return cost


def cost_parts(seen: Observations) -> dict[str, Floats]:
    """Return the parts of the cost of each usable observation.

    Parameters
    ----------
    seen : Observations
        Observations of a block. Not modified.

    Returns
    -------
    dict of str to ndarray of float32, shape (scene, y, x)
        DN of blue, by what a part stands for.
    """
    cloudiness = np.asarray(seen.cloudiness, dtype=np.float32)[:, np.newaxis, np.newaxis]
    cloudy = np.broadcast_to(CLOUDY_SCENE_COST * cloudiness, seen.usable.shape)
    parts = {"cloud in its scene": cloudy.astype(np.float32)}
    blue, red = seen.bands.get("B02"), seen.bands.get("B04")
    if blue is not None and red is not None:
        parts["brightness in blue"] = np.asarray(blue - np.float32(COST_RED) * red)
    parts["shadow"] = np.float32(SHADE_COST) * _shades(seen)
    return parts


def _shades(seen: Observations) -> Floats:
    """Return how much darker than other passes each observation is, 0 to 1, not over water."""
    nir = seen.bands.get("B08")
    if nir is None or len(set(seen.pass_numbers)) < 2:
        return np.zeros(seen.usable.shape, dtype=np.float32)
    brightest = _brightest_others(seen, nir)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = nir / brightest
    shade = np.clip((SHADE_FROM - share) / (SHADE_FROM - SHADE_TO), 0, 1)
    shade[~(seen.usable & (brightest > 0))] = 0
    if "B02" in seen.bands:
        blue = seen.bands["B02"]
        shade[blue >= _brightest_others(seen, blue) + np.float32(SHADE_BLUE_DN)] = 0
    shade *= ~(_is_water(seen) & seen.usable).any(axis=0)
    return np.asarray(shade, dtype=np.float32)


def _brightest_others(seen: Observations, band: Floats) -> Floats:
    """Return the greatest usable value of a band in the other passes, 0 for none."""
    numbers = sorted(set(seen.pass_numbers))
    shape = band.shape[1:]
    first, second = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    holder = np.full(shape, -1)
    for place, number in enumerate(numbers):
        members = [scene for scene, each in enumerate(seen.pass_numbers) if each == number]
        value = np.where(seen.usable[members], band[members], 0).max(axis=0)
        wins = value > first
        second = np.where(wins, first, np.maximum(second, value))
        holder[wins] = place
        first = np.where(wins, value, first)
    places = [numbers.index(number) for number in seen.pass_numbers]
    return np.stack([np.where(holder == place, second, first) for place in places])


def _voted(cost: Floats) -> npt.NDArray[np.intp]:
    """Take the lowest cost of each cell, with a preference for the scenes of its neighbours."""
    winner = cost.argmin(axis=0)
    none = (cost >= NEVER).all(axis=0)
    for _ in range(VOTES):
        lowered = cost.copy()
        for scene in range(len(cost)):
            here = (winner == scene) & ~none
            if here.any():
                # Shares of nine cells are exact ninths, whatever block they are computed in.
                votes = ndimage.uniform_filter(here.astype(np.float32), 3)
                lowered[scene] -= np.float32(NEIGHBOUR_COST) * votes
        after = np.where(cost >= NEVER, NEVER, lowered).argmin(axis=0)
        if np.array_equal(after, winner):
            break
        winner = after
    return np.asarray(winner)
