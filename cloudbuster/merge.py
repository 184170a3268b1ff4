"""Merge: make one mosaic of the gathered scenes, block by block.

A large mosaic can be merged in parts on several machines. The products are the same to the byte.
"""

import logging
import time
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath

from pystac.utils import datetime_to_str
from shapely.geometry.base import BaseGeometry

from cloudbuster.core.grids.grid import Grid, GridWindow
from cloudbuster.core.pixels.composite import CellState
from cloudbuster.core.pixels.composite_methods import parse_composite
from cloudbuster.errors import NothingUsableError, RequestError
from cloudbuster.events import Event, OnEvent, emit
from cloudbuster.gathered.observed_blocks import BestPlan, comparing_plan
from cloudbuster.gathered.scene_files import (
    check_name,
    files_from_records,
    find_records,
    is_scene_file,
    scenes_in,
    scenes_in_window,
)
from cloudbuster.gathered.scene_raster import SCENE_INDEX_BAND
from cloudbuster.inputs.areas import document_area, request_area
from cloudbuster.models import (
    Assessment,
    MergeOptions,
    MergeResult,
    MosaicRequest,
    SceneRecord,
    Selection,
    Unpicked,
)
from cloudbuster.products.blocks import MosaicBlocks, SceneBlocks, Tally, clipped, mosaic_grid
from cloudbuster.products.cog import CogBand, CogWriter, open_cog_writer, scratch_folder
from cloudbuster.products.parts import Part, PartBlocks, write_part
from cloudbuster.products.preview import read_codes, write_preview
from cloudbuster.products.report.page import ReportFiles, write_report
from cloudbuster.products.self_check import CheckedBlocks, self_check, tally_document
from cloudbuster.products.stac_item import (
    QUALITY_BANDS,
    MosaicDescription,
    MosaicScene,
    mosaic_item,
    write_item,
)
from cloudbuster.storage.files.documents import write_document
from cloudbuster.storage.files.folders import input_folder, output_folder
from cloudbuster.storage.files.uri import join, output_error
from cloudbuster.storage.rasters.area_cells import AreaCells
from cloudbuster.storage.rasters.gdal_env import gdal_env
from cloudbuster.storage.rasters.tiled_raster import NODATA

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class MosaicRecipe:
    """What to merge, and what the products record about it.

    Attributes
    ----------
    name : str
        Base of the file names.
    composite : str
        How each pixel is made: a name for `parse_composite`. ``first`` takes it from the scene of
        the lowest index that sees it clear, else from the first one of low rank, else from the
        backstop; ``best`` takes it from the scene that shows the least haze and shadow
        (`cloudbuster.core.pixels.best`).
    wanted : collection of str, optional
        File names of the scenes to merge, without extension; all of them must be there. None for
        all scenes of ``name``.
    request : MosaicRequest, optional
        Request to record in the STAC item.
    assessment : Assessment, optional
        Assessment to record in the STAC item and the report.
    layout : {"multi-band", "per-band"}
        Whether each band of the mosaic is written to a file of its own too.
    clip_area : shapely geometry, optional
        Area to which the products are clipped, longitude (unwrapped) and latitude.
    selection : Selection, optional
        Selection of the scenes: all shares are then of its area, and not of the whole grid, and the
        item and the report say what each scene was expected to add.
    haze_limit_dn : float
        Composite ``best``: DN of haze from which a pixel does not count as clear; 0 for no limit.
    self_check : bool
        Whether to measure the error of the mosaic with dates that are held out.
    """

    name: str
    composite: str = "first"
    wanted: Collection[str] | None = None
    request: MosaicRequest | None = None
    assessment: Assessment | None = None
    clip_area: BaseGeometry | None = None
    layout: str = "multi-band"
    selection: Selection | None = None
    self_check: bool = False
    haze_limit_dn: float = MergeOptions().haze_limit_dn

    def __post_init__(self) -> None:
        """Raise RequestError if the name or the composite cannot be used."""
        check_name(self.name)
        try:
            parse_composite(self.composite)
        except ValueError as error:
            raise RequestError(str(error)) from error

    @classmethod
    def of(
        cls,
        request: MosaicRequest,
        *,
        wanted: Collection[str] | None = None,
        assessment: Assessment | None = None,
        selection: Selection | None = None,
    ) -> "MosaicRecipe":
        """Make the recipe of a request, whose area is read if it is to be clipped."""
        area = request_area(request.aoi, request.query) if request.merge.clip else None
        return cls(
            request.name,
            request.merge.composite,
            wanted,
            # A refreshed mosaic is the same as one from scratch.
            request.model_copy(update={"refresh": False}),
            assessment,
            area,
            request.merge.layout,
            selection,
            request.merge.self_check,
            request.merge.haze_limit_dn,
        )

    def plan(self, records: Sequence[SceneRecord | None], grid: Grid) -> BestPlan | None:
        """Make what the composite needs to know of all scenes; None if it needs nothing."""
        return comparing_plan(self.composite, records, grid, self.haze_limit_dn)


