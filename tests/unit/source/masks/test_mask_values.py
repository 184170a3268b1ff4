"""Masks of the product in any data type: no value wraps, and none that is unknown is clear."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cloudbuster.core.scenes.scene import BandAsset
from cloudbuster.detectors.stock import StockDetector
from cloudbuster.errors import MaskError
from cloudbuster.source.scene_source import RasterSceneSource
from tests.odd_rasters import NO_OFFSET, scene, truth, write

# One row of pixels for each: vegetation, cloud, water, cloud shadow, snow, no data.
CLASSES = (4, 9, 6, 3, 11, 0)
CLEAR, CLOUD, DEFECTIVE, LOW, UNOBSERVED = "clear", "cloud", "defective", "low", "unobserved"
MEANINGS = (CLEAR, CLOUD, CLEAR, CLOUD, LOW, UNOBSERVED)


def rows_of(values: tuple[float, ...], dtype: str) -> np.ndarray:
    """A raster of the scene's shape, four rows for each value."""
    column = np.repeat(np.array(values, dtype=dtype), 4)
    return np.repeat(column[:, None], 24, axis=1)


def meanings(
    folder: Path, name: str, bands: list[np.ndarray], kind: str = "L2A", **options: Any
) -> tuple[str, ...]:
    """What a mask says about each four rows."""
    mask = write(folder / "mask.tif", *bands, **options)
    found = scene(
        {"B04": write(folder / "b.tif", truth().astype(np.uint16))},
        masks={name: BandAsset(mask)},
        kind=kind,
    )
    preset = "original" if name == "cld" else "standard"
    with RasterSceneSource(found, ("B04",), radiometry=NO_OFFSET) as source:
        detected = StockDetector(kind, preset).detect(source, source.grid)  # type: ignore[arg-type]
    layers = {
        UNOBSERVED: detected.layers.unobserved,
        CLOUD: detected.cloud_or_shadow,
        DEFECTIVE: detected.defective,
        LOW: detected.low_rank,
    }
    said = []
    for row in range(0, 24, 4):
        parts = {name: layer[row : row + 4] for name, layer in layers.items()}
        assert all(part.all() or not part.any() for part in parts.values())
        said.append(next((name for name, part in parts.items() if part.all()), CLEAR))
    return tuple(said)


@pytest.mark.parametrize(
    "dtype", ["uint8", "uint16", "int16", "int32", "uint32", "float32", "float64"]
)
def test_a_scene_classification_means_the_same_in_every_type(tmp_path: Path, dtype: str) -> None:
    assert meanings(tmp_path, "scl", [rows_of(CLASSES, dtype)]) == MEANINGS


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("uint16", 9472),  # 0 as uint8
        ("uint16", 260),  # 4 as uint8
        ("int16", -252),  # 4 as uint8
        ("int32", 65_540),
        ("float32", 4.5),
        ("float32", 1e9),
        ("uint8", 255),
        ("uint8", 12),
    ],
)
def test_a_value_that_is_no_class_is_masked(tmp_path: Path, dtype: str, value: float) -> None:
    values = (4, 9, value, 6, 4, 4)
    wanted = (CLEAR, CLOUD, DEFECTIVE, CLEAR, CLEAR, CLEAR)
    assert meanings(tmp_path, "scl", [rows_of(values, dtype)]) == wanted


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [("uint8", 255), ("int16", -9999), ("float32", float("nan")), ("uint8", 4), ("uint8", 0)],
)
def test_a_class_declared_as_nodata_is_no_observation(
    tmp_path: Path, dtype: str, nodata: float
) -> None:
    values = (6, 9, nodata, 6, 5, 5)
    found = meanings(tmp_path, "scl", [rows_of(values, dtype)], nodata=nodata)
    assert found == (CLEAR, CLOUD, UNOBSERVED, CLEAR, CLEAR, CLEAR)


