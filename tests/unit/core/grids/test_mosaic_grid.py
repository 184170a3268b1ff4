import math

import pyproj
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import MultiPolygon, box

from cloudbuster.core.areas.antimeridian import split
from cloudbuster.core.grids.mosaic_grid import (
    cell_size,
    has_native_phase,
    plan_grid,
    project_area,
    projected_bounds,
    resolve_crs,
    utm_crs_of,
    utm_parts,
)

AOI = box(15.0, 46.0, 15.2, 46.1)


def around(longitude, latitude, half=0.05):
    return box(longitude - half, latitude - half, longitude + half, latitude + half)


@pytest.mark.parametrize(
    ("longitude", "latitude", "crs"),
    [
        (15, 46, "EPSG:32633"),
        (-105, 39.7, "EPSG:32613"),
        (-58.4, -34.6, "EPSG:32721"),
        (151.2, -33.9, "EPSG:32756"),
        (-179.9, 10, "EPSG:32601"),
        (179.9, 10, "EPSG:32660"),
        (10.7, 0.06, "EPSG:32632"),
        # Norway: 32V reaches from 3 to 12 degrees.
        (5, 60, "EPSG:32632"),
        (5, 55, "EPSG:32631"),
        (5, 65, "EPSG:32631"),
        (2, 60, "EPSG:32631"),
        # Svalbard: no zones 32, 34 and 36 in band X.
        (8, 78, "EPSG:32631"),
        (10, 78, "EPSG:32633"),
        (20, 78, "EPSG:32633"),
        (22, 78, "EPSG:32635"),
        (34, 78, "EPSG:32637"),
        (43, 78, "EPSG:32638"),
        (10, 71, "EPSG:32632"),
    ],
)
def test_utm_zone_is_that_of_the_tiles(longitude, latitude, crs):
    assert utm_crs_of(around(longitude, latitude)) == crs


def test_an_area_that_touches_the_equator_is_in_one_hemisphere():
    assert utm_crs_of(box(10, 0, 11, 1)) == "EPSG:32632"
    assert utm_crs_of(box(10, -1, 11, 0)) == "EPSG:32732"


def test_an_area_wider_than_a_zone_is_refused_with_the_choice():
    assert utm_crs_of(box(12, 45, 18, 46)) == "EPSG:32633"
    with pytest.raises(ValueError, match=r"6\.10 degrees .* --crs .* one mosaic per zone"):
        utm_crs_of(box(12, 45, 18.1, 46))
    with pytest.raises(ValueError, match="degrees of longitude wide"):
        utm_crs_of(MultiPolygon([box(-180, 0, -175, 1), box(178, 0, 180, 1)]))


def test_an_area_in_both_hemispheres_is_refused_with_the_choice():
    with pytest.raises(ValueError, match=r"both hemispheres .* --crs .* one mosaic per zone"):
        utm_crs_of(box(10, -1, 11, 1))


@pytest.mark.parametrize("latitude", [85, -81])
def test_a_polar_area_is_refused(latitude):
    with pytest.raises(ValueError, match=r"UTM ends at .* polar CRS"):
        utm_crs_of(around(10, latitude))


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("utm", "EPSG:32633"),
        (" UTM ", "EPSG:32633"),
        ("epsg:3035", "EPSG:3035"),
        ("epsg:4326", "EPSG:4326"),
        ("ESRI:54009", "ESRI:54009"),
        (pyproj.CRS("EPSG:32633").to_wkt(), "EPSG:32633"),
    ],
)
def test_a_crs_has_one_canonical_text(text, canonical):
    assert resolve_crs(text, AOI) == canonical


def test_a_crs_without_a_code_becomes_wkt_that_reads_back():
    local = pyproj.CRS("+proj=laea +lat_0=46 +lon_0=15").to_wkt()
    canonical = resolve_crs(local, AOI)

    assert canonical.startswith("PROJCRS[")
    assert resolve_crs(canonical, AOI) == canonical


