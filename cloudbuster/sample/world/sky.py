"""Sky of a datatake: clouds at two heights, cirrus, haze, and the shadows of the clouds.

Every field is a function of absolute coordinates. The thresholds of a `Sky` give the planned cloud
cover; they are calibrated once, on a coarse lattice over the whole world.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from cloudbuster.sample.world.noise import Axis, Field, fractal_noise, spline_noise, stable_key
from cloudbuster.sample.world.plan import EDGE_ORBIT, Datatake

# Points along the longer side of the world at which the cover is measured.
CALIBRATION_POINTS = 360
# Opacity above which a point counts as covered: it changes the reflectance of dark ground under a
# cloud of reflectance 0.7 by 0.02.
COVERED_OPACITY = 0.03
# Steepness of the edges of low cloud, middle cloud and cirrus, per standard deviation of the noise.
STEEPNESS = (7.0, 6.0, 1.6)
# Maximum opacity of cirrus.
CIRRUS_OPACITY = 0.26
# Metres east per metre north along the edge of the swath at 46 degrees north, as in the footprint
# of a real 33TWL of relative orbit 122 (0.39 degrees of longitude over 0.94 of latitude).
EDGE_SLOPE = 0.29
# Position at which the edge crosses the middle of the world, as a share of its width.
EDGE_POSITION = 0.58

(_LOW, _MIDDLE, _CIRRUS, _HAZE, _TOP) = range(20, 25)


@dataclass(frozen=True)
class Sky:
    """Sky of one datatake.

    Attributes
    ----------
    datatake : Datatake
        Datatake of the plan.
    seed : int
        Seed of the sample.
    thresholds : tuple of float
        Noise above which there is low cloud, middle cloud and cirrus.
    edge : tuple of float or None
        Edge of the swath, see `swath_edge`; the swath lies west of it.
    """

    datatake: Datatake
    seed: int
    thresholds: tuple[float, float, float]
    edge: tuple[float, float] | None


@dataclass(frozen=True)
class SkyFields:
    """Sky over a window, in arrays of float32 of shape (y, x).

    Attributes
    ----------
    cloud, cirrus : ndarray
        Opacity of water clouds and of cirrus, 0 to 1.
    shadow : ndarray
        Share of the direct sunlight that clouds block, 0 to 1.
    haze : ndarray
        Strength of the haze, 0 to 1.
    top : ndarray
        Factor about 1 on the brightness of water clouds.
    """

    cloud: Field
    cirrus: Field
    shadow: Field
    haze: Field
    top: Field


def _layer_noise(sky_seed: int, datatake: Datatake, layer: int, x: Axis, y: Axis) -> Field:
    """Noise of low cloud (layer 0), middle cloud (1) or cirrus (2), shape (y, x)."""
    # The sequence is not part of the key, as a reprocessed product shows the same sky.
    key = stable_key(sky_seed, (datatake.index, (_LOW, _MIDDLE, _CIRRUS)[layer]))
    if layer == 2:
        return fractal_noise(x, y, cell_m=(5200, 1700), octaves=4, gain=0.42, key=key)
    size = datatake.cloud_m * (1.0, 1.6)[layer]
    return fractal_noise(x, y, cell_m=(size, size), octaves=6, gain=0.52, key=key)


def _opacity(noise: Field, threshold: float, layer: int) -> Field:
    """Opacity of a layer from its noise."""
    above = np.maximum(noise - np.float32(threshold), np.float32(0))
    opaque: Field = 1 - np.exp(np.float32(-STEEPNESS[layer]) * above)
    if layer == 2:
        opaque *= np.float32(CIRRUS_OPACITY)
    return opaque


def swath_edge(
    datatake: Datatake, bounds: tuple[float, float, float, float]
) -> tuple[float, float] | None:
    """Eastern edge of the swath of a datatake.

    Parameters
    ----------
    datatake : Datatake
        Datatake of the plan.
    bounds : tuple of float
        Bounds (west, south, east, north) of the world, metres.

    Returns
    -------
    tuple of float or None
        Easting of the edge at northing 0, and metres east per metre north; None if the swath covers
        the world.
    """
    if datatake.orbit != EDGE_ORBIT:
        return None
    west, south, east, north = bounds
    # The edge shifts by some hundred metres from pass to pass.
    at_middle = west + (EDGE_POSITION + 0.02 * (datatake.index - 3)) * (east - west)
    return at_middle - EDGE_SLOPE * (south + north) / 2, EDGE_SLOPE


def in_swath(edge: tuple[float, float] | None, x: Axis, y: Axis) -> npt.NDArray[np.bool_]:
    """Mask of the points in the swath, shape (y, x)."""
    if edge is None:
        return np.ones((len(y), len(x)), bool)
    return x[np.newaxis, :] < (edge[0] + edge[1] * y)[:, np.newaxis]


def _bisect(below: Callable[[float], bool]) -> float:
    """Largest value in (0, 1) for which ``below`` is True, to 1e-4, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(14):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) else (low, middle)
    return low


