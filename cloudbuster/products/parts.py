"""Parts of a mosaic that are merged on different machines and then joined into one product.

A part is a rectangle of whole blocks of the mosaic's grid. It consists of three rasters, with the
bands of the three products, and of a document that lists the scenes they were merged from. Parts
are plain GeoTIFFs without overviews, written once and read once, block by block.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rasterio

from cloudbuster.core.grids.grid import Grid, GridWindow
from cloudbuster.core.pixels.held_out import HeldOutTally
from cloudbuster.errors import RasterError, RequestError
from cloudbuster.events import Event, OnEvent, emit
from cloudbuster.models import HeldOutSums, MergedPart, SceneRecord
from cloudbuster.products.blocks import MosaicBlocks, Pixels
from cloudbuster.products.cog import BLOCK_SIZE, SCRATCH_COMPRESSION
from cloudbuster.products.stac_item import QUALITY_BANDS
from cloudbuster.storage.files.documents import read_document
from cloudbuster.storage.files.folders import input_folder
from cloudbuster.storage.rasters.gdal_env import RASTER_ERRORS
from cloudbuster.storage.rasters.tiled_raster import (
    open_raster_writer,
    raster_profile,
    rasterio_window,
)

KEYS = ("cloudless", "cloudy", "quality")


@dataclass(frozen=True)
class Part:
    """One part of a mosaic.

    Attributes
    ----------
    name : str
        Name of the mosaic.
    number : int
        Number of the part, from 1.
    cells : int
        Side of a part in cells, a multiple of `BLOCK_SIZE`.
    """

    name: str
    number: int
    cells: int

    def __post_init__(self) -> None:
        """Raise RequestError unless the parts are whole blocks."""
        if self.cells < 1 or self.cells % BLOCK_SIZE:
            msg = f"parts of {self.cells} cells; their side must be a multiple of {BLOCK_SIZE}"
            raise RequestError(msg)

    @property
    def document(self) -> str:
        """File name of the document."""
        return f"{self.name}-part-{self.number}.json"

    @property
    def rasters(self) -> dict[str, str]:
        """File names of the rasters, by product."""
        return {key: f"{self.name}-part-{self.number}-{key}.tif" for key in KEYS}

    def window(self, grid: Grid) -> GridWindow:
        """Window of the part in the mosaic's grid; raise RequestError if there is no such part."""
        windows = part_windows(grid, self.cells)
        if not 1 <= self.number <= len(windows):
            msg = f"part {self.number}; a mosaic of {grid.shape} cells has {len(windows)} parts"
            raise RequestError(msg)
        return windows[self.number - 1]

    def make_document(
        self,
        records: tuple[SceneRecord, ...],
        bands: tuple[str, ...],
        composite: str,
        check: HeldOutSums | None = None,
    ) -> MergedPart:
        """Make the document of the part, merged from the scenes of ``records``."""
        return MergedPart(
            number=self.number,
            cells=self.cells,
            composite=composite,
            bands=bands,
            grid=records[0].grid,
            scenes=tuple(record.identity for record in records),
            self_check=check,
        )


def part_windows(grid: Grid, cells: int) -> list[GridWindow]:
    """Windows of the parts of ``cells`` by ``cells`` cells that tile a grid, row by row."""
    return list(grid.blocks(cells))


def write_part(
    source: MosaicBlocks,
    window: GridWindow,
    folder: Path,
    part: Part,
    *,
    on_event: OnEvent | None = None,
) -> None:
    """Write the rasters of a part.

    Parameters
    ----------
    source : MosaicBlocks
        Source of the blocks of ``window``.
    window : GridWindow
        Window of the part in the mosaic's grid.
    folder : Path
        Folder of the rasters.
    part : Part
        The part, which names the files.
    on_event : callable, optional
        Progress callback; there is one event for each block.

    Raises
    ------
    OutputError, TryAgainError
        If a raster cannot be written, or the disk is full.
    """
    grid = source.grid.crop(window)
    # The document of an earlier merge must not describe a mixture of old and new rasters.
    (folder / part.document).unlink(missing_ok=True)
    with ExitStack() as stack:
        datasets: dict[str, Any] = {}
        for key, file_name in part.rasters.items():
            profile = raster_profile(grid, _band_count(key, source.bands))
            profile |= {**SCRATCH_COMPRESSION, "nodata": None}
            writer = open_raster_writer(folder / file_name, profile)
            datasets[key] = stack.enter_context(writer)
        for done, (block, pixels) in enumerate(source.blocks(), start=1):
            block_in_part = rasterio_window(block.shifted(-window.row, -window.col))
            for key, dataset in datasets.items():
                if pixels[key].any():
                    dataset.write(pixels[key], window=block_in_part)
            emit(on_event, Event("merge", done, len(source), f"part {part.number}"))


