"""Check the rasters of a mosaic against the gathered scenes: compose the blocks again, compare."""

from pathlib import Path

import numpy as np
from shapely.geometry.base import BaseGeometry

from cloudbuster.checks.results import Count, not_checked
from cloudbuster.checks.scene_table import row_stem
from cloudbuster.core.pixels.composite_methods import parse_composite
from cloudbuster.errors import BadInputError, NothingUsableError
from cloudbuster.gathered.observed_blocks import comparing_plan
from cloudbuster.gathered.scene_files import scenes_in
from cloudbuster.models import Check, MergeOptions
from cloudbuster.mosaics.opened import FinishedMosaic
from cloudbuster.mosaics.rasters import MosaicRasters
from cloudbuster.products.blocks import SceneBlocks, clipped, mosaic_grid
from cloudbuster.storage.files.uri import is_remote, local_path
from cloudbuster.storage.rasters.area_cells import AreaCells

NAME = "scenes"


def check_scenes(
    mosaic: FinishedMosaic, rasters: MosaicRasters, clip_area: BaseGeometry | None
) -> Check:
    """Compose every block again from the gathered scenes, and compare all cells of the rasters.

    Parameters
    ----------
    mosaic, rasters : FinishedMosaic, MosaicRasters
        The mosaic and its open rasters.
    clip_area : shapely geometry or None
        Area that the products are clipped to; None for no clipping.
    """
    folder = mosaic.run.scenes
    if folder is None:
        return not_checked(NAME, "the gathered scenes are not there any more")
    if is_remote(folder):
        return not_checked(
            NAME, f"the gathered scenes are in {folder}; copy them, and give --scenes"
        )
    try:
        parse_composite(mosaic.composite)
    except ValueError as error:
        return not_checked(NAME, str(error))
    try:
        return _compared(mosaic, rasters, clip_area, local_path(folder))
    except (BadInputError, NothingUsableError) as error:
        return not_checked(NAME, f"the gathered scenes cannot be merged: {error}")


def _compared(
    mosaic: FinishedMosaic, rasters: MosaicRasters, clip_area: BaseGeometry | None, folder: Path
) -> Check:
    """Compare the rasters with blocks that are composed again."""
    wanted = {row_stem(mosaic.name, row) for row in mosaic.rows}
    files = scenes_in(folder, mosaic.name, shown=str(folder), wanted=wanted)
    count = Count(NAME, "values of cells")
    names = {
        "cloudless": (*rasters.bands, "scene_index"),
        "cloudy": (*rasters.bands, "scene_index"),
        "quality": rasters.quality_bands,
    }
    merge = mosaic.request.merge if mosaic.request is not None else MergeOptions()
    records = [file.record for file in files]
    plan = comparing_plan(mosaic.composite, records, mosaic_grid(files), merge.haze_limit_dn)
    with SceneBlocks(files, mosaic.composite, plan=plan) as blocks:
        if blocks.grid.shape != rasters.grid.shape or blocks.bands != rasters.bands:
            count.expect(False, "the gathered scenes are on another grid, or have other bands")
            return count.check
        clip = None if clip_area is None else AreaCells(clip_area, blocks.grid)
        for window, composed in blocks.blocks():
            pixels = composed if clip is None else clipped(composed, clip.inside(window))
            found = {
                "cloudless": list(rasters.cloudless(window)),
                "cloudy": list(rasters.cloudy(window)),
                "quality": list(rasters.quality(window).values()),
            }
            for key, bands in names.items():
                for number, band in enumerate(bands):
                    wrong = int(np.count_nonzero(found[key][number] != pixels[key][number]))
                    text = f"{band} of the {key} raster is not what the scenes give"
                    count.add(pixels[key][number].size, wrong, text)
    return count.check
