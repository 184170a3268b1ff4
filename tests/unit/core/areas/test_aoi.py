import math

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import MultiPolygon, Polygon, box

from cloudbuster.core.areas import aoi
from cloudbuster.core.areas.aoi import (
    MOST_SIMPLIFICATION_DEG,
    feature_property,
    geometry_document,
    parse_aoi,
    simplified,
)

SQUARE = [[10, 45], [11, 45], [11, 46], [10, 46], [10, 45]]


def polygon(*rings):
    return {"type": "Polygon", "coordinates": list(rings)}


def feature(geometry, **properties):
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def features(*members):
    return {"type": "FeatureCollection", "features": list(members)}


def test_parse_aoi_reads_geometry_feature_and_collection_alike():
    expected = box(10, 45, 11, 46)
    for document in (
        polygon(SQUARE),
        feature(polygon(SQUARE)),
        features(feature(polygon(SQUARE))),
        {"type": "GeometryCollection", "geometries": [polygon(SQUARE)]},
        {"type": "MultiPolygon", "coordinates": [[SQUARE]]},
    ):
        assert parse_aoi(document).equals(expected)


def test_parse_aoi_unites_features_that_overlap():
    other = [[10.5, 45], [11.5, 45], [11.5, 46], [10.5, 46], [10.5, 45]]
    area = parse_aoi(features(feature(polygon(SQUARE)), feature(polygon(other))))
    assert area.equals(box(10, 45, 11.5, 46))


def test_parse_aoi_accepts_parts_of_a_multipolygon_that_overlap():
    area = parse_aoi({"type": "MultiPolygon", "coordinates": [[SQUARE], [SQUARE]]})
    assert area.equals(box(10, 45, 11, 46))


def test_parse_aoi_keeps_holes_and_leaves_heights_out():
    hole = [[10.2, 45.2, 9], [10.4, 45.2, 9], [10.4, 45.4, 9], [10.2, 45.4, 9], [10.2, 45.2, 9]]
    area = parse_aoi(polygon(SQUARE, hole))
    assert area.area == pytest.approx(1 - 0.04)
    assert not area.has_z


def test_parse_aoi_scales_each_feature_about_the_centre_of_its_bounding_box():
    far = [[20, 45], [22, 45], [22, 46], [20, 46], [20, 45]]
    area = parse_aoi(features(feature(polygon(SQUARE)), feature(polygon(far))), scale=0.5)
    first, second = sorted(area.geoms, key=lambda part: part.bounds)
    assert first.bounds == (10.25, 45.25, 10.75, 45.75)
    assert second.bounds == (20.5, 45.25, 21.5, 45.75)


def test_parse_aoi_scales_about_the_box_and_not_about_the_centroid():
    triangle = [[10, 45], [12, 45], [10, 46], [10, 45]]
    assert parse_aoi(polygon(triangle), scale=2).bounds == (9, 44.5, 13, 46.5)


