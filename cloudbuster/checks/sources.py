"""Read random places of a mosaic again from their sources, and compare all that was made of them.

A place is read as `cloudbuster.gather` reads it, in a window of a few cells: harmonised, masked by
the scene's detector, resampled to the grid of the mosaic. Where pixels are copied, the stored
numbers are also read directly from the file, without the code that harmonises them.
"""

import itertools
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from scipy import ndimage

from cloudbuster.catalogs.schema import parse_scene
from cloudbuster.checks.cells import Place
from cloudbuster.checks.origins import Origins
from cloudbuster.checks.results import Count, not_checked
from cloudbuster.checks.statistics import Look, recomputed, statistic_of
from cloudbuster.core.arrays import BoolRaster, Raster, UInt16Raster
from cloudbuster.core.grids.grid import Grid, GridWindow
from cloudbuster.core.grids.ground import reach_in_cells
from cloudbuster.core.offsets.radiometry import decide_offset
from cloudbuster.core.pixels.composite import CellState
from cloudbuster.core.pixels.masks import PixelClass, distance_to, pixel_classes
from cloudbuster.core.scenes.digital_numbers import MAX_DN, NODATA
from cloudbuster.core.scenes.scene import BandAsset
from cloudbuster.detectors import CloudDetector, make_detector
from cloudbuster.errors import CloudBusterError, NothingUsableError
from cloudbuster.gather import Place as ScenePlace
from cloudbuster.gather import place_of
from cloudbuster.models import Check, GatherTask
from cloudbuster.mosaics.opened import FinishedMosaic, SceneRow
from cloudbuster.mosaics.rasters import MosaicRasters
from cloudbuster.source.needed_units import KERNEL_MARGIN
from cloudbuster.source.placing import (
    ClassMap,
    PlacedBlock,
    needed_pixels,
    placed_blocks,
    placing_method,
)
from cloudbuster.source.scene_source import RasterSceneSource
from cloudbuster.storage.addresses.trust import catalog_trust
from cloudbuster.storage.files.uri import is_remote
from cloudbuster.storage.rasters.raster_file import RasterFile
from cloudbuster.storage.rasters.tiled_raster import raster_crs, rasterio_window

# Cells on each side of a place that are compared with it: they lie in the same tiles of the source.
AROUND_CELLS = 4
# What a detector may look at beyond the growth of its mask, metres: s2cloudless averages over 4
# cells of 160 m and grows by 2.
CONTEXT_M = 640
# Difference that rounding explains, DN: GDAL interpolates coarser bands, and averages, in windows
# with real corners. Bands that are copied are also compared as they are stored.
ROUNDING_DN = 1
# Between two CRS, GDAL approximates places by up to an eighth of a pixel (see
# `cloudbuster.source.warp.warp`), and differently in blocks of other sizes. A value may differ by
# this share of the range of the cells around it: an eighth in each direction. A mean may also lose
# a pixel at its edge, so that a few values of a window may be anywhere in that range (measured: 1
# of 5 942 values at 25 m).
WARPED_SHARE, WARPED_DN = 0.25, 2
STRAY_SHARE = 0.05
# Scales that stand for plain DN: none is declared, or that of reflectance.
PLAIN_SCALES = (1.0, 0.0001)


@dataclass
class SourceChecks:
    """What the sources of a mosaic say, counted.

    Attributes
    ----------
    pixels, stored, masks, radiometry : Count
        Values of pixels; values as stored in the file; clear pixels and the mask; decisions about
        the radiometric offset.
    unread : list of (SceneRow, CloudBusterError)
        Scenes whose source cannot be read.
    unmasked : list of str
        Why masks could not be made again.
    skipped : list of str
        Why the statistic of a synthetic composite could not be computed again.
    places : int
        Number of places that were read.
    """

    pixels: Count = field(default_factory=lambda: Count("pixels", "values of pixels"))
    stored: Count = field(default_factory=lambda: Count("stored-values", "values of pixels"))
    masks: Count = field(default_factory=lambda: Count("masks", "clear pixels"))
    radiometry: Count = field(default_factory=lambda: Count("radiometry", "scenes"))
    unread: list[tuple[SceneRow, CloudBusterError]] = field(default_factory=list)
    unmasked: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    places: int = 0

    def checks(self) -> list[Check]:
        """Return the results."""
        found = [
            each.check
            for each in (self.pixels, self.stored, self.masks, self.radiometry)
            if each.checked
        ]
        if self.unmasked:
            found.append(not_checked("masks", "; ".join(dict.fromkeys(self.unmasked))))
        if self.skipped:
            found.append(not_checked("pixels", "; ".join(dict.fromkeys(self.skipped))))
        if self.unread:
            row, error = self.unread[0]
            reason = (
                f"the sources of {len(self.unread)} scenes cannot be read, first "
                f"{row.item_id or row.index}: {type(error).__name__}: {error}"
            )
            found.append(not_checked("sources", reason))
        return found


