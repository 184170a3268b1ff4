"""Read what a scene shows clear at low resolution, from the overviews of the product's masks."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from rasterio.enums import Resampling
from scipy import ndimage

from cloudbuster.core.arrays import BoolRaster, Raster, UInt8Raster
from cloudbuster.core.grids.grid import Grid, GridWindow
from cloudbuster.core.grids.ground import cell_size_m
from cloudbuster.core.grids.regrid import sample_nearest
from cloudbuster.core.grids.windows import CELL_SIZE_TOLERANCE, cells_of_size
from cloudbuster.core.pixels.mask_codes import (
    class_codes,
    flag_codes,
    percent_codes,
    probability_unit,
)
from cloudbuster.core.pixels.masks import (
    EIGHT_NEIGHBOURS,
    DetectedMask,
    MaskLayers,
    PixelClass,
    pixel_classes,
)
from cloudbuster.core.scenes.bands import BANDS
from cloudbuster.core.scenes.scene import BandAsset, Scene
from cloudbuster.core.selection.sky_thumbnail import SkyThumbnail
from cloudbuster.errors import AccessError, MaskError, RasterError
from cloudbuster.models import DetectorOptions
from cloudbuster.source.bands.declared import declared_values
from cloudbuster.source.bands.georeference import MASK_GSDS_M, place_raster
from cloudbuster.source.masks.product_masks import (
    GML_GSD_M,
    mask_band_count,
    mask_layers,
    mask_names,
    polygon_layers,
)
from cloudbuster.storage.addresses.trust import catalog_trust
from cloudbuster.storage.rasters.raster_file import RasterFile
from cloudbuster.storage.rasters.tiled_raster import check_length, rasterio_window

# Longest side of a thumbnail in cells, and largest cell in metres. The 5490 pixels of SCL become
# 344 cells of 320 m: an overview of one tile, which the first request for the file often includes.
MAX_SIDE_CELLS = 512
MAX_CELL_M = 320.0
# Greatest class of SCL and greatest cloud probability; a greater value is an average or an
# interpolation of several pixels (see `core.pixels.masks`).
GREATEST_VALUES = {"scl": 11, "cld": 100}
# An overview of SCL is taken for averages if most of its cells between two classes that are this
# far apart have a class between them. Decimated 8 and 16 times, 7 to 32 % of such cells have one in
# the sample world and in real crops; averaged over as many pixels, 59 to 83 %. A few cells prove
# nothing.
FAR_CLASSES = 4
BLENDED_SHARE = 0.5
MIN_BORDER_CELLS = 8
# Rows of full resolution that are read at a time: one row of tiles of most COGs.
STRIP_ROWS = 512
JP2_DRIVERS = frozenset({"JP2OpenJPEG", "JP2KAK", "JP2ECW", "JP2MrSID"})


@dataclass(frozen=True, eq=False)
class _Decimated:
    """A raster at low resolution.

    Attributes
    ----------
    native, grid : Grid
        Grid of the raster, and of the cells.
    values : ndarray, shape (band, y, x)
        On ``grid``, in the raster's own dtype.
    is_blended : bool
        Whether values of neighbouring pixels may be mixed in a cell.
    """

    native: Grid
    grid: Grid
    values: Raster
    is_blended: bool


def read_sky_thumbnail(
    scene: Scene, bands: tuple[str, ...], detector: DetectorOptions, dilate_m: float
) -> SkyThumbnail:
    """Read where a scene has data and where it is clear, at low resolution.

    The mask is the one that detector ``stock`` reads; without it another mask of the product, or
    the scene classification of the L2A twin of an L1C scene. For other detectors than ``stock``
    the twin comes first, and another mask is used if one cannot be read. Values are those of the
    pixels nearest to the cells' centres, from an overview if there is one.

    Parameters
    ----------
    scene : Scene
        Description of the scene by its catalog.
    bands : tuple of str
        Bands of the mosaic. A mask that does not mark missing data takes it from a band.
    detector : DetectorOptions
        Its preset selects the mask, and the classes that count as cloud. Type ``auto`` counts as
        another detector than ``stock``.
    dilate_m : float
        Growth of cloud and shadow, metres. Less than a cell has no effect.

    Returns
    -------
    SkyThumbnail
        Cells are square powers of two of the mask's pixels, at most about 320 m, and begin at the
        corner of its raster; the last ones may reach over its edge. Missing data is unobserved.

    Raises
    ------
    MaskError
        If the scene has no mask, or it cannot be read.
    RasterError, GridError
        If the band that shows missing data is missing or cannot be used.
    CredentialsError, AccessError
        If a file may not be read.
    TryAgainError
        If the place of a file fails in a way that may pass.
    """
    *others, last = _masks(scene, detector)
    for holder, name in others:
        try:
            return _from_mask(scene, holder, name, bands, detector, dilate_m)
        except (MaskError, AccessError):
            # Some catalogs' items list no masks, so that their addresses are guesses; a bucket that
            # may not be listed refuses an address that does not exist.
            continue
    return _from_mask(scene, *last, bands, detector, dilate_m)


def _from_mask(
    scene: Scene,
    holder: Scene,
    name: str,
    bands: tuple[str, ...],
    detector: DetectorOptions,
    dilate_m: float,
) -> SkyThumbnail:
    """Make a thumbnail from the mask ``name`` of ``holder``, the scene or its twin."""
    if name == "gml":
        grid, empty = _missing_data(scene, bands)
        cells = cells_of_size(grid, grid, GML_GSD_M)
        trust = catalog_trust(holder.catalog, holder.asset_mirror)
        layers = polygon_layers(holder.masks[name].href, cells, trust)
        layers = MaskLayers(*(sample_nearest(each, cells, grid, fill=0) for each in layers))
    else:
        mask = _read_mask(holder, name)
        grid = mask.grid
        layers = mask_layers(name, _codes(holder, name, mask), detector.preset)
        if name == "scl":
            empty = layers.unobserved
            layers = _without_rims(layers) if mask.is_blended else layers
        else:
            empty = _sampled(*_missing_data(scene, bands), grid)
    mask_of = DetectedMask(grid, *layers[:3], name, layers.unobserved, layers.shadow)
    classes = pixel_classes(mask_of, dilate_m)
    classes[empty] = PixelClass.UNOBSERVED
    return SkyThumbnail(grid, classes)


def thumbnail_hrefs(
    scene: Scene, bands: tuple[str, ...], detector: DetectorOptions
) -> tuple[str, ...]:
    """Return the addresses of the files that `read_sky_thumbnail` may read.

    Raises
    ------
    MaskError
        If the scene has no mask.
    """
    masks = _masks(scene, detector)
    needs_bands = any(name != "scl" for _, name in masks)
    data = _data_bands(scene, bands) if needs_bands else ()
    return (
        *(holder.masks[name].href for holder, name in masks),
        *(scene.bands[band].href for band in data),
    )


def _masks(scene: Scene, detector: DetectorOptions) -> list[tuple[Scene, str]]:
    """Return the masks that may be read, each with the scene that holds it, in order.

    There is one for detector ``stock``, which does not read another if it fails.
    """
    names = tuple(dict.fromkeys((*mask_names(scene.kind, detector.preset), "cld")))
    found = [(scene, name) for name in names if name in scene.masks]
    twin, needs_first = scene.twin, "stock" in detector.detectors.names
    if scene.kind == "L1C" and twin is not None and twin.kind == "L2A" and "scl" in twin.masks:
        # It is more exact than the masks of L1C, marks missing data, and has overviews.
        found = [*found, (twin, "scl")] if needs_first else [(twin, "scl"), *found]
    if not found:
        available = ", ".join(sorted(scene.masks)) or "none"
        msg = f"{scene.id} has no mask {' or '.join(names)} (it has {available})"
        raise MaskError(msg)
    return found[:1] if needs_first else found


def _read_mask(scene: Scene, name: str) -> _Decimated:
    """Read a mask at low resolution; an overview of averages is replaced by full resolution."""
    asset = scene.masks[name]
    try:
        with _open(scene, asset) as dataset:
            if dataset.driver == "GTiff":
                check_length(asset.href, dataset, remedy="fetch the file again or drop the scene")
            count = mask_band_count(name)
            decimated = _read_decimated(dataset, asset, scene, count, MASK_GSDS_M)
            if decimated.is_blended or not _is_averaged(name, decimated):
                return decimated
            return _read_strips(dataset, asset, decimated)
    except RasterError as error:
        raise MaskError(str(error)) from error


def _missing_data(scene: Scene, bands: tuple[str, ...]) -> tuple[Grid, BoolRaster]:
    """Return the cells of a band, and where the band has no data.

    The coarsest band of the scene has the fewest pixels to read, which matters for JPEG 2000; if
    it cannot be read, the coarsest requested one is used.
    """
    names = _data_bands(scene, bands)
    if not names:
        msg = f"{scene.id} has no asset for {', '.join(bands)}; ask for other bands"
        raise RasterError(msg)
    for name in names[:-1]:
        try:
            return _empty_cells(scene, name)
        except RasterError:
            # It was not requested, so that the scene may be usable without it.
            continue
    return _empty_cells(scene, names[-1])


def _empty_cells(scene: Scene, name: str) -> tuple[Grid, BoolRaster]:
    """Return the cells of a band, and where it has no data."""
    asset = scene.bands[name]
    with _open(scene, asset) as dataset:
        pixels = _read_decimated(dataset, asset, scene, 1, (BANDS[name].gsd_m,))
        declared = (
            *declared_values(dataset, asset.band_index).nodata,
            *asset.metadata.values.nodata,
        )
    values = pixels.values[0]
    empty = np.isin(values, (0, *declared)) | np.isnan(values)
    if pixels.is_blended:
        # Wavelets spread the data by about a cell over the edge of the swath.
        empty = ndimage.binary_dilation(empty, structure=EIGHT_NEIGHBOURS)
    return pixels.grid, empty


def _data_bands(scene: Scene, bands: tuple[str, ...]) -> tuple[str, ...]:
    """Return the bands that may show missing data, in order of preference."""
    requested = [name for name in bands if name in scene.bands]
    coarsest = [
        max(names, key=lambda name: BANDS[name].gsd_m)
        for names in (tuple(scene.bands), requested)
        if names
    ]
    return tuple(dict.fromkeys(coarsest))


def _open(scene: Scene, asset: BandAsset) -> RasterFile:
    """Open a file of a scene, if its catalog may have it opened."""
    return RasterFile(asset.href, catalog_trust(scene.catalog, scene.asset_mirror))


def _read_decimated(
    dataset: RasterFile, asset: BandAsset, scene: Scene, count: int, gsds_m: tuple[int, ...]
) -> _Decimated:
    """Read bands at low resolution in one read, which takes them from the closest overview."""
    indexes = [asset.band_index + offset for offset in range(count)]
    if indexes[-1] > dataset.count:
        msg = f"{asset.href} has {dataset.count} bands, and band {indexes[-1]} is needed"
        raise RasterError(msg)
    native = place_raster(
        asset.href, dataset, asset.metadata, gsds_m=gsds_m, scene_epsg=scene.epsg
    ).grid
    factor = _factor(native)
    if factor == 1:
        return _Decimated(native, native, dataset.read(indexes), is_blended=False)
    grid = _coarse(native, factor)
    values = dataset.read(indexes, out_shape=(count, *grid.shape), resampling=Resampling.nearest)
    # The reduced resolutions of JPEG 2000 are wavelets, whose values stand at whole multiples.
    is_wavelet = dataset.driver in JP2_DRIVERS
    if not is_wavelet:
        values = values.take(_overview_indices(native.height, factor), axis=1)
        values = values.take(_overview_indices(native.width, factor), axis=2)
    return _Decimated(native, grid, values, is_blended=is_wavelet)


def _factor(native: Grid) -> int:
    """Return the number of pixels in a cell's side.

    It is the smallest power of two with which the longest side has at most `MAX_SIDE_CELLS` cells,
    or the greatest whose cells are not larger than `MAX_CELL_M`.
    """
    limit = MAX_CELL_M * (1 + CELL_SIZE_TOLERANCE)
    factor, size_m = 1, max(cell_size_m(native))
    while max(native.shape) > MAX_SIDE_CELLS * factor and 2 * factor * size_m <= limit:
        factor *= 2
    return factor


def _coarse(native: Grid, factor: int) -> Grid:
    """Return the cells of ``factor`` pixels from the corner of a grid on that cover it."""
    return Grid(
        native.crs,
        native.west,
        native.north,
        native.x_size * factor,
        native.y_size * factor,
        -(-native.width // factor),
        -(-native.height // factor),
    )


def _middles(length: int, factor: int) -> npt.NDArray[np.float64]:
    """Return the middle of each cell of an axis of ``length`` pixels, in pixels.

    A last cell that reaches over the edge has its middle in the part that lies inside.
    """
    first = np.arange(0, length, factor)
    last = np.minimum(first + factor, length)
    return (first + last) / 2


def _overview_indices(length: int, factor: int) -> npt.NDArray[np.intp]:
    """Return the overview's pixel at the middle of each cell of an axis of ``length`` pixels.

    GDAL stretches an overview over the whole raster: the 344 pixels of an overview of 5490 are
    15.96 pixels wide, so that the 300th cell of 16 is the 301st pixel of the overview.
    """
    cells = -(-length // factor)
    return (_middles(length, factor) * cells / length).astype(np.intp)


def _is_averaged(name: str, decimated: _Decimated) -> bool:
    """Whether an overview seems to hold averages of classes instead of classes."""
    if decimated.grid == decimated.native:
        return False
    values = decimated.values
    if name in GREATEST_VALUES and bool((values > GREATEST_VALUES[name]).any()):
        return True
    return name == "scl" and _is_mixed(values[0])


def _is_mixed(classes: Raster) -> bool:
    """Whether most cells between two far classes have a class between them, as averages do."""
    borders = between = 0
    for axis in (classes, classes.T):
        lower = np.minimum(axis[:-2], axis[2:])
        upper = np.maximum(axis[:-2], axis[2:])
        far = upper - lower >= FAR_CLASSES
        borders += int(far.sum())
        between += int((far & (axis[1:-1] > lower) & (axis[1:-1] < upper)).sum())
    return borders >= MIN_BORDER_CELLS and between > BLENDED_SHARE * borders


def _read_strips(dataset: RasterFile, asset: BandAsset, decimated: _Decimated) -> _Decimated:
    """Read the pixel in the middle of each cell from full resolution, strip by strip."""
    native = decimated.native
    factor = round(decimated.grid.x_size / native.x_size)
    rows, cols = (_middles(length, factor).astype(np.intp) for length in native.shape)
    strips = []
    for first in range(0, native.height, STRIP_ROWS):
        wanted = rows[(rows >= first) & (rows < first + STRIP_ROWS)]
        if wanted.size:
            window = GridWindow(int(wanted[0]), 0, int(wanted[-1] - wanted[0]) + 1, native.width)
            pixels = dataset.read(asset.band_index, window=rasterio_window(window))
            strips.append(pixels[wanted - wanted[0]][:, cols])
    values = np.concatenate(strips)[None]
    return _Decimated(native, decimated.grid, values, is_blended=False)


def _without_rims(layers: MaskLayers) -> MaskLayers:
    """Mark the cells beside cloud and missing data as defective: their classes may be mixed."""
    unclear = layers.cloud | layers.shadow | layers.defective
    rims = ndimage.binary_dilation(unclear, structure=EIGHT_NEIGHBOURS) & ~unclear
    return layers._replace(defective=layers.defective | rims)


def _sampled(source: Grid, empty: BoolRaster, grid: Grid) -> BoolRaster:
    """Sample where a band has no data on the cells of a mask."""
    if source.crs != grid.crs:
        msg = f"the mask is in {grid.crs}, but its bands in {source.crs}; choose another detector"
        raise MaskError(msg)
    return np.asarray(sample_nearest(empty, source, grid, fill=1))


def _codes(scene: Scene, name: str, mask: _Decimated) -> UInt8Raster:
    """Codes of the values of a mask, as those that detectors read at full resolution."""
    values = mask.values
    valid = ~np.isnan(values)
    try:
        if name == "cld":
            unit = probability_unit(float(values[valid].max(initial=0)))
            return percent_codes(values, valid, unit=unit)
        return (flag_codes if name == "classi" else class_codes)(values, valid)
    except ValueError as error:
        msg = f"{scene.masks[name].href}: {error}; give another mask, or drop the scene"
        raise MaskError(msg) from error
