"""Statistics of all looks at the cells of a block, read from gathered scenes.

A look is what one datatake shows of a cell. Scenes of one datatake (neighbouring tiles, several
rasters of one item, reprocessings) show the same moment, so that they count as one look.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from cloudbuster.catalogs.item_properties import datatake_of
from cloudbuster.core.arrays import BoolRaster, UInt8Raster, UInt16Raster
from cloudbuster.core.grids.grid import GridWindow
from cloudbuster.core.pixels.masks import PixelClass
from cloudbuster.core.pixels.pixel_statistics import Statistic
from cloudbuster.errors import RasterError
from cloudbuster.gathered.scene_files import SceneFile
from cloudbuster.gathered.scene_raster import OpenScenes
from cloudbuster.models import SceneRecord
from cloudbuster.storage.rasters.tiled_raster import NODATA, TILE_SIZE

# Scenes without the name of their datatake belong to one if the same platform took them within
# this time. Overlapping tiles are sensed seconds apart, and an orbit takes 100 minutes.
SAME_DATATAKE = timedelta(minutes=10)
# Looks of one piece of a block that are in memory at a time, bytes. With 8 looks of 4 bands it is a
# tile of the scenes' files, 512 x 512 cells; with more, a piece has fewer rows.
LOOKS_BYTES = 32 * 2**20

Positions = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class LookPixels:
    """Statistic of the looks at a block.

    Attributes
    ----------
    reflectance : ndarray of uint16, shape (band, y, x)
        Values; 0 where there is no look.
    position : ndarray of int32, shape (y, x)
        Position of the scene that a cell's values are of, or are nearest to; -1 for none.
    """

    reflectance: UInt16Raster
    position: Positions


def datatake_numbers(files: Sequence[SceneFile]) -> tuple[int, ...]:
    """Return the number of each scene's datatake; scenes of one datatake have the same.

    Parameters
    ----------
    files : sequence of SceneFile
        Scenes; one without a record is a datatake of its own.
    """
    keys: dict[str, int] = {}
    starts: dict[str, list[datetime]] = {}
    for file in files:
        record = file.record
        if record is not None and record.acquired is not None and record.platform is not None:
            starts.setdefault(record.platform, []).append(record.acquired)
    for times in starts.values():
        times.sort()
    return tuple(keys.setdefault(_datatake_key(file, starts), len(keys)) for file in files)


def _datatake_key(file: SceneFile, starts: Mapping[str, list[datetime]]) -> str:
    """Name the datatake of a scene: by its item, by platform and time, or else by itself."""
    record = file.record
    if record is None:
        return f"file {file.acquisition}"
    known = _named_datatake(record)
    if known is not None:
        return known
    if record.acquired is None or record.platform is None:
        return f"item {record.item_id}"
    first = record.acquired
    # Times are sorted: the first of the datatake is the last one that follows no other closely.
    for time in reversed([time for time in starts[record.platform] if time <= record.acquired]):
        if first - time > SAME_DATATAKE:
            break
        first = time
    return f"{record.platform} {first.isoformat()}"


def _named_datatake(record: SceneRecord) -> str | None:
    """Name of a record's datatake in its item; None if the item has none."""
    properties = record.item.get("properties")
    if not isinstance(properties, dict):
        return None
    return datatake_of({"id": record.item_id, "properties": properties})