def check_sources(
    mosaic: FinishedMosaic, rasters: MosaicRasters, origins: Origins, places: Iterable[Place]
) -> SourceChecks:
    """Read places of a mosaic from their sources, and compare them.

    Parameters
    ----------
    mosaic, rasters : FinishedMosaic, MosaicRasters
        The mosaic and its open rasters.
    origins : Origins
        How its scenes are read.
    places : iterable of Place
        Places, those of a scene one after the other.

    Returns
    -------
    SourceChecks
    """
    with _Sources(mosaic, origins) as sources:
        groups = itertools.groupby(places, key=lambda place: (place.index, place.backstop))
        for (index, backstop), group in groups:
            row = mosaic.source_row(index, filled=backstop)
            # The check of scene indices reports an index without a row.
            reader = None if row is None else sources.reader(row)
            if row is None or reader is None:
                continue
            try:
                for place in group:
                    _check_place(sources, rasters, reader, row, place)
            except CloudBusterError as error:
                sources.found.unread.append((row, error))
    return sources.found


class _Sources:
    """Sources of the scenes of a mosaic, opened when they are needed; a context manager.

    Attributes
    ----------
    mosaic : FinishedMosaic
        The mosaic.
    found : SourceChecks
        What was found.
    """

    def __init__(self, mosaic: FinishedMosaic, origins: Origins) -> None:
        self.mosaic = mosaic
        self.found = SourceChecks()
        self._origins = origins
        self._readers: dict[SceneRow, _Reader | None] = {}
        self._stack = ExitStack()
        self._statistic = statistic_of(mosaic.composite) if mosaic.is_synthetic else None

    def __enter__(self) -> Self:
        """Return the sources themselves."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the files."""
        self._stack.close()

    def reader(self, row: SceneRow) -> "_Reader | None":
        """Return the reader of a row; None, with the reason noted, if its source cannot be read."""
        if row not in self._readers:
            self._readers[row] = self._opened(row)
        return self._readers[row]

    def _opened(self, row: SceneRow) -> "_Reader | None":
        """Open the source of a row, and check the decision about its offset."""
        origin = self._origins.of(row)
        if isinstance(origin, CloudBusterError):
            self.found.unread.append((row, origin))
            return None
        try:
            scene = parse_scene(
                origin.item, catalog=origin.catalog, asset_mirror=origin.asset_mirror
            )
            decided = origin.radiometry.decision() if origin.radiometry else None
            source = self._stack.enter_context(
                RasterSceneSource(scene, origin.bands, radiometry=decided)
            )
            _check_radiometry(self.found.radiometry, row, source)
            return _Reader(origin, row, source, place_of(origin, source))
        except NothingUsableError as error:
            self.found.pixels.add(1, 1, f"{row.item_id} does not reach the mosaic ({error})")
        except CloudBusterError as error:
            self.found.unread.append((row, error))
        return None

    def compare_statistic(
        self, window: GridWindow, values: UInt16Raster, cells: BoolRaster
    ) -> None:
        """Compare some cells of a window with the statistic of all scenes."""
        if self._statistic is None or not self._origins.are_planned:
            why = "which parts of each scene were read is unknown without the run's selection"
            known = self._statistic is not None
            self.found.skipped.append(why if known else f"{self.mosaic.composite} is unknown")
            return
        readers = [self.reader(row) for row in self.mosaic.rows if not row.backstop]
        if any(reader is None or reader.why_unmasked for reader in readers):
            self.found.skipped.append("a scene of the statistic cannot be read or masked again")
            return
        known_readers = [reader for reader in readers if reader is not None]
        looks = [look for each in known_readers if (look := each.look(window)) is not None]
        if not looks:
            return
        expected = recomputed(looks, self._statistic, len(values))
        warped = any(reader.is_warped for reader in known_readers)
        wrong = _wrong(values, expected, warped=warped) & cells
        text = f"values are not the {self.mosaic.composite} of their looks"
        self.found.pixels.add(int(cells.sum()) * len(values), int(wrong.sum()), text)


