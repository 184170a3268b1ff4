"""Merge: make one mosaic of the gathered scenes, block by block.

The looks of all scenes of a block are read first; they decide which scene gives which cell. Only
then is reflectance read, and only of the scenes, and of the part of the block, that give something.
"""

import logging
import time
from collections import Counter
from contextlib import ExitStack
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from cloudbuster.core.composite import (
    COMPOSITES,
    BlockComposite,
    LookCounter,
    State,
    backstop_rank,
    look_rank,
    mosaic_state,
)
from cloudbuster.core.grid import GridWindow, MosaicGrid
from cloudbuster.core.masks import BoolRaster
from cloudbuster.errors import (
    GridError,
    NothingUsableError,
    RasterError,
    RequestError,
)
from cloudbuster.events import Event, OnEvent, emit
from cloudbuster.io.cog import BLOCK_SIZE, CogBand, CogWriter, open_cog_writer, scratch_folder
from cloudbuster.io.folders import input_folder, output_folder
from cloudbuster.io.gdal_env import gdal_env
from cloudbuster.io.preview import write_preview
from cloudbuster.io.scene_files import SceneFile, check_name, is_scene_file, scenes_in
from cloudbuster.io.scene_raster import (
    MAX_OPEN_SCENES,
    NODATA,
    SCENE_INDEX_BAND,
    OpenScenes,
    SceneRaster,
)
from cloudbuster.io.stac_items import (
    QUALITY_BANDS,
    MosaicDescription,
    MosaicScene,
    mosaic_item,
    write_item,
)
from cloudbuster.io.uri import join, output_error
from cloudbuster.models import (
    MergeResult,
    MosaicRequest,
)

logger = logging.getLogger(__name__)

UInt16Raster = npt.NDArray[np.uint16]


def merge_scenes(
    input_path: str,
    output_path: str,
    *,
    name: str,
    composite: str = "first",
    request: MosaicRequest | None = None,
    on_event: OnEvent | None = None,
) -> MergeResult:
    """Merge the gathered scenes of ``name`` into one mosaic.

    With ``first`` a pixel is the clear look of the lowest index, else the low-rank look, else the
    backstop. The products replace older ones together, when all of them are ready.

    Parameters
    ----------
    input_path, output_path : str
        Folders of the scenes (whatever else lies there is left alone) and of the products.
    name : str
        Base of the file names.
    composite : {"first"}
        Which look gives a pixel.
    request : MosaicRequest, optional
        Recorded in the STAC item.
    on_event : callable, optional
        Told of each block.

    Returns
    -------
    MergeResult
        Where the products are, and shares of the grid's cells.

    Raises
    ------
    NothingUsableError
        Where there is no scene, or none has a pixel.
    RasterError, GridError, RequestError
        Where a raster, a grid or a document cannot be used; it is named.
    OutputError, TryAgainError
        Where the products cannot be written, or the disk is full.
    """
    if composite not in COMPOSITES:
        msg = f"composite {composite!r} is unknown; choose one of {', '.join(COMPOSITES)}"
        raise RequestError(msg)
    started = time.monotonic()
    check_name(name)
    paths = product_paths(output_path, name)
    folders = input_folder(input_path, partial(is_scene_file, name=name))
    with folders as inputs, output_folder(output_path) as outputs, gdal_env():
        files = scenes_in(inputs, name, shown=input_path)
        with _SceneSet(files) as scenes, scratch_folder(outputs / f"{name}.tif") as folder:
            staged = {key: folder / PurePosixPath(path).name for key, path in paths.items()}
            tally = _write_rasters(scenes, staged, composite, on_event)
            mosaic = _describe(scenes, tally, name, composite, request, staged)
            write_item(mosaic_item(mosaic), str(staged["item"]))
            _publish(staged, outputs)
    emit(on_event, Event("merge", tally.blocks + 1, tally.blocks + 1, "products written"))
    told = {"mosaic": name, "scenes": len(files)}
    logger.info("mosaic_merged", extra={**told, "duration_s": round(time.monotonic() - started, 3)})
    return _result(paths, mosaic)


def _result(paths: dict[str, str], mosaic: MosaicDescription) -> MergeResult:
    return MergeResult(
        **paths,
        scene_count=len(mosaic.scenes),
        clear_fraction=mosaic.clear_fraction,
        backstop_fraction=mosaic.backstop_fraction,
        hole_fraction=mosaic.hole_fraction,
    )