@pytest.mark.parametrize("text", ["EPSG:999999", "nonsense", "", "EPSG:"])
def test_a_crs_that_does_not_exist_is_refused(text):
    with pytest.raises(ValueError, match=r"no CRS .* exists") as caught:
        resolve_crs(text, AOI)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["EPSG:4978", "EPSG:4979", "EPSG:7415", "EPSG:5703"])
def test_a_crs_without_two_horizontal_axes_is_refused(text):
    with pytest.raises(ValueError, match="give one with two axes"):
        resolve_crs(text, AOI)


def test_cells_of_a_projected_crs_are_as_long_as_asked_in_its_own_unit():
    assert cell_size("EPSG:32633", gsd_m=10, latitude=46) == (10, 10)
    foot_m = 1200 / 3937
    assert cell_size("EPSG:2225", gsd_m=10, latitude=39) == pytest.approx((10 / foot_m,) * 2)


def test_cells_in_degrees_follow_the_original():
    x_size, y_size = cell_size("EPSG:4326", gsd_m=10, latitude=60)

    assert y_size == pytest.approx(10 / 110_000, rel=1e-12)
    assert x_size == pytest.approx(10 / 110_000 / math.cos(math.radians(60)), rel=1e-12)
    assert cell_size("EPSG:4326", gsd_m=10, latitude=-60) == (x_size, y_size)


def test_cells_of_a_geographic_crs_in_grads_are_grads():
    degrees = cell_size("EPSG:4326", gsd_m=10, latitude=46)

    assert cell_size("EPSG:4807", gsd_m=10, latitude=46) == pytest.approx(
        tuple(size / 0.9 for size in degrees)
    )


@pytest.mark.parametrize("gsd_m", [0, -10, math.nan, math.inf])
def test_a_cell_without_a_size_is_refused(gsd_m):
    with pytest.raises(ValueError, match="not above 0"):
        cell_size("EPSG:32633", gsd_m=gsd_m, latitude=0)


def test_cells_in_degrees_end_at_the_poles():
    with pytest.raises(ValueError, match="polar CRS"):
        cell_size("EPSG:4326", gsd_m=10, latitude=90)


def test_bounds_follow_the_edges_between_the_corners():
    # A parallel is curved in UTM: its middle is further from the pole than its ends.
    wide = box(12.0, 60.0, 18.0, 60.5)
    corners = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32633", always_xy=True)
    _, south_at_corner = corners.transform(12.0, 60.0)
    _, south_at_middle = corners.transform(15.0, 60.0)

    _, south, _, _ = projected_bounds(wide, "EPSG:32633")

    assert south == pytest.approx(south_at_middle, abs=0.1)
    assert south < south_at_corner - 3000


def test_bounds_are_tighter_than_those_of_the_bounding_box():
    diamond = shapely.Polygon([(14, 60), (15, 59), (16, 60), (15, 61)])

    west, south, east, north = projected_bounds(diamond, "EPSG:32633")
    box_west, box_south, box_east, box_north = projected_bounds(box(*diamond.bounds), "EPSG:32633")

    assert west > box_west
    assert east < box_east
    assert south >= box_south - 0.1
    assert north <= box_north + 0.1


def test_bounds_of_a_geographic_crs_are_longitude_then_latitude():
    assert projected_bounds(AOI, "EPSG:4326") == pytest.approx(AOI.bounds)


def test_an_area_outside_of_a_projection_is_refused():
    with pytest.raises(ValueError, match="outside of EPSG:3857"):
        projected_bounds(box(0, -95, 1, -91), "EPSG:3857")


@pytest.mark.parametrize(
    ("crs", "gsd_m", "native"),
    [
        ("EPSG:32633", 10, True),
        ("EPSG:32733", 60, True),
        ("EPSG:32633", 120, False),
        ("EPSG:32633", 15, False),
        ("EPSG:3035", 10, False),
        ("EPSG:4326", 10, False),
    ],
)
def test_native_phase_is_utm_at_a_native_size(crs, gsd_m, native):
    assert has_native_phase(crs, gsd_m) is native


