"""Coarse images of what scenes show clear, and their cells on a common grid."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from cloudbuster.core.arrays import BoolRaster, UInt8Raster
from cloudbuster.core.grids.grid import Bounds, Grid, GridWindow
from cloudbuster.core.grids.ground import cell_size_m
from cloudbuster.core.pixels.masks import PixelClass
from cloudbuster.core.projections.transformers import transformer
from cloudbuster.core.selection.clear_cover import SceneCells
from cloudbuster.core.selection.units import SceneUnits, UnitLayout, UnitNumbers

# Side of a unit of delivery in cells of the thumbnail: 1024 pixels of 10 m if cells are of 320 m,
# which is the size of a tile of the products' files.
UNIT_CELLS = 32
# Side of a part of a unit in cells of the thumbnail. Resampling reaches two pixels of a band, which
# are 40 m at 20 m and 120 m at 60 m; with cells of 320 m a part is 640 m.
PART_CELLS = 2
# Points per edge of a rectangle that is projected, because projected edges are curved.
EDGE_POINTS = 21

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class SkyThumbnail:
    """A scene at low resolution: where it has data, and where it is clear.

    Attributes
    ----------
    grid : Grid
        Grid of the cells, in the CRS of the scene; it begins at the corner of the scene's rasters.
    classes : ndarray of uint8, shape (y, x)
        Codes of `PixelClass`; the mask is grown already.
    """

    grid: Grid
    classes: UInt8Raster


def grid_of_parts(grid: Grid) -> Grid:
    """Return the grid of the parts of units of delivery, which `part_layout` numbers.

    Parameters
    ----------
    grid : Grid
        Grid of a thumbnail.
    """
    layout, size = part_layout(grid), (grid.x_size * PART_CELLS, grid.y_size * PART_CELLS)
    return Grid(grid.crs, grid.west, grid.north, *size, layout.cols, layout.rows)


def part_layout(grid: Grid) -> UnitLayout:
    """Return how the units of delivery of a thumbnail and their parts are numbered.

    Units are squares of `UNIT_CELLS` cells from the scene's corner, parts of `PART_CELLS`.
    """
    rows, cols = (-(-side // PART_CELLS) for side in grid.shape)
    return UnitLayout(rows, cols, UNIT_CELLS // PART_CELLS)


@dataclass(frozen=True, eq=False)
class _CellMap:
    """Which cell of a thumbnail lies under the centre of each cell of a window.

    ``place`` is the position in the flattened thumbnail, 0 outside of it; ``inside`` marks the
    cells for which it holds, and ``part`` is the number of the part of a unit, 0 outside.
    """

    window: GridWindow
    place: Indices
    inside: BoolRaster
    part: UnitNumbers
    layout: UnitLayout

    @property
    def unit(self) -> UnitNumbers:
        """Number of the unit of delivery, -1 outside."""
        return np.where(self.inside, self.layout.unit.ravel()[self.part], np.int32(-1))


class CellSampler:
    """Samples thumbnails at the centres of the cells of one grid.

    Scenes of one tile have the same grid, whose cells are located once.

    Parameters
    ----------
    cells : Grid
        Grid of the cells, in any CRS.
    """

    def __init__(self, cells: Grid) -> None:
        """Start without a located grid."""
        self.cells = cells
        self._maps: dict[Grid, _CellMap] = {}

    def window(self, grid: Grid) -> GridWindow:
        """Return the cells that a thumbnail's grid may reach."""
        return self._map(grid).window

    def sample(self, thumbnail: SkyThumbnail) -> SceneUnits:
        """Sample one thumbnail.

        Returns
        -------
        SceneUnits
            What the scene shows of each cell, clear cells of low rank included, and the unit of
            delivery that holds the cell. A clear cell is safe if its neighbours in the thumbnail
            are clear too, or are nodata or the rim of the thumbnail.
        """
        place = self._map(thumbnail.grid)
        clear = thumbnail.classes >= PixelClass.LOW_RANK
        safe = clear & ~_with_neighbours(thumbnail.classes == PixelClass.MASKED)
        return SceneUnits(
            window=place.window,
            clear=self._at(clear, place),
            seen=self._at(thumbnail.classes != PixelClass.UNOBSERVED, place),
            safe=self._at(safe, place),
            unit=place.unit,
            part=place.part,
            layout=place.layout if self._resolves(thumbnail.grid) else None,
        )

    def _resolves(self, grid: Grid) -> bool:
        """Whether each part of a unit holds the centre of a cell, so that its edges are known."""
        side_m = min(cell_size_m(grid_of_parts(grid)))
        return max(self.cells.x_size, self.cells.y_size) <= side_m

    def sample_footprint(
        self, footprint: BaseGeometry, clear_share: float, seed: int, grid: Grid | None = None
    ) -> SceneUnits:
        """Stand in for the thumbnail of a scene whose metadata alone are known.

        Parameters
        ----------
        footprint : shapely geometry
            Area of the scene, in the CRS of the cells.
        clear_share : float
            Share of it that is clear, 0 to 1. Which cells these are is unknown: they are drawn at
            random, so that the scene adds to others what it would add on average.
        seed : int
            Seed of the draw.
        grid : Grid, optional
            Cells that a thumbnail of the scene would have; without it the whole scene is one unit.

        Returns
        -------
        SceneUnits
            Nothing of it is safe.
        """
        place = None if grid is None else self._map(grid)
        window = self.cells.window.intersection(self.cells.window_of(footprint.bounds))
        if place is not None:
            window = place.window
        part = self.cells.crop(window)
        x = part.west + (np.arange(window.width) + 0.5) * part.x_size
        y = part.north - (np.arange(window.height) + 0.5) * part.y_size
        shapely.prepare(footprint)
        seen = shapely.contains_xy(footprint, *np.meshgrid(x, y))
        drawn = np.random.default_rng(seed).random(window_shape(window)) < clear_share
        if place is not None:
            seen &= place.inside
        return SceneUnits(
            window=window,
            clear=seen & drawn,
            seen=seen,
            safe=np.zeros_like(seen),
            unit=np.where(seen, 0, -1).astype(np.int32) if place is None else place.unit,
            part=None if place is None else place.part,
        )

    @staticmethod
    def _at(values: BoolRaster, place: _CellMap) -> BoolRaster:
        """Values at the cells of a map; False outside of the thumbnail."""
        sampled: BoolRaster = values.ravel()[place.place]
        sampled &= place.inside
        return sampled

    def _map(self, grid: Grid) -> _CellMap:
        """Locate the cells in a grid, or take what was found before."""
        if grid not in self._maps:
            self._maps[grid] = self._located(grid)
        return self._maps[grid]

    def _located(self, grid: Grid) -> _CellMap:
        """Locate the centres of the cells in a grid."""
        window = self.cells.window_of(projected_box(grid.bounds, grid.crs, self.cells.crs))
        window = window.intersection(self.cells.window)
        part = self.cells.crop(window)
        x, y = np.meshgrid(
            part.west + (np.arange(window.width) + 0.5) * part.x_size,
            part.north - (np.arange(window.height) + 0.5) * part.y_size,
        )
        if grid.crs != self.cells.crs:
            x, y = transformer(self.cells.crs, grid.crs).transform(x, y)
        with np.errstate(invalid="ignore"):
            rows = np.floor((grid.north - y) / grid.y_size)
            cols = np.floor((x - grid.west) / grid.x_size)
            inside = (rows >= 0) & (rows < grid.height) & (cols >= 0) & (cols < grid.width)
        row, col = (np.where(inside, values, 0).astype(np.intp) for values in (rows, cols))
        layout = part_layout(grid)
        numbers = (row // PART_CELLS * layout.cols + col // PART_CELLS).astype(np.int32)
        return _CellMap(window, row * grid.width + col, inside, numbers, layout)


def _with_neighbours(mask: BoolRaster) -> BoolRaster:
    """Mask with the eight neighbours of its cells."""
    wide = mask.copy()
    wide[1:] |= mask[:-1]
    wide[:-1] |= mask[1:]
    grown = wide.copy()
    grown[:, 1:] |= wide[:, :-1]
    grown[:, :-1] |= wide[:, 1:]
    return grown


def window_shape(window: GridWindow) -> tuple[int, int]:
    """Return rows and columns of a window."""
    return (window.height, window.width)


def scene_cells(units: SceneUnits) -> SceneCells:
    """Return what a scene shows, without its units."""
    return SceneCells(units.window, units.clear, units.seen)


def projected_box(bounds: Bounds, crs: str, target_crs: str) -> Bounds:
    """Return the bounds, in another CRS, of a rectangle with curved edges.

    Parameters
    ----------
    bounds : tuple of float
        (west, south, east, north) in ``crs``.
    crs, target_crs : str
        Coordinate reference systems; the target is a projected one.

    Returns
    -------
    tuple of float
        (west, south, east, north) of the points that can be projected.
    """
    if crs == target_crs:
        return bounds
    west, south, east, north = bounds
    share = np.linspace(0.0, 1.0, EDGE_POINTS)
    x, y = west + (east - west) * share, south + (north - south) * share
    edge_x = np.concatenate([x, x, np.full_like(y, west), np.full_like(y, east)])
    edge_y = np.concatenate([np.full_like(x, south), np.full_like(x, north), y, y])
    points = np.stack(transformer(crs, target_crs).transform(edge_x, edge_y))
    points = points[:, np.isfinite(points).all(axis=0)]
    if not points.size:
        return (0.0, 0.0, 0.0, 0.0)
    low, high = points.min(axis=1), points.max(axis=1)
    return (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
