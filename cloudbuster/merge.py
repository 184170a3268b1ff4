"""Merge: make one mosaic of the gathered scenes, block by block.

A mosaic may be merged in parts, on as many machines, that are then put together: the products are
the same bytes.
"""

import logging
import time
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from cloudbuster.core.composite import COMPOSITES, State
from cloudbuster.errors import NothingUsableError, RequestError
from cloudbuster.events import Event, OnEvent, emit
from cloudbuster.gathered.scene_files import (
    check_name,
    files_from_records,
    find_records,
    is_scene_file,
    scenes_in,
    scenes_in_window,
)
from cloudbuster.gathered.scene_raster import SCENE_INDEX_BAND
from cloudbuster.models import Assessment, MergeResult, MosaicRequest, SceneRecord
from cloudbuster.products.blocks import MosaicBlocks, SceneBlocks, Tally, mosaic_grid
from cloudbuster.products.cog import CogBand, CogWriter, open_cog_writer, scratch_folder
from cloudbuster.products.parts import Part, PartBlocks, write_part
from cloudbuster.products.preview import write_preview
from cloudbuster.products.report import ReportFiles, write_report
from cloudbuster.products.stac_item import (
    QUALITY_BANDS,
    MosaicDescription,
    MosaicScene,
    mosaic_item,
    write_item,
)
from cloudbuster.storage.documents import write_document
from cloudbuster.storage.folders import input_folder, output_folder
from cloudbuster.storage.gdal_env import gdal_env
from cloudbuster.storage.tiled_raster import NODATA
from cloudbuster.storage.uri import join, output_error

logger = logging.getLogger(__name__)


