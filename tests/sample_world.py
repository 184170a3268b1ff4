"""The sample world of the tests: its tiles are cut down, so that writing it takes seconds."""

import pytest

from cloudbuster.sample import files
from cloudbuster.sample.world import plan

# 304 is no multiple of 6: the last pixel of 60 m reaches over a tile's edge.
TILE_PIXELS = 304
OVERLAP_PIXELS = 64
# Bands of 10 m have one overview then, and the others none: half of the time went into overviews.
MIN_OVERVIEW_PIXELS = 128
WORLD_SHAPE = (2 * TILE_PIXELS - OVERLAP_PIXELS, TILE_PIXELS)


def cut_tiles_down(
    patch: pytest.MonkeyPatch, *, pixels: int = TILE_PIXELS, overlap: int = OVERLAP_PIXELS
) -> None:
    """Make the tiles of the world ``small`` smaller still.

    Corners of tiles are multiples of 60 m: ``pixels - overlap`` must be one of 6.
    """
    west_m, north_m = plan.TILE_ORIGINS["small"]["33TWL"]
    origins = {"33TWL": (west_m, north_m), "33TWM": (west_m, north_m + 10 * (pixels - overlap))}
    patch.setitem(plan.TILE_PIXELS, "small", pixels)
    patch.setitem(plan.TILE_ORIGINS, "small", origins)
    patch.setattr(files, "MIN_OVERVIEW_PIXELS", MIN_OVERVIEW_PIXELS)
