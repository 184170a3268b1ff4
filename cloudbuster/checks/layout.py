"""Checks of the rasters of a mosaic as files: complete, as the item says, and cloud-optimised.

The rules of a cloud-optimised GeoTIFF are those of rio-cogeo's validator, read from GDAL's own
metadata.
"""

import itertools
import math
from pathlib import Path
from typing import Any

import rasterio

from cloudbuster.checks.results import Count
from cloudbuster.core.grids.grid import ALIGNMENT_TOLERANCE, Grid
from cloudbuster.errors import GridError
from cloudbuster.models import Check
from cloudbuster.products.cog import REFLECTANCE_SCALE, overview_factors
from cloudbuster.storage.rasters.gdal_env import RASTER_ERRORS
from cloudbuster.storage.rasters.tiled_raster import check_written, raster_crs, tile_size

# Terms of a transform are written with all digits; this allows for a reader that rounds them.
TRANSFORM_TOLERANCE = 1e-6

# Errors of a file that is missing, broken, or ends before its tiles do.
INCOMPLETE: tuple[type[Exception], ...] = (OSError, *RASTER_ERRORS)


def check_complete(paths: list[Path]) -> Check:
    """Check that every tile of every raster, overviews included, lies within its file."""
    count = Count("complete", "rasters")
    for path in paths:
        try:
            check_written(path)
        except INCOMPLETE as error:
            count.expect(False, f"{path.name} is missing, truncated or no GeoTIFF ({error})")
        else:
            count.expect(True, "")
    return count.check


def check_layout(paths: list[Path]) -> Check:
    """Check that each raster is a cloud-optimised GeoTIFF with the overviews that it needs."""
    count = Count("layout", "rules of cloud-optimised GeoTIFFs")
    for path in paths:
        with rasterio.open(path, driver="GTiff") as dataset:
            _check_tiles(count, path.name, dataset)
            _check_order(count, path.name, dataset)
    return count.check


def _check_tiles(count: Count, name: str, dataset: Any) -> None:  # noqa: ANN401 -- rasterio is untyped
    """Check the tiles and the overviews of a raster."""
    side = tile_size(dataset.shape)
    tiled = set(dataset.block_shapes) == {(side, side)}
    count.expect(tiled, f"{name} has blocks of {dataset.block_shapes[0]}, not {side} by {side}")
    wanted = overview_factors(Grid("", 0, 0, 1, 1, dataset.width, dataset.height))
    for band in dataset.indexes:
        found = dataset.overviews(band)
        count.expect(found == wanted, f"{name} has overviews {found} of band {band}, not {wanted}")
    structure = dataset.tags(ns="IMAGE_STRUCTURE")
    written = structure.get("LAYOUT") == "COG"
    count.expect(written, f"{name} was changed after it was written as a COG")


def _check_order(count: Count, name: str, dataset: Any) -> None:  # noqa: ANN401 -- rasterio is untyped
    """Check that directories come before pixels, and small overviews before large ones."""
    levels = [None, *range(len(dataset.overviews(1)))]
    directories = [_offset(dataset, "IFD_OFFSET", level) for level in levels]
    rising = all(low < high for low, high in itertools.pairwise(directories))
    count.expect(rising, f"{name}: the directories of its overviews are not in order")
    pixels = [offset for level in levels if (offset := _first_tile(dataset, level))]
    falling = all(low > high for low, high in itertools.pairwise(pixels))
    count.expect(falling, f"{name}: its overviews do not lie before its pixels")
    after = not pixels or min(pixels) > max(directories)
    count.expect(after, f"{name}: a directory lies behind the pixels")


def _offset(dataset: Any, item: str, level: int | None) -> int:  # noqa: ANN401 -- rasterio is untyped
    """Return an offset in the file that GDAL knows of the first band of a level, or 0."""
    return int(dataset.get_tag_item(item, "TIFF", bidx=1, ovr=level) or 0)


