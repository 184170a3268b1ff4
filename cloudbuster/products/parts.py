"""Parts of a mosaic that were merged on different machines, on their way to one product.

A part is a rectangle of whole blocks of the mosaic's grid: three rasters with the bands of the
three products, and a document that says of which scenes they were made. They are written once and
read once, block by block; overviews and the layout of a COG come with the products.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rasterio

from cloudbuster.core.grid import Grid, GridWindow
from cloudbuster.errors import RasterError, RequestError
from cloudbuster.events import Event, OnEvent, emit
from cloudbuster.models import MergedPart, SceneRecord
from cloudbuster.products.blocks import MosaicBlocks, Pixels
from cloudbuster.products.cog import BLOCK_SIZE, SCRATCH_COMPRESSION
from cloudbuster.products.stac_item import QUALITY_BANDS
from cloudbuster.storage.documents import read_document
from cloudbuster.storage.folders import input_folder
from cloudbuster.storage.gdal_env import RASTER_ERRORS, writing
from cloudbuster.storage.tiled_raster import check_written, raster_profile, rasterio_window
from cloudbuster.storage.uri import replacing

KEYS = ("cloudless", "cloudy", "quality")


@dataclass(frozen=True)
class Part:
    """One part of a mosaic.

    Attributes
    ----------
    name : str
        Of the mosaic.
    number : int
        From 1.
    cells : int
        Side of a part, a multiple of the blocks that a mosaic is merged in.
    """

    name: str
    number: int
    cells: int

    def __post_init__(self) -> None:
        if self.cells < 1 or self.cells % BLOCK_SIZE:
            msg = f"parts of {self.cells} cells; their side must be a multiple of {BLOCK_SIZE}"
            raise RequestError(msg)

    @property
    def document(self) -> str:
        """File name of its document."""
        return f"{self.name}-part-{self.number}.json"

    @property
    def rasters(self) -> dict[str, str]:
        """File names of its rasters, by product."""
        return {key: f"{self.name}-part-{self.number}-{key}.tif" for key in KEYS}

    def window(self, grid: Grid) -> GridWindow:
        """Its cells of the mosaic's grid; RequestError where there is no such part."""
        windows = part_windows(grid, self.cells)
        if not 1 <= self.number <= len(windows):
            msg = f"part {self.number}; a mosaic of {grid.shape} cells has {len(windows)} parts"
            raise RequestError(msg)
        return windows[self.number - 1]

    def described(
        self, records: tuple[SceneRecord, ...], bands: tuple[str, ...], composite: str
    ) -> MergedPart:
        """Make the document of a part that was made of ``records``."""
        return MergedPart(
            number=self.number,
            cells=self.cells,
            composite=composite,
            bands=bands,
            grid=records[0].grid,
            scenes=tuple(record.identity for record in records),
        )


def part_windows(grid: Grid, cells: int) -> list[GridWindow]:
    """Windows of the parts of ``cells`` by ``cells`` that tile a grid, row by row."""
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
        Gives the blocks of ``window``.
    window : GridWindow
        The part's cells of the mosaic's grid.
    folder : Path
        Where to.
    part : Part
        Names the files.
    on_event : callable, optional
        Told of each block.

    Raises
    ------
    OutputError, TryAgainError
        Where a raster cannot be written, or the disk is full.
    """
    grid = source.grid.crop(window)
    counts = {key: _band_count(key, source.bands) for key in KEYS}
    # Until all rasters are new, no document says what they were made of.
    (folder / part.document).unlink(missing_ok=True)
    paths = {key: folder / name for key, name in part.rasters.items()}
    with ExitStack() as finished, ExitStack() as stack:
        datasets: dict[str, Any] = {}
        partials: list[Path] = []
        for key, path in paths.items():
            partials.append(finished.enter_context(replacing(path)))
            stack.enter_context(writing(path))
            profile = {**raster_profile(grid, counts[key]), **SCRATCH_COMPRESSION, "nodata": None}
            datasets[key] = stack.enter_context(rasterio.open(partials[-1], "w", **profile))
        for done, (block, pixels) in enumerate(source.blocks(), start=1):
            own = rasterio_window(block.shifted(-window.row, -window.col))
            for key, dataset in datasets.items():
                if pixels[key].any():
                    dataset.write(pixels[key], window=own)
            emit(on_event, Event("merge", done, len(source), f"part {part.number}"))
        stack.close()
        for partial in partials:
            with writing(partial):
                check_written(partial)


class PartBlocks:
    """Blocks read from the parts of a mosaic, one part after the other.

    Parameters
    ----------
    uri : str
        Folder or prefix of the parts.
    name : str
        Of the mosaic.
    cells : int
        Side of a part.
    records : tuple of SceneRecord
        Of every scene, in order of preference.
    composite : str
        How the parts must have been merged.

    Attributes
    ----------
    grid : Grid
        Of the whole mosaic.
    bands : tuple of str
        Reflectance bands.
    """

    def __init__(
        self, uri: str, name: str, cells: int, records: tuple[SceneRecord, ...], composite: str
    ) -> None:
        self.grid = records[0].grid.grid()
        self.bands = records[0].bands
        self._uri = uri
        self._records = records
        self._composite = composite
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
            Where a part is missing, broken, or was made of other scenes.
        """
        for part in self._parts:
            wanted = {part.document, *part.rasters.values()}
            with input_folder(self._uri, wanted.__contains__) as folder:
                self._check(folder / part.document, part)
                yield from self._read(folder, part)

    def _check(self, path: Path, part: Part) -> None:
        if not path.is_file():
            msg = f"{path.name}: missing; merge this part again"
            raise RasterError(msg)
        known = read_document(str(path), MergedPart)
        if known.cells != part.cells:
            msg = f"{path.name} is of parts of {known.cells} cells, not {part.cells}; merge again"
            raise RasterError(msg)
        if known != part.described(self._records, self.bands, self._composite):
            msg = f"{path.name} was merged of other scenes than these; merge this part again"
            raise RasterError(msg)

    def _read(self, folder: Path, part: Part) -> Iterator[tuple[GridWindow, Pixels]]:
        window = part.window(self.grid)
        with ExitStack() as stack:
            grid = self.grid.crop(window)
            datasets = {
                key: stack.enter_context(_opened(folder / file, grid, _band_count(key, self.bands)))
                for key, file in part.rasters.items()
            }
            for block in self.grid.crop(window).blocks(BLOCK_SIZE):
                own = rasterio_window(block)
                try:
                    pixels = {key: dataset.read(window=own) for key, dataset in datasets.items()}
                except RASTER_ERRORS as error:
                    msg = f"part {part.number}: a raster is broken; merge this part again"
                    raise RasterError(msg) from error
                yield block.shifted(window.row, window.col), pixels


def _band_count(key: str, bands: tuple[str, ...]) -> int:
    return len(QUALITY_BANDS) if key == "quality" else len(bands) + 1


def _opened(path: Path, grid: Grid, count: int) -> Any:  # noqa: ANN401 -- rasterio is untyped
    try:
        dataset = rasterio.open(path, driver="GTiff")
    except RASTER_ERRORS as error:
        msg = f"{path.name}: missing or broken; merge this part again"
        raise RasterError(msg) from error
    if (dataset.shape, dataset.count) != (grid.shape, count) or dataset.transform != grid.transform:
        dataset.close()
        msg = f"{path.name} is no raster of this part; merge this part again"
        raise RasterError(msg)
    return dataset
