"""Scene selection: pick footprints that cover an area a given number of times."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from cloudbuster.core.areas.polygons import polygonal

# Cloud cover assumed for a scene whose catalog gives none, percent. Such a scene is picked after
# every scene with 1 % of clear sky or more, and still where no other scene sees the ground.
UNKNOWN_CLOUD_COVER = 99.0
# Least area that justifies writing a picked scene a second time, as backstop: one cell of 10 m,
# (10 m / 111 320 m per degree of latitude, WGS 84) squared, square degrees.
LEAST_REUSE_DEG2 = 8.07e-9
# Least share of the area that justifies it where the area itself is small: an area below a cell is
# one cell of the mosaic. The gain of a scene is its area times its clear share, which is 1 % where
# the cloud cover is unknown.
LEAST_REUSE_SHARE = 1e-4
# Smaller shares of an area are rounding errors of coordinates: this share of 100 000 square
# kilometres is one cell of 10 m.
LEAST_SHARE = 1e-9

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Geometries = npt.NDArray[np.object_]


@dataclass(frozen=True)
class CoverRules:
    """Rules of a cover.

    Attributes
    ----------
    coverage_count : int
        Number of layers: how many times each place is to be covered, at least 1.
    max_uncovered : float
        Greatest mean, over the layers, of the share of the area that may stay uncovered, 0 to 1.
        Picking stops when it is reached.
    max_selections : int or None
        Greatest number of picks, clear scenes and backstop together, without reused ones.
    backstop : bool
        Whether to cover the area once more, with scenes that keep their clouds.
    """

    coverage_count: int = 3
    max_uncovered: float = 0.0005
    max_selections: int | None = None
    backstop: bool = True


@dataclass(frozen=True)
class Pick:
    """One picked footprint.

    Attributes
    ----------
    index : int
        Position among the footprints.
    backstop : bool
        Whether it was picked for the backstop.
    reused : bool
        Whether it is also an earlier pick that is not backstop.
    gain : float
        Area that it added, square degrees, times the scene's clear share; above 0.
    """

    index: int
    backstop: bool
    reused: bool
    gain: float


def surface(geometry: BaseGeometry) -> float:
    """Compute the area on the unit sphere of a polygon in longitude and latitude.

    The cylindrical equal-area projection (x = longitude, y = sin(latitude); Snyder, Map
    Projections: A Working Manual, USGS Professional Paper 1395, equations 10-1 and 10-2 for the
    sphere) preserves ratios of areas. Each edge is straight in degrees, as in GeoJSON (RFC 7946,
    section 3.1.1), and integrated exactly: the mean of sin(latitude) along an edge from a to b is
    sin((a + b) / 2) * sin(h) / h with h = (b - a) / 2.

    Parameters
    ----------
    geometry : shapely geometry
        Polygonal and valid, degrees.

    Returns
    -------
    float
        Steradians. The ratio of two surfaces is a share of true area.
    """
    polygons = shapely.get_parts(geometry)
    shells = shapely.get_exterior_ring(polygons)
    rings = shapely.get_rings(polygons)
    # The rings are shells and holes: twice the shells minus all rings is shells minus holes.
    return 2 * _rings_surface(shells) - _rings_surface(rings)


def _rings_surface(rings: Geometries) -> float:
    """Sum the surfaces that rings enclose, whatever their direction, steradians."""
    coordinates, ring_of = shapely.get_coordinates(rings, return_index=True)
    if len(coordinates) == 0:
        return 0.0
    longitude, latitude = np.radians(coordinates).T
    middle = (latitude[:-1] + latitude[1:]) / 2
    # Subtracting a constant from every height does not change the integral round a ring, and saves
    # the digits of a small polygon.
    height = np.sin(middle) * np.sinc(np.diff(latitude) / (2 * np.pi)) - np.sin(latitude[0])
    strips = np.where(ring_of[:-1] == ring_of[1:], np.diff(longitude) * height, 0.0)
    return float(np.abs(np.bincount(ring_of[:-1], strips)).sum())


def pick_original(
    aoi: BaseGeometry,
    footprints: Sequence[BaseGeometry],
    cloud_cover: Sequence[float],
    rules: CoverRules,
) -> list[Pick]:
    """Pick scenes as the original cloud-buster did: a greedy k-fold cover, then a backstop.

    There is one copy of the area for each of ``coverage_count`` layers. Each step picks the scene
    and the layer with the greatest gain: the planar area, in square degrees, of the footprint
    within the rest of that layer, times the scene's clear share. Ties go to the first scene, then
    to the first layer. The footprint is subtracted from that layer, and no scene is picked twice.
    Picking stops when the rest is within ``max_uncovered``, ``max_selections`` is reached, or no
    scene gains. The backstop covers the area once more by the same rule, with scenes not picked
    yet, whether or not the layers were covered; its rest is compared with ``max_uncovered`` alone.

    This differs from the original in three ways. ``max_uncovered`` is a share of true area; the
    original summed square degrees. ``max_selections`` is a limit; the original picked one more.
    Where the original leaves a part of the area without backstop, scenes picked for the layers are
    reused for it by the same rule, if they gain more than ``LEAST_REUSE_DEG2``, or than
    ``LEAST_REUSE_SHARE`` of a small area.

    Parameters
    ----------
    aoi : shapely geometry
        Area to cover, degrees of longitude and latitude; polygonal, valid, not empty.
    footprints : sequence of shapely geometry
        One per scene, polygonal and valid, may be empty.
    cloud_cover : sequence of float
        One per scene, percent.
    rules : CoverRules
        Number of layers, and when to stop.

    Returns
    -------
    list of Pick
        Clear scenes, then backstop, then reused backstop, each in the order of picking.

    Raises
    ------
    ValueError
        If the area is empty or the two sequences differ in length.
    """
    search = _Search(aoi, footprints, cloud_cover)
    free = np.ones(len(footprints), dtype=np.bool_)
    room = len(footprints) if rules.max_selections is None else rules.max_selections
    limit = rules.max_uncovered
    clear, _ = search.cover(aoi, free, layers=rules.coverage_count, limit=limit, room=room)
    picks = [Pick(index, backstop=False, reused=False, gain=gain) for index, gain in clear]
    if rules.backstop:
        below, rest = search.cover(aoi, free, layers=1, limit=limit, room=room - len(clear))
        picks += [Pick(index, backstop=True, reused=False, gain=gain) for index, gain in below]
        picks += search.reuse([index for index, _ in clear], aoi, rest)
    return picks


class _Search:
    """Greedy search over fixed footprints."""

    def __init__(
        self, aoi: BaseGeometry, footprints: Sequence[BaseGeometry], cloud_cover: Sequence[float]
    ) -> None:
        """Check the input; raise ValueError as `pick_original`."""
        if len(footprints) != len(cloud_cover):
            msg = f"{len(footprints)} footprints but {len(cloud_cover)} values of cloud cover"
            raise ValueError(msg)
        self.aoi_surface = surface(aoi)
        if self.aoi_surface <= 0:
            msg = "the area to cover is empty"
            raise ValueError(msg)
        self.footprints: Geometries = np.array([*footprints, None], dtype=np.object_)[:-1]
        self.clear_share: Floats = 1.0 - np.asarray(cloud_cover, dtype=np.float64) / 100.0

    def gains(self, rows: npt.NDArray[np.intp], rest: BaseGeometry) -> Floats:
        """Return, for the scenes ``rows``, the area within ``rest`` times the clear share.

        The areas are in square degrees.
        """
        common = shapely.intersection(self.footprints[rows], rest)
        return np.asarray(shapely.area(common) * self.clear_share[rows], dtype=np.float64)

    def reuse(self, picked: list[int], aoi: BaseGeometry, rest: BaseGeometry) -> list[Pick]:
        """Pick scenes of the layers once more, as backstop of what is left of the area."""
        again = np.zeros(len(self.footprints), dtype=np.bool_)
        again[picked] = True
        least_gain = min(LEAST_REUSE_DEG2, LEAST_REUSE_SHARE * aoi.area)
        reused, _ = self.cover(
            rest, again, layers=1, limit=0.0, room=len(picked), least_gain=least_gain
        )
        return [Pick(index, backstop=True, reused=True, gain=gain) for index, gain in reused]

    def cover(
        self,
        start: BaseGeometry,
        free: Flags,
        *,
        layers: int,
        limit: float,
        room: int,
        least_gain: float = 0.0,
    ) -> tuple[list[tuple[int, float]], BaseGeometry]:
        """Cover ``layers`` copies of ``start`` greedily; see `pick_original`.

        Picked scenes are removed from ``free``, which is modified. Returns the picks with their
        gains, and the rest of the first copy.
        """
        rests = [start] * layers
        uncovered = np.full(layers, surface(start))
        gains = np.zeros((len(free), layers))
        rows = np.flatnonzero(free)
        gains[rows] = self.gains(rows, start)[:, np.newaxis]
        # A scene without a gain on the whole area has none on a part of it.
        useful = gains[:, 0] > 0
        picks: list[tuple[int, float]] = []
        while (
            uncovered.mean() > limit * self.aoi_surface and len(picks) < room and bool(free.any())
        ):
            # argmax returns the first of equals: by scene, then by layer.
            best, layer = divmod(int(gains.argmax()), layers)
            if gains[best, layer] <= least_gain:
                break
            picks.append((best, float(gains[best, layer])))
            free[best] = False
            gains[best] = 0.0
            rests[layer] = shapely.difference(rests[layer], self.footprints[best])
            uncovered[layer] = surface(rests[layer])
            # Only this layer has changed, so only its column is computed again. All of its rows
            # are, because the rounding of GEOS decides ties, as it did in the original.
            rows = np.flatnonzero(free & useful)
            gains[rows, layer] = self.gains(rows, rests[layer])
        return picks, rests[0]


def uncovered_by_layer(
    aoi: BaseGeometry, footprints: Sequence[BaseGeometry], layers: int
) -> tuple[float, ...]:
    """Compute the shares of an area that fewer than 1, 2, ... footprints cover.

    Parameters
    ----------
    aoi : shapely geometry
        Degrees of longitude and latitude; polygonal, valid, not empty.
    footprints : sequence of shapely geometry
        Polygonal and valid, degrees.
    layers : int
        Number of shares, at least 1.

    Returns
    -------
    tuple of float
        Shares of true area (see `surface`), 0 to 1, not descending; 0 if below ``LEAST_SHARE``.
    """
    thin = [aoi] * layers
    for footprint in footprints:
        _thin_out(thin, footprint)
    shares = np.array([surface(part) for part in thin]) / surface(aoi)
    shares[shares < LEAST_SHARE] = 0.0
    return tuple(float(share) for share in np.maximum.accumulate(np.minimum(shares, 1.0)))


def _thin_out(thin: list[BaseGeometry], footprint: BaseGeometry) -> None:
    """Add a footprint to a cover, of which ``thin`` is modified.

    ``thin[l]`` is the part of the area under at most l footprints. The footprint leaves the part of
    ``thin[l]`` outside of it, and the part of ``thin[l - 1]`` inside of it.
    """
    for layer in range(len(thin) - 1, -1, -1):
        outside = polygonal(shapely.difference(thin[layer], footprint))
        if layer == 0:
            thin[layer] = outside
            continue
        inside = polygonal(shapely.intersection(thin[layer - 1], footprint))
        thin[layer] = polygonal(shapely.union(outside, inside))
