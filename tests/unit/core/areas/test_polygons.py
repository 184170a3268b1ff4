import numpy as np
import pytest
import shapely
from shapely.geometry import GeometryCollection, LineString, MultiPolygon, Point, Polygon, box

from cloudbuster.core.areas.footprint import read_footprint, repaired_footprints
from cloudbuster.core.areas.polygons import geodesic_area_m2, have_empty_rings, polygonal

# Surface of the WGS 84 ellipsoid, square metres (Karney, GeographicLib, `EllipsoidArea`).
ELLIPSOID_M2 = 510_065_621_724_088.4
SQUARE = box(10, 45, 11, 46)


def test_polygonal_repairs_a_bow_tie() -> None:
    repaired = polygonal(Polygon([(0, 0), (2, 2), (2, 0), (0, 2)]))
    assert repaired.is_valid
    assert repaired.area == pytest.approx(2)


def test_polygonal_keeps_the_vertices_of_a_valid_polygon_in_their_order() -> None:
    assert polygonal(SQUARE).wkb == SQUARE.wkb


@pytest.mark.parametrize(
    "mixed",
    [
        GeometryCollection([Point(0, 0), LineString([(0, 0), (1, 1)]), SQUARE]),
        GeometryCollection([GeometryCollection([LineString([(0, 0), (1, 1)]), SQUARE]), SQUARE]),
        GeometryCollection([GeometryCollection([GeometryCollection([SQUARE, Point(0, 0)])])]),
        shapely.force_3d(SQUARE, 7.0),
        Polygon([(10, 45), (11, 45), (11, 46), (11, 48), (11, 46), (10, 46)]),
    ],
)
def test_polygonal_leaves_out_points_lines_spikes_and_heights(mixed: object) -> None:
    polygon = polygonal(mixed)
    assert polygon.equals(SQUARE)
    assert not polygon.has_z


@pytest.mark.parametrize("empty", [LineString([(0, 0), (1, 1)]), Point(), Polygon()])
def test_polygonal_of_a_geometry_without_area_is_an_empty_polygon(empty: object) -> None:
    polygon = polygonal(empty)
    assert polygon.is_empty
    assert polygon.geom_type in ("Polygon", "MultiPolygon")


def test_geodesic_area_of_an_octant_is_an_eighth_of_the_ellipsoid() -> None:
    octant = Polygon([(0, 0), (90, 0), (0, 90)])
    assert geodesic_area_m2(octant) == pytest.approx(ELLIPSOID_M2 / 8, rel=1e-12)


def test_geodesic_area_subtracts_holes_whatever_the_direction_of_the_rings() -> None:
    shell, hole = box(0, 0, 3, 3), box(1, 1, 2, 2)
    expected = geodesic_area_m2(shell) - geodesic_area_m2(hole)
    for ring in (hole.exterior.coords, hole.exterior.coords[::-1]):
        holed = Polygon(shell.exterior.coords, [ring])
        assert geodesic_area_m2(holed) == pytest.approx(expected, rel=1e-12)


def test_geodesic_area_of_parts_is_their_sum_and_of_nothing_zero() -> None:
    parts = MultiPolygon([box(0, 0, 1, 1), box(2, 0, 3, 1)])
    assert geodesic_area_m2(parts) == pytest.approx(2 * geodesic_area_m2(box(0, 0, 1, 1)))
    assert geodesic_area_m2(MultiPolygon()) == 0


RING = [[10, 45], [11, 45], [11, 46], [10, 46], [10, 45]]
HOLE = [[10.2, 45.2], [10.4, 45.2], [10.4, 45.4], [10.2, 45.2]]


@pytest.mark.parametrize("empty", [None, []])
@pytest.mark.parametrize("several", [False, True])
def test_a_footprint_has_no_empty_rings(empty: list[object] | None, several: bool) -> None:
    rings = [RING, empty, HOLE, empty]
    document = (
        {"type": "MultiPolygon", "coordinates": [rings]}
        if several
        else {"type": "Polygon", "coordinates": rings}
    )
    found = read_footprint(document)
    assert found is not None
    assert not have_empty_rings(np.array([found], dtype=object)).any()
    assert found.area == pytest.approx(1 - 0.02)
    # GEOS would read beyond its memory.
    shapely.prepare(found)
    assert not shapely.touches(box(10.5, 45.5, 12, 47), found)


def test_many_footprints_have_no_empty_rings() -> None:
    holed = shapely.from_wkt("POLYGON ((10 45, 11 45, 11 46, 10 46, 10 45), EMPTY)")
    given = np.array([SQUARE, holed, None, Polygon()], dtype=object)
    assert have_empty_rings(given[:3]).tolist() == [False, True, False]
    repaired = repaired_footprints(given)
    assert repaired[0] is SQUARE
    assert repaired[1].equals(SQUARE)
    assert not have_empty_rings(repaired[:2]).any()
    assert repaired[2] is None