def _first_tile(dataset: Any, level: int | None) -> int:  # noqa: ANN401 -- rasterio is untyped
    """Return the offset of the first tile of a level that is not empty; 0 if all are."""
    factor = 1 if level is None else dataset.overviews(1)[level]
    height, width = dataset.block_shapes[0]
    rows, cols = (
        range(math.ceil(math.ceil(side / factor) / block))
        for side, block in ((dataset.height, height), (dataset.width, width))
    )
    for row, col in itertools.product(rows, cols):
        offset = _offset(dataset, f"BLOCK_OFFSET_{col}_{row}", level)
        if offset:
            return offset
    return 0


def check_metadata(rasters: dict[str, Path], item: dict[str, Any]) -> Check:
    """Check that the rasters have the grid, bands, types and nodata that their item states.

    Parameters
    ----------
    rasters : mapping of str to Path
        Rasters by the key of their asset.
    item : mapping
        The STAC item.
    """
    count = Count("metadata", "statements of the item about the rasters")
    properties = item.get("properties") or {}
    for key, path in rasters.items():
        asset = item["assets"].get(key)
        if not isinstance(asset, dict):
            count.expect(False, f"the item has no asset {key}")
            continue
        with rasterio.open(path, driver="GTiff") as dataset:
            _check_grid(count, path.name, dataset, properties)
            _check_bands(count, path.name, dataset, asset)
    return count.check


def _check_grid(count: Count, name: str, dataset: Any, properties: dict[str, Any]) -> None:  # noqa: ANN401 -- rasterio is untyped
    """Compare the grid of a raster with the properties of the item."""
    shape = list(dataset.shape)
    stated = properties.get("proj:shape")
    count.expect(stated == shape, f"{name} has shape {shape}, the item states {stated}")
    terms = list(dataset.transform)[:6]
    stated = properties.get("proj:transform")
    size = ALIGNMENT_TOLERANCE * abs(terms[0])
    same = (
        isinstance(stated, list)
        and len(stated) >= len(terms)
        and all(
            isinstance(b, int | float)
            and math.isclose(a, b, rel_tol=TRANSFORM_TOLERANCE, abs_tol=size)
            for a, b in zip(terms, stated, strict=False)
        )
    )
    count.expect(same, f"{name} has transform {terms}, the item states {stated}")
    code, wkt = properties.get("proj:epsg"), properties.get("proj:wkt2")
    try:
        same = dataset.crs == raster_crs(f"EPSG:{code}" if code else str(wkt))
    except GridError:
        same = False
    count.expect(same, f"{name} is in {dataset.crs}, the item states {code or wkt}")


def _objects(stated: object) -> list[dict[str, Any]]:
    """Return a list of JSON objects, empty ones in place of anything else."""
    if not isinstance(stated, list):
        return []
    return [each if isinstance(each, dict) else {} for each in stated]


def _check_bands(count: Count, name: str, dataset: Any, asset: dict[str, Any]) -> None:  # noqa: ANN401 -- rasterio is untyped
    """Compare the bands of a raster with its asset."""
    bands, values = _objects(asset.get("eo:bands")), _objects(asset.get("raster:bands"))
    names = [band.get("name") for band in bands]
    found = list(dataset.descriptions)
    count.expect(names == found, f"{name} has bands {found}, the item states {names}")
    for position, (label, stated) in enumerate(zip(found, values, strict=False)):
        stated_nodata = stated.get("nodata")
        nodata = dataset.nodatavals[position]
        count.expect(
            nodata == stated_nodata,
            f"{name}: nodata of {label} is {nodata}, the item states {stated_nodata}",
        )
        dtype = dataset.dtypes[position]
        count.expect(dtype == stated.get("data_type"), f"{name}: {label} is {dtype}, not as stated")
        scale = stated.get("scale")
        wanted = (scale if scale is not None else 1.0, REFLECTANCE_SCALE if scale else 1.0)
        stored = dataset.scales[position]
        same = all(isinstance(each, int | float) and math.isclose(stored, each) for each in wanted)
        count.expect(same, f"{name}: scale of {label} is {stored}, the item states {scale}")
    missing = len(found) != len(values)
    count.expect(not missing, f"{name} has {len(found)} bands, the item describes {len(values)}")