def product_paths(output_path: str, name: str) -> dict[str, str]:
    """Paths of the products of ``name``, by their field in `MergeResult`."""
    names = {
        "cloudless": f"{name}-cloudless.tif",
        "cloudy": f"{name}-cloudy.tif",
        "quality": f"{name}-quality.tif",
        "preview": f"{name}-preview.png",
        "item": f"{name}.json",
    }
    return {key: join(output_path, file_name) for key, file_name in names.items()}


class _SceneSet(OpenScenes):
    """The scenes of a mosaic, which have the same bands."""

    def __init__(self, files: tuple[SceneFile, ...]) -> None:
        self.files = files
        self.grid = _mosaic_grid(files)
        paths = [file.path for file in files]
        super().__init__(paths, self.grid, max_open=MAX_OPEN_SCENES)
        self.bands = self.use(0).bands
        for position, file in enumerate(files):
            bands = self.use(position).bands
            if bands != self.bands:
                msg = (
                    f"{file.path}: bands {', '.join(bands)}, but {files[0].path.name} has "
                    f"{', '.join(self.bands)}; gather all scenes with the same --bands"
                )
                raise RasterError(msg)


def _mosaic_grid(files: tuple[SceneFile, ...]) -> MosaicGrid:
    """Grid that the records agree on; without records the union of the rasters."""
    known = [(file, file.record.grid) for file in files if file.record is not None]
    if not known:
        return _union_grid(files)
    first, document = known[0]
    for file, other in known:
        if other != document:
            msg = (
                f"{file.path.name} is on another grid than {first.path.name} ({other.crs} "
                f"{other.width}x{other.height}, {document.crs} {document.width}x"
                f"{document.height}); gather all scenes of a mosaic from one selection"
            )
            raise GridError(msg)
    return document.grid()


def _union_grid(files: tuple[SceneFile, ...]) -> MosaicGrid:
    with SceneRaster(files[0].path) as first:
        anchor = first.grid
    windows = []
    for file in files:
        with SceneRaster(file.path, anchor) as raster:
            windows.append(raster.window)
    row, col = min(window.row for window in windows), min(window.col for window in windows)
    height = max(window.row + window.height for window in windows) - row
    width = max(window.col + window.width for window in windows) - col
    return anchor.crop(GridWindow(row, col, height, width))


class _Tally:
    """Counts cells while the blocks go by."""

    def __init__(self, scene_count: int) -> None:
        self.states = np.zeros(len(State), dtype=np.int64)
        self.given = np.zeros(scene_count, dtype=np.int64)
        self.blocks = 0

    def add(self, state: npt.NDArray[Any], winner: npt.NDArray[np.intp]) -> None:
        """Count one block: its states, and the positions of the scenes that give its cells."""
        self.states += np.bincount(state.ravel(), minlength=len(State))
        self.given += np.bincount(winner[winner >= 0], minlength=self.given.size)
        self.blocks += 1

    def share(self, *states: State) -> float:
        """Share of all cells that are in one of ``states``."""
        return float(self.states[list(states)].sum() / self.states.sum())


def _write_rasters(
    scenes: _SceneSet, paths: dict[str, Path], composite: str, on_event: OnEvent | None
) -> _Tally:
    """Stream all blocks into the three rasters, then the preview."""
    blocks = list(scenes.grid.blocks(BLOCK_SIZE))
    tally = _Tally(len(scenes.files))
    mosaic_bands = [
        *(CogBand(band, "average") for band in scenes.bands),
        CogBand(SCENE_INDEX_BAND, "nearest"),
    ]
    quality_bands = [CogBand(band, "nearest") for band in QUALITY_BANDS]
    layouts: dict[str, tuple[list[CogBand], int | None]] = {
        "cloudless": (mosaic_bands, NODATA),
        "cloudy": (mosaic_bands, NODATA),
        "quality": (quality_bands, None),
    }
    with ExitStack() as stack:
        writers: dict[str, CogWriter] = {
            key: stack.enter_context(open_cog_writer(paths[key], scenes.grid, bands, nodata=nodata))
            for key, (bands, nodata) in layouts.items()
        }
        for done, window in enumerate(blocks, start=1):
            for key, pixels in _merge_block(scenes, window, composite, tally).items():
                writers[key].write(window, pixels)
            emit(on_event, Event("merge", done, len(blocks) + 1, f"block {done}/{len(blocks)}"))
        if tally.share(State.CLEAR, State.BACKSTOP) == 0:
            msg = f"none of the {len(scenes.files)} scenes has a clear pixel or a backstop's"
            raise NothingUsableError(f"{msg}; widen the query, or keep a backstop")
    return tally


