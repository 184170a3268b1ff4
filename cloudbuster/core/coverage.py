"""Scene selection: which footprints to take so that an area is seen as often as asked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

# Cloud cover assumed of a scene that does not tell its own, percent: it is still taken where no
# other scene sees the ground, and after every scene that tells of 1 % clear sky or more.
UNKNOWN_CLOUD_COVER = 99.0
# A scene is written a second time, as backstop, only for at least one cell of 10 m:
# (10 m / 111 320 m per degree of latitude, WGS 84) squared, square degrees.
LEAST_REUSE_DEG2 = 8.07e-9
# Smaller shares of an area are taken for what the rounding of coordinates leaves: one cell of 10 m
# is this share of 100 000 square kilometres.
LEAST_SHARE = 1e-9

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Geometries = npt.NDArray[np.object_]


@dataclass(frozen=True)
class CoverRules:
    """What a cover has to reach.

    Attributes
    ----------
    coverage_count : int
        How many times each place is to be seen, at least 1.
    max_uncovered : float
        Stop when the mean, over the layers, of the share of the area still uncovered is not above
        this, 0 to 1.
    max_selections : int or None
        Greatest number of picks, clear scenes and backstop together; reused ones do not count.
    backstop : bool
        Whether to cover the area once more, with scenes whose clouds stay.
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
        Square degrees that it covered, times its clear share; above 0.
    """

    index: int
    backstop: bool
    reused: bool
    gain: float


Strategy = Callable[[BaseGeometry, Sequence[BaseGeometry], Sequence[float], CoverRules], list[Pick]]
"""(area, footprints, cloud cover in percent, rules) to picks, in order."""


def polygonal(geometry: BaseGeometry) -> BaseGeometry:
    """Make a valid, two-dimensional (multi)polygon of any geometry.

    A valid polygon keeps its vertices and their order; an invalid one goes through
    `shapely.make_valid`, and what is no polygon after that (points, lines) is left out.

    Parameters
    ----------
    geometry : shapely geometry
        In any coordinate reference system. Not modified.

    Returns
    -------
    shapely geometry
        Polygon or MultiPolygon, empty where ``geometry`` has no area.
    """
    flat = shapely.force_2d(geometry)
    if not flat.is_valid:
        flat = shapely.make_valid(flat)
    if flat.geom_type in ("Polygon", "MultiPolygon"):
        return flat
    parts = shapely.get_parts(shapely.get_parts(flat))
    return shapely.union_all(parts[shapely.get_dimensions(parts) == 2])


def surface(geometry: BaseGeometry) -> float:
    """Area on the unit sphere of a polygon given in longitude and latitude.

    The cylindrical equal-area map (x = longitude, y = sin(latitude); Snyder, Map Projections: A
    Working Manual, USGS Professional Paper 1395, equations 10-1 and 10-2 for the sphere) keeps
    ratios of areas. Each edge is straight in degrees, as GeoJSON (RFC 7946, section 3.1.1) has it,
    and integrated exactly: the mean of sin(latitude) along an edge from a to b is
    sin((a + b) / 2) * sin(h) / h with h = (b - a) / 2.

    Parameters
    ----------
    geometry : shapely geometry
        Polygonal and valid, degrees.

    Returns
    -------
    float
        Steradian; the ratio of two of them is the share of true area.
    """
    polygons = shapely.get_parts(geometry)
    shells = shapely.get_exterior_ring(polygons)
    holes = shapely.get_rings(polygons)
    # Every ring counts once as a hole; the shells then count twice the other way.
    return 2 * _rings_surface(shells) - _rings_surface(holes)


def _rings_surface(rings: Geometries) -> float:
    coordinates, ring_of = shapely.get_coordinates(rings, return_index=True)
    if len(coordinates) == 0:
        return 0.0
    longitude, latitude = np.radians(coordinates).T
    middle = (latitude[:-1] + latitude[1:]) / 2
    # A constant taken from every height leaves the integral round a ring as it is, and keeps the
    # digits of a small polygon.
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

    Of ``coverage_count`` copies of the area, each step takes the scene and the copy with the
    greatest planar area in square degrees of (footprint and rest of the copy), times the scene's
    clear share; of equals the scene that comes first, then the copy that comes first. The
    footprint is taken from that copy, and no scene is picked twice. It ends before a step where
    the rest is within ``max_uncovered``, ``max_selections`` is reached, or nothing gains. The
    backstop covers the area once more, from the scenes that are left, by the same rule, whether or
    not the copies were covered; its own rest is compared with ``max_uncovered``.

    Two things differ from the original: ``max_uncovered`` is a share of true area (it summed
    square degrees), and ``max_selections`` is kept (it picked one more). One is added: where its
    rule leaves a part of the area without backstop, scenes already picked are reused for it by the
    same greedy rule, for at least ``LEAST_REUSE_DEG2`` each. Picks that are not reused are the
    original's.

    Parameters
    ----------
    aoi : shapely geometry
        Area to cover, degrees of longitude and latitude; polygonal, valid, not empty.
    footprints : sequence of shapely geometry
        One per scene, polygonal and valid; an empty one never covers.
    cloud_cover : sequence of float
        Percent, one per scene, as given by the catalog.
    rules : CoverRules
        What to reach.

    Returns
    -------
    list of Pick
        Clear scenes, then backstop, then reused backstop, each in order of their pick.

    Raises
    ------
    ValueError
        Where the area to cover is empty or the two sequences differ in length.
    """
    search = _Search(aoi, footprints, cloud_cover)
    free = np.ones(len(footprints), dtype=np.bool_)
    room = len(footprints) if rules.max_selections is None else rules.max_selections
    limit = rules.max_uncovered
    clear, _ = search.cover(aoi, free, layers=rules.coverage_count, limit=limit, room=room)
    picks = [Pick(index, backstop=False, reused=False, gain=gain) for index, gain in clear]
    if not rules.backstop:
        return picks
    below, rest = search.cover(aoi, free, layers=1, limit=limit, room=room - len(clear))
    again = np.zeros_like(free)
    again[[pick.index for pick in picks]] = True
    reused, _ = search.cover(
        rest, again, layers=1, limit=0.0, room=len(clear), least_gain=LEAST_REUSE_DEG2
    )
    picks += [Pick(index, backstop=True, reused=False, gain=gain) for index, gain in below]
    picks += [Pick(index, backstop=True, reused=True, gain=gain) for index, gain in reused]
    return picks