def _check_place(
    sources: _Sources, rasters: MosaicRasters, reader: "_Reader", row: SceneRow, place: Place
) -> None:
    """Compare the cells around a place that come from its scene."""
    window = GridWindow(place.row, place.col, 1, 1).grown(AROUND_CELLS)
    window = window.intersection(rasters.grid.window)
    cloudless, state = rasters.cloudless(window), rasters.quality(window)["state"]
    wanted = CellState.BACKSTOP if place.backstop else CellState.CLEAR
    cells = (cloudless[-1] == row.index) & (state == wanted)
    is_statistic = sources.mosaic.is_synthetic and not place.backstop
    reader.compare(sources.found, window, None if is_statistic else cloudless[:-1], cells)
    if is_statistic:
        sources.compare_statistic(window, cloudless[:-1], cells)
    sources.found.places += 1
    if reader.why_unmasked:
        sources.found.unmasked.append(f"{row.item_id}: {reader.why_unmasked}")


def _check_radiometry(count: Count, row: SceneRow, source: RasterSceneSource) -> None:
    """Decide the offset of a scene again, and compare it with the decision that was recorded.

    Reduced resolutions of JPEG 2000 on servers cost a whole file, and are not read.
    """
    hrefs = [asset.href for asset in source.scene.bands.values()]
    if any(is_remote(href) and href.lower().endswith(".jp2") for href in hrefs):
        return
    again = decide_offset(source.metadata, pixels=source.pixels)
    if again.confident:
        recorded = source.radiometry
        count.expect(
            again.offset_dn == recorded.offset_dn,
            f"{row.item_id}: the offset is recorded as {recorded.verdict}, its pixels say "
            f"{again.verdict}",
        )


