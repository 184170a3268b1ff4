"""Join the masks of several detectors of one scene, and measure how far they agree."""

from collections.abc import Sequence

import numpy as np

from cloudbuster.core.arrays import BoolRaster, UInt8Raster
from cloudbuster.core.grids.grid import Grid
from cloudbuster.core.grids.regrid import sample_nearest
from cloudbuster.core.pixels.masks import DetectedMask
from cloudbuster.core.texts.detector_names import Operator

# Agreement of detectors that all say the same, or of one alone, percent.
FULL_AGREEMENT = 100


def join_masks(
    masks: Sequence[DetectedMask],
    operator: Operator,
    *,
    doubtful: Sequence[int] = (),
    overruling: Sequence[int] = (),
) -> DetectedMask:
    """Join masks of one scene.

    Parameters
    ----------
    masks : sequence of DetectedMask
        One or more. Not modified.
    operator : {"+", "&"}
        ``+``: a cell is cloud or shadow if any mask says so. ``&``: if all do, and then cloud if
        any says cloud, and shadow if any says shadow. The other layers are unions in both cases.
    doubtful : sequence of int
        With ``+``, positions of masks whose shadow needs a second opinion: where another mask that
        knows shadow finds none, and no mask finds cloud, the cell is of low rank.
    overruling : sequence of int
        With ``+``, positions of masks that overrule cloud: where they judged the cell and find
        nothing, and no mask finds firm cloud or shadow, the cell is of low rank.

    Returns
    -------
    DetectedMask
        On the grid with the smallest cells, with the percentage of detectors that agree.

    Raises
    ------
    ValueError
        If the CRSs differ.
    """
    grid = _finest(masks)
    cloud, defective, low_rank, unobserved, shadow = (
        [sample_nearest(mask.layers[layer], mask.grid, grid, fill=0) for mask in masks]
        for layer in range(5)
    )
    judged = [sample_nearest(~mask.defective, mask.grid, grid, fill=0) for mask in masks]
    found = list(map(np.logical_or, cloud, shadow))
    masked = (np.logical_and if operator == "&" else np.logical_or).reduce(found)
    lone = np.zeros(grid.shape, dtype=np.bool_)
    if operator == "+":
        if doubtful and (sure := _sure(masks, doubtful)):
            others = [each for place, each in enumerate(found) if place not in doubtful]
            lone |= np.logical_or.reduce([shadow[place] for place in doubtful])
            lone &= _denied(found, judged, sure) & ~np.logical_or.reduce([*cloud, *others])
        if overruling:
            lone |= masked & _denied(found, judged, overruling) & ~_firm(masks, grid, shadow)
    masked = masked & ~lone
    return DetectedMask(
        grid,
        cloud=masked & np.logical_or.reduce(cloud),
        defective=np.logical_or.reduce(defective),
        low_rank=np.logical_or.reduce(low_rank) | lone,
        detector=f" {operator} ".join(mask.detector for mask in masks),
        unobserved=np.logical_or.reduce(unobserved),
        shadow=masked & np.logical_or.reduce(shadow),
        agreement=_agreement(found, judged),
    )


def _finest(masks: Sequence[DetectedMask]) -> Grid:
    """Return the grid with the smallest cells; raise ValueError if the CRSs differ."""
    if len({mask.grid.crs for mask in masks}) != 1:
        msg = f"masks in {' and '.join(mask.grid.crs for mask in masks)} cannot be joined"
        raise ValueError(msg)
    return min((mask.grid for mask in masks), key=lambda each: each.x_size * each.y_size)


def _denied(
    found: Sequence[BoolRaster], judged: Sequence[BoolRaster], places: Sequence[int]
) -> BoolRaster:
    """Return the cells that all of some masks judged, and in which none of them finds anything."""
    cells = [judged[place] & ~found[place] for place in places]
    return np.asarray(np.logical_and.reduce(cells), dtype=np.bool_)


def _firm(masks: Sequence[DetectedMask], grid: Grid, shadow: Sequence[BoolRaster]) -> BoolRaster:
    """Return shadow, and the cloud that cannot be overruled."""
    firm = (mask.cloud if mask.firm_cloud is None else mask.firm_cloud for mask in masks)
    sampled = [
        sample_nearest(cells, mask.grid, grid, fill=0)
        for cells, mask in zip(firm, masks, strict=True)
    ]
    return np.asarray(np.logical_or.reduce([*sampled, *shadow]), dtype=np.bool_)


def _sure(masks: Sequence[DetectedMask], doubtful: Sequence[int]) -> list[int]:
    """Return the positions of the masks that know shadow beyond doubt."""
    known = (place for place, mask in enumerate(masks) if mask.shadow is not None)
    return [place for place in known if place not in doubtful]


def _agreement(found: Sequence[BoolRaster], judged: Sequence[BoolRaster]) -> UInt8Raster:
    """Percentage of the detectors that say as most; full where fewer than two judged the cell."""
    voters = np.sum(judged, axis=0, dtype=np.int64)
    masking = np.sum(
        [here & able for here, able in zip(found, judged, strict=True)], axis=0, dtype=np.int64
    )
    most = np.maximum(masking, voters - masking)
    percent = np.rint(FULL_AGREEMENT * most / np.maximum(1, voters)).astype(np.uint8)
    result: UInt8Raster = np.where(voters < 2, np.uint8(FULL_AGREEMENT), percent)
    return result
