import json
import math
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import odc.stac
import pyproj
import pystac
import pytest
from jsonschema import Draft7Validator
from pystac.validation.local_validator import get_local_schema_cache
from rasterio import open as rasterio_open
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7
from shapely.geometry import Point, shape

from cloudbuster.core.grids.grid import Grid
from cloudbuster.models import MosaicRequest, SceneRecord
from cloudbuster.products.cog import CogBand, open_cog_writer
from cloudbuster.products.stac_item import (
    EXTENSIONS,
    QUALITY_BANDS,
    MosaicDescription,
    MosaicScene,
    gsd_m,
    lonlat_footprint,
    mosaic_item,
    write_item,
)
from tests.hand_made import make_record

# odc-geo 0.5 uses what affine 3.1 and shapely 2.2 call outdated.
old_odc_geo = pytest.mark.filterwarnings(
    "ignore:Use `@` matmul:PendingDeprecationWarning",
    "ignore:The 'shapely.ops.transform:DeprecationWarning",
)

GRID = Grid("EPSG:32633", 500_000, 5_100_000, 10, 10, 30, 20)
BANDS = ("B02", "B8A")
REQUEST = MosaicRequest.model_validate(
    {
        "name": "m",
        "aoi": {"type": "Point", "coordinates": [15, 46]},
        "query": {"mindate": ["2020-05-01"], "maxdate": ["2020-10-01"]},
    }
)


def record_on(day: int, item_id: str, **changes: Any) -> SceneRecord:
    """Record of a scene taken on a day of June; its index is the day."""
    acquired = datetime(2020, 6, day, 10, tzinfo=UTC)
    return make_record(day, item_id, acquired=acquired, bands=BANDS, **changes)


def make_mosaic(**changes: Any) -> MosaicDescription:
    mosaic = MosaicDescription(
        name="m",
        grid=GRID,
        bands=BANDS,
        composite="first",
        scenes=(
            MosaicScene(1, False, 0.75, record_on(1, "A")),
            MosaicScene(3, False, 0.125, record_on(3, "B")),
            MosaicScene(4, True, 0.0625, record_on(4, "A", backstop=True)),
        ),
        clear_fraction=0.875,
        backstop_fraction=0.0625,
        hole_fraction=0.0625,
        never_observed_fraction=0.03125,
        cloudless="m-cloudless.tif",
        cloudy="m-cloudy.tif",
        quality="m-quality.tif",
        preview="m-preview.png",
        report="m-report.html",
        preview_shape=(10, 15),
        request=REQUEST,
    )
    return replace(mosaic, **changes)


UNDATED = (MosaicScene(1, False, 1.0, None),)
LOCAL_CRS = pyproj.CRS("+proj=laea +lat_0=46 +lon_0=15 +datum=WGS84 +units=m").to_wkt()
CUSTOM = replace(GRID, crs=LOCAL_CRS, west=0, north=0)
VARIANTS = {
    "plain": make_mosaic(),
    "without request": make_mosaic(request=None),
    "without records": make_mosaic(scenes=UNDATED, request=None),
    "without EPSG code": make_mosaic(grid=CUSTOM),
    "in degrees": make_mosaic(grid=Grid("EPSG:4326", 15, 46, 1e-4, 1e-4, 30, 20)),
    "over the antimeridian": make_mosaic(
        grid=Grid("EPSG:32601", 200_000, 7_000_000, 1000, 1000, 200, 100)
    ),
}


def as_json(mosaic: MosaicDescription) -> dict[str, Any]:
    item = mosaic_item(mosaic)
    content = item.to_dict(include_self_link=False, transform_hrefs=False)
    return dict(json.loads(json.dumps(content)))


@pytest.mark.parametrize("variant", VARIANTS)
def test_item_is_valid_by_the_core_schema(variant: str) -> None:
    schemas = get_local_schema_cache()
    registry: Registry[Any] = Registry().with_resources(
        (uri, Resource.from_contents(schema, default_specification=DRAFT7))
        for uri, schema in schemas.items()
    )
    root = next(uri for uri in schemas if uri.endswith("item-spec/json-schema/item.json"))
    Draft7Validator(schemas[root], registry=registry).validate(as_json(VARIANTS[variant]))


