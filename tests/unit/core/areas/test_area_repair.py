"""Invalid polygons: those with one meaning are repaired and said, the others refused."""

import re

import pytest
from shapely.geometry import MultiPolygon, Polygon, box

from cloudbuster.core.areas.aoi import read_area

Ring = list[list[float]]
SQUARE: Ring = [[0, 0], [4, 0], [4, 4], [0, 4], [0, 0]]
L_SHAPE = Polygon([[0, 0], [4, 0], [4, 4], [2, 4], [2, 2], [0, 2]])


@pytest.mark.parametrize(
    ("rings", "area", "reason"),
    [
        ([[[0, 0], [4, 0], [4, 4], [0, 4]]], box(0, 0, 4, 4), r"ends at \(0.0, 4.0\) closed"),
        (
            # A spike: out to (6, 4) and back.
            [[[0, 0], [4, 0], [4, 4], [6, 4], [4, 4], [0, 4], [0, 0]]],
            box(0, 0, 4, 4),
            "self-intersection",
        ),
        (
            # Two squares that meet in a point, drawn in one go in one direction.
            [[[0, 0], [2, 0], [2, 2], [4, 2], [4, 4], [2, 4], [2, 2], [0, 2], [0, 0]]],
            MultiPolygon([box(0, 0, 2, 2), box(2, 2, 4, 4)]),
            "ring self-intersection",
        ),
        (
            # A hole that is drawn as a bay of the outer ring, through one point.
            [[[0, 0], [4, 0], [4, 4], [0, 4], [0, 0], [1, 2], [2, 1], [0, 0]]],
            Polygon(SQUARE, [[[0, 0], [1, 2], [2, 1]]]),
            "ring self-intersection",
        ),
        (
            # A hole that shares an edge with the outer ring.
            [SQUARE, [[0, 2], [0, 4], [2, 4], [2, 2], [0, 2]]],
            L_SHAPE,
            "self-intersection",
        ),
        (
            # A loop of a ten-millionth of the area, as digitising leaves it at a vertex.
            [[[0, 0], [4, 0], [4, 4], [3.999, 4.001], [4, 4.001], [0, 4], [0, 0]]],
            box(0, 0, 4, 4),
            "self-intersection",
        ),
    ],
    ids=["open", "spike", "eight", "inverted", "bay", "tiny loop"],
)
def test_a_polygon_with_one_meaning_is_repaired_and_said(
    rings: list[Ring], area: Polygon, reason: str
) -> None:
    feature = {"type": "Polygon", "coordinates": rings}
    collection = {
        "type": "FeatureCollection",
        "features": [
            {"type": "Feature", "properties": {}, "geometry": box(8, 8, 9, 9).__geo_interface__},
            {"type": "Feature", "properties": {}, "geometry": feature},
        ],
    }
    read = read_area(collection)
    assert read.geometry.symmetric_difference(area.union(box(8, 8, 9, 9))).area < 0.01
    (note,) = read.notes
    assert note.startswith("feature 2 repaired: ")
    assert re.search(reason, note)


@pytest.mark.parametrize(
    "rings",
    [
        # The corners of a rectangle in the wrong order.
        [[[0, 0], [4, 4], [4, 0], [0, 4], [0, 0]]],
        # A loop that is passed twice.
        [[[0, 0], [4, 0], [4, 4], [0, 4], [0, 0], [4, 0], [4, 2], [0, 2], [0, 0]]],
        # A five-pointed star, whose middle is enclosed twice.
        [[[2, 4], [3.2, 0], [0, 2.5], [4, 2.5], [0.8, 0], [2, 4]]],
        # A hole outside of its polygon, and two holes that overlap.
        [SQUARE, [[5, 5], [6, 5], [6, 6], [5, 5]]],
        [SQUARE, [[1, 1], [3, 1], [3, 3], [1, 1]], [[1, 1], [3, 1], [3, 3.5], [1, 1]]],
    ],
    ids=["bow tie", "twice", "star", "hole outside", "holes that overlap"],
)
def test_a_polygon_with_several_meanings_is_refused(rings: list[Ring]) -> None:
    with pytest.raises(ValueError, match="can be understood in several ways, redraw it there"):
        read_area({"type": "Polygon", "coordinates": rings})


def test_a_valid_area_has_no_notes() -> None:
    assert read_area({"type": "Polygon", "coordinates": [SQUARE]}).notes == ()