class BlockLooks:
    """Looks at one block, one for each datatake.

    Parameters
    ----------
    window : GridWindow
        Window of the block in the mosaic's grid.
    """

    def __init__(self, window: GridWindow) -> None:
        """Start without looks."""
        self._window = window
        shape = (window.height, window.width)
        self._ranks: dict[int, UInt8Raster] = {}
        self._positions: dict[int, Positions] = {}
        self._highest = np.zeros(shape, dtype=np.uint8)

    def feed(self, position: int, datatake: int, rank: UInt8Raster) -> None:
        """Offer the cells of a scene.

        A datatake shows a cell by its first scene of the highest rank.

        Parameters
        ----------
        position : int
            Position of the scene in the order of preference; positions ascend from call to call.
        datatake : int
            Number of its datatake.
        rank : ndarray of uint8, shape (y, x)
            Rank of each cell (`class_rank`); 0 for a cell that has no value. Not modified.
        """
        if datatake not in self._ranks:
            self._ranks[datatake] = np.zeros_like(rank)
            self._positions[datatake] = np.full(rank.shape, -1, dtype=np.int32)
        better = rank > self._ranks[datatake]
        self._positions[datatake][better] = position
        np.maximum(self._ranks[datatake], rank, out=self._ranks[datatake])
        np.maximum(self._highest, rank, out=self._highest)

    def compute(
        self, scenes: OpenScenes, files: Sequence[SceneFile], statistic: Statistic
    ) -> LookPixels:
        """Compute a statistic of the looks of the highest rank at each cell.

        Clear looks count, and looks of low rank only where there is no clear one.

        Parameters
        ----------
        scenes : OpenScenes
            Rasters of the scenes.
        files : sequence of SceneFile
            Their files, for messages.
        statistic : callable
            From `pixel_statistic`.

        Raises
        ------
        RasterError
            If a raster is damaged, or an observed cell has no value.
        """
        shape = self._highest.shape
        bands = len(scenes.open_raster(0).bands)
        reflectance = np.zeros((bands, *shape), dtype=np.uint16)
        position = np.full(shape, -1, dtype=np.int32)
        datatakes = list(self._ranks)
        for piece in _pieces(shape, looks=len(datatakes), bands=bands):
            cells = piece.slices
            counts = self._counts(datatakes, cells)
            if not counts.any():
                continue
            sources = np.stack([self._positions[datatake][cells] for datatake in datatakes])
            looks = self._read(scenes, files, piece, np.where(counts, sources, -1))
            size = piece.height * piece.width
            values, chosen = statistic(
                looks.reshape(len(datatakes), bands, size), counts.reshape(-1, size)
            )
            reflectance[:, *cells] = values.reshape(bands, piece.height, piece.width)
            own = sources.reshape(-1, size)[np.maximum(chosen, 0), np.arange(size)]
            position[cells] = np.where(chosen >= 0, own, -1).reshape(piece.height, piece.width)
        return LookPixels(reflectance, position)

    def _counts(self, datatakes: Sequence[int], cells: tuple[slice, slice]) -> BoolRaster:
        """Return which looks count in a piece, shape (look, y, x)."""
        highest = self._highest[cells]
        usable = highest >= PixelClass.LOW_RANK
        return np.stack(
            [usable & (self._ranks[datatake][cells] == highest) for datatake in datatakes]
        )

    def _read(
        self,
        scenes: OpenScenes,
        files: Sequence[SceneFile],
        piece: GridWindow,
        sources: Positions,
    ) -> UInt16Raster:
        """Read the looks at a piece, shape (look, band, y, x), from their ``sources``."""
        bands = len(scenes.open_raster(0).bands)
        looks = np.zeros((len(sources), bands, piece.height, piece.width), dtype=np.uint16)
        for position in np.unique(sources):
            if position < 0:
                continue
            wanted = sources == position
            part = extent(wanted.any(axis=0))
            rows, cols = part.slices
            in_mosaic = part.shifted(piece.row, piece.col).shifted(
                self._window.row, self._window.col
            )
            pixels = scenes.open_raster(int(position)).read_reflectance(in_mosaic)
            for look, cells in zip(looks, wanted[:, rows, cols], strict=True):
                check_values(pixels, cells, files[position])
                np.copyto(look[:, rows, cols], pixels, where=cells)
        return looks


def _pieces(shape: tuple[int, int], *, looks: int, bands: int) -> Iterator[GridWindow]:
    """Divide a block into pieces whose looks take at most `LOOKS_BYTES`."""
    cells = max(1, LOOKS_BYTES // (max(1, looks) * bands * np.dtype(np.uint16).itemsize))
    width = min(TILE_SIZE, shape[1])
    height = min(TILE_SIZE, max(1, cells // width))
    for row in range(0, shape[0], height):
        for col in range(0, shape[1], width):
            yield GridWindow(row, col, min(height, shape[0] - row), min(width, shape[1] - col))


def extent(cells: BoolRaster) -> GridWindow:
    """Smallest window that holds all True cells, of which there must be one."""
    rows, cols = np.flatnonzero(cells.any(axis=1)), np.flatnonzero(cells.any(axis=0))
    return GridWindow(
        int(rows[0]), int(cols[0]), int(rows[-1] - rows[0] + 1), int(cols[-1] - cols[0] + 1)
    )


def check_values(reflectance: UInt16Raster, cells: BoolRaster, file: SceneFile) -> None:
    """Raise RasterError if a cell of a scene that is to be used has no value."""
    if (reflectance[:, cells] == NODATA).any():
        msg = f"{file.path}: observed cells have no value; gather this scene again"
        raise RasterError(msg)
