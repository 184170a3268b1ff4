"""What a composite knew of each look at a pixel beyond its mask: what it refused, and costs.

A composite that compares looks has a function here; see `cloudbuster.core.pixels.cell_reasons` for
the reasons that are made of it.
"""

from dataclasses import dataclass, field

from cloudbuster.core.grids.grid import Grid, GridWindow
from cloudbuster.core.pixels.composite_methods import parse_composite
from cloudbuster.errors import BadInputError, NothingUsableError
from cloudbuster.gathered.observed_blocks import (
    BestPlan,
    GatheredRaster,
    choose_in_block,
    costs_in_block,
)
from cloudbuster.gathered.scene_files import find_records
from cloudbuster.gathered.scene_raster import BACKSTOP_PREFIX, OpenScenes, scene_stem
from cloudbuster.models import MergeOptions, SceneRecord
from cloudbuster.mosaics.opened import FinishedMosaic, SceneRow
from cloudbuster.storage.files.uri import join

REFUSED = "beside the other looks it is hazy or in shadow"


@dataclass(frozen=True)
class LookEvidence:
    """What a composite knew of one look.

    Attributes
    ----------
    refused : str
        Why it refused the look; empty if it did not.
    costs : dict of str to float
        Parts of its cost, by what they stand for.
    """

    refused: str = ""
    costs: dict[str, float] = field(default_factory=dict)


def composite_evidence(
    mosaic: FinishedMosaic, grid: Grid, window: GridWindow
) -> dict[SceneRow, LookEvidence]:
    """Return what the composite of a mosaic knew of the looks at one cell.

    Parameters
    ----------
    mosaic, grid : FinishedMosaic, Grid
        The mosaic, and its grid.
    window : GridWindow
        Window of the cell.

    Returns
    -------
    dict of SceneRow to LookEvidence
        Empty for a composite that compares nothing, or if the gathered scenes are not all there.
    """
    folder = mosaic.run.scenes
    try:
        if folder is None or not parse_composite(mosaic.composite).method.is_comparing:
            return {}
        stems = {row: _stem(mosaic.name, row) for row in mosaic.rows}
        records = find_records(folder, mosaic.name, wanted=set(stems.values()))
        found = _compared(mosaic, folder, records, grid, window)
    except (BadInputError, NothingUsableError, ValueError):
        return {}
    return {row: found[f"{stem}.tif"] for row, stem in stems.items() if f"{stem}.tif" in found}


def _stem(name: str, row: SceneRow) -> str:
    """Return the file name, without suffix, of the gathered raster of a row."""
    return scene_stem(name, row.index, prefix=BACKSTOP_PREFIX if row.backstop else "")


def _compared(
    mosaic: FinishedMosaic,
    folder: str,
    records: tuple[SceneRecord, ...],
    grid: Grid,
    window: GridWindow,
) -> dict[str, LookEvidence]:
    """Compare the looks as composite `best` does; returns evidence by the name of the raster."""
    merge = MergeOptions() if mosaic.request is None else mosaic.request.merge
    plan = BestPlan.of(records, grid, merge.haze_limit_dn)
    rasters = [GatheredRaster(record.raster, record.backstop) for record in records]
    with OpenScenes([join(folder, record.raster) for record in records], grid) as scenes:
        choice = choose_in_block(scenes, rasters, window, grid, plan)
        if choice is None:
            return {}
        costs = costs_in_block(scenes, rasters, window, grid, plan)
    return {
        rasters[position].name: LookEvidence(
            REFUSED if choice.rejected[position][0, 0] else "",
            {name: float(part[0, 0]) for name, part in costs.get(position, {}).items()},
        )
        for position in choice.rejected
    }
