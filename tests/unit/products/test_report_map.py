"""Tests of the parts of the report's map: values, picture, lines, places and the timeline."""

import base64
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
import rasterio
import shapely

from cloudbuster.core.grids.grid import Grid
from cloudbuster.models import Radiometry, Unpicked
from cloudbuster.products.report import rasters as rasters_module
from cloudbuster.products.report.outlines import footprint, graticule, lattice, outline
from cloudbuster.products.report.page import ReportFiles, write_report
from cloudbuster.products.report.places import never_clear_places
from cloudbuster.products.report.rasters import (
    CODES_BYTES,
    PICTURE_BYTES,
    CodeBand,
    MapRasters,
    encode_codes,
    picture_uri,
    read_rasters,
)
from cloudbuster.products.report.scene_rows import SceneRow
from cloudbuster.products.report.sections import SECTIONS, Facts
from cloudbuster.products.report.timeline import make_timeline
from cloudbuster.products.stac_item import MosaicDescription, MosaicScene
from cloudbuster.storage.rasters.tiled_raster import raster_profile
from tests.hand_made import make_record
from tests.report_page import ReportPage

TILE = Grid("EPSG:32633", 399_960, 5_100_000, 10, 10, 10_980, 10_980)
NOISE = np.random.default_rng(11)


def write(path: Path, grid: Grid, bands: dict[str, np.ndarray]) -> Path:
    with rasterio.open(path, "w", **raster_profile(grid, len(bands))) as dataset:
        for number, (name, values) in enumerate(bands.items(), start=1):
            dataset.write(values.astype(np.uint16), number)
            dataset.set_band_description(number, name)
    return path


def noise(size: int, most: int) -> np.ndarray:
    return NOISE.integers(0, most, (size, size))


def products(folder: Path, grid: Grid) -> tuple[Path, Path]:
    size = grid.width
    colours = {name: noise(size, 9000) + 1 for name in ("B04", "B03", "B02")}
    cloudless = write(folder / "c.tif", grid, {**colours, "scene_index": noise(size, 300)})
    counts = {name: noise(size, 9) for name in ("times_observed", "times_clear")}
    rest = {"cloud_distance_m": noise(size, 3001), "state": noise(size, 4)}
    return cloudless, write(folder / "q.tif", grid, {**counts, **rest})