@pytest.mark.real_data
@pytest.mark.parametrize("variant", VARIANTS)
def test_item_is_valid_by_the_schema_of_each_extension(test_data: Path, variant: str) -> None:
    schemas = get_local_schema_cache()
    # The only schema that is not in the test data; our items have no `proj:projjson`.
    schemas["https://proj.org/schemas/v0.5/projjson.schema.json"] = {"not": {}}
    registry: Registry[Any] = Registry().with_resources(
        (uri, Resource.from_contents(schema, default_specification=DRAFT7))
        for uri, schema in schemas.items()
    )
    item = as_json(VARIANTS[variant])
    assert item["stac_extensions"] == list(EXTENSIONS)
    for uri in EXTENSIONS:
        path = test_data / "stac-schemas" / uri.split(".io/")[1]
        schema = json.loads(path.read_bytes())
        assert schema["$id"].removesuffix("#") == uri
        Draft7Validator(schema, registry=registry).validate(item)


def test_the_scene_table_holds_what_is_unusual_about_a_scene() -> None:
    mosaic = make_mosaic()
    first = mosaic.scenes[0]
    assert first.record is not None
    noted = first.record.model_copy(update={"notes": ("B04.tif: with a mask band",)})
    scenes = (replace(first, record=noted), *mosaic.scenes[1:])
    rows = mosaic_item(replace(mosaic, scenes=scenes)).properties["cloudbuster:scenes"]
    assert rows[0]["notes"] == ["B04.tif: with a mask band"]
    assert "notes" not in rows[1]


def test_item_holds_the_scene_table_and_the_request() -> None:
    properties = mosaic_item(make_mosaic()).properties
    assert properties["cloudbuster:scenes"][2] == {
        "index": 4,
        "backstop": True,
        "share": 0.0625,
        "item_id": "A",
        "catalog": "https://example.com/v1",
        "collection": "sentinel-2-l2a",
        "datetime": "2020-06-04T10:00:00Z",
        "platform": "sentinel-2b",
        "mgrs_tile": "33TWM",
        "baseline": "05.09",
        "radiometry": "removed",
        "radiometry_confidence": "high",
        "radiometry_conflict": False,
        "radiometry_evidence": [],
        "cloud_cover": 3.25,
        "detector": "stock(standard)",
    }
    assert MosaicRequest.model_validate(properties["cloudbuster:request"]) == REQUEST
    assert properties["cloudbuster:composite"] == "first"
    assert properties["cloudbuster:clear_fraction"] == 0.875
    assert properties["cloudbuster:backstop_fraction"] == 0.0625
    assert properties["cloudbuster:hole_fraction"] == 0.0625


def test_item_spans_the_scenes_in_time() -> None:
    item = mosaic_item(make_mosaic())
    assert item.properties["start_datetime"] == "2020-06-01T10:00:00Z"
    assert item.properties["end_datetime"] == "2020-06-04T10:00:00Z"
    assert item.datetime == datetime(2020, 6, 2, 22, tzinfo=UTC)


def test_item_of_undated_scenes_spans_what_was_asked_for_else_the_mission() -> None:
    asked = mosaic_item(make_mosaic(scenes=UNDATED)).properties
    assert asked["start_datetime"] == "2020-05-01T00:00:00Z"
    assert asked["end_datetime"] == "2020-10-01T23:59:59Z"
    unknown = mosaic_item(make_mosaic(scenes=UNDATED, request=None))
    assert unknown.common_metadata.start_datetime == datetime(2015, 6, 23, tzinfo=UTC)
    assert unknown.common_metadata.end_datetime == datetime(2100, 1, 1, 23, 59, 59, tzinfo=UTC)


def test_item_is_derived_from_each_source_once() -> None:
    linked = {"links": [{"rel": "canonical", "href": "s3://b/B.json"}, {"rel": "self", "href": ""}]}
    local = record_on(5, "C c", catalog="/data/catalog", collection=None)
    scenes = (
        *make_mosaic().scenes[::2],
        MosaicScene(3, False, 0.1, record_on(3, "B", item={"id": "B", **linked})),
        MosaicScene(5, False, 0.1, local),
        MosaicScene(6, False, 0.1, None),
    )
    links = as_json(make_mosaic(scenes=scenes))["links"]
    assert {link["rel"] for link in links} == {"derived_from"}
    assert [(link["title"], link["href"]) for link in links] == [
        ("A", "https://example.com/v1/collections/sentinel-2-l2a/items/A"),
        ("B", "s3://b/B.json"),
        ("C c", "/data/catalog#C%20c"),
    ]