def merge_scenes(
    input_path: str,
    output_path: str,
    recipe: MosaicRecipe,
    *,
    on_event: OnEvent | None = None,
) -> MergeResult:
    """Merge gathered scenes into one mosaic.

    Older products are replaced when all new ones are ready.

    Parameters
    ----------
    input_path, output_path : str
        Folder or prefix of the scenes, which may hold other files too, and of the products.
    recipe : MosaicRecipe
        What to merge.
    on_event : callable, optional
        Progress callback.

    Returns
    -------
    MergeResult
        Paths of the products, and shares of the area, or of the grid's cells without a selection.

    Raises
    ------
    NothingUsableError
        If there is no scene, or none has a pixel.
    RasterError, GridError, RequestError
        If a raster, a grid or a document cannot be used; the message names it.
    OutputError, TryAgainError
        If the products cannot be written, or the disk is full.
    """
    is_input = partial(is_scene_file, name=recipe.name, wanted=recipe.wanted)
    folder = input_folder(input_path, is_input)
    with folder as inputs, output_folder(output_path) as outputs, gdal_env():
        files = scenes_in(inputs, recipe.name, shown=input_path, wanted=recipe.wanted)
        plan = recipe.plan([file.record for file in files], mosaic_grid(files))
        with SceneBlocks(files, recipe.composite, plan=plan) as blocks:
            scenes = tuple(_Scene(file.index, file.backstop, file.record) for file in files)
            mosaic = _Mosaic(recipe, scenes, _checked(blocks, recipe))
            target = _Target(product_paths(output_path, recipe.name), outputs)
            return _write_products(mosaic, target, on_event)


def merge_part(
    input_path: str,
    parts_path: str,
    recipe: MosaicRecipe,
    *,
    number: int,
    cells: int,
    on_event: OnEvent | None = None,
) -> None:
    """Merge one part of a mosaic, for `merge_parts`.

    Parameters
    ----------
    input_path : str
        Folder or prefix of the scenes. From S3 only the scenes that meet the part are fetched.
    parts_path : str
        Folder or prefix of the parts.
    recipe : MosaicRecipe
        What to merge; the same for every part.
    number : int
        Number of the part, row by row from 1.
    cells : int
        Rows and columns of a part, cells.
    on_event : callable, optional
        Progress callback.

    Raises
    ------
    CloudBusterError
        As `merge_scenes`.
    """
    part = Part(recipe.name, number, cells)
    records = find_records(input_path, recipe.name, wanted=recipe.wanted)
    grid = mosaic_grid(files_from_records(records))
    window, plan = part.window(grid), recipe.plan(records, grid)
    with (
        gdal_env(),
        scenes_in_window(input_path, records, _grown(window, plan)) as files,
        SceneBlocks(files, recipe.composite, window, plan=plan) as blocks,
        output_folder(parts_path) as outputs,
    ):
        outputs.mkdir(parents=True, exist_ok=True)
        source = _checked(blocks, recipe)
        write_part(source, window, outputs, part, on_event=on_event)
        sums = None if source.tally is None else tally_document(source.tally)
        document = part.make_document(records, blocks.bands, recipe.composite, sums)
        write_document(str(outputs / part.document), document)


