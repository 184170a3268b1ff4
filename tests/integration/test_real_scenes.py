"""Real Sentinel-2 scenes end to end: the figures that a mosaic of them must reach."""

import importlib.util
import json
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from pyproj import Transformer
from rasterio.vrt import WarpedVRT
from shapely.geometry import box, mapping

from cloudbuster.models import MosaicRequest, RunResult, SceneRecord
from cloudbuster.runs.pipeline import run

pytestmark = pytest.mark.real_data

BANDS = ("B02", "B03", "B04", "B08")
GATHER = {"bands": BANDS, "gsd_m": 120}
MASKED_CLASSES = (0, 1, 3, 7, 8, 9, 10)


def scenes_of(data: Path, tile: str, days: tuple[str, ...]) -> list[Path]:
    root = data / "l2a-slovenia-crops"
    return sorted(path for day in days for path in root.rglob(f"S2?_{tile}_202308{day}_0_L2A"))


def area_of(rasters: list[Path]) -> dict[str, Any]:
    """The extent of rasters, less half a cell, so that the grid is no larger than they are."""
    to_degrees = Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True)
    boxes = []
    for path in rasters:
        with rasterio.open(path) as dataset:
            boxes.append(box(*dataset.bounds).buffer(-0.6 * dataset.res[0], join_style="mitre"))
    extent = shapely.union_all(boxes).envelope.segmentize(1000)
    return dict(mapping(shapely.transform(extent, to_degrees.transform, interleaved=False)))


def request_of(folder: Path, scenes: list[Path], **changes: Any) -> MosaicRequest:
    catalog = folder / "catalog"
    for scene in scenes:
        shutil.copytree(scene, catalog / scene.name)
    document = {
        "name": "slovenia",
        "aoi": area_of([scene / "B02.tif" for scene in scenes]),
        "query": {
            "catalog": str(catalog),
            "mindate": ["2023-08-01"],
            "maxdate": ["2023-08-31"],
            "maxclouds": 100,
        },
        "gather": {**GATHER, "dilate_m": 120},
        "output": str(folder / "run"),
        **changes,
    }
    return MosaicRequest.model_validate(document)