@pytest.mark.parametrize(
    ("catalog", "links", "folder", "href"),
    [
        ("/data/catalog", [], "/data/runs/denver", "../../catalog#C%20c"),
        ("/data/runs/my catalog.json", [], "/data/runs/denver", "../my%20catalog.json#C%20c"),
        ("/data/runs/denver", [], "/data/runs/denver", ".#C%20c"),
        ("/data/c", [("self", "/data/c/C/C.json")], "/data/out", "../c/C/C.json#C%20c"),
        ("/data/c", [("self", "file:///data/c/C%20c.json")], "/data/o", "../c/C%20c.json#C%20c"),
        ("/data/c", [("self", "https://h/C.json")], "/data/out", "https://h/C.json"),
        ("/data/catalog", [], "s3://bucket/run", "/data/catalog#C%20c"),
        ("/data/catalog", [], None, "/data/catalog#C%20c"),
        ("s3://b/S2A.SAFE", [], "/data/out", "s3://b/S2A.SAFE#C%20c"),
    ],
)
def test_links_to_items_on_this_machine_move_with_the_folder(
    catalog: str, links: list[tuple[str, str]], folder: str | None, href: str
) -> None:
    item = {"id": "C c", "links": [{"rel": rel, "href": own} for rel, own in links]}
    record = record_on(5, "C c", catalog=catalog, collection=None, item=item)
    mosaic = make_mosaic(scenes=(MosaicScene(5, False, 0.1, record),), folder=folder)

    (link,) = as_json(mosaic)["links"]

    assert (link["title"], link["href"]) == ("C c", href)


def test_item_describes_every_band_of_every_raster() -> None:
    assets = as_json(make_mosaic())["assets"]
    assert list(assets) == ["cloudless", "cloudy", "quality", "preview", "report"]
    for key in ("cloudless", "cloudy"):
        assert [band["name"] for band in assets[key]["eo:bands"]] == ["B02", "B8A", "scene_index"]
        first, _, index = assets[key]["raster:bands"]
        assert (first["scale"], first["offset"], first["nodata"]) == (0.0001, 0, 0)
        assert first["spatial_resolution"] == 10
        assert index["nodata"] == 0
        assert "scale" not in index
    names = [band["name"] for band in assets["quality"]["eo:bands"]]
    assert (
        names
        == list(QUALITY_BANDS)
        == [
            "times_observed",
            "times_clear",
            "cloud_distance_m",
            "confidence",
            "state",
        ]
    )
    assert all("nodata" not in band for band in assets["quality"]["raster:bands"])
    assert assets["cloudless"]["eo:bands"][1]["common_name"] == "nir08"
    for asset in assets.values():
        assert asset["href"].startswith("./m-")


def test_preview_has_its_own_shape_and_transform() -> None:
    item = as_json(make_mosaic())
    assert item["properties"]["proj:shape"] == [20, 30]
    assert item["properties"]["proj:transform"] == [10, 0, 500_000, 0, -10, 5_100_000]
    assert item["assets"]["preview"]["proj:shape"] == [10, 15]
    assert item["assets"]["preview"]["proj:transform"] == [20, 0, 500_000, 0, -20, 5_100_000]


def test_item_names_its_crs_by_code_or_in_full() -> None:
    assert mosaic_item(make_mosaic()).properties["proj:epsg"] == 32633
    properties = as_json(make_mosaic(grid=CUSTOM))["properties"]
    assert properties["proj:epsg"] is None
    assert "Lambert" in properties["proj:wkt2"]


def test_gsd_is_in_metres() -> None:
    assert gsd_m(GRID) == 10
    # At 46 N a degree is 77.46 by 111.15 km, and a unit of EPSG:3857 is cos(46 degrees) m.
    degrees = Grid("EPSG:4326", 15, 46, 1e-4, 1e-4, 4, 4)
    assert gsd_m(degrees) == pytest.approx(math.sqrt(7.746 * 11.115), abs=0.005)
    assert gsd_m(Grid("EPSG:3857", 1_669_792, 5_780_349, 10, 10, 4, 4)) == pytest.approx(
        6.947, abs=0.01
    )


def test_footprint_is_counter_clockwise_and_holds_the_corners() -> None:
    geometry, bbox = lonlat_footprint(GRID)
    assert shape(geometry).exterior.is_ccw
    assert tuple(bbox) == pytest.approx(shape(geometry).bounds)
    assert bbox == pytest.approx([15.0, 46.05, 15.0039, 46.0541], abs=2e-3)


def test_footprint_over_the_antimeridian_is_two_polygons() -> None:
    geometry, bbox = lonlat_footprint(VARIANTS["over the antimeridian"].grid)
    assert geometry["type"] == "MultiPolygon"
    halves = list(shape(geometry).geoms)
    assert all(half.exterior.is_ccw and half.is_valid for half in halves)
    assert max(half.bounds[2] for half in halves) == 180
    assert min(half.bounds[0] for half in halves) == -180
    west, _, east, _ = bbox
    assert 0 < west < 180
    assert -180 < east < 0


