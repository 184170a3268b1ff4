"""Valid samples of every kind of document and file that is parsed."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine

from cloudbuster.core.arrays import UInt8Raster
from cloudbuster.core.grids.grid import Grid
from cloudbuster.core.selection.sky_thumbnail import SkyThumbnail
from cloudbuster.models import (
    Candidates,
    CandidatesInfo,
    DetectorOptions,
    GatherTask,
    GridDocument,
    Radiometry,
    Selection,
    SelectionEntry,
    SelectionInfo,
)
from cloudbuster.source.thumbnails.thumbnail_files import write_thumbnail_file
from tests.hand_made import make_record
from tests.stac_items import item_collection, make_item, square

AREA = square(14.6, 45.6, 0.5)
GOOD_ID = "S2B_33TWL_20200601_0_L2A"
"""Id of an item that is good, beside a mutated one."""
FINGERPRINT = "a1b2"
"""What the thumbnail in a file was made from."""
QUERY = {"mindate": ["2020-05-01"], "maxdate": ["2020-10-01"], "maxclouds": 80}
MODEL = """
import torch


def make_model(num_channels, **kwargs):
    return torch.nn.Conv2d(num_channels, 1, 1)
"""


def as_json(document: object) -> bytes:
    return json.dumps(document).encode()


def good_item() -> dict[str, Any]:
    return make_item(taken="2020-06-01T10:00:31", platform="b")


def item_with_metadata() -> dict[str, Any]:
    """Item with the members that dialects of catalogs add."""
    item = make_item(
        properties={
            "s2:nodata_pixel_percentage": 1.5,
            "s2:datastrip_id": "S2A_OPER_MSI_L2A_DS_VGS1_20200510T120000_S20200510T100031_N02.14",
            "s2:generation_time": "2020-05-10T12:00:00Z",
            "s2:product_uri": "S2A_MSIL2A_20200510T100031_N0214_R122_T33TWL_20200510T120000.SAFE",
            "view:sun_azimuth": 150.5,
            "s2:mean_solar_zenith": 30,
            "proj:code": "EPSG:32633",
            "earthsearch:boa_offset_applied": True,
            "sentinel:data_coverage": 98.5,
            "statistics": {"nodata": 1.5},
            "cloudbuster:l1c_twin": make_item(kind="L1C"),
        }
    )
    item["assets"]["red"] |= {
        "proj:epsg": 32633,
        "proj:transform": [10, 0, 500_000, 0, -10, 5_100_000],
        "raster:bands": [{"offset": -0.1, "scale": 0.0001, "nodata": 0}],
        "eo:bands": [{"name": "red", "common_name": "red"}],
        "roles": ["data"],
    }
    item["links"] = [{"rel": "self", "href": "https://example.com/items/a.json"}]
    return item


def requests(_folder: Path) -> tuple[bytes, ...]:
    gather = {
        "bands": ["B02", "B03"],
        "crs": "EPSG:3035",
        "gsd_m": 20,
        "detector": {"type": "s2cloudless", "threshold": 0.5, "mask_gsd_m": 160},
    }
    picks = {"name_regexp": "33T", "date_regexp": "^2020", "coverage_count": 2}
    full = {
        "name": "denver-2020",
        "aoi": {"type": "Feature", "properties": {"name": "x"}, "geometry": AREA},
        "query": {**QUERY, "catalog": "earth-search", "limit": 10, "scale": 1.1},
        "filter": picks,
        "gather": gather,
        "merge": {"methods": ["rank"]},
        "limits": {"budget_usd": 5},
        "output": "s3://stack/mosaics/x",
        "force": False,
    }
    donor = {
        "detector": {"type": "donor", "donor_mask": "s3://stack/x", "donor_mask_name": "m.tif"}
    }
    known = full | {"merge": {}}
    plain = {"name": "a", "aoi": AREA, "query": QUERY}
    return tuple(map(as_json, (known, plain, {**plain, "gather": donor})))


def areas(_folder: Path) -> tuple[bytes, ...]:
    two = {
        "type": "MultiPolygon",
        "coordinates": [AREA["coordinates"], square(15, 46)["coordinates"]],
    }
    hole = {
        "type": "Polygon",
        "coordinates": [*AREA["coordinates"], *square(14.7, 45.7, 0.1)["coordinates"]],
    }
    feature = {"type": "Feature", "properties": {"name": "x"}, "geometry": hole}
    collection = {"type": "FeatureCollection", "features": [feature, {**feature, "geometry": two}]}
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}
    east = {
        "type": "Polygon",
        "coordinates": [[[179, 45], [-179, 45], [-179, 46], [179, 46], [179, 45]]],
    }
    return tuple(map(as_json, (AREA, two, feature, collection, {**feature, "crs": crs}, east)))


def events(_folder: Path) -> tuple[bytes, ...]:
    entry = {"key": "requests/a.json", "sequencer": "00AB", "version-id": "v1", "etag": "e"}
    detail = {"bucket": {"name": "stack"}, "object": entry, "reason": "PutObject"}
    event = {"version": "0", "source": "aws.s3", "detail-type": "Object Created", "detail": detail}
    return (as_json(event),)


def items(_folder: Path) -> tuple[bytes, ...]:
    found = (make_item(), item_with_metadata(), make_item(kind="L1C"))
    return tuple(map(as_json, found))


def collections(folder: Path) -> tuple[bytes, ...]:
    (folder / "good.json").write_bytes(as_json(good_item()))
    links = [
        {"rel": "root", "href": "./catalog.json"},
        {"rel": "item", "href": "./good.json", "type": "application/json"},
        {"rel": "child", "href": "./child.json"},
    ]
    extent = {"spatial": {"bbox": [[14, 45, 16, 47]]}, "temporal": {"interval": [[None, None]]}}
    catalog = {"type": "Catalog", "id": "c", "stac_version": "1.0.0", "links": links}
    collection = {**catalog, "type": "Collection", "extent": extent, "license": "other"}
    return tuple(map(as_json, (catalog, collection, item_collection(good_item(), make_item()))))


def _record(name: str, **more: object) -> dict[str, Any]:
    return {
        "name": name,
        "createdAt": "2020-05-10T10:00:31Z",
        "dataFootprint": square(14.5, 45.5),
        "sceneMetadata": {"path": "tiles/33/T/WL/2020/5/10/0", "cloudyPixelPercentage": "12.5"},
        **more,
    }


def originals(_folder: Path) -> tuple[bytes, ...]:
    response = {"aoi": AREA, "results": [_record("a"), _record("b")]}
    picks = [_record("a"), _record("b"), _record("a", backstop=True)]
    return as_json(response), as_json({"bounds": [14.6, 45.6, 15.1, 46.1], "selections": picks})


def candidates(_folder: Path) -> tuple[bytes, ...]:
    info = CandidatesInfo(aoi=AREA, kind="L2A", catalog="earth-search")
    return (Candidates(features=(make_item(), good_item()), cloudbuster=info).to_json(),)


def selections(_folder: Path) -> tuple[bytes, ...]:
    item = make_item()
    info = SelectionInfo(
        aoi=AREA,
        kind="L2A",
        catalog="earth-search",
        strategy="original",
        entries=(
            SelectionEntry(item_id=item["id"], backstop=False, weight=1.5),
            SelectionEntry(item_id=item["id"], backstop=True, reused=True),
        ),
        uncovered_by_layer=(0.0,),
        uncovered=0.0,
        backstop_uncovered=0.0,
        covered=True,
    )
    return (Selection(features=(item,), cloudbuster=info).to_json(),)


def tasks(_folder: Path) -> tuple[bytes, ...]:
    task = GatherTask(
        name="m",
        kind="L2A",
        catalog="earth-search",
        item=item_with_metadata(),
        index=1,
        backstop_index=2,
        bands=("B02", "B03"),
        grid=GridDocument.of(Grid("EPSG:32633", 500_000, 5_100_000, 10, 10, 100, 100)),
        detector=DetectorOptions(type="stock"),
        dilate_m=50,
        radiometry=Radiometry(
            verdict="removed", offset_dn=0, confidence="high", evidence=("flag",)
        ),
        output="scenes",
    )
    return (task.to_json(),)


def records(_folder: Path) -> tuple[bytes, ...]:
    return (make_record(1, "S2A_33TWL_20200510_0_L2A").to_json(),)


def parquet(folder: Path) -> tuple[bytes, ...]:
    """Two files as stac-geoparquet 1.1 has them: with columns, and with assets as text."""
    import pyarrow as pa
    import shapely
    from pyarrow import parquet as pq

    rows = []
    for item in (make_item(), good_item()):
        west, south, east, north = item["bbox"]
        box = {"xmin": west, "ymin": south, "xmax": east, "ymax": north}
        geometry = shapely.to_wkb(shapely.box(west, south, east, north))
        members = {name: value for name, value in item.items() if name != "properties"}
        rows.append(
            {**members, **item["properties"], "geometry": geometry, "bbox": box, "links": None}
        )
    texts = [{**row, "assets": json.dumps(row["assets"])} for row in rows]
    found = []
    for kind, table in enumerate((rows, texts)):
        path = folder / f"sample{kind}.parquet"
        pq.write_table(pa.Table.from_pylist(table), path, compression="none")
        found.append(path.read_bytes())
    return tuple(found)


def gml(_folder: Path) -> tuple[bytes, ...]:
    ring = "<gml:LinearRing><gml:posList srsDimension='2'>{}</gml:posList></gml:LinearRing>"
    shell, hole = ring.format("0 0 10 0 10 10 0 10 0 0"), ring.format("2 2 4 2 4 4 2 4 2 2")
    polygon = (
        "<gml:Polygon srsName='urn:ogc:def:crs:EPSG:8.7:32632'>"
        f"<gml:exterior>{shell}</gml:exterior><gml:interior>{hole}</gml:interior></gml:Polygon>"
    )
    feature = (
        "<eop:MaskFeature gml:id='a'><eop:maskType codeSpace='x'>OPAQUE</eop:maskType>"
        f"<eop:extentOf>{polygon}</eop:extentOf></eop:MaskFeature>"
    )
    mask = (
        "<?xml version='1.0' encoding='UTF-8'?><eop:Mask xmlns:eop='http://www.opengis.net/eop/2.0'"
        f" xmlns:gml='http://www.opengis.net/gml/3.2'><eop:maskMembers>{feature}</eop:maskMembers>"
        "</eop:Mask>"
    )
    return (mask.encode(),)


def _raster(folder: Path, driver: str, **options: object) -> bytes:
    path = folder / f"sample.{driver}"
    pixels = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) % 4000
    profile = {"width": 64, "height": 64, "count": 1, "dtype": "uint16", "crs": "EPSG:32633"}
    transform = Affine(10, 0, 500_000, 0, -10, 5_100_000)
    with rasterio.open(path, "w", driver=driver, transform=transform, **profile, **options) as file:
        file.write(pixels, 1)
    return path.read_bytes()


def geotiffs(folder: Path) -> tuple[bytes, ...]:
    tiles = {"tiled": True, "blockxsize": 16, "blockysize": 16}
    return (
        _raster(folder, "GTiff", compress="DEFLATE", nodata=0, **tiles),
        _raster(folder, "GTiff"),
        _raster(folder, "GTiff", compress="LZW", predictor=2, BIGTIFF="YES"),
    )


def _classes(side: int) -> UInt8Raster:
    """Scene classes in squares of 40 pixels: missing data, clouds and what is clear."""
    rows, cols = np.indices((side, side)) // 40
    return ((rows + 3 * cols) % 12).astype(np.uint8)


def scene_classes(folder: Path) -> tuple[bytes, ...]:
    """SCL with overviews of its pixels, with overviews of averages, and without overviews."""
    found = []
    for resampling, side in (("NEAREST", 1100), ("AVERAGE", 1100), (None, 64)):
        path = folder / f"classes-{resampling}.tif"
        options: dict[str, Any] = {"driver": "GTiff"}
        if resampling is not None:
            options = {"driver": "COG", "blocksize": 128, "overview_resampling": resampling}
        profile = {"width": side, "height": side, "count": 1, "dtype": "uint8", "crs": "EPSG:32633"}
        place = Affine(20, 0, 500_000, 0, -20, 5_100_000)
        with rasterio.open(
            path, "w", transform=place, compress="DEFLATE", **profile, **options
        ) as file:
            file.write(_classes(side), 1)
        found.append(path.read_bytes())
    return tuple(found)


def thumbnails(folder: Path) -> tuple[bytes, ...]:
    path = folder / "thumbnail.tif"
    grid = Grid("EPSG:32633", 500_000.0, 5_100_000.0, 320.0, 320.0, 64, 64)
    write_thumbnail_file(str(path), SkyThumbnail(grid, _classes(64) % 4), FINGERPRINT)
    return (path.read_bytes(),)


def jp2s(folder: Path) -> tuple[bytes, ...]:
    return (_raster(folder, "JP2OpenJPEG", QUALITY="100", REVERSIBLE="YES"),)


def weights(folder: Path) -> tuple[bytes, ...]:
    import torch

    (folder / "model.py").write_text(MODEL)
    state = torch.nn.Conv2d(4, 1, 1).state_dict()
    new, old = io.BytesIO(), io.BytesIO()
    torch.save(state, new)
    torch.save(state, old, _use_new_zipfile_serialization=False)
    return new.getvalue(), old.getvalue()