def test_parse_aoi_original_shape_overrides_scale():
    area = parse_aoi(polygon(SQUARE), scale=3, original_shape=True)
    assert area.equals(box(10, 45, 11, 46))


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "the geometry has no GeoJSON type"),
        (features(), "holds no feature"),
        ({"type": "FeatureCollection"}, "holds no feature"),
        (features(feature(None)), "feature 1 has no geometry"),
        (features(feature(polygon(SQUARE)), 3), "feature 2 has no geometry"),
        (feature({"type": "Point", "coordinates": [10, 45]}), "the feature is a Point; only"),
        ({"type": "LineString", "coordinates": SQUARE}, "is a LineString; only"),
        ({"type": "Polygon"}, "is an empty Polygon"),
        ({"type": "Polygon", "coordinates": []}, "is an empty Polygon"),
        ({"type": "MultiPolygon", "coordinates": [[]]}, "is an empty MultiPolygon"),
        ({"type": "GeometryCollection", "geometries": []}, "is an empty GeometryCollection"),
        (polygon(SQUARE[:2]), "a ring of 2 positions; it needs 4 or more"),
        (polygon([]), "a ring of 0 positions; it needs 4 or more"),
        (polygon(3), "a ring of 0 positions; it needs 4 or more"),
        (polygon([*SQUARE[:-1], [10, "45"]]), r"position \[10, '45'\] is not two finite numbers"),
        (polygon([*SQUARE[:-1], [10, math.nan]]), "not two finite numbers"),
        (polygon([*SQUARE[:-1], [10, math.inf]]), "not two finite numbers"),
        (polygon([*SQUARE[:-1], [10]]), "not two finite numbers"),
        (polygon([*SQUARE[:-1], [True, 45]]), "not two finite numbers"),
        (polygon([[10, 45], [11, 46], [10.5, 45.5], [10, 45]]), "a polygon of area 0"),
        (polygon([[0, 0], [5e5, 0], [5e5, 5e6], [0, 0]]), "outside of longitude -180 to 180"),
        (polygon([[179, 0], [361, 0], [181, 1], [179, 0]]), "to 360 if it crosses"),
        (
            polygon([[-100, 30], [100, 30], [100, 50], [-100, 50], [-100, 30]]),
            "the geometry: it is 200 degrees of longitude wide, from -100 to 100: make it narrower",
        ),
        (
            polygon(
                [[-180, 60], [-60, 60], [60, 60], [180, 60], [180, 80], [-180, 80], [-180, 60]]
            ),
            "the geometry: it goes round the north pole",
        ),
        (
            features(
                feature(polygon([[-95, 0], [0, 0], [0, 9], [-95, 9], [-95, 0]])),
                feature(polygon([[0, 0], [95, 0], [95, 9], [0, 9], [0, 0]])),
            ),
            "it is 190 degrees of longitude wide",
        ),
        (
            features(feature(polygon([[0, 0], [2, 2], [2, 0], [0, 2], [0, 0]]))),
            "feature 1: self-intersection at longitude 1, latitude 1; what it encloses can be",
        ),
    ],
)
def test_parse_aoi_says_what_is_wrong_with_an_area(document, message):
    with pytest.raises(ValueError, match=message):
        parse_aoi(document)


@pytest.mark.parametrize("scale", [0, -1, math.nan, math.inf])
def test_parse_aoi_refuses_a_scale_that_is_none(scale):
    with pytest.raises(ValueError, match="must be a number above 0"):
        parse_aoi(polygon(SQUARE), scale=scale)


def test_parse_aoi_refuses_a_scale_that_leaves_the_earth():
    with pytest.raises(ValueError, match="AOI scaled by 500 reaches from"):
        parse_aoi(polygon(SQUARE), scale=500)


def test_parse_aoi_takes_the_old_names_of_longitude_and_latitude():
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}
    assert parse_aoi({**polygon(SQUARE), "crs": crs}).area == 1


@given(
    west=st.floats(-170, 160),
    south=st.floats(-80, 70),
    width=st.floats(0.01, 5),
    scale=st.floats(0.2, 2),
)
def test_parse_aoi_scale_multiplies_the_area_by_its_square(west, south, width, scale):
    square = geometry_document(box(west, south, west + width, south + width))
    scaled = parse_aoi(square, scale=scale)
    assert scaled.area == pytest.approx(width**2 * scale**2, rel=1e-6)


def test_geometry_document_is_what_a_json_reader_gives():
    assert geometry_document(Polygon(SQUARE))["coordinates"] == [
        [list(map(float, position)) for position in SQUARE]
    ]


def test_feature_property_is_that_of_the_first_feature():
    document = features(feature(None, name="first"), feature(None, name="second"))
    assert feature_property(document, "name") == "first"
    assert feature_property(feature(None, number=7), "number") == "7"


@pytest.mark.parametrize(
    "document",
    [features(), features(feature(None, other=1)), polygon(SQUARE), feature(None, name="")],
)
def test_feature_property_that_is_absent_is_an_error(document):
    with pytest.raises(ValueError, match="the first feature has no property 'name'"):
        feature_property(document, "name")


ACROSS = box(179, -17, 181, -16)