@pytest.mark.parametrize("codes", [[[0, 7], [255, 1]], [[0, 256], [3000, 65535]]])
def test_codes_are_packed_in_planes_of_bytes(codes: list[list[int]]) -> None:
    values = np.array(codes, dtype=np.uint8 if np.max(codes) < 256 else np.uint16)
    planes = zlib.decompress(base64.b64decode(encode_codes(values)))
    low = [value % 256 for row in codes for value in row]
    high = [value // 256 for row in codes for value in row]
    assert list(planes) == (low if np.max(codes) < 256 else [*low, *high])


def test_a_mosaic_of_noise_is_reduced_until_it_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = Grid("EPSG:32633", 500_000, 5_100_000, 10, 10, 64, 64)
    cloudless, quality = products(tmp_path, grid)
    whole = read_rasters(cloudless, quality, grid, None)
    assert whole.grid.shape == (64, 64)
    names = ["scene_index", "times_observed", "times_clear", "cloud_distance_m", "state"]
    assert [band.name for band in whole.bands] == names
    monkeypatch.setattr(rasters_module, "CODES_SIZES", (64, 32, 16))
    monkeypatch.setattr(rasters_module, "PICTURE_SIZES", (64, 32, 16))
    monkeypatch.setattr(rasters_module, "CODES_BYTES", 8_000)
    monkeypatch.setattr(rasters_module, "PICTURE_BYTES", len(whole.picture) - 1)
    found = read_rasters(cloudless, quality, grid, None)
    assert found.grid.shape == (32, 32)
    assert sum(len(encode_codes(band.codes)) for band in found.bands) <= 8_000
    assert len(found.picture) < len(whole.picture)
    # Each cell of the map has the value of a cell of the mosaic that it covers.
    codes = whole.codes("scene_index").reshape(32, 2, 32, 2)
    assert (
        (found.codes("scene_index")[:, np.newaxis, :, np.newaxis] == codes).any(axis=(1, 3)).all()
    )


def test_the_picture_is_a_png_where_gdal_has_no_webp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = Grid("EPSG:32633", 500_000, 5_100_000, 10, 10, 8, 8)
    cloudless, _ = products(tmp_path, grid)
    assert picture_uri(cloudless).startswith("data:image/webp;base64,")
    monkeypatch.setattr(rasterio.Env, "drivers", lambda _: {"PNG": "png", "GTiff": "GeoTIFF"})
    assert picture_uri(cloudless).startswith("data:image/png;base64,")


def interpolated(nodes: dict[str, Any], grid: Grid, x: float, y: float) -> tuple[float, float]:
    """Interpolate as the page does: linearly between the four nodes around a place."""
    last = nodes["size"] - 1
    across, down = (
        (x - grid.west) / 10 / grid.width * last,
        (grid.north - y) / 10 / grid.height * last,
    )
    col, row = int(across), int(down)
    a, b = across - col, down - row
    lon, lat = (np.reshape(nodes[name], (last + 1, last + 1)) for name in ("lon", "lat"))
    weights = np.outer([1 - b, b], [1 - a, a])
    place = np.s_[row : row + 2, col : col + 2]
    return float((lon[place] * weights).sum()), float((lat[place] * weights).sum())


def test_coordinates_between_nodes_are_within_a_metre_over_a_tile() -> None:
    nodes = lattice(TILE)
    assert nodes is not None
    to_lonlat = pyproj.Transformer.from_crs(TILE.crs, "EPSG:4326", always_xy=True)
    geod = pyproj.Geod(ellps="WGS84")
    for x, y in ((402_100, 5_097_700), (454_321, 5_045_678), (507_500, 4_992_500)):
        _, _, error = geod.inv(*interpolated(nodes, TILE, x, y), *to_lonlat.transform(x, y))
        assert error < 1


def test_lines_are_in_columns_and_rows() -> None:
    to_lonlat = pyproj.Transformer.from_crs(TILE.crs, "EPSG:4326", always_xy=True)
    corners = [
        (410_000, 5_000_000),
        (420_000, 5_000_000),
        (420_000, 5_010_000),
        (410_000, 5_010_000),
    ]
    area = shapely.Polygon([to_lonlat.transform(*corner) for corner in corners])
    (ring,) = outline(area, TILE)
    west, north, east, south = 1004, 9000, 2004, 10_000
    assert np.min(ring, axis=0) == pytest.approx([west, north], abs=6)
    assert np.max(ring, axis=0) == pytest.approx([east, south], abs=6)
    record = make_record(1, "A", item={"id": "A", "geometry": shapely.geometry.mapping(area)})
    assert footprint(record, TILE, 14.0) == [ring]
    labels = [line["label"] for line in graticule(TILE, lattice(TILE))]
    assert labels == ["14.0°E", "14.5°E", "15.0°E", "45.5°N", "46.0°N"]


def test_a_footprint_that_is_not_one_draws_nothing() -> None:
    for geometry in (None, "x", {"type": "Point", "coordinates": [1, 2]}):
        record = make_record(1, "A", item={"id": "A", "geometry": geometry}, mgrs_tile=None)
        assert footprint(record, TILE, 15.0) == []


def test_around_a_pole_no_coordinates_are_shown() -> None:
    polar = Grid("EPSG:3995", -500_000, 500_000, 1000, 1000, 1000, 1000)
    assert lattice(polar) is None
    assert graticule(polar, None) == []


def test_longitudes_are_continuous_across_the_antimeridian() -> None:
    fiji = Grid("EPSG:32701", 80_000, 8_200_000, 1000, 1000, 100, 100)
    nodes = lattice(fiji)
    assert nodes is not None
    assert np.abs(np.diff(np.reshape(nodes["lon"], (25, 25)))).max() < 0.1
    labels = [line["label"] for line in graticule(fiji, nodes)]
    assert {"180.0°W", "179.5°W"} & set(labels)
    assert any(label.endswith("°E") for label in labels)


def test_the_largest_places_come_first_and_the_corners_outside_of_the_area_do_not_count() -> None:
    states = np.full((10, 10), 3, dtype=np.uint8)
    states[1, 1], states[2, 2] = 1, 2
    states[5:8, 5:9] = 2
    states[0, 9] = 0
    inside = np.ones((10, 10), dtype=bool)
    inside[0, 9] = False
    grid = Grid("EPSG:32633", 500_000, 5_100_000, 100, 100, 10, 10)
    found = never_clear_places(MapRasters(grid, (CodeBand("state", states),), inside, ""))
    assert [place.box for place in found] == [(0.5, 0.5, 0.9, 0.8), (0.1, 0.1, 0.3, 0.3)]
    assert [place.area_km2 for place in found] == pytest.approx([0.12, 0.02], rel=1e-3)
    assert [place.filled_share for place in found] == [1, 0.5]


@pytest.mark.parametrize(
    ("values", "rows"), [([100, 0], None), ([50, 100], [(100, 0.75), (50, 0.25)])]
)
def test_the_agreement_of_detectors_is_shown_where_there_are_several(
    values: list[int], rows: list[tuple[int, float]] | None
) -> None:
    grid = Grid("EPSG:32633", 500_000, 5_100_000, 100, 100, 5, 1)
    codes = np.array([[values[0], *[values[1]] * 3, 0]], dtype=np.uint8)
    inside = np.array([[True, True, True, True, True]])
    rasters = MapRasters(grid, (CodeBand("confidence", codes),), inside, "")
    facts = Facts(None, [], rasters, Path())  # type: ignore[arg-type] # needs the rasters alone
    section = next(each for each in SECTIONS if each.name == "agreement")
    found = section.make(facts)
    assert (None if found is None else found["rows"]) == rows


def test_a_page_of_a_thousand_scenes_lists_those_that_give_most(tmp_path: Path) -> None:
    grid = Grid("EPSG:32633", 500_000, 5_100_000, 10, 10, 8, 8)
    cloudless, quality = products(tmp_path, grid)
    evidence = Radiometry(
        verdict="none", offset_dn=0, confidence="high", evidence=("a source says so",) * 50
    )
    geometry = shapely.geometry.mapping(shapely.Point(15, 46).buffer(0.5))
    scenes = tuple(
        MosaicScene(
            index,
            backstop=False,
            share=index / 1e6,
            record=make_record(
                index,
                f"S2A_33TWM_{index:08d}_0_L2A",
                acquired=datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=index),
                item={"id": "x", "geometry": geometry},
                radiometry=evidence,
            ),
        )
        for index in range(1, 1001)
    )
    unpicked = tuple(
        Unpicked(
            item_id=f"x{index}",
            stage="choice",
            acquired=datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=index),
            reason="it shows nothing " * 100,
        )
        for index in range(3000)
    )
    names = ("m-cloudless.tif", "m-cloudy.tif", "m-quality.tif", "m-preview.png", "m-report.html")
    mosaic = MosaicDescription(
        "m",
        grid,
        ("B04", "B03", "B02"),
        "first",
        scenes,
        1,
        0,
        0,
        0,
        *names,
        (8, 8),
        unpicked=unpicked,
    )
    target = tmp_path / names[-1]
    write_report(mosaic, ReportFiles(cloudless, quality, tmp_path), str(target))
    page = ReportPage(target)
    assert len(page.content) + PICTURE_BYTES + CODES_BYTES < 3_000_000
    assert len(page.data["scenes"]) == 1000
    rows = [int(str(found["data-row"])) for found in page.all("tr") if "data-row" in found]
    assert rows == list(range(800, 1000))
    for note in ("800 more scenes, which give less, are", "And 2800 more, in selection.json"):
        assert note in page.words


