import pytest
import shapely

from cloudbuster.errors import MaskError
from cloudbuster.source.masks.gml import read_cloud_polygons

HEAD = (
    "<eop:Mask xmlns:eop='http://www.opengis.net/eop/2.0' xmlns:gml='http://www.opengis.net/gml'>"
)


def ring(kind, numbers, dimension=2):
    return (
        f"<gml:{kind}><gml:LinearRing><gml:posList srsDimension='{dimension}'>{numbers}"
        f"</gml:posList></gml:LinearRing></gml:{kind}>"
    )


def feature(kind, *rings):
    return (
        f"<eop:MaskFeature><eop:maskType>{kind}</eop:maskType><eop:extentOf>"
        f"<gml:Polygon srsName='urn:ogc:def:crs:EPSG::32632'>{''.join(rings)}</gml:Polygon>"
        "</eop:extentOf></eop:MaskFeature>"
    )


def write(tmp_path, text):
    path = tmp_path / "clouds.gml"
    path.write_text(text)
    return str(path)


SQUARE = ring("exterior", "0 0 10 0 10 10 0 10 0 0")


def test_cloud_polygons_have_holes_and_a_crs(tmp_path):
    hole = ring("interior", "2 2 4 2 4 4 2 4 2 2")
    text = f"{HEAD}{feature('OPAQUE', SQUARE, hole)}{feature('CIRRUS', SQUARE)}</eop:Mask>"
    clouds = read_cloud_polygons(write(tmp_path, text))
    assert clouds.crs == "EPSG:32632"
    assert [polygon.area for polygon in clouds.polygons] == [96, 100]


def test_cloud_polygons_may_have_three_dimensions(tmp_path):
    square = ring("exterior", "0 0 5 10 0 5 10 10 5 0 10 5 0 0 5", dimension=3)
    clouds = read_cloud_polygons(write(tmp_path, f"{HEAD}{feature('OPAQUE', square)}</eop:Mask>"))
    assert clouds.polygons[0].equals(shapely.box(0, 0, 10, 10))


def test_other_mask_types_are_not_cloud(tmp_path):
    text = f"{HEAD}{feature('SNOW', SQUARE)}</eop:Mask>"
    assert read_cloud_polygons(write(tmp_path, text)).polygons == ()


def test_a_mask_without_features_has_no_cloud(tmp_path):
    clouds = read_cloud_polygons(write(tmp_path, f"{HEAD}</eop:Mask>"))
    assert (clouds.crs, clouds.polygons) == (None, ())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not readable as GML"),
        (f"{HEAD}<eop:maskMembers>", "not readable as GML"),
        ("<html/>", "is a html, not an MSK_CLOUDS mask"),
        (
            "<!DOCTYPE x [<!ENTITY a 'b'>]><eop:Mask xmlns:eop='e'>&a;</eop:Mask>",
            "not readable as GML",
        ),
        (f"{HEAD}{feature('OPAQUE')}</eop:Mask>", "0 exterior rings"),
        (f"{HEAD}{feature('OPAQUE', ring('exterior', '0 0 1'))}</eop:Mask>", "3 numbers in 2"),
        (f"{HEAD}{feature('OPAQUE', ring('exterior', '0 0 1 1'))}</eop:Mask>", "cannot be read"),
        (f"{HEAD}{feature('OPAQUE', ring('exterior', '0 0 1 b'))}</eop:Mask>", "cannot be read"),
    ],
    ids=["empty", "truncated", "html", "entity", "no ring", "odd", "short", "words"],
)
def test_a_file_that_is_not_a_mask_is_refused(tmp_path, text, words):
    with pytest.raises(MaskError, match=words):
        read_cloud_polygons(write(tmp_path, text))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(MaskError, match="check the path"):
        read_cloud_polygons(str(tmp_path / "none.gml"))


@pytest.mark.real_data
def test_real_cloud_polygons_are_read(test_data):
    path = test_data / "l1c-masks" / "T32TNM_20170226_MSK_CLOUDS_B00.gml"
    clouds = read_cloud_polygons(str(path))
    assert clouds.crs == "EPSG:32632"
    assert len(clouds.polygons) == 5
    assert all(polygon.is_valid for polygon in clouds.polygons)
    assert shapely.MultiPolygon(clouds.polygons).bounds == (501840, 4652700, 575940, 4687860)
