"""The cells of a scene whose files have not been opened, as its item states where they lie."""

from affine import Affine

from cloudbuster.core.grids.grid import Grid
from cloudbuster.core.projections.crs import parse_crs
from cloudbuster.core.scenes.scene import Scene

# Pixels of the finest band along a cell: 320 m at 10 m, as in thumbnails.
CELL_PIXELS = 32
# Greatest number of rows and of columns of a raster that is believed: half as many again as a tile
# of Sentinel-2 has at 10 m. Of a greater one nothing would be read.
MAX_PIXELS_ASIDE = 16_384


def stated_cells(scene: Scene) -> Grid | None:
    """Return cells that a scene may be delivered in, as for a thumbnail.

    Parameters
    ----------
    scene : Scene
        Description of the scene by its catalog.

    Returns
    -------
    Grid or None
        Cells of `CELL_PIXELS` pixels of the finest band from the corner of its raster; None if the
        item states no place for any band.
    """
    grids = []
    for asset in scene.bands.values():
        stated = asset.metadata
        crs = stated.crs or (None if scene.epsg is None else f"EPSG:{scene.epsg}")
        if crs is None or stated.transform is None or stated.shape is None:
            continue
        rows, cols = stated.shape
        if not (0 < rows <= MAX_PIXELS_ASIDE and 0 < cols <= MAX_PIXELS_ASIDE):
            continue
        try:
            parse_crs(crs)
            grids.append(
                Grid.from_transform(crs, Affine(*stated.transform), width=cols, height=rows)
            )
        except ValueError:
            # A rotated raster, or a CRS that is none: gather says what is wrong with it.
            continue
    if not grids:
        return None
    finest = min(grids, key=lambda grid: grid.x_size)
    return Grid(
        finest.crs,
        finest.west,
        finest.north,
        finest.x_size * CELL_PIXELS,
        finest.y_size * CELL_PIXELS,
        -(-finest.width // CELL_PIXELS),
        -(-finest.height // CELL_PIXELS),
    )