def _grown(window: GridWindow, plan: BestPlan | None) -> GridWindow:
    """Window of the scenes on which the cells of a window depend."""
    return window if plan is None else window.grown(plan.settings.reach_cells)


def merge_parts(
    parts_path: str,
    input_path: str,
    output_path: str,
    recipe: MosaicRecipe,
    *,
    cells: int,
    on_event: OnEvent | None = None,
) -> MergeResult:
    """Make the products of a mosaic whose parts are merged: the same as `merge_scenes` makes.

    Parameters
    ----------
    parts_path, input_path, output_path : str
        Folder or prefix of the parts, of the scenes (of which only the documents are read), and of
        the products.
    recipe : MosaicRecipe
        What was merged.
    cells : int
        Rows and columns of a part, cells.
    on_event : callable, optional
        Progress callback.

    Returns
    -------
    MergeResult
        As from `merge_scenes`.

    Raises
    ------
    RasterError
        If a part is missing or broken, or was merged from other scenes.
    CloudBusterError
        As `merge_scenes`.
    """
    records = find_records(input_path, recipe.name, wanted=recipe.wanted)
    mosaic_grid(files_from_records(records))
    scenes = tuple(_Scene(record.index, record.backstop, record) for record in records)
    blocks = PartBlocks(
        parts_path, recipe.name, cells, records, recipe.composite, is_checked=recipe.self_check
    )
    with output_folder(output_path) as outputs, gdal_env():
        target = _Target(product_paths(output_path, recipe.name), outputs)
        return _write_products(_Mosaic(recipe, scenes, blocks), target, on_event)


@dataclass(frozen=True)
class _Scene:
    """One scene of a mosaic, as its item describes it."""

    index: int
    backstop: bool
    record: SceneRecord | None


@dataclass(frozen=True)
class _Mosaic:
    """A mosaic before its first block: its recipe, its scenes, and the source of its blocks."""

    recipe: MosaicRecipe
    scenes: tuple[_Scene, ...]
    blocks: MosaicBlocks


@dataclass(frozen=True)
class _Target:
    """Final paths of the products, by their field in `MergeResult`, and the folder to write in."""

    paths: dict[str, str]
    folder: Path


def _checked(blocks: SceneBlocks, recipe: MosaicRecipe) -> MosaicBlocks:
    """Return the blocks with a self-check, if the recipe asks for one."""
    if not recipe.self_check:
        return blocks
    area = _counted_area(recipe)
    return CheckedBlocks(blocks, blocks, AreaCells(area, blocks.grid).inside if area else None)


def _write_products(mosaic: _Mosaic, target: _Target, on_event: OnEvent | None) -> MergeResult:
    """Write all products, and replace older ones when all are ready."""
    started = time.monotonic()
    name, count = mosaic.recipe.name, len(mosaic.blocks) + 1
    with scratch_folder(target.folder / f"{name}.tif") as folder:
        staged = {key: folder / PurePosixPath(path).name for key, path in target.paths.items()}
        band_files = _band_files(mosaic, folder)
        tally = _write_rasters(mosaic, staged, band_files, on_event)
        home = target.paths["item"].rpartition("/")[0] or "."
        described = replace(
            _describe(mosaic, tally, staged),
            folder=home,
            band_files={band: path.name for band, path in band_files.items()},
        )
        files = ReportFiles(staged["cloudless"], staged["quality"], folder)
        write_report(described, files, str(staged["report"]))
        write_item(mosaic_item(described), str(staged["item"]))
        _publish([*band_files.values(), *staged.values()], target.folder)
    emit(on_event, Event("merge", count, count, "products written"))
    duration_s = round(time.monotonic() - started, 3)
    values = {"mosaic": name, "scenes": len(mosaic.scenes), "duration_s": duration_s}
    logger.info("mosaic_merged", extra=values)
    return MergeResult(
        **target.paths,
        scene_count=described.scene_count,
        clear_fraction=described.clear_fraction,
        backstop_fraction=described.backstop_fraction,
        hole_fraction=described.hole_fraction,
        self_check=described.self_check,
    )