class PartBlocks:
    """Blocks read from the parts of a mosaic, one part after the other; see `MosaicBlocks`.

    Parameters
    ----------
    uri : str
        Folder or prefix of the parts.
    name : str
        Name of the mosaic.
    cells : int
        Side of a part.
    records : tuple of SceneRecord
        Records of every scene, in order of preference.
    composite : str
        Composite that the parts must have been merged with.
    is_checked : bool
        Whether the parts must have been checked (`cloudbuster.products.self_check`).

    Attributes
    ----------
    tally : HeldOutTally or None
        Sums of the self-checks of the parts read so far; None without a self-check.
    """

    def __init__(
        self,
        uri: str,
        name: str,
        cells: int,
        records: tuple[SceneRecord, ...],
        composite: str,
        *,
        is_checked: bool = False,
    ) -> None:
        """Lay out the parts; they are opened one by one in `blocks`."""
        self.grid = records[0].grid.grid()
        self.bands = records[0].bands
        self._uri = uri
        self._records = records
        self._composite = composite
        self.tally = HeldOutTally(self.bands) if is_checked else None
        windows = part_windows(self.grid, cells)
        self._parts = [Part(name, number, cells) for number in range(1, len(windows) + 1)]

    def __len__(self) -> int:
        """Return the number of blocks."""
        return sum(1 for _ in self.grid.blocks(BLOCK_SIZE))

    def blocks(self) -> Iterator[tuple[GridWindow, Pixels]]:
        """Read each block.

        Raises
        ------
        RasterError
            If a part is missing, damaged, or was merged from other scenes.
        """
        for part in self._parts:
            wanted = {part.document, *part.rasters.values()}
            with input_folder(self._uri, wanted.__contains__) as folder:
                self._check(folder / part.document, part)
                yield from self._read(folder, part)

    def _check(self, path: Path, part: Part) -> None:
        """Raise RasterError unless the document of a part fits the scenes and settings."""
        if not path.is_file():
            msg = f"{path.name}: missing; merge this part again"
            raise RasterError(msg)
        known = read_document(str(path), MergedPart)
        if known.cells != part.cells:
            msg = f"{path.name}: parts of {known.cells} cells, not {part.cells}; merge again"
            raise RasterError(msg)
        sums = known.self_check
        if known != part.make_document(self._records, self.bands, self._composite, sums):
            msg = f"{path.name} was merged from other scenes than these; merge this part again"
            raise RasterError(msg)
        if self.tally is None:
            return
        if sums is None:
            msg = f"{path.name} was merged without a self-check; merge this part again"
            raise RasterError(msg)
        try:
            self.tally.add_tally(sums.blocks, sums.cells, sums.sums)
        except ValueError as error:
            msg = f"{path.name}: {error}; merge this part again"
            raise RasterError(msg) from error

    def _read(self, folder: Path, part: Part) -> Iterator[tuple[GridWindow, Pixels]]:
        """Yield the blocks of one part, with their windows in the mosaic's grid."""
        window = part.window(self.grid)
        with ExitStack() as stack:
            grid = self.grid.crop(window)
            datasets = {
                key: stack.enter_context(_open(folder / file, grid, _band_count(key, self.bands)))
                for key, file in part.rasters.items()
            }
            for block in self.grid.crop(window).blocks(BLOCK_SIZE):
                cells = rasterio_window(block)
                try:
                    pixels = {key: dataset.read(window=cells) for key, dataset in datasets.items()}
                except RASTER_ERRORS as error:
                    msg = f"part {part.number}: a raster is damaged; merge this part again"
                    raise RasterError(msg) from error
                yield block.shifted(window.row, window.col), pixels


def _band_count(key: str, bands: tuple[str, ...]) -> int:
    """Count of the bands of a product; mosaics have the reflectance bands and the scene index."""
    return len(QUALITY_BANDS) if key == "quality" else len(bands) + 1


def _open(path: Path, grid: Grid, count: int) -> Any:  # noqa: ANN401 -- rasterio is untyped
    """Open a raster of a part, and check its grid and number of bands."""
    try:
        dataset = rasterio.open(path, driver="GTiff")
    except RASTER_ERRORS as error:
        msg = f"{path.name}: missing or damaged; merge this part again"
        raise RasterError(msg) from error
    if (dataset.shape, dataset.count) != (grid.shape, count) or dataset.transform != grid.transform:
        dataset.close()
        msg = f"{path.name} is not a raster of this part; merge this part again"
        raise RasterError(msg)
    return dataset