class _Reader:
    """Reads windows of a mosaic from one scene.

    Parameters
    ----------
    task, row, source, place
        How the scene was gathered, its row of the scene table, its open source, and where it lies
        on the mosaic.
    """

    def __init__(
        self, task: GatherTask, row: SceneRow, source: RasterSceneSource, place: ScenePlace
    ) -> None:
        self._task = task
        self._row = row
        self._source = source
        self._place = place
        self._detector: CloudDetector | None = None
        self._mosaic = task.grid.grid()
        self.method = placing_method(source.grid, place.target)
        self.why_unmasked = ""

    def compare(
        self,
        found: SourceChecks,
        window: GridWindow,
        values: UInt16Raster | None,
        cells: BoolRaster,
    ) -> None:
        """Compare some cells of a window with the source.

        Parameters
        ----------
        found : SourceChecks
            Counts to add to.
        window : GridWindow
            Window of the mosaic.
        values : ndarray of uint16, shape (band, y, x), or None
            Values of the mosaic; None if they are no scene's.
        cells : ndarray of bool, shape (y, x)
            Cells of the window that come from this scene.
        """
        block = self._read(window)
        if block is None:
            text = f"{self._row.item_id} holds no data where the mosaic has its pixels"
            found.pixels.add(int(cells.sum()), int(cells.sum()), text)
            return
        if values is not None:
            self._compare_values(found.pixels, block, values, cells)
        if values is not None and self.method == "copy":
            self._compare_stored(found.stored, window, values, cells)
        if not self._row.backstop and not self.why_unmasked:
            masked = block.classes < PixelClass.LOW_RANK
            if self.method == "cubic":
                masked = ndimage.binary_erosion(masked, np.ones((3, 3)), border_value=1)
            found.masks.add(
                int(cells.sum()),
                int((cells & masked).sum()),
                f"pixels of {self._row.item_id} are clear in the mosaic, and masked by "
                f"{self._row.detector} or without data",
            )

    def _compare_values(
        self, count: Count, block: PlacedBlock, values: UInt16Raster, cells: BoolRaster
    ) -> None:
        """Compare values with those that are placed again."""
        # What is copied does not depend on the mask. What is resampled depends on it.
        unmasked = self._row.backstop or self.method == "copy"
        placed = block.observed if unmasked and block.observed is not None else block.clear
        compared = cells & (unmasked | (placed != NODATA).any(axis=0))
        if self.why_unmasked and not unmasked:
            return
        wrong = _wrong(values, placed, warped=self.is_warped) & compared
        strays = int(np.count_nonzero(wrong))
        if self.is_warped and strays <= STRAY_SHARE * compared.sum() * len(values):
            wrong &= _beyond(values, placed)
        text = f"{self._row.item_id} has other values{_hint(values, placed, compared)}"
        count.add(int(compared.sum()) * len(values), int(wrong.sum()), text if wrong.any() else "")

    @property
    def is_warped(self) -> bool:
        """Whether the scene is in another CRS than the mosaic."""
        return self._source.grid.crs != self._mosaic.crs

    def look(self, window: GridWindow) -> Look | None:
        """Return what the scene shows of a window; None where it has nothing."""
        block = self._read(window)
        if block is None:
            return None
        datatake = self._source.scene.datatake or self._source.scene.id
        return Look(datatake, block.clear, block.classes)

    def _read(self, window: GridWindow) -> PlacedBlock | None:
        """Place a window of the mosaic again; None where the scene has nothing."""
        row, col = self._mosaic.offset_of(self._place.target)
        own = window.shifted(-row, -col).intersection(self._place.target.window)
        if own.is_empty:
            return None
        part = self._place.target.crop(own)
        blocks = placed_blocks(
            self._source,
            self._class_map(part),
            self._place.target,
            self._task.bands,
            keep_observed=True,
            units=self._place.units,
            windows=[own],
        )
        block = next(blocks, None)
        if block is None:
            return None
        return _padded(block, block.window.shifted(row - window.row, col - window.col), window)

    def _class_map(self, part: Grid) -> ClassMap:
        """Mask the part of the scene around a window; without its detector all of it is clear."""
        source, dilate_m = self._source.grid, self._task.dilate_m
        margin = reach_in_cells(dilate_m + CONTEXT_M, source) + KERNEL_MARGIN
        area = needed_pixels(source, part, None).grown(margin).intersection(source.window)
        wanted = source.crop(area)
        if not self.why_unmasked:
            try:
                if self._detector is None:
                    self._detector = make_detector(self._task.detector, self._task.kind)
                mask = self._detector.detect(self._source, wanted)
            except CloudBusterError as error:
                self.why_unmasked = f"{type(error).__name__}: {error}"
            else:
                if mask.detector == self._row.detector:
                    classes = pixel_classes(mask, dilate_m)
                    return ClassMap(mask.grid, classes, distance_to(mask.cloud, mask.grid))
                self.why_unmasked = (
                    f"masked by {self._row.detector}, which this request does not make again "
                    f"({mask.detector})"
                )
        clear = np.full(wanted.shape, PixelClass.CLEAR, dtype=np.uint8)
        return ClassMap(wanted, clear, np.zeros(wanted.shape, dtype=np.uint16))

    def _compare_stored(
        self, count: Count, window: GridWindow, values: UInt16Raster, cells: BoolRaster
    ) -> None:
        """Compare values with the numbers in the file and the offset, without any other code."""
        part = self._mosaic.crop(window)
        offset_dn = self._source.radiometry.offset_dn
        for position, band in enumerate(self._task.bands):
            asset = self._source.scene.bands.get(band)
            stored = None if asset is None else self._stored(asset, part)
            if stored is None:
                continue
            inside, numbers = stored
            known = cells[inside] & (numbers > NODATA) & (numbers <= MAX_DN)
            wanted = np.maximum(numbers.astype(np.int64) + offset_dn, 1)
            wrong = known & (values[position][inside] != wanted)
            text = (
                f"{self._row.item_id}: {band} is not what its file holds, with offset {offset_dn}"
            )
            count.add(int(known.sum()), int(wrong.sum()), text)

    def _stored(
        self, asset: BandAsset, part: Grid
    ) -> tuple[tuple[slice, slice], UInt16Raster] | None:
        """Read the numbers of a band in a part of the mosaic, and which cells of it they are.

        None if the file has other cells, or holds anything but plain DN.
        """
        scene = self._source.scene
        trust = catalog_trust(scene.catalog, scene.asset_mirror)
        with RasterFile(asset.href, trust) as file:
            number = asset.band_index
            scale = asset.metadata.values.scale
            is_plain = (
                file.dtypes[number - 1] == "uint16"
                and file.scales[number - 1] in PLAIN_SCALES
                and scale in (None, *PLAIN_SCALES)
                and file.count == 1
            )
            if not is_plain or file.crs is None or file.crs != raster_crs(part.crs):
                return None
            try:
                native = Grid.from_transform(
                    part.crs, file.transform, width=file.width, height=file.height
                )
            except ValueError:
                return None
            if not native.is_aligned(part):
                return None
            row, col = native.offset_of(part)
            wanted = GridWindow(row, col, *part.shape)
            inside = wanted.intersection(native.window)
            if inside.is_empty:
                return None
            numbers = file.read(number, window=rasterio_window(inside))
            return inside.shifted(-row, -col).slices, numbers


