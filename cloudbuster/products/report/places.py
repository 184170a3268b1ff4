"""The largest places of a mosaic that were never seen clear, to go to on the report's map."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from cloudbuster.core.grids.ground import cell_size_m
from cloudbuster.core.pixels.composite import CellState
from cloudbuster.products.report.rasters import MapRasters

# Places that the page lists: a few for the eye; the file of holes has all.
MOST_PLACES = 8


@dataclass(frozen=True)
class Place:
    """A connected place that was never seen clear.

    Attributes
    ----------
    box : tuple of float
        (west, north, east, south) in columns and rows of the codes, shares of the whole 0 to 1.
    area_km2 : float
        Size on the ground, square kilometres.
    filled_share : float
        Share of its cells that the backstop fills, 0 to 1.
    """

    box: tuple[float, float, float, float]
    area_km2: float
    filled_share: float


def never_clear_places(rasters: MapRasters) -> list[Place]:
    """Find the largest places of the area that were never seen clear, the largest first."""
    states = rasters.codes("state")
    missing = rasters.inside & (states != CellState.CLEAR)
    labels, count = ndimage.label(missing, structure=np.ones((3, 3), dtype=int))
    if not count:
        return []
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    width_m, height_m = cell_size_m(rasters.grid)
    rows, cols = states.shape
    windows = ndimage.find_objects(labels)
    found = []
    for number in np.argsort(-sizes, kind="stable")[:MOST_PLACES]:
        y, x = windows[number]
        cells = labels[y, x] == number + 1
        filled = int(np.count_nonzero(cells & (states[y, x] == CellState.BACKSTOP)))
        size = int(sizes[number])
        west, east = round(x.start / cols, 5), round(x.stop / cols, 5)
        north, south = round(y.start / rows, 5), round(y.stop / rows, 5)
        found.append(
            Place(
                (west, north, east, south),
                size * width_m * height_m / 1e6,
                filled / size,
            )
        )
    return found