def make_sky(datatake: Datatake, *, seed: int, bounds: tuple[float, float, float, float]) -> Sky:
    """Make the sky of a datatake, with thresholds that give the planned cloud cover.

    Parameters
    ----------
    datatake : Datatake
        Datatake of the plan.
    seed : int
        Seed of the sample.
    bounds : tuple of float
        Bounds (west, south, east, north) of the world, metres.

    Returns
    -------
    Sky
        Sky of the datatake.
    """
    west, south, east, north = bounds
    step = max(east - west, north - south) / CALIBRATION_POINTS
    x, y = np.arange(west + step / 2, east, step), np.arange(north - step / 2, south, -step)
    edge = swath_edge(datatake, bounds)
    inside = in_swath(edge, x, y)
    fields = [_layer_noise(seed, datatake, layer, x, y)[inside] for layer in range(3)]
    ranked = [np.sort(field) for field in fields]
    thresholds = partial(_thresholds, ranked, datatake.layer_weights)
    strength = _bisect(lambda tried: _cover(fields, thresholds(tried)) < datatake.cover)
    return Sky(datatake, seed, thresholds(strength), edge)


def _thresholds(
    ranked: Sequence[Field], weights: Sequence[float], strength: float
) -> tuple[float, float, float]:
    """Thresholds of the layers for a strength of the cloud cover between 0 and 1.

    ``ranked`` is the sorted noise of each layer.
    """
    shares = [1 - (1 - strength) ** weight for weight in weights]
    ranks_at_threshold = [
        min(int((1 - share) * len(ranks)), len(ranks) - 1)
        for share, ranks in zip(shares, ranked, strict=True)
    ]
    low, middle, cirrus = (
        float(ranks[rank]) for ranks, rank in zip(ranked, ranks_at_threshold, strict=True)
    )
    return low, middle, cirrus


def _cover(fields: Sequence[Field], thresholds: Sequence[float]) -> float:
    """Share of the points that are covered by any layer."""
    covered = np.zeros(fields[0].shape, bool)
    for layer, (field, limit) in enumerate(zip(fields, thresholds, strict=True)):
        covered |= _opacity(field, limit, layer) > COVERED_OPACITY
    return float(covered.mean())


def _water_cloud(sky: Sky, x: Axis, y: Axis, layer: int) -> Field:
    """Opacity of low cloud (layer 0) or middle cloud (1), shape (y, x)."""
    noise = _layer_noise(sky.seed, sky.datatake, layer, x, y)
    return _opacity(noise, sky.thresholds[layer], layer)


def _clear_and_lit(sky: Sky, x: Axis, y: Axis) -> tuple[Field, Field]:
    """Shares of light that water clouds let through, to the sensor and from the sun."""
    azimuth, elevation = (math.radians(angle) for angle in sky.datatake.sun)
    clear = np.ones((len(y), len(x)), np.float32)
    lit = clear.copy()
    for layer, height in enumerate(sky.datatake.heights_m):
        clear *= 1 - _water_cloud(sky, x, y, layer)
        run = height / math.tan(elevation)
        sunward = (x + run * math.sin(azimuth), y + run * math.cos(azimuth))
        lit *= 1 - _water_cloud(sky, *sunward, layer)
    return clear, lit


def sky_fields(sky: Sky, x: Axis, y: Axis) -> SkyFields:
    """Make the sky over a window.

    Parameters
    ----------
    sky : Sky
        Sky of the datatake.
    x, y : ndarray of float64, shapes (x,) and (y,)
        Eastings and northings of the pixel centres, metres.

    Returns
    -------
    SkyFields
        Sky as seen from the zenith. Shadows are shifted away from the sun by height divided by
        tan(elevation); clouds outside the window or the swath also cast shadows into it.
    """
    clear, lit = _clear_and_lit(sky, x, y)
    cirrus = _opacity(_layer_noise(sky.seed, sky.datatake, 2, x, y), sky.thresholds[2], 2)
    key = stable_key(sky.seed, (sky.datatake.index, _HAZE))
    haze = spline_noise(x, y, cell_m=(4300, 4300), key=key)
    top_key = stable_key(sky.seed, (sky.datatake.index, _TOP))
    top = fractal_noise(x, y, cell_m=(700, 700), octaves=4, gain=0.6, key=top_key)
    return SkyFields(
        cloud=1 - clear,
        cirrus=cirrus,
        shadow=1 - lit,
        haze=np.clip(np.float32(0.4) + np.float32(0.3) * haze, np.float32(0), np.float32(1)),
        top=1 + np.float32(0.07) * np.clip(top, -2, 2),
    )