@pytest.mark.parametrize("internal", [True, False])
def test_a_masked_class_is_no_observation(tmp_path: Path, *, internal: bool) -> None:
    mask = rows_of((255, 255, 0, 255, 255, 255), "uint8")
    values = rows_of((6, 9, 4, 6, 5, 5), "uint8")
    found = meanings(tmp_path, "scl", [values], mask=mask, internal=internal)
    assert found == (CLEAR, CLOUD, UNOBSERVED, CLEAR, CLEAR, CLEAR)


def test_a_raster_that_is_no_classification_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MaskError, match=r"100% of its values are no class .*give another mask"):
        meanings(tmp_path, "scl", [truth().astype(np.uint16)])


@pytest.mark.parametrize(
    ("dtype", "values", "options"),
    [
        ("uint8", (0, 100, 40, 41, 3, 90), {}),
        ("uint16", (0, 100, 40, 41, 3, 90), {}),
        ("int16", (0, 100, 40, 41, 3, 90), {"nodata": -1}),
        ("float32", (0, 100, 40, 40.5, 3, 90), {}),
        ("float32", (0, 1, 0.4, 0.41, 0.03, 0.9), {}),
        ("float64", (0, 1, 0.4, 0.401, 0.03, 0.9), {}),
        ("uint16", (0, 10_000, 4000, 4100, 300, 9000), {"scales": [1e-4]}),
        ("uint16", (0, 10_000, 4000, 4100, 300, 9000), {"scales": [1e-2]}),
    ],
)
def test_a_cloud_probability_means_the_same_in_every_unit(
    tmp_path: Path, dtype: str, values: tuple[float, ...], options: dict[str, Any]
) -> None:
    found = meanings(tmp_path, "cld", [rows_of(values, dtype)], **options)
    assert found == (CLEAR, CLOUD, CLEAR, CLOUD, CLEAR, CLOUD)


@pytest.mark.parametrize(
    ("dtype", "value", "nodata"),
    [("float32", float("nan"), None), ("int16", -9999, None), ("uint8", 255, 255)],
)
def test_an_unknown_probability_is_masked(
    tmp_path: Path, dtype: str, value: float, nodata: float | None
) -> None:
    values = (0, 90, value, 3, 0, 0)
    found = meanings(tmp_path, "cld", [rows_of(values, dtype)], nodata=nodata)
    assert found == (CLEAR, CLOUD, DEFECTIVE, CLEAR, CLEAR, CLEAR)


@pytest.mark.parametrize(("dtype", "top"), [("uint8", 255), ("uint16", 10_000)])
def test_a_probability_in_an_unknown_unit_is_refused(tmp_path: Path, dtype: str, top: int) -> None:
    with pytest.raises(MaskError, match=f"reach {top}, and neither"):
        meanings(tmp_path, "cld", [rows_of((0, top, 40, 41, 3, 90), dtype)])


@pytest.mark.parametrize(
    ("dtype", "yes"),
    [("uint8", 1), ("uint8", 255), ("uint16", 256), ("float32", 1), ("int32", 65_536)],
)
def test_a_mask_of_yes_and_no_means_the_same_in_every_type(
    tmp_path: Path, dtype: str, yes: int
) -> None:
    opaque = rows_of((0, yes, 0, 0, 0, 0), dtype)
    cirrus = rows_of((0, 0, yes, 0, 0, 0), dtype)
    snow = rows_of((0, 0, 0, yes, 0, 0), dtype)
    found = meanings(tmp_path, "classi", [opaque, cirrus, snow], kind="L1C")
    assert found == (CLEAR, CLOUD, CLOUD, LOW, CLEAR, CLEAR)


def test_a_mask_in_another_crs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MaskError, match="mask scl is in EPSG:32634, but its bands in EPSG:32633"):
        meanings(tmp_path, "scl", [rows_of(CLASSES, "uint8")], crs="EPSG:32634")