def product_paths(output_path: str, name: str) -> dict[str, str]:
    """Return the paths of the products of ``name``, by their field in `MergeResult`."""
    names = {
        "cloudless": f"{name}-cloudless.tif",
        "cloudy": f"{name}-cloudy.tif",
        "quality": f"{name}-quality.tif",
        "preview": f"{name}-preview.png",
        "report": f"{name}-report.html",
        "item": f"{name}.json",
    }
    return {key: join(output_path, file_name) for key, file_name in names.items()}


def _band_files(mosaic: _Mosaic, folder: Path) -> dict[str, Path]:
    """Return the path of a file for each band of the mosaic; none for one file of all bands."""
    if mosaic.recipe.layout == "multi-band":
        return {}
    names = (*mosaic.blocks.bands, SCENE_INDEX_BAND)
    return {name: folder / f"{mosaic.recipe.name}-cloudless-{name}.tif" for name in names}


def _write_rasters(
    mosaic: _Mosaic,
    paths: dict[str, Path],
    band_files: dict[str, Path],
    on_event: OnEvent | None,
) -> Tally:
    """Stream all blocks into the rasters, and count their cells."""
    tally, blocks = Tally(), mosaic.blocks
    count, tags = len(blocks), _acquisition_tags(mosaic.scenes)
    clip_cells, area_cells = _cells_of_areas(mosaic)
    with ExitStack() as stack:
        writers: dict[str, CogWriter] = {
            key: stack.enter_context(
                open_cog_writer(
                    paths[key],
                    blocks.grid,
                    bands,
                    nodata=nodata,
                    tags=tags,
                    alone=band_files if key == "cloudless" else None,
                )
            )
            for key, (bands, nodata) in _layouts(blocks.bands).items()
        }
        for done, (window, pixels) in enumerate(blocks.blocks(), start=1):
            if clip_cells is not None:
                pixels = clipped(pixels, clip_cells.inside(window))
            tally.add(pixels, None if area_cells is None else area_cells.inside(window))
            for key, part in pixels.items():
                writers[key].write(window, part)
            emit(on_event, Event("merge", done, count + 1, f"block {done}/{count}"))
        if not tally.has_value:
            msg = f"none of the {len(mosaic.scenes)} scenes has a clear pixel or one of a backstop"
            raise NothingUsableError(f"{msg}; widen the query, or keep a backstop")
    return tally


def _cells_of_areas(mosaic: _Mosaic) -> tuple[AreaCells | None, AreaCells | None]:
    """Return the cells to which the products are clipped, and those that are counted."""
    recipe, grid = mosaic.recipe, mosaic.blocks.grid
    clip_cells = None if recipe.clip_area is None else AreaCells(recipe.clip_area, grid)
    area = _counted_area(recipe)
    if area is recipe.clip_area:
        return clip_cells, clip_cells
    return clip_cells, None if area is None else AreaCells(area, grid)


def _counted_area(recipe: MosaicRecipe) -> BaseGeometry | None:
    """Return the area whose cells are counted; None for all cells of the grid."""
    if recipe.selection is None:
        return recipe.clip_area
    return document_area(recipe.selection.cloudbuster.aoi)


def _acquisition_tags(scenes: Sequence[_Scene]) -> dict[str, str]:
    """Return the first and the last acquisition of the scenes, as metadata of the rasters."""
    times = [scene.record.acquired for scene in scenes if scene.record and scene.record.acquired]
    if not times:
        return {}
    return {
        "ACQUISITION_START": datetime_to_str(min(times)),
        "ACQUISITION_END": datetime_to_str(max(times)),
    }