def test_item_reads_back_the_same(tmp_path: Path) -> None:
    write_item(mosaic_item(make_mosaic()), str(tmp_path / "m.json"))
    first = (tmp_path / "m.json").read_bytes()
    write_item(mosaic_item(make_mosaic()), str(tmp_path / "m.json"))
    assert (tmp_path / "m.json").read_bytes() == first
    item = pystac.Item.from_file(str(tmp_path / "m.json"))
    assert item.assets["cloudless"].get_absolute_href() == str(tmp_path / "m-cloudless.tif")


@pytest.fixture
def mosaic_folder(tmp_path: Path) -> Path:
    """Write rasters of known values and their item."""
    rows, cols = np.indices(GRID.shape)
    for key, start in (("cloudless", 1000), ("cloudy", 5000)):
        names = (*BANDS, "scene_index")
        pixels = np.stack([start + rows, start + 100 + cols, np.where(cols % 3, 4, 1)])
        pixels[:, :, :5] = 0
        write_raster(tmp_path / f"m-{key}.tif", names, pixels, nodata=0)
    pixels = np.stack([rows % 4, cols % 3, rows * 20, rows * 5, cols % 4])
    write_raster(tmp_path / "m-quality.tif", tuple(QUALITY_BANDS), pixels, nodata=None)
    write_item(mosaic_item(make_mosaic()), str(tmp_path / "m.json"))
    return tmp_path


def write_raster(
    path: Path, names: tuple[str, ...], pixels: np.ndarray, *, nodata: int | None
) -> None:
    bands = [CogBand(name, "nearest") for name in names]
    with open_cog_writer(path, GRID, bands, nodata=nodata) as writer:
        writer.write(GRID.window, pixels)


@old_odc_geo
@pytest.mark.parametrize(
    ("asset", "number", "name"),
    [
        ("cloudless", 1, "B02"),
        ("cloudless", 1, "blue"),
        ("cloudless", 2, "B8A"),
        ("cloudless", 2, "nir08"),
        ("cloudless", 3, "scene_index"),
        ("cloudless", 3, "cloudless.3"),
        ("cloudy", 2, "cloudy.2"),
        ("cloudy", 3, "cloudy.3"),
        ("quality", 1, "times_observed"),
        ("quality", 2, "times_clear"),
        ("quality", 3, "cloud_distance_m"),
        ("quality", 4, "confidence"),
        ("quality", 5, "state"),
    ],
)
def test_odc_stac_loads_each_band(mosaic_folder: Path, asset: str, number: int, name: str) -> None:
    item = pystac.Item.from_file(str(mosaic_folder / "m.json"))
    loaded = odc.stac.load([item], bands=[name])
    with rasterio_open(mosaic_folder / f"m-{asset}.tif") as dataset:
        np.testing.assert_array_equal(loaded[name].to_numpy()[0], dataset.read(number))
    assert loaded[name].dtype == np.uint16
    assert tuple(loaded.odc.geobox.transform)[:6] == tuple(GRID.transform)[:6]
    assert loaded.odc.geobox.crs.epsg == 32633


@old_odc_geo
def test_odc_stac_loads_all_bands_at_once(mosaic_folder: Path) -> None:
    item = pystac.Item.from_file(str(mosaic_folder / "m.json"))
    loaded = odc.stac.load([item], bands=["B02", "B8A", "scene_index", "state"])
    assert set(loaded.data_vars) == {"B02", "B8A", "scene_index", "state"}
    assert loaded["B02"].attrs["nodata"] == 0


@pytest.mark.parametrize(("crs", "pole"), [("EPSG:3413", 90), ("EPSG:3031", -90)])
def test_lonlat_footprint_reaches_up_to_a_pole_that_the_grid_holds(crs: str, pole: int) -> None:
    grid = Grid(crs, -500_000.0, 800_000.0, 1000.0, 1000.0, 1300, 1300)
    geometry, bbox = lonlat_footprint(grid)
    outline = shape(geometry)
    assert outline.is_valid
    assert (bbox[0], bbox[2]) == (-180, 180)
    assert pole in (bbox[1], bbox[3])
    for longitude in (-170, -80, 10, 100):
        assert outline.covers(Point(longitude, 0.99 * pole))
        assert not outline.covers(Point(longitude, 0.8 * pole))