def merge_scenes(
    input_path: str,
    output_path: str,
    *,
    name: str,
    composite: str = "first",
    wanted: Collection[str] | None = None,
    request: MosaicRequest | None = None,
    assessment: Assessment | None = None,
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
    wanted : collection of str, optional
        Stems of the scenes to merge, all of which must be there; None for all of ``name``.
    request : MosaicRequest, optional
        Recorded in the STAC item.
    assessment : Assessment, optional
        Shown in the report.
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
    _check_composite(composite)
    check_name(name)
    folder = input_folder(input_path, partial(is_scene_file, name=name, wanted=wanted))
    with folder as inputs, output_folder(output_path) as outputs, gdal_env():
        files = scenes_in(inputs, name, shown=input_path, wanted=wanted)
        with SceneBlocks(files, composite) as blocks:
            scenes = tuple(_Scene(file.index, file.backstop, file.record) for file in files)
            mosaic = _Mosaic(name, composite, scenes, request, assessment)
            target = _Target(product_paths(output_path, name), outputs)
            return _write_products(mosaic, blocks, target, on_event)


def merge_part(
    input_path: str,
    output_path: str,
    *,
    part: Part,
    composite: str = "first",
    wanted: Collection[str] | None = None,
    on_event: OnEvent | None = None,
) -> None:
    """Merge one part of a mosaic, for `merge_parts` to put together.

    Parameters
    ----------
    input_path : str
        Folder or prefix of the scenes, with their documents; of S3 only scenes that meet the part
        are fetched.
    output_path : str
        Folder or prefix of the parts.
    part : Part
        Which one, of which mosaic.
    composite : {"first"}
        Which look gives a pixel.
    wanted : collection of str, optional
        As of `merge_scenes`; the same for every part.
    on_event : callable, optional
        Told of each block.

    Raises
    ------
    CloudBusterError
        As `merge_scenes` does.
    """
    _check_composite(composite)
    records = find_records(input_path, part.name, wanted=wanted)
    window = part.window(mosaic_grid(files_from_records(records)))
    with (
        gdal_env(),
        scenes_in_window(input_path, records, window) as files,
        SceneBlocks(files, composite, window) as blocks,
        output_folder(output_path) as outputs,
    ):
        outputs.mkdir(parents=True, exist_ok=True)
        write_part(blocks, window, outputs, part, on_event=on_event)
        document = part.make_document(records, blocks.bands, composite)
        write_document(str(outputs / part.document), document)


def merge_parts(
    parts_path: str,
    input_path: str,
    output_path: str,
    *,
    name: str,
    cells: int,
    composite: str = "first",
    wanted: Collection[str] | None = None,
    request: MosaicRequest | None = None,
    assessment: Assessment | None = None,
    on_event: OnEvent | None = None,
) -> MergeResult:
    """Put the parts of a mosaic together: the products are those of `merge_scenes`.

    Parameters
    ----------
    parts_path, input_path, output_path : str
        Folders or prefixes of the parts, of the scenes (whose documents alone are read) and of the
        products.
    name : str
        Of the mosaic.
    cells : int
        Side of a part.
    composite : {"first"}
        How the parts were merged.
    wanted : collection of str, optional
        As of the parts.
    request : MosaicRequest, optional
        Recorded in the STAC item.
    assessment : Assessment, optional
        Shown in the report.
    on_event : callable, optional
        Told of each block.

    Returns
    -------
    MergeResult
        Where the products are, and shares of the grid's cells.

    Raises
    ------
    RasterError
        Where a part is missing, broken, or was merged of other scenes.
    CloudBusterError
        As `merge_scenes` does.
    """
    _check_composite(composite)
    records = find_records(input_path, name, wanted=wanted)
    mosaic_grid(files_from_records(records))
    scenes = tuple(_Scene(record.index, record.backstop, record) for record in records)
    mosaic = _Mosaic(name, composite, scenes, request, assessment)
    blocks = PartBlocks(parts_path, name, cells, records, composite)
    with output_folder(output_path) as outputs, gdal_env():
        target = _Target(product_paths(output_path, name), outputs)
        return _write_products(mosaic, blocks, target, on_event)


def _check_composite(composite: str) -> None:
    if composite not in COMPOSITES:
        msg = f"composite {composite!r} is unknown; choose one of {', '.join(COMPOSITES)}"
        raise RequestError(msg)


@dataclass(frozen=True)
class _Scene:
    """One scene of a mosaic, as its item tells of it."""

    index: int
    backstop: bool
    record: SceneRecord | None


@dataclass(frozen=True)
class _Mosaic:
    """What is known of a mosaic before its first block."""

    name: str
    composite: str
    scenes: tuple[_Scene, ...]
    request: MosaicRequest | None
    assessment: Assessment | None


@dataclass(frozen=True)
class _Target:
    """Where the products will be, by their field in `MergeResult`, and the folder to write in."""

    paths: dict[str, str]
    folder: Path


def _write_products(
    mosaic: _Mosaic, blocks: MosaicBlocks, target: _Target, on_event: OnEvent | None
) -> MergeResult:
    """Write all products; they replace older ones together, when all of them are ready."""
    started = time.monotonic()
    with scratch_folder(target.folder / f"{mosaic.name}.tif") as folder:
        staged = {key: folder / PurePosixPath(path).name for key, path in target.paths.items()}
        tally = _write_rasters(mosaic, blocks, staged, on_event)
        described = _describe(mosaic, blocks, tally, staged)
        files = ReportFiles(staged["cloudless"], staged["quality"], staged["preview"])
        write_report(described, files, str(staged["report"]), assessment=mosaic.assessment)
        write_item(mosaic_item(described), str(staged["item"]))
        _publish(staged, target.folder)
    emit(on_event, Event("merge", len(blocks) + 1, len(blocks) + 1, "products written"))
    told = {"mosaic": mosaic.name, "scenes": len(mosaic.scenes)}
    logger.info("mosaic_merged", extra={**told, "duration_s": round(time.monotonic() - started, 3)})
    return MergeResult(
        **target.paths,
        scene_count=len(described.scenes),
        clear_fraction=described.clear_fraction,
        backstop_fraction=described.backstop_fraction,
        hole_fraction=described.hole_fraction,
    )


def product_paths(output_path: str, name: str) -> dict[str, str]:
    """Paths of the products of ``name``, by their field in `MergeResult`."""
    names = {
        "cloudless": f"{name}-cloudless.tif",
        "cloudy": f"{name}-cloudy.tif",
        "quality": f"{name}-quality.tif",
        "preview": f"{name}-preview.png",
        "report": f"{name}-report.html",
        "item": f"{name}.json",
    }
    return {key: join(output_path, file_name) for key, file_name in names.items()}


def _write_rasters(
    mosaic: _Mosaic, source: MosaicBlocks, paths: dict[str, Path], on_event: OnEvent | None
) -> Tally:
    """Stream all blocks into the three rasters."""
    tally = Tally()
    mosaic_bands = [
        *(CogBand(band, "average") for band in source.bands),
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
            key: stack.enter_context(open_cog_writer(paths[key], source.grid, bands, nodata=nodata))
            for key, (bands, nodata) in layouts.items()
        }
        count = len(source)
        for done, (window, pixels) in enumerate(source.blocks(), start=1):
            tally.add(pixels)
            for key, part in pixels.items():
                writers[key].write(window, part)
            emit(on_event, Event("merge", done, count + 1, f"block {done}/{count}"))
        if tally.share(State.CLEAR, State.BACKSTOP) == 0:
            msg = f"none of the {len(mosaic.scenes)} scenes has a clear pixel or a backstop's"
            raise NothingUsableError(f"{msg}; widen the query, or keep a backstop")
    return tally


def _describe(
    mosaic: _Mosaic, source: MosaicBlocks, tally: Tally, staged: dict[str, Path]
) -> MosaicDescription:
    """Write the preview and gather what the item says."""
    return MosaicDescription(
        name=mosaic.name,
        grid=source.grid,
        bands=source.bands,
        composite=mosaic.composite,
        scenes=tuple(
            MosaicScene(
                scene.index,
                scene.backstop,
                tally.scene_share(scene.index, backstop=scene.backstop),
                scene.record,
            )
            for scene in mosaic.scenes
        ),
        clear_fraction=tally.share(State.CLEAR),
        backstop_fraction=tally.share(State.BACKSTOP),
        hole_fraction=tally.share(State.NEVER_OBSERVED, State.NEVER_CLEAR),
        never_observed_fraction=tally.share(State.NEVER_OBSERVED),
        cloudless=staged["cloudless"].name,
        cloudy=staged["cloudy"].name,
        quality=staged["quality"].name,
        preview=staged["preview"].name,
        report=staged["report"].name,
        preview_shape=write_preview(staged["cloudless"], staged["preview"]),
        request=mosaic.request,
    )


def _publish(staged: dict[str, Path], folder: Path) -> None:
    """Rename every product into place, the item last: whoever sees it finds the others."""
    for path in staged.values():
        target = folder / path.name
        try:
            path.replace(target)
        except OSError as error:
            raise output_error(target, error) from error