@given(
    st.floats(-170, 170), st.floats(-70, 70), st.floats(1e-5, 0.5), st.sampled_from([10, 20, 60])
)
def test_grid_lines_are_multiples_of_the_cell_and_hold_the_area(lon, lat, size, gsd_m):
    aoi = box(lon, lat, lon + size, lat + size)
    if lat < 0 < lat + size:
        return

    crs = utm_crs_of(aoi)
    grid = plan_grid(aoi, crs=crs, gsd_m=gsd_m, phase=(3.0, 7.0))

    assert grid.west % gsd_m == 0
    assert grid.north % gsd_m == 0
    west, south, east, north = projected_bounds(aoi, crs)
    slack = gsd_m * 2e-3
    assert grid.bounds[0] <= west + slack
    assert grid.bounds[1] <= south + slack
    assert grid.bounds[2] >= east - slack
    assert grid.bounds[3] >= north - slack
    assert grid.width <= (east - west) / gsd_m + 2
    assert grid.height <= (north - south) / gsd_m + 2


def test_a_tiny_area_gives_one_cell():
    grid = plan_grid(around(15.00005, 46.00005, half=1e-7), crs="EPSG:32633", gsd_m=60)

    assert grid.shape == (1, 1)


def test_a_southern_area_has_positive_northings():
    grid = plan_grid(around(-58.4, -34.6), crs="EPSG:32721", gsd_m=10)

    assert 6_100_000 < grid.north < 6_300_000


def test_at_another_size_the_phase_is_that_of_the_raster():
    # The 120 m tiles 33TWL and 33TWM are half a cell apart in y.
    grid = plan_grid(AOI, crs="EPSG:32633", gsd_m=120, phase=(499_980.0, 5_200_020.0))

    assert (grid.west - 499_980) % 120 == 0
    assert (grid.north - 5_200_020) % 120 == 0


def test_a_grid_in_degrees_holds_the_area():
    grid = plan_grid(AOI, crs="EPSG:4326", gsd_m=10)

    west, south, east, north = grid.bounds
    assert west <= 15.0 + grid.x_size * 2e-3
    assert south <= 46.0 + grid.y_size * 2e-3
    assert east >= 15.2 - grid.x_size * 2e-3
    assert north >= 46.1 - grid.y_size * 2e-3
    assert grid.x_size == pytest.approx(10 / 110_000 / math.cos(math.radians(46.05)))


def test_a_grid_holds_another_extent_where_one_is_given():
    extent = (500_000.0, 5_090_220.0, 609_780.0, 5_200_000.0)

    grid = plan_grid(AOI, crs="EPSG:32633", gsd_m=20, extent_bounds=extent)

    assert grid.bounds == extent
    assert grid.shape == (5489, 5489)


def test_a_grid_beyond_what_a_raster_can_hold_is_refused():
    with pytest.raises(ValueError, match=r"cells a side .* raise --gsd"):
        plan_grid(AOI, crs="EPSG:32633", gsd_m=1e-6)


ACROSS = box(179.9, -17, 180.3, -16.8)


@pytest.mark.parametrize("written", [ACROSS, split(ACROSS)])
def test_the_zone_across_the_antimeridian_is_that_of_the_unwrapped_centroid(written):
    assert utm_crs_of(written) == "EPSG:32701"
    assert utm_crs_of(box(179.6, -17, 180.1, -16)) == "EPSG:32760"
    grid = plan_grid(written, crs="EPSG:32701", gsd_m=10)
    assert 4000 < grid.width < 4500


@pytest.mark.parametrize("written", [ACROSS, split(ACROSS)])
def test_longitudes_run_on_across_the_antimeridian(written):
    assert projected_bounds(written, "EPSG:4326") == pytest.approx((179.9, -17, 180.3, -16.8))
    # Fiji 1986 wraps longitudes where WGS 84 does not.
    west, _, east, _ = projected_bounds(written, "EPSG:4720")
    assert (west, east) == pytest.approx((179.9, 180.3), abs=1e-3)


