"""Texts of coordinate reference systems that are read, and systems that a mosaic can have."""

import pyproj
import pytest

from cloudbuster.core.projections.crs import parse_crs
from cloudbuster.core.projections.crs_text import MAX_CRS_CHARS

UTM = pyproj.CRS("EPSG:32633")
WKT = UTM.to_wkt()
WKT1 = UTM.to_wkt("WKT1_GDAL")


def of_proj(text: str) -> str:
    """WKT of a PROJ string."""
    return str(pyproj.CRS(text).to_wkt())


@pytest.mark.parametrize(
    "text",
    [
        *("EPSG:32633", "epsg:32633", " EPSG:3035 ", "ESRI:102003", "OGC:CRS84", "IGNF:LAMB93"),
        *(WKT, WKT1, WKT1.lower().replace("projcs", "PROJCS", 1)),
        of_proj("+proj=laea +lat_0=46 +lon_0=15"),
    ],
)
def test_codes_of_authorities_and_wkt_are_read(text: str) -> None:
    assert len(parse_crs(text).axis_info) == 2


@pytest.mark.parametrize(
    "text",
    [
        *("+proj=utm +zone=33", "+proj=pipeline +step +proj=utm +zone=33", "+init=epsg:4326"),
        *("+proj=utm +zone=33 +nadgrids=/etc/passwd", "+proj=utm +zone=33 +nadgrids=@null"),
        *("proj=utm zone=33", "urn:ogc:def:crs:EPSG::32633", "EPSG:4326@2020", "EPSG:4326+5773"),
        *("http://www.opengis.net/def/crs/EPSG/0/32633", "https://example.com/crs.wkt"),
        *("/etc/passwd", "file:///etc/passwd", "@/etc/passwd", "crs.prj", "32633", "WGS84"),
        *("WGS 84 / UTM zone 33N", UTM.to_json(), "EPSG:", ":32633", "EPSG:32633\0", "", " "),
        *("EPSG:32633 +nadgrids=x", "FOO:1", "EPSG:\ud800", "EPSG:" + "9" * 5000),
        WKT1.replace(
            ',AUTHORITY["EPSG","32633"]]', ',EXTENSION["PROJ4","+proj=utm +nadgrids=/etc/hosts"]]'
        ),
        of_proj("+proj=utm +zone=33 +ellps=bessel +nadgrids=/etc/hosts +type=crs"),
        of_proj("+proj=ob_tran +o_proj=moll +o_lat_p=30 +lon_0=10 +type=crs"),
        WKT + " " * MAX_CRS_CHARS,
        "PROJCRS[",
        WKT[:200],
    ],
)
def test_other_texts_are_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"no CRS .* exists|a CRS has .* characters") as caught:
        parse_crs(text)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("EPSG:4978", "is a Geocentric CRS"),
        ("EPSG:4979", "is a Geographic 3D CRS"),
        ("EPSG:5773", "is a Vertical CRS"),
        ("EPSG:7415", "is a Compound CRS"),
        ("IAU_2015:30100", "radius of 1737.4 km"),
        ("IAU_2015:49910", "radius of"),
        (WKT.replace('LENGTHUNIT["metre",1]', 'LENGTHUNIT["metre",1e300]'), "units out of range"),
        (WKT.replace("6378137", "1"), "radius of 0.001 km"),
        (WKT.replace("6378137", "1e300"), "radius of"),
    ],
)
def test_a_crs_that_no_mosaic_can_have_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        parse_crs(text)
    assert "give one with two axes" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        'LOCAL_CS["site",UNIT["metre",1],AXIS["E",EAST],AXIS["N",NORTH]]',
        'ENGCRS["site",EDATUM["y"],CS[Cartesian,2],AXIS["e",east],AXIS["n",north],'
        'LENGTHUNIT["metre",1]]',
        'VERTCRS["height",VDATUM["y"],CS[vertical,1],AXIS["h",up],LENGTHUNIT["metre",1]]',
        f"BOUNDCRS[SOURCECRS[{WKT}],TARGETCRS[{WKT}]]",
    ],
)
def test_wkt_of_other_kinds_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no CRS .* exists"):
        parse_crs(text)
