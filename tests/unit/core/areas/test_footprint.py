import json

import numpy as np
import pytest
import shapely
from shapely.geometry import MultiPolygon, box, mapping, shape

from cloudbuster.catalogs.item_properties import mgrs_tile_of
from cloudbuster.core.areas.antimeridian import unwrapped
from cloudbuster.core.areas.footprint import (
    COLUMNS,
    ROWS,
    TILES_NORTH_END_DEG,
    TILES_SOUTH_END_DEG,
    read_footprint,
    refuse_beyond_tiles,
    repaired_footprints,
    tile_square,
)

ACROSS = MultiPolygon([box(178, 67, 180, 68), box(-180, 67, -179, 68)])
ACROSS_BOX = [178, 67, -179, 68]


def footprint(*given, **named):
    found = read_footprint(*given, **named)
    assert found is not None
    return found


def square_of(tile):
    found = None if tile is None else tile_square(tile)
    assert found is not None
    return found


def jumping():
    ring = [[178, 67], [-179, 67], [-179, 68], [178, 68], [178, 67]]
    return {"type": "Polygon", "coordinates": [ring]}


@pytest.mark.parametrize(
    ("geometry", "bounds"),
    [
        (mapping(ACROSS), None),
        (jumping(), [-179, 67, 178, 68]),
        (mapping(box(178, 67, 181, 68)), None),
        (None, ACROSS_BOX),
        (None, [178, 67, 0, -179, 68, 4000]),
        ({}, [-179, 67, 178, 68]),
        ({"type": "Polygon", "coordinates": [[[0, 0]]]}, ACROSS_BOX),
        (mapping(box(-180, 67, 180, 68)), ACROSS_BOX),
    ],
)
def test_a_footprint_across_the_antimeridian_is_in_the_right_place(geometry, bounds):
    assert footprint(geometry, box=bounds).equals(ACROSS)


@pytest.mark.parametrize("bounds", [None, [-180, 67, 180, 68.5], [1, 2], ["a", 1, 2, 3], "bbox"])
def test_without_geometry_and_box_the_tile_gives_the_footprint(bounds):
    found = footprint(None, box=bounds, tile="1WCR")
    assert unwrapped(found).bounds == pytest.approx((178.12, 67.46, 180.89, 68.50), abs=0.01)
    assert read_footprint(None, box=bounds) is None


@pytest.mark.parametrize("tile", ["33TWA1", "61TWL", "33IWL", "33TAL", "", "33TWW"])
def test_a_tile_that_cannot_be_has_no_square(tile):
    assert tile_square(tile) is None


def test_a_footprint_like_the_square_of_its_tile_stays_as_it_is():
    square = square_of("33TWL")
    assert footprint(mapping(square)).equals_exact(square, 0)


def test_a_staircase_of_a_thousand_vertices_that_crosses_itself_is_repaired():
    steps = np.arange(1200)
    edge = np.column_stack([14 + 0.001 * (steps % 2) + steps * 1e-4, 45 + steps * 8e-4])
    # Two vertices in the wrong order, so that the ring crosses itself.
    edge[[300, 302]] = edge[[302, 300]]
    ring = [*edge.tolist(), [15.4, 45.96], [15.4, 45], edge[0].tolist()]
    document = {"type": "Polygon", "coordinates": [ring]}
    assert not shape(document).is_valid
    found = footprint(document)
    assert found.is_valid
    assert found.area == pytest.approx(shape(document).convex_hull.area, rel=0.01)


def test_many_footprints_are_repaired_as_one_is():
    bow_tie = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
    plain = box(10, 45, 11, 46)
    given = [plain, None, bow_tie, shape(jumping()), box(-180, 0, 180, 1), box(181, 0, 182, 1)]
    found = repaired_footprints(np.array([*given, None], dtype=np.object_)[:-1])
    assert found[0] is plain
    assert found[1] is None
    assert found[2].area == 2
    assert found[3].equals(ACROSS)
    assert found[4] is None
    assert found[5].bounds == (-179, 0, -178, 1)


@pytest.mark.real_data
def test_the_footprints_of_real_items_are_in_the_squares_of_their_tiles(test_data):
    documents = [
        json.loads(path.read_bytes()) for path in (test_data / "stac-items").rglob("*.json")
    ]
    members = [
        member
        for document in documents
        if isinstance(document, dict)
        for member in document.get("features", [document])
    ]
    items = [item for item in members if item.get("type") == "Feature" and "assets" in item]
    assert len(items) >= 70
    crossing = set()
    for item in items:
        found = footprint(item["geometry"], box=item["bbox"])
        square = square_of(mgrs_tile_of(item))
        if found.geom_type == "MultiPolygon":
            crossing.add(item["id"])
        # Edges of catalogs' footprints are straight in degrees, so that they leave the square a
        # little. For the sliver of a swath this is a larger share of its area.
        assert unwrapped(found).difference(square).area < 0.005 * square.area, item["id"]
    # The first is a MultiPolygon, the second a ring that jumps, with a box that spans the globe.
    assert crossing == {
        "S2B_T01WCR_20250427T000611_L2A",
        "S2A_OPER_MSI_L2A_TL_2APS_20230602T025701_A041483_T01WCR",
    }


def test_no_square_reaches_further_than_the_ends_say():
    for zone, band, south, north in ((33, "X", 72, 84), (34, "X", 72, 84), (33, "C", -80, -72)):
        # The squares at the edges of a zone are the furthest from the equator.
        for column in (COLUMNS[zone % 3][0], COLUMNS[zone % 3][-1]):
            squares = (square_of(f"{zone}{band}{column}{row}").bounds for row in ROWS)
            # The letters of the rows repeat; some of them give no square in this latitude band.
            there = [bounds for bounds in squares if bounds[3] > south and bounds[1] < north]
            assert max(bounds[3] for bounds in there) < TILES_NORTH_END_DEG
            assert min(bounds[1] for bounds in there) > TILES_SOUTH_END_DEG


@pytest.mark.parametrize("area", [box(10, 88, 11, 89), box(10, -89, 11, -88)])
def test_an_area_that_no_tile_reaches_is_refused(area):
    with pytest.raises(ValueError, match="no tile of Sentinel-2 lies between"):
        refuse_beyond_tiles(area)


@pytest.mark.parametrize(
    "area",
    [
        box(10, 83.9, 11, 89),
        box(10, -80.9, 11, -80.5),
        MultiPolygon([box(10, 88, 11, 89), box(10, 45, 11, 46)]),
    ],
)
def test_an_area_that_a_tile_may_reach_is_not_refused(area):
    refuse_beyond_tiles(area)