@pytest.mark.parametrize("crs", ["EPSG:3857", "EPSG:6933", "EPSG:3395"])
def test_a_crs_that_cuts_the_area_apart_is_refused(crs):
    with pytest.raises(ValueError, match=f"{crs} cuts the area apart .*EPSG:8859"):
        project_area(ACROSS, crs)
    # Next to the cut there is no error.
    assert project_area(box(179.8, -17, 180, -16.8), crs).is_valid


def test_project_area_keeps_holes_and_parts():
    area = MultiPolygon([shapely.difference(AOI, box(15.05, 46.02, 15.1, 46.05)), around(16, 46)])
    projected = project_area(area, "EPSG:32633")
    assert len(projected.geoms) == 2
    assert len(projected.geoms[0].interiors) == 1
    back = project_area(area, "EPSG:4326")
    assert back.equals(area)


def parts_of(area):
    return dict(utm_parts(area))


def test_an_area_of_one_zone_is_one_part():
    [(crs, part)] = utm_parts(AOI)
    assert crs == "EPSG:32633"
    assert part.equals(AOI)


def test_an_area_is_cut_by_zone_and_hemisphere_from_west_to_east():
    parts = utm_parts(box(5, -1, 13, 2))
    assert [crs for crs, _ in parts] == [
        *("EPSG:32631", "EPSG:32731"),
        *("EPSG:32632", "EPSG:32732"),
        *("EPSG:32633", "EPSG:32733"),
    ]
    assert dict(parts)["EPSG:32732"].equals(box(6, -1, 12, 0))


def test_norway_and_svalbard_have_zones_of_their_own():
    norway = parts_of(box(2, 55, 7, 65))
    assert list(norway) == ["EPSG:32631", "EPSG:32632"]
    assert norway["EPSG:32632"].covers(box(3, 56, 7, 64))
    assert norway["EPSG:32631"].covers(box(3, 64, 6, 65))
    svalbard = parts_of(box(8, 73, 34, 80))
    assert [int(crs[-2:]) for crs in svalbard] == [31, 33, 35, 37]
    assert svalbard["EPSG:32633"].equals(box(9, 73, 21, 80))


@pytest.mark.parametrize("written", [box(170, -2, 190, -1), split(box(170, -2, 190, -1))])
def test_zones_go_on_across_the_antimeridian(written):
    parts = utm_parts(written)
    assert [crs for crs, _ in parts] == ["EPSG:32759", "EPSG:32760", "EPSG:32701", "EPSG:32702"]
    assert dict(parts)["EPSG:32701"].bounds == (-180, -2, -174, -1)


def test_slivers_under_a_cell_are_left_out():
    # One metre, and ten metres, in zone 32.
    assert len(utm_parts(box(5.9, 45, 6 + 1e-5, 45.00001))) == 1
    assert len(utm_parts(box(5.9, 45, 6 + 2e-4, 45.0002))) == 2


@pytest.mark.parametrize("area", [box(10, 83, 11, 84.5), box(10, -81, 11, -79)])
def test_parts_beyond_utm_are_refused(area):
    for plan in (utm_parts, utm_crs_of):
        with pytest.raises(ValueError, match=r"UTM ends at 84 and -80: cut the area there, or"):
            plan(area)


def test_utm_each_is_no_crs_of_one_mosaic():
    with pytest.raises(ValueError, match="`cloudbuster run --crs utm-each`"):
        resolve_crs("UTM-each", AOI)


@given(
    st.floats(-180, 179),
    st.floats(-79, 70),
    st.floats(0.01, 30),
    st.floats(0.01, 13),
)
def test_zones_tile_an_area(west, south, width, height):
    area = box(west, south, west + width, south + height)
    parts = utm_parts(area)
    assert len({crs for crs, _ in parts}) == len(parts)
    assert sum(part.area for _, part in parts) == pytest.approx(area.area, rel=1e-4)
    for crs, part in parts:
        middle = part.representative_point()
        assert utm_crs_of(middle.buffer(1e-9)) == crs
