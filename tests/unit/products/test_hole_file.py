"""The file of the places that were never seen clear."""

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from pyproj import Transformer
from shapely.geometry import shape

from cloudbuster.core.grids.grid import Grid
from cloudbuster.core.selection.holes import Holes
from cloudbuster.products.hole_file import write_holes

# On the central meridian, where the scale of UTM is 0.9996: 100 m of the grid are 100.04 m.
GRID = Grid("EPSG:32633", 500_000, 5_000_000, 100, 100, 8, 6)


def written(folder: Path, never_clear: np.ndarray, empty: np.ndarray) -> list[dict[str, Any]]:
    path = folder / "holes.geojson"
    write_holes(
        str(path), Holes(GRID, never_clear, empty, never_clear.size, float(never_clear.mean()))
    )
    document = orjson.loads(path.read_bytes())
    assert document["type"] == "FeatureCollection"
    features: list[dict[str, Any]] = document["features"]
    return features


def test_holes_are_polygons_in_degrees_with_their_areas_the_largest_first(tmp_path: Path) -> None:
    never_clear, empty = np.zeros((2, *GRID.shape), dtype=bool)
    never_clear[0, 0] = True
    never_clear[2:4, 2:5] = True
    # What has no value was not seen clear either.
    never_clear[5, 6:8] = empty[5, 6:8] = True
    features = written(tmp_path, never_clear, empty)
    found = [feature["properties"]["state"] for feature in features]
    assert found == ["never-clear", "no-value", "never-clear"]
    areas = [feature["properties"]["area_km2"] for feature in features]
    assert areas == pytest.approx([0.06, 0.02, 0.01], rel=2e-3)
    to_lonlat = Transformer.from_crs(GRID.crs, "EPSG:4326", always_xy=True)
    corners = to_lonlat.transform([500_200, 500_500], [4_999_600, 4_999_800])
    west, south, east, north = shape(features[0]["geometry"]).bounds
    assert [west, east] == pytest.approx(corners[0], abs=2e-5)
    assert [south, north] == pytest.approx(corners[1], abs=2e-5)


def test_a_mosaic_without_holes_has_none(tmp_path: Path) -> None:
    nothing = np.zeros(GRID.shape, dtype=bool)
    assert written(tmp_path, nothing, nothing) == []