def row(index: int, when: datetime | None, share: float) -> SceneRow:
    record = make_record(index, f"S{index}", acquired=when)
    return SceneRow((index,), (), None, share, None, None, record)


def test_the_timeline_has_bars_by_share_and_dots_by_day() -> None:
    first, last = datetime(2023, 5, 1, tzinfo=UTC), datetime(2023, 9, 1, tzinfo=UTC)
    left = [
        Unpicked(item_id=f"x{number}", stage="choice", acquired=first, reason="")
        for number in range(7)
    ]
    timeline = make_timeline(
        [row(1, first, 0.5), row(2, last, 0.25), row(3, last, 0.0), row(4, None, 0.1)], left
    )
    assert timeline is not None
    assert [(mark.x, mark.shift, mark.height) for mark in timeline.used] == [
        (4.0, 0, 76.0),
        (96.0, 0, 38.0),
        (96.0, 9, 3.0),
    ]
    assert [mark.height for mark in timeline.unpicked] == [0, 9, 18, 27, 36]
    assert timeline.hidden == 2
    assert [label for _, label in timeline.ticks] == [
        "May 2023",
        "Jun 2023",
        "Jul 2023",
        "Aug 2023",
        "Sep 2023",
    ]
    assert make_timeline([row(1, None, 0.5)], []) is None


@pytest.mark.parametrize(
    ("last", "labels"),
    [
        (datetime(2023, 5, 1, tzinfo=UTC), ["1 May"]),
        (
            datetime(2023, 5, 11, tzinfo=UTC),
            ["1 May", "3 May", "5 May", "7 May", "9 May", "11 May"],
        ),
        (datetime(2029, 6, 1, tzinfo=UTC), ["2024", "2025", "2026", "2027", "2028", "2029"]),
    ],
)
def test_ticks_are_few_whatever_the_period(last: datetime, labels: list[str]) -> None:
    timeline = make_timeline([row(1, datetime(2023, 5, 1, tzinfo=UTC), 1), row(2, last, 1)], [])
    assert timeline is not None
    assert [label for _, label in timeline.ticks] == labels