def score_module(data: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("score", data / "score_slovenia.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("tile", "clear", "debiased", "bright"),
    [("33TWL", 0.93, 62, 0.0055), ("33TWM", 0.893, 57.5, 0.004)],
)
def test_a_mosaic_of_three_cloudy_dates_is_cleaner_than_its_masks(
    test_data: Path, tmp_path: Path, tile: str, clear: float, debiased: float, bright: float
) -> None:
    scenes = scenes_of(test_data, tile, ("10", "18", "20"))
    request = request_of(
        tmp_path, scenes, filter={"strategy": "original"}, gather={**GATHER, "dilate_m": 50}
    )
    result = run(request)
    records = records_of(result)
    assert [record.item_id[10:18] for record in records if not record.backstop] == [
        "20230820",
        "20230818",
        "20230810",
    ]
    (reference,) = scenes_of(test_data, tile, ("13",))
    figures = score_module(test_data).score(
        Path(result.products.cloudless),
        reference,
        {record.index for record in records if record.backstop},
    )
    assert figures["clear"] >= clear
    assert figures["mae_b02_debiased"] <= debiased
    assert figures["bright"] <= bright


def records_of(result: RunResult) -> list[SceneRecord]:
    paths = sorted(Path(result.output, "scenes").glob("*.json"))
    records = [SceneRecord.model_validate_json(path.read_bytes()) for path in paths]
    return sorted(records, key=lambda record: record.index)


@pytest.fixture(scope="module")
def ten_scenes(
    test_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[Path], RunResult]:
    days = ("10", "13", "15", "18", "20")
    scenes = scenes_of(test_data, "33TWL", days) + scenes_of(test_data, "33TWM", days)
    request = request_of(tmp_path_factory.mktemp("ten"), scenes, filter={"coverage_count": 5})
    return scenes, run(request)


def read_on(path: Path, grid: rasterio.DatasetReader) -> np.ndarray:
    with (
        rasterio.open(path) as source,
        WarpedVRT(
            source,
            crs=grid.crs,
            transform=grid.transform,
            width=grid.width,
            height=grid.height,
            nodata=0,
        ) as aligned,
    ):
        return np.asarray(aligned.read(1))


def test_ten_scenes_of_two_tiles_come_on_one_grid(
    ten_scenes: tuple[list[Path], RunResult],
) -> None:
    scenes, result = ten_scenes
    records = records_of(result)
    assert {record.item_id for record in records} == {scene.name for scene in scenes}
    assert len({record.grid for record in records}) == 1
    with rasterio.open(result.products.cloudless) as mosaic:
        assert mosaic.res == (120, 120)
        assert mosaic.crs.to_epsg() == 32633
        assert mosaic.descriptions == (*BANDS, "scene_index")


def test_no_masked_class_is_left_outside_of_the_backstop(
    ten_scenes: tuple[list[Path], RunResult],
) -> None:
    scenes, result = ten_scenes
    homes = {scene.name: scene for scene in scenes}
    with rasterio.open(result.products.cloudless) as mosaic:
        index = mosaic.read(mosaic.count)
        with rasterio.open(result.products.quality) as quality:
            state = quality.read(quality.count)
        clear_records = [record for record in records_of(result) if not record.backstop]
        judged = 0
        for record in clear_records:
            classes = read_on(homes[record.item_id] / "SCL.tif", mosaic)
            own = (index == record.index) & (state == 3)
            assert not np.isin(classes[own], MASKED_CLASSES).any(), record.item_id
            assert (classes[own] <= 11).all()
            judged += int(own.sum())
    assert judged > 50_000
    # Composite best also fills with clear pixels that it rejects.
    backstop = {record.index for record in records_of(result) if record.backstop}
    rejected = {record.index for record in clear_records}
    assert set(np.unique(index[state == 2])) <= backstop | rejected


def test_every_pixel_that_a_selected_scene_sees_is_filled(
    ten_scenes: tuple[list[Path], RunResult],
) -> None:
    scenes, result = ten_scenes
    with rasterio.open(result.products.cloudless) as mosaic:
        seen = np.zeros(mosaic.shape, dtype=bool)
        for scene in scenes:
            seen |= np.all([read_on(scene / f"{band}.tif", mosaic) > 0 for band in BANDS], axis=0)
        values = mosaic.read()
    assert seen.sum() > 60_000
    assert (values[:, seen] > 0).all()


def test_five_l1c_dates_give_a_mosaic_of_the_three_clear_ones(
    test_data: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "catalog"
    folder.mkdir()
    for path in (test_data / "l1c-slovenia-5dates").glob("S2A_L1C_????????T??????.*"):
        (folder / path.name).write_bytes(path.read_bytes())
    for path in folder.glob("*.json"):
        # The catalog must not tell which dates are cloudy: the pixels have to.
        item = json.loads(path.read_text())
        item["properties"]["eo:cloud_cover"] = 50
        path.write_text(json.dumps(item))
    with rasterio.open(folder / "S2A_L1C_20150711T100008.tif") as dataset:
        area = box(*dataset.bounds).buffer(-12, join_style="mitre")
    to_degrees = Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True)
    request = MosaicRequest.model_validate(
        {
            "name": "five",
            "aoi": mapping(shapely.transform(area, to_degrees.transform, interleaved=False)),
            "query": {
                "catalog": str(folder),
                "kind": "L1C",
                "mindate": ["2015-07-01"],
                "maxdate": ["2015-09-30"],
                "maxclouds": 100,
            },
            "filter": {"strategy": "original", "coverage_count": 5, "backstop": False},
            "gather": {
                "bands": BANDS,
                "detector": {"type": "s2cloudless", "mask_gsd_m": 10, "dilation_size": 2},
            },
            "output": str(tmp_path / "run"),
        }
    )
    result = run(request)
    records = {record.index: record for record in records_of(result)}
    assert len(records) == 5
    assert {record.detector.split()[0] for record in records.values()} == {"s2cloudless"}
    with rasterio.open(result.products.cloudless) as mosaic:
        winners = {records[index].item_id[8:16] for index in np.unique(mosaic.read(5)) if index}
    assert winners <= {"20150711", "20150830", "20150909"}
    clear = sorted(
        record.item_id[8:16] for record in records.values() if record.clear_fraction > 0.5
    )
    assert clear == ["20150711", "20150830", "20150909"]