def _merge_block(
    scenes: _SceneSet, window: GridWindow, composite: str, tally: _Tally
) -> dict[str, UInt16Raster]:
    """All bands of one block of the three rasters."""
    shape = (window.height, window.width)
    meeting = scenes.meeting(window)
    best, backstop = COMPOSITES[composite](shape), COMPOSITES["first"](shape)
    offers = Counter(scenes.files[position].acquisition for position in meeting)
    counter = LookCounter(shape, dict(offers))
    for position in meeting:
        file, raster = scenes.files[position], scenes.use(position)
        look = raster.read_look(window)
        counter.feed(file.acquisition, look, counts_clear=not file.backstop)
        if file.backstop:
            rank = backstop_rank(raster.read_present(window))
            backstop.feed(position, rank)
        else:
            rank = look_rank(look)
        if not best.is_done:
            best.feed(position, rank)
    pixels, distance = _read_winners(scenes, window, best, backstop)
    state = mosaic_state(best.rank, counter.times_observed)
    tally.add(state, best.winner)
    quality = (counter.times_observed, counter.times_clear, distance, state)
    return {**pixels, "quality": np.stack(quality).astype(np.uint16)}


def _read_winners(
    scenes: _SceneSet, window: GridWindow, best: BlockComposite, backstop: BlockComposite
) -> tuple[dict[str, UInt16Raster], UInt16Raster]:
    """Reflectance and index of both mosaics, and the winners' distance to cloud."""
    shape = (len(scenes.bands) + 1, window.height, window.width)
    composites = {"cloudless": best, "cloudy": backstop}
    pixels = {key: np.zeros(shape, dtype=np.uint16) for key in composites}
    distance = np.zeros(shape[1:], dtype=np.uint16)
    for position in np.union1d(best.winner, backstop.winner):
        if position < 0:
            continue
        wanted = {key: chosen.winner == position for key, chosen in composites.items()}
        part = _extent(wanted["cloudless"] | wanted["cloudy"])
        rows, cols = part.slices
        where_in_mosaic = part.shifted(window.row, window.col)
        file, raster = scenes.files[position], scenes.use(position)
        reflectance = raster.read_reflectance(where_in_mosaic)
        for key, cells in wanted.items():
            _fill(pixels[key][:, rows, cols], reflectance, cells[rows, cols], file)
        if not file.backstop:
            own = raster.read_cloud_distance(where_in_mosaic)
            np.copyto(distance[rows, cols], own, where=wanted["cloudless"][rows, cols])
    return pixels, distance


def _extent(cells: BoolRaster) -> GridWindow:
    """Smallest window that holds all True cells; there is at least one."""
    rows, cols = np.flatnonzero(cells.any(axis=1)), np.flatnonzero(cells.any(axis=0))
    return GridWindow(
        int(rows[0]), int(cols[0]), int(rows[-1] - rows[0] + 1), int(cols[-1] - cols[0] + 1)
    )


def _fill(
    target: UInt16Raster, reflectance: UInt16Raster, cells: BoolRaster, file: SceneFile
) -> None:
    """Copy the cells of one scene, and its index, into a mosaic's block."""
    if (reflectance[:, cells] == NODATA).any():
        msg = f"{file.path}: cells that count as seen hold no value; gather this scene again"
        raise RasterError(msg)
    np.copyto(target[:-1], reflectance, where=cells)
    target[-1][cells] = file.index


def _describe(
    scenes: _SceneSet,
    tally: _Tally,
    name: str,
    composite: str,
    request: MosaicRequest | None,
    staged: dict[str, Path],
) -> MosaicDescription:
    """Write the preview and gather what the item says."""
    shares = tally.given / tally.states.sum()
    return MosaicDescription(
        name=name,
        grid=scenes.grid,
        bands=scenes.bands,
        composite=composite,
        scenes=tuple(
            MosaicScene(file.index, file.backstop, float(share), file.record)
            for file, share in zip(scenes.files, shares, strict=True)
        ),
        clear_fraction=tally.share(State.CLEAR),
        backstop_fraction=tally.share(State.BACKSTOP),
        hole_fraction=tally.share(State.NEVER_OBSERVED, State.NEVER_CLEAR),
        cloudless=staged["cloudless"].name,
        cloudy=staged["cloudy"].name,
        quality=staged["quality"].name,
        preview=staged["preview"].name,
        preview_shape=write_preview(staged["cloudless"], staged["preview"]),
        request=request,
    )


def _publish(staged: dict[str, Path], folder: Path) -> None:
    """Rename every product into place, the item last: whoever sees it finds the others."""
    for path in staged.values():
        target = folder / path.name
        try:
            path.replace(target)
        except OSError as error:
            raise output_error(target, error) from error
