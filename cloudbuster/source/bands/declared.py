"""What an open raster declares about its bands: values, masks, and which bands they are."""

from collections.abc import Collection, Mapping
from typing import Any

from rasterio.enums import ColorInterp, MaskFlags, Resampling

from cloudbuster.core.arrays import BoolRaster, Raster
from cloudbuster.core.scenes.band_names import BandText, bands_of
from cloudbuster.core.scenes.encoding import Declaration
from cloudbuster.storage.rasters.raster_file import RasterFile

# Longest side of the reduced read that finds the value of an opaque pixel.
SEARCH_PIXELS = 256
# Tags of a band that name it or give its centre wavelength, in lower case: GDAL's IMAGERY domain,
# ENVI, and the attributes that xarray writes.
NAME_TAGS = ("name", "band_name", "bandname", "common_name", "eo:common_name", "long_name")
WAVELENGTH_TAGS = (
    "central_wavelength_um",
    "center_wavelength",
    "central_wavelength",
    "wavelength",
)


class DeclaredMask:
    """The mask or the alpha band of a file, for one of its bands.

    Parameters
    ----------
    dataset : RasterFile
        Open file.
    band_index : int
        1-based index of the band whose mask it is.
    alpha_index : int or None
        1-based index of the alpha band; None for a mask.
    """

    def __init__(self, dataset: RasterFile, band_index: int, alpha_index: int | None) -> None:
        """Find the value of opaque pixels: 255, 65535 or 1, whatever the file uses."""
        self._dataset = dataset
        self._index = band_index
        self._alpha = alpha_index
        shape = tuple(min(SEARCH_PIXELS, side) for side in (dataset.height, dataset.width))
        self._opaque = self._values(out_shape=shape, resampling=Resampling.nearest).max()

    def __str__(self) -> str:
        """Name the mask for a scene's record."""
        return "mask band" if self._alpha is None else "alpha band"

    def read(self, **how: Any) -> BoolRaster:  # noqa: ANN401 -- rasterio has no types
        """Read where there is no value; arguments are those of rasterio's ``read``.

        A pixel that is partly transparent is mixed with others and has no value either.
        """
        values = self._values(**how)
        masked: BoolRaster = (values != self._opaque) | (values == 0)
        return masked

    def _values(self, **how: Any) -> Raster:  # noqa: ANN401 -- rasterio has no types
        """Read the mask as it is stored."""
        if self._alpha is not None:
            alpha: Raster = self._dataset.read(self._alpha, **how)
            return alpha
        mask: Raster = self._dataset.read_mask(self._index, **how)
        return mask


def declared_values(dataset: RasterFile, band_index: int) -> Declaration:
    """Return the scale, offset and nodata that a file declares for a band."""
    place = band_index - 1
    nodata = dataset.nodatavals[place]
    return Declaration(
        scale=float(dataset.scales[place]),
        offset=float(dataset.offsets[place]),
        nodata=() if nodata is None else (float(nodata),),
    )


def declared_mask(
    dataset: RasterFile, band_index: int, claimed: Collection[int]
) -> DeclaredMask | None:
    """Return the mask that a file declares for a band; None if there is none.

    Parameters
    ----------
    dataset : RasterFile
        Open file.
    band_index : int
        1-based index of the band.
    claimed : collection of int
        Indices of the bands that hold a band or a mask of the scene: none of them is alpha, even
        where the file says so (GDAL makes the fourth of four 8-bit bands alpha by default).
    """
    alpha = alpha_band(dataset, claimed)
    if alpha is not None and alpha != band_index:
        return DeclaredMask(dataset, band_index, alpha)
    flags = set(dataset.mask_flag_enums[band_index - 1])
    if MaskFlags.alpha in flags or flags <= {MaskFlags.all_valid, MaskFlags.nodata}:
        return None
    return DeclaredMask(dataset, band_index, None)


def alpha_band(dataset: RasterFile, claimed: Collection[int]) -> int | None:
    """Return the 1-based index of the alpha band that is none of ``claimed``; None without one."""
    for index, meaning in enumerate(dataset.colorinterp, start=1):
        if meaning == ColorInterp.alpha and index not in claimed:
            return index
    return None


def declared_bands(dataset: RasterFile) -> tuple[str | None, ...]:
    """Return which Sentinel-2 band each band of a file is by its own descriptions and tags."""
    return bands_of([_band_text(dataset, index) for index in range(1, dataset.count + 1)])


def _band_text(dataset: RasterFile, index: int) -> BandText:
    """Return what a file says about one of its bands."""
    tags: dict[str, str] = {}
    for domain in (None, "IMAGERY"):
        found: Mapping[str, str] = dataset.tags(index, ns=domain)
        tags.update({key.lower(): value for key, value in found.items()})
    named = next((tags[key] for key in NAME_TAGS if key in tags), "")
    return BandText(
        name=named,
        description=dataset.descriptions[index - 1] or tags.get("description", ""),
        wavelength=_wavelength(tags),
    )


def _wavelength(tags: Mapping[str, str]) -> float | None:
    """Return the centre wavelength that tags give; None if they give none."""
    for key in WAVELENGTH_TAGS:
        try:
            return float(tags[key])
        except (KeyError, ValueError):
            continue
    return None