@pytest.mark.parametrize(
    "document",
    [
        polygon([[179, -17], [181, -17], [181, -16], [179, -16], [179, -17]]),
        polygon([[-181, -17], [-179, -17], [-179, -16], [-181, -16], [-181, -17]]),
        polygon([[179, -17], [-179, -17], [-179, -16], [179, -16], [179, -17]]),
        geometry_document(MultiPolygon([box(179, -17, 180, -16), box(-180, -17, -179, -16)])),
        features(
            feature(geometry_document(box(179, -17, 180, -16))),
            feature(geometry_document(box(-180, -17, -179, -16))),
        ),
        {**feature(None), "bbox": [179, -17, -179, -16]},
        {**feature(None), "bbox": [179, -17, 0, -179, -16, 100]},
    ],
)
def test_parse_aoi_reads_every_way_to_cross_the_antimeridian(document):
    area = parse_aoi(document)
    assert area.equals(ACROSS)
    assert area.geom_type == "Polygon"
    assert geometry_document(area)["type"] == "MultiPolygon"
    assert parse_aoi(geometry_document(area)).equals(ACROSS)


def test_parse_aoi_scales_about_the_middle_across_the_antimeridian():
    parts = MultiPolygon([box(179, -17, 180, -16), box(-180, -17, -179, -16)])
    area = parse_aoi(geometry_document(parts), scale=0.5)
    assert area.bounds == (179.5, -16.75, 180.5, -16.25)
    assert parse_aoi(geometry_document(box(178, 0, 179.5, 1)), scale=3).bounds[2] > 180


def test_parse_aoi_refuses_a_scale_that_goes_round_half_the_world():
    with pytest.raises(ValueError, match="scaled by 20: it is 200 degrees of longitude wide"):
        parse_aoi(polygon([[0, 0], [10, 0], [10, 1], [0, 1], [0, 0]]), scale=20)


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ([1, 2, 3], "the feature: a bbox of 3 numbers; give west, south, east, north"),
        ([], "the feature: a bbox of 0 numbers"),
        ([1, "2", 3, 4], r"the feature, bbox: position \[1, '2'\] is not two finite"),
        ([1, 2, 3, None], "is not two finite"),
        ([1, 2, 1, 3], "a polygon of area 0"),
        ([0, 0, 200, 1], "it is 200 degrees of longitude wide"),
        ([1, 3, 2, 2], r"a bbox from \(1, 3\) to \(2, 2\); give west, south, east, north"),
    ],
)
def test_parse_aoi_says_what_is_wrong_with_a_bounding_box(bounds, message):
    with pytest.raises(ValueError, match=message):
        parse_aoi({**feature(None), "bbox": bounds})


def ragged(count):
    """Return a coast of ``count`` vertices, every other one 50 m further out."""
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    radius = 0.5 + 5e-4 * (np.arange(count) % 2)
    return Polygon(np.column_stack([15 + radius * np.cos(angle), 46 + radius * np.sin(angle)]))


def test_simplified_leaves_a_simple_area_alone_and_a_ragged_one_nearly_so():
    coast = ragged(20_000)
    assert simplified(coast, max_vertices=20_001) is coast
    simple = simplified(coast, max_vertices=1000)
    assert simple.is_valid
    assert shapely.get_num_coordinates(simple) <= 1000
    assert simple.symmetric_difference(coast).area < 0.01 * coast.area
    assert coast.hausdorff_distance(simple) < MOST_SIMPLIFICATION_DEG


def test_simplified_gives_up_where_only_small_islands_are_left():
    islands = MultiPolygon([box(n, 0, n + 0.5, 0.5) for n in range(100)])
    assert simplified(islands, max_vertices=10).equals(islands)


@pytest.mark.parametrize("parts", [1, 3])
def test_an_area_of_too_many_positions_is_refused(parts, monkeypatch):
    monkeypatch.setattr(aoi, "MAX_POSITIONS", 12)
    squares = [[[[x, 0], [x + 1, 0], [x + 1, 1], [x, 1], [x, 0]]] for x in range(0, 2 * parts, 2)]
    ring = [[x / 10, 0] for x in range(12)] + [[0, 1], [0, 0]]
    document = {"type": "MultiPolygon", "coordinates": squares if parts > 1 else [[ring]]}
    with pytest.raises(ValueError, match="the area has over 12 positions; simplify it"):
        parse_aoi(document)
