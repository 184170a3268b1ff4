"""Small rasters that are stored in unusual ways, and scenes of them."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning

from cloudbuster.core.offsets.radiometry import OffsetDecision
from cloudbuster.core.scenes.encoding import Declaration
from cloudbuster.core.scenes.scene import BandAsset, RasterMetadata, Scene

CRS = "EPSG:32633"
SIDE = 24
PLACE = Affine(10, 0, 500_000, 0, -10, 5_100_000)
# The radiometric decision is no matter of how values are stored.
NO_OFFSET = OffsetDecision("none", True, False, ("by hand",))


def truth() -> np.ndarray:
    """DN of a raster: 200 to 2960, all different in a row."""
    rows, cols = np.mgrid[:SIDE, :SIDE]
    return np.asarray(200 + 100 * cols + 20 * rows)


def absent() -> np.ndarray:
    """Where it has no data: a corner that is larger than a group of isolated zeros."""
    rows, cols = np.mgrid[:SIDE, :SIDE]
    return np.asarray(rows + cols < 9)


def expected() -> np.ndarray:
    return np.where(absent(), 0, truth())


def write(path: Path, *bands: np.ndarray, **options: Any) -> str:
    """Write a raster; the options are those of rasterio, and the ones popped here."""
    scales, offsets = options.pop("scales", None), options.pop("offsets", None)
    mask, alpha = options.pop("mask", None), options.pop("alpha", None)
    names, tags = options.pop("names", None), options.pop("tags", None)
    internal = options.pop("internal", True)
    profile = {
        "driver": "GTiff",
        "height": bands[0].shape[0],
        "width": bands[0].shape[1],
        "count": len(bands) + (alpha is not None),
        "dtype": bands[0].dtype.name,
        "crs": CRS,
        "transform": PLACE,
        **options,
    }
    profile.pop("pam", None)
    settings = {"GDAL_TIFF_INTERNAL_MASK": internal, "GDAL_PAM_ENABLED": options.pop("pam", True)}
    with (
        warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning),
        rasterio.Env(**settings),
        rasterio.open(path, "w", **profile) as dataset,
    ):
        for index, band in enumerate(bands, start=1):
            dataset.write(band, index)
        if scales is not None:
            dataset.scales, dataset.offsets = scales, offsets or [0.0] * dataset.count
        if mask is not None:
            dataset.write_mask(mask)
        if alpha is not None:
            dataset.write(alpha, dataset.count)
            dataset.colorinterp = (*dataset.colorinterp[:-1], ColorInterp.alpha)
        for index, name in enumerate(names or (), start=1):
            dataset.set_band_description(index, name)
        for index, each in enumerate(tags or (), start=1):
            dataset.update_tags(index, **each)
    return str(path)


def scene(
    bands: Mapping[str, str | BandAsset], *, stated: Declaration | None = None, **changes: Any
) -> Scene:
    """A scene of rasters; ``stated`` is what its item says about the values of all bands."""
    metadata = RasterMetadata(values=stated or Declaration())
    assets = {
        name: href if isinstance(href, BandAsset) else BandAsset(href, metadata=metadata)
        for name, href in bands.items()
    }
    known: dict[str, Any] = {"id": "S2A_33TWL_20230510_0_L2A", "kind": "L2A", "baseline": "03.01"}
    return Scene(**{**known, "bands": assets, **changes})