class _Search:
    """Greedy search over fixed footprints."""

    def __init__(
        self, aoi: BaseGeometry, footprints: Sequence[BaseGeometry], cloud_cover: Sequence[float]
    ) -> None:
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
        """Square degrees of ``rest`` in each footprint of ``rows``, times its clear share."""
        common = shapely.intersection(self.footprints[rows], rest)
        return np.asarray(shapely.area(common) * self.clear_share[rows], dtype=np.float64)

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
        """Cover ``layers`` copies of ``start``; take what is picked from ``free`` (modified).

        Returns the picks with their gains, and the rest of the first copy.
        """
        rests = [start] * layers
        uncovered = np.full(layers, surface(start))
        gains = np.zeros((len(free), layers))
        rows = np.flatnonzero(free)
        gains[rows] = self.gains(rows, start)[:, np.newaxis]
        # A scene that sees nothing of the whole sees nothing of a part.
        useful = gains[:, 0] > 0
        picks: list[tuple[int, float]] = []
        while (
            uncovered.mean() > limit * self.aoi_surface and len(picks) < room and bool(free.any())
        ):
            # argmax takes the first of equals: by scene, then by copy.
            best, layer = divmod(int(gains.argmax()), layers)
            if gains[best, layer] <= least_gain:
                break
            picks.append((best, float(gains[best, layer])))
            free[best] = False
            gains[best] = 0.0
            rests[layer] = shapely.difference(rests[layer], self.footprints[best])
            uncovered[layer] = surface(rests[layer])
            # Only this copy changed, so only its column is computed again: all of it, because
            # the rounding of GEOS decides between equals, and did so in the original.
            rows = np.flatnonzero(free & useful)
            gains[rows, layer] = self.gains(rows, rests[layer])
        return picks, rests[0]


STRATEGIES: dict[str, Strategy] = {"original": pick_original}
"""How scenes are picked, by the name that a request gives."""


def uncovered_by_layer(
    aoi: BaseGeometry, footprints: Sequence[BaseGeometry], layers: int
) -> tuple[float, ...]:
    """Share of an area that fewer than 1, 2, ... footprints cover.

    Parameters
    ----------
    aoi : shapely geometry
        Area, degrees of longitude and latitude; polygonal, valid, not empty.
    footprints : sequence of shapely geometry
        Polygonal and valid, degrees.
    layers : int
        Greatest number of layers asked about, at least 1.

    Returns
    -------
    tuple of float
        ``layers`` shares of true area (see `surface`), 0 to 1, not falling; below ``LEAST_SHARE``
        they are 0.
    """
    whole = surface(aoi)
    # thin[l] is where at most l footprints lie. A footprint F leaves of it what lies outside of F,
    # and what lies in F and was in one layer less.
    thin = [aoi] * layers
    for footprint in footprints:
        for layer in range(layers - 1, -1, -1):
            outside = polygonal(shapely.difference(thin[layer], footprint))
            if layer == 0:
                thin[layer] = outside
                continue
            inside = polygonal(shapely.intersection(thin[layer - 1], footprint))
            thin[layer] = polygonal(shapely.union(outside, inside))
    shares = np.array([surface(part) for part in thin]) / whole
    shares[shares < LEAST_SHARE] = 0.0
    return tuple(float(share) for share in np.maximum.accumulate(np.minimum(shares, 1.0)))