def _layouts(bands: tuple[str, ...]) -> dict[str, tuple[list[CogBand], int | None]]:
    """Return the bands of each raster, with their resampling in overviews, and its nodata."""
    mosaic_bands = [
        *(CogBand(band, "average", is_reflectance=True) for band in bands),
        CogBand(SCENE_INDEX_BAND, "nearest"),
    ]
    quality_bands = [CogBand(band, "nearest") for band in QUALITY_BANDS]
    return {
        "cloudless": (mosaic_bands, NODATA),
        "cloudy": (mosaic_bands, NODATA),
        "quality": (quality_bands, None),
    }


def _describe(mosaic: _Mosaic, tally: Tally, staged: dict[str, Path]) -> MosaicDescription:
    """Write the preview, and collect what the STAC item and the report describe."""
    recipe = mosaic.recipe
    states = read_codes(staged["quality"], list(QUALITY_BANDS).index("state") + 1)
    backstop = states == CellState.BACKSTOP
    added = _expected_shares(recipe.selection)
    check = mosaic.blocks.tally
    scenes = tuple(
        MosaicScene(
            scene.index,
            scene.backstop,
            tally.scene_share(scene.index, backstop=scene.backstop),
            scene.record,
            None if scene.record is None or scene.backstop else added.get(scene.record.item_id),
        )
        for scene in mosaic.scenes
    )
    return MosaicDescription(
        name=recipe.name,
        grid=mosaic.blocks.grid,
        bands=mosaic.blocks.bands,
        composite=recipe.composite,
        scenes=scenes,
        clear_fraction=tally.share(CellState.CLEAR),
        backstop_fraction=tally.share(CellState.BACKSTOP),
        hole_fraction=tally.share(CellState.NEVER_OBSERVED, CellState.NEVER_CLEAR),
        never_observed_fraction=tally.share(CellState.NEVER_OBSERVED),
        preview_shape=write_preview(staged["cloudless"], staged["preview"], backstop=backstop),
        request=recipe.request,
        assessment=recipe.assessment,
        of_area=recipe.selection is not None or recipe.clip_area is not None,
        area=_area(recipe),
        unpicked=_unpicked(recipe.selection),
        cloudless=staged["cloudless"].name,
        cloudy=staged["cloudy"].name,
        quality=staged["quality"].name,
        preview=staged["preview"].name,
        report=staged["report"].name,
        self_check=None if check is None else self_check(check, mosaic.blocks.grid),
    )


def _area(recipe: MosaicRecipe) -> BaseGeometry | None:
    """Return the area that shares are counted in, or to which the mosaic is clipped."""
    if recipe.selection is None:
        return recipe.clip_area
    return document_area(recipe.selection.cloudbuster.aoi)


def _unpicked(selection: Selection | None) -> tuple[Unpicked, ...]:
    """Return the scenes that were found and never picked, in a later round neither."""
    if selection is None:
        return ()
    picked = {entry.item_id for entry in selection.cloudbuster.entries}
    return tuple(each for each in selection.cloudbuster.unpicked if each.item_id not in picked)


def _expected_shares(selection: Selection | None) -> dict[str, float]:
    """Return, by item, the share of the area that it was expected to add to what is seen clear.

    Strategy `original` weighs its picks in other units.
    """
    added: dict[str, float] = {}
    if selection is None or selection.cloudbuster.strategy != "clear":
        return added
    for entry in selection.cloudbuster.entries:
        if entry.weight is not None and not entry.backstop:
            added[entry.item_id] = added.get(entry.item_id, 0.0) + entry.weight
    return added


def _publish(staged: Sequence[Path], folder: Path) -> None:
    """Rename every product into place, the item last, so that whoever sees it finds the others."""
    for path in staged:
        target = folder / path.name
        try:
            path.replace(target)
        except OSError as error:
            raise output_error(target, error) from error
