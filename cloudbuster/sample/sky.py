"""The sky of one datatake: clouds at two heights, cirrus, haze and the shadows that clouds cast.

Every field is a function of absolute coordinates. A `Sky` holds thresholds which make the wanted
share of the seen area cloudy; they are measured once, on a coarse lattice over the whole world.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from cloudbuster.sample.noise import Axis, Field, fractal_noise, spline_noise, stable_key
from cloudbuster.sample.plan import EDGE_ORBIT, Datatake

# Points along the longer side of the world at which the cover is measured.
CALIBRATION_POINTS = 360
# Opacity above which a point counts as covered: 0.02 on dark ground under a cloud of 0.7.
COVERED_OPACITY = 0.03
# Steepness of the edges, per standard deviation of the noise: low, middle, cirrus.
STEEPNESS = (7.0, 6.0, 1.6)
# Cirrus stays thin: its largest opacity.
CIRRUS_OPACITY = 0.26
# Eastward run of the swath's edge per metre north at 46 degrees north (as in the footprint of a
# real 33TWL of relative orbit 122: 0.39 degrees of longitude over 0.94 of latitude).
EDGE_SLOPE = 0.29
# Where the edge crosses the middle of the world, as a share of its width.
EDGE_POSITION = 0.58

(_LOW, _MIDDLE, _CIRRUS, _HAZE, _TOP) = range(20, 25)


@dataclass(frozen=True)
class Sky:
    """Sky of one datatake.

    Attributes
    ----------
    datatake : Datatake
        From the plan.
    seed : int
        The sample's seed.
    thresholds : tuple of float
        Noise above which there is low cloud, middle cloud, cirrus.
    edge : tuple of float or None
        Easting of the swath's edge at northing 0, and its slope; the image lies west of it. None
        where the swath covers the world.
    """

    datatake: Datatake
    seed: int
    thresholds: tuple[float, float, float]
    edge: tuple[float, float] | None


@dataclass(frozen=True)
class SkyFields:
    """Sky over a window, float32 (y, x) each.

    Attributes
    ----------
    cloud, cirrus : ndarray
        Opacity of water cloud and of cirrus, 0 to 1.
    shadow : ndarray
        Share of the direct beam that clouds take away from the ground, 0 to 1.
    haze : ndarray
        Strength of the haze, 0 to 1.
    top : ndarray
        Brightness of the tops of water clouds, factor about 1.
    """

    cloud: Field
    cirrus: Field
    shadow: Field
    haze: Field
    top: Field


def _layer_noise(sky_seed: int, datatake: Datatake, layer: int, x: Axis, y: Axis) -> Field:
    """Noise of a layer: 0 low, 1 middle, 2 cirrus."""
    # A reprocessed product has the sky of its datatake: the key does not know the sequence.
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
    """Easting of the swath's edge at northing 0, and eastward metres per metre north.

    Parameters
    ----------
    datatake : Datatake
        From the plan.
    bounds : tuple of float
        West, south, east, north of the world, metres.

    Returns
    -------
    tuple of float or None
        None where the swath covers the world.
    """
    if datatake.orbit != EDGE_ORBIT:
        return None
    west, south, east, north = bounds
    # The edge wanders by some hundred metres from pass to pass.
    at_middle = west + (EDGE_POSITION + 0.02 * (datatake.index - 3)) * (east - west)
    return at_middle - EDGE_SLOPE * (south + north) / 2, EDGE_SLOPE


def seen(edge: tuple[float, float] | None, x: Axis, y: Axis) -> npt.NDArray[np.bool_]:
    """Whether the swath covers each point, shape (y, x)."""
    if edge is None:
        return np.ones((len(y), len(x)), bool)
    return x[np.newaxis, :] < (edge[0] + edge[1] * y)[:, np.newaxis]


def _bisect(below: Callable[[float], bool]) -> float:
    """Largest value in (0, 1) for which ``below`` still holds, to 1e-4."""
    low, high = 0.0, 1.0
    for _ in range(14):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) else (low, middle)
    return low


def make_sky(datatake: Datatake, *, seed: int, bounds: tuple[float, float, float, float]) -> Sky:
    """Fix the thresholds of a datatake's clouds so that its cover comes true.

    Parameters
    ----------
    datatake : Datatake
        From the plan.
    seed : int
        The sample's seed.
    bounds : tuple of float
        West, south, east, north of the world, metres.

    Returns
    -------
    Sky
    """
    west, south, east, north = bounds
    step = max(east - west, north - south) / CALIBRATION_POINTS
    x, y = np.arange(west + step / 2, east, step), np.arange(north - step / 2, south, -step)
    edge = swath_edge(datatake, bounds)
    inside = seen(edge, x, y)
    fields = [_layer_noise(seed, datatake, layer, x, y)[inside] for layer in range(3)]
    ranked = [np.sort(field) for field in fields]
    thresholds = partial(_thresholds, ranked, datatake.low_share)
    strength = _bisect(lambda tried: _cover(fields, thresholds(tried)) < datatake.cover)
    return Sky(datatake, seed, thresholds(strength), edge)


def _thresholds(
    ranked: Sequence[Field], weights: Sequence[float], strength: float
) -> tuple[float, float, float]:
    """Value of each layer's sorted noise above which there is cloud, for a strength of 0 to 1."""
    shares = [1 - (1 - strength) ** weight for weight in weights]
    at = [
        min(int((1 - share) * len(ranks)), len(ranks) - 1)
        for share, ranks in zip(shares, ranked, strict=True)
    ]
    low, middle, cirrus = (float(ranks[i]) for ranks, i in zip(ranked, at, strict=True))
    return low, middle, cirrus


def _cover(fields: Sequence[Field], thresholds: Sequence[float]) -> float:
    """Share of the points that the layers together cover."""
    covered = np.zeros(fields[0].shape, bool)
    for layer, (field, limit) in enumerate(zip(fields, thresholds, strict=True)):
        covered |= _opacity(field, limit, layer) > COVERED_OPACITY
    return float(covered.mean())


def _water_cloud(sky: Sky, x: Axis, y: Axis, layer: int) -> Field:
    noise = _layer_noise(sky.seed, sky.datatake, layer, x, y)
    return _opacity(noise, sky.thresholds[layer], layer)


def sky_fields(sky: Sky, x: Axis, y: Axis) -> SkyFields:
    """Make the sky over a window.

    Parameters
    ----------
    sky : Sky
        From `make_sky`.
    x, y : ndarray of float64, shapes (x,) and (y,)
        Pixel centres, metres.

    Returns
    -------
    SkyFields
        The view is from the zenith. A shadow lies away from the sun by height / tan(elevation), so
        that clouds outside the window (and outside the swath) cast theirs into it.
    """
    azimuth, elevation = (math.radians(angle) for angle in sky.datatake.sun)
    clear = np.ones((len(y), len(x)), np.float32)
    lit = clear.copy()
    for layer, height in enumerate(sky.datatake.heights_m):
        clear *= 1 - _water_cloud(sky, x, y, layer)
        run = height / math.tan(elevation)
        towards = (x + run * math.sin(azimuth), y + run * math.cos(azimuth))
        lit *= 1 - _water_cloud(sky, *towards, layer)
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