def _wrong(values: UInt16Raster, placed: UInt16Raster, *, warped: bool) -> BoolRaster:
    """Return which values differ by more than reading a window instead of a block explains."""
    apart = np.abs(values.astype(np.int64) - placed)
    if not warped:
        return np.asarray(apart > ROUNDING_DN)
    low, high = _range_around(placed)
    return np.asarray(apart > WARPED_DN + WARPED_SHARE * (high - low))


def _range_around(placed: UInt16Raster) -> tuple[Raster, Raster]:
    """Return the least and greatest value of each cell and those around it, without nodata."""
    size, top = (1, 3, 3), int(placed.max(initial=0))
    low = ndimage.minimum_filter(np.where(placed == NODATA, top, placed), size)
    high = ndimage.maximum_filter(placed, size)
    return low.astype(np.int64), high.astype(np.int64)


def _beyond(values: UInt16Raster, placed: UInt16Raster) -> BoolRaster:
    """Return which values are beyond all those around them."""
    low, high = _range_around(placed)
    return np.asarray((values < low - WARPED_DN) | (values > high + WARPED_DN))


def _padded(block: PlacedBlock, at: GridWindow, window: GridWindow) -> PlacedBlock:
    """Put a block at a place of a window, which is unobserved elsewhere."""
    if (at.row, at.col, at.height, at.width) == (0, 0, window.height, window.width):
        return block
    rows, cols = at.slices
    shape = (window.height, window.width)

    def placed(values: Raster) -> Raster:
        """Return an array of the window with the values of the block in their place."""
        whole = np.zeros((*values.shape[:-2], *shape), dtype=values.dtype)
        whole[..., rows, cols] = values
        return whole

    observed = None if block.observed is None else placed(block.observed)
    return PlacedBlock(
        window,
        placed(block.clear),
        observed,
        placed(block.classes),
        placed(block.distance_m),
        placed(block.confidence),
    )


def _hint(values: UInt16Raster, placed: UInt16Raster, cells: BoolRaster) -> str:
    """Describe a mistake that explains other values: an offset, an order of bands, a shift."""
    found, wanted = values[:, cells].astype(np.int64), placed[:, cells].astype(np.int64)
    if not found.size:
        return ""
    apart = found - wanted
    if (apart == apart.flat[0]).all() and apart.flat[0]:
        return f", by {apart.flat[0]} DN everywhere"
    if len(values) <= 4:
        for order in itertools.permutations(range(len(values))):
            if order != tuple(range(len(values))) and (found == wanted[list(order)]).all():
                return ", in another order of bands"
    inner = np.s_[:, 1:-1, 1:-1]
    for rows, cols in itertools.product((-1, 0, 1), repeat=2):
        if (rows or cols) and min(values.shape[1:]) > 2:
            moved = np.roll(placed, (rows, cols), axis=(1, 2))
            same = (values == moved)[inner][:, cells[1:-1, 1:-1]]
            if same.size and same.all():
                return f", shifted by {rows} rows and {cols} columns"
    return ""
