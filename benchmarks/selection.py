"""Selections on synthetic candidates, by both strategies: ``python -m benchmarks.selection``.

Over 300 km in one zone, tiles of 110 km overlap as Sentinel-2's do. Clouds are correlated over tens
of kilometres, swaths of two orbits cut tiles apart, and some footprints claim a whole tile. What
the picks show is measured on the masks that the thumbnails were drawn from.
"""

import sys
import time
from dataclasses import dataclass

import numpy as np
import shapely
from scipy import ndimage

from cloudbuster.core.arrays import BoolRaster
from cloudbuster.core.grids.grid import Grid
from cloudbuster.core.pixels.masks import PixelClass
from cloudbuster.core.projections.transformers import LONLAT, transformer
from cloudbuster.core.selection.coverage import CoverRules, pick_original
from cloudbuster.core.selection.sky_thumbnail import UNIT_CELLS, SkyThumbnail, part_layout
from cloudbuster.models import FilterOptions, Item
from cloudbuster.selection.cells import area_cells
from cloudbuster.selection.clear_candidates import ClearCandidates
from cloudbuster.selection.clear_choice import choose_clear

CRS = "EPSG:32633"
CELL_M = 320.0
SIDE = 937
TILE, STEP = 344, 312
WEST, NORTH = 400_000.0, 5_300_000.0
# Tilt of the swath's edges, and half of its width, in cells: 290 km.
TILT, HALF_SWATH = 0.18, 453
FALSE_FOOTPRINTS = 0.15


@dataclass(frozen=True, eq=False)
class World:
    """Candidates over one area."""

    items: list[Item]
    footprints: list[shapely.Geometry]
    cloud_cover: list[float]
    thumbnails: dict[str, SkyThumbnail]


def make_world(count: int, seed: int, greatest_cloud_cover: float) -> World:
    """Draw dates until there are ``count`` scenes, each at most so cloudy (percent)."""
    rng = np.random.default_rng(seed)
    world = World([], [], [], {})
    to_lonlat = transformer(CRS, LONLAT)
    date = 0
    while len(world.items) < count:
        date += 1
        cloud, swath, centre = _sky(rng, date)
        for row in range(-20, SIDE, STEP):
            for col in range(-20, SIDE, STEP):
                part = np.s_[row + TILE : row + 2 * TILE, col + TILE : col + 2 * TILE]
                seen, clouds = swath[part], cloud[part] & swath[part]
                if seen.mean() < 0.02 or len(world.items) == count:
                    continue
                cover = 100 * clouds.sum() / seen.sum()
                if cover > greatest_cloud_cover:
                    continue
                name = f"scene-{len(world.items):04d}"
                classes = np.where(clouds, PixelClass.MASKED, PixelClass.CLEAR)
                grid = Grid(
                    CRS, WEST + col * CELL_M, NORTH - row * CELL_M, CELL_M, CELL_M, TILE, TILE
                )
                world.thumbnails[name] = SkyThumbnail(
                    grid, np.where(seen, classes, PixelClass.UNOBSERVED).astype(np.uint8)
                )
                whole = shapely.box(*grid.bounds)
                shape = whole
                if rng.random() >= FALSE_FOOTPRINTS:
                    shape = shapely.intersection(whole, _swath_polygon(centre, row))
                world.footprints.append(
                    shapely.transform(shape, lambda xy: np.column_stack(to_lonlat.transform(*xy.T)))
                )
                world.cloud_cover.append(float(cover))
                day = np.datetime64("2023-01-01") + date
                properties = {"datetime": f"{day}T10:00:00Z", "sat:relative_orbit": date % 2}
                world.items.append({"id": name, "properties": properties})
    return world


