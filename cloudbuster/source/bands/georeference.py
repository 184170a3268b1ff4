"""Where a raster lies on the ground: by the file and those beside it, or else by its item."""

import math
from dataclasses import dataclass
from typing import Any

from affine import Affine

from cloudbuster.core.grids.grid import Grid
from cloudbuster.core.grids.ground import cell_size_m
from cloudbuster.core.projections.crs import parse_crs
from cloudbuster.core.scenes.scene import RasterMetadata
from cloudbuster.core.texts.names import shown
from cloudbuster.errors import GridError

# Tolerance of the size of a cell that is one of Sentinel-2's native sizes, and of two places that
# are the same, in cells.
SIZE_TOLERANCE, PLACE_TOLERANCE = 0.005, 0.5
# Sizes of the cells of the product's masks, metres.
MASK_GSDS_M = (10, 20, 60)

HINT = "drop the scene, or give the raster a georeference"


@dataclass(frozen=True)
class Placement:
    """Grid of a raster, and what there is to say about it.

    Attributes
    ----------
    grid : Grid
        Grid of the whole raster, in its own CRS.
    notes : tuple of str
        What was taken from the item, and where the file was believed against it; each text
        completes "FILE: ...".
    """

    grid: Grid
    notes: tuple[str, ...]


def place_raster(
    name: str,
    dataset: Any,  # noqa: ANN401 -- rasterio has no types
    metadata: RasterMetadata,
    *,
    gsds_m: tuple[int, ...],
    scene_epsg: int | None,
) -> Placement:
    """Find the grid of a raster.

    The file and the files beside it come first. What they lack is taken from the item.

    Parameters
    ----------
    name : str
        Address of the file, for messages.
    dataset : rasterio dataset
        Open raster.
    metadata : RasterMetadata
        What the item states about it.
    gsds_m : tuple of int
        Native cell sizes of what the raster holds, metres; a transform for the whole item fits a
        raster of another shape only at these.
    scene_epsg : int or None
        EPSG code of the scene, or of the UTM zone of its tile, for a raster without any CRS.

    Raises
    ------
    GridError
        If nothing says where the raster lies, the item's statement does not fit it, or it is not
        north-up.
    """
    crs, crs_notes = _crs(name, dataset, metadata, scene_epsg)
    transform, notes = _transform(name, dataset, metadata, gsds_m)
    try:
        parse_crs(crs)
        grid = Grid.from_transform(crs, transform, width=dataset.width, height=dataset.height)
        cell_size_m(grid)
    except ValueError as error:
        msg = f"{name}: {error}; {HINT}"
        raise GridError(msg) from error
    return Placement(grid, (*crs_notes, *notes))


def _crs(
    name: str,
    dataset: Any,  # noqa: ANN401 -- rasterio has no types
    metadata: RasterMetadata,
    scene_epsg: int | None,
) -> tuple[str, tuple[str, ...]]:
    """CRS of a raster as text that pyproj reads, and notes about it."""
    stated = metadata.crs or (f"EPSG:{scene_epsg}" if scene_epsg is not None else None)
    if dataset.crs:
        epsg = dataset.crs.to_epsg()
        own = f"EPSG:{epsg}" if epsg else dataset.crs.to_wkt()
        if metadata.crs is not None and not _same_crs(own, metadata.crs):
            there, here = _short(metadata.crs), _short(own)
            return own, (f"in {here}, although the item says {there}",)
        return own, ()
    if stated is None:
        msg = f"{name} has no coordinate reference system, and its item states none; {HINT}"
        raise GridError(msg)
    return stated, (f"without a CRS: {_short(stated)} is taken from the item",)


def _same_crs(one: str, other: str) -> bool:
    """Whether two texts are the same CRS; one that no grid can have is not."""
    if one == other:
        return True
    try:
        return bool(parse_crs(one) == parse_crs(other))
    except ValueError:
        return False


def _short(crs: str) -> str:
    """Return a text for messages: the name of the CRS if ``crs`` is WKT."""
    if len(crs) <= 40:
        return crs
    try:
        return f"{parse_crs(crs).name[:80]!r}"
    except ValueError:
        return shown(crs)


def _transform(
    name: str,
    dataset: Any,  # noqa: ANN401 -- rasterio has no types
    metadata: RasterMetadata,
    gsds_m: tuple[int, ...],
) -> tuple[Affine, tuple[str, ...]]:
    """Transform of a raster, and notes about it."""
    own = dataset.transform
    # rasterio returns the identity for a raster without a transform; it is not north-up.
    if own != Affine.identity():
        stated = metadata.transform if metadata.is_of_asset else None
        if stated is not None and not _same_place(own, Affine(*stated)):
            return own, ("with another place or cell size than the item says",)
        return own, ()
    if metadata.transform is None:
        points = ", only ground control points" if dataset.gcps[0] else ""
        msg = f"{name} has no georeference{points}, and its item has no proj:transform; {HINT}"
        raise GridError(msg)
    if dataset.crs and metadata.crs and not _same_crs(dataset.crs.to_wkt(), metadata.crs):
        msg = f"{name} has no georeference, and another CRS than its item's transform; {HINT}"
        raise GridError(msg)
    transform = _fitted(Affine(*metadata.transform), dataset, metadata, gsds_m)
    if transform is None:
        shape = "x".join(map(str, metadata.shape or ("?", "?")))
        msg = (
            f"{name} has no georeference, and its {dataset.height}x{dataset.width} pixels are not "
            f"the {shape} of its item's proj:shape; {HINT}"
        )
        raise GridError(msg)
    return transform, ("without a georeference: proj:transform is taken from the item",)


def _same_place(own: Affine, stated: Affine) -> bool:
    """Whether two transforms place a raster alike, within half a cell."""
    size = abs(own.a) or 1.0
    sizes_agree = all(
        math.isclose(one, other, rel_tol=SIZE_TOLERANCE)
        for one, other in ((own.a, stated.a), (own.e, stated.e))
    )
    return sizes_agree and max(abs(own.c - stated.c), abs(own.f - stated.f)) <= (
        PLACE_TOLERANCE * size
    )


def _fitted(
    stated: Affine,
    dataset: Any,  # noqa: ANN401 -- rasterio has no types
    metadata: RasterMetadata,
    gsds_m: tuple[int, ...],
) -> Affine | None:
    """Transform of an item, for the pixels of a raster; None if it does not fit.

    A transform of the whole item is that of its finest bands. A coarser band has the same corner
    and cells of its own size, a whole multiple.
    """
    shape = (dataset.height, dataset.width)
    if metadata.is_of_asset:
        return stated if metadata.shape in (None, shape) else None
    for gsd_m in gsds_m:
        ratio = gsd_m / abs(stated.a) if stated.a else 0
        if not math.isclose(ratio, round(ratio), rel_tol=SIZE_TOLERANCE) or round(ratio) < 1:
            continue
        whole = metadata.shape and tuple(-(-side // round(ratio)) for side in metadata.shape)
        if whole == shape:
            return stated @ Affine.scale(round(ratio))
    return stated if metadata.shape == shape else None