def _sky(rng: np.random.Generator, date: int) -> tuple[BoolRaster, BoolRaster, float]:
    """Cloud and swath of one date over the area and a tile around it, and the swath's centre."""
    side = SIDE + 3 * TILE
    field = np.zeros((side, side), np.float32)
    for size, weight in ((60, 1), (20, 0.6), (6, 0.35), (2, 0.15)):
        coarse = rng.standard_normal((side // size + 4,) * 2).astype(np.float32)
        field += weight * ndimage.zoom(coarse, size, order=1)[:side, :side]
    cloud = field > np.quantile(field, 1 - rng.beta(1.0, 1.2))
    rows, cols = np.mgrid[0:side, 0:side]
    centre = TILE + SIDE * (0.25 if date % 2 else 0.8) + TILT * side / 2 + rng.normal(0, 4)
    return cloud, np.abs(cols + TILT * rows - centre) < HALF_SWATH, float(centre)


def _swath_polygon(centre: float, row: int) -> shapely.Polygon:
    """Swath of a date over the rows of one tile, in ``CRS``."""
    edges = [
        (centre + side * HALF_SWATH - TILT * line, line)
        for side, line in (
            (-1, row + TILE),
            (1, row + TILE),
            (1, row + 2 * TILE),
            (-1, row + 2 * TILE),
        )
    ]
    return shapely.Polygon(
        [(WEST + (x - TILE) * CELL_M, NORTH - (y - TILE) * CELL_M) for x, y in edges]
    )


def shown(world: World, names: list[str], layers: int = 3) -> list[float]:
    """Share of the area that scenes show clear at least 1, 2, ... times, on the true masks."""
    times = np.zeros((SIDE, SIDE), np.int32)
    for name in names:
        thumbnail = world.thumbnails[name]
        row = round((NORTH - thumbnail.grid.north) / CELL_M)
        col = round((thumbnail.grid.west - WEST) / CELL_M)
        top, left = max(0, row), max(0, col)
        clear = (thumbnail.classes == PixelClass.CLEAR)[top - row :, left - col :]
        part = times[top : row + TILE, left : col + TILE]
        part += clear[: part.shape[0], : part.shape[1]]
    return [float(np.mean(times >= layer)) for layer in range(1, layers + 1)]


def compare(count: int, seed: int, greatest_cloud_cover: float) -> dict[str, float]:
    """Select by both strategies, and measure what the picks show and cost."""
    world = make_world(count, seed, greatest_cloud_cover)
    inside = transformer(CRS, LONLAT)
    south = NORTH - SIDE * CELL_M
    aoi = shapely.transform(
        shapely.segmentize(shapely.box(WEST, south, WEST + SIDE * CELL_M, NORTH), 10_000),
        lambda xy: np.column_stack(inside.transform(*xy.T)),
    )
    names = [str(item["id"]) for item in world.items]
    picks = pick_original(aoi, world.footprints, world.cloud_cover, CoverRules())
    original = list(dict.fromkeys(pick.index for pick in picks))
    first = [names[pick.index] for pick in picks if not pick.backstop]
    started = time.process_time()
    cells = area_cells(aoi, CRS)
    candidates = ClearCandidates(
        world.items, world.footprints, world.cloud_cover, world.thumbnails, cells.grid
    )
    choice = choose_clear(aoi, candidates, cells, FilterOptions())
    seconds = time.process_time() - started
    clear = [entry.item_id for entry in choice.entries]
    ours, theirs = shown(world, clear), shown(world, first)
    delivered = sum(
        len(np.unique(part_layout(world.thumbnails[entry.item_id].grid).unit[parts]))
        for entry in choice.entries
        if entry.delivery and (parts := entry.delivery.needed()).any()
    )
    decoded = sum(
        shapely.intersection(
            shapely.box(*world.thumbnails[names[pick.index]].grid.bounds),
            shapely.box(WEST, south, WEST + SIDE * CELL_M, NORTH),
        ).area
        for pick in picks
    )
    return {
        "candidates": count,
        "seed": seed,
        "original_scenes": len(original),
        "scenes": len(clear),
        "original_first": theirs[0],
        "first": ours[0],
        "first_bound": choice.optimum_bound,
        "original_mean": float(np.mean(theirs)),
        "mean": float(np.mean(ours)),
        "original_decoded": decoded / (SIDE * CELL_M) ** 2,
        "decoded": delivered * UNIT_CELLS**2 / SIDE**2,
        "cpu_s": seconds,
    }


def main() -> None:
    """Print one line for each set."""
    counts = [int(text) for text in sys.argv[1:]] or [200, 400, 800]
    for count in counts:
        for seed in (3, 4):
            for clouds in (60.0, 90.0):
                row = compare(count, seed, clouds)
                print(" ".join(f"{key}={value:.4g}" for key, value in row.items()), flush=True)


if __name__ == "__main__":
    main()
