"""Plan of the sample world: its tiles and datatakes, and the peculiarities of each.

The plan is a fixed table, so that every radiometric case and every orbit occurs whatever the seed.
It is not historical: the baselines 02 and 03 are older than 2023. They are used on purpose, to test
that the radiometric offset is decided by baseline and pixels and not by the sensing date.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Literal

Size = Literal["small", "full"]
Convention = Literal["none", "present", "removed"]

EPSG = 32633
SEASON_MIDDLE = dt.date(2023, 7, 6)
# Size of a tile in pixels of 10 m; a real tile has 10980.
TILE_PIXELS: dict[Size, int] = {"small": 1024, "full": 10980}
# Upper left corners, metres: multiples of 60. Those of `full` are the real ones, with an overlap of
# 9.8 km; in `small` the tile 33TWM is moved south to an overlap of 100 pixels.
TILE_ORIGINS: dict[Size, dict[str, tuple[int, int]]] = {
    "small": {"33TWL": (499_980, 5_100_000), "33TWM": (499_980, 5_109_240)},
    "full": {"33TWL": (499_980, 5_100_000), "33TWM": (499_980, 5_200_020)},
}


@dataclass(frozen=True)
class Tile:
    """One MGRS tile, or a part of it in the small world."""

    name: str
    """Name of the tile, such as ``33TWL``."""
    west_m: int
    """Easting of the upper left corner, metres."""
    north_m: int
    """Northing of the upper left corner, metres."""
    pixels: int
    """Width and height in pixels of 10 m."""

    def side(self, gsd_m: int) -> int:
        """Width and height in pixels of ``gsd_m``; the last pixel may extend beyond the tile."""
        return -(-self.pixels * 10 // gsd_m)

    @property
    def bounds(self) -> tuple[int, int, int, int]:
        """Bounds (west, south, east, north), metres."""
        reach = self.pixels * 10
        return self.west_m, self.north_m - reach, self.west_m + reach, self.north_m


@dataclass(frozen=True)
class Datatake:
    """One overpass: the truth about its scenes, and the statements of their items."""

    index: int
    """Position in the plan, from 0."""
    sensing: dt.datetime
    """Start of the datatake, UTC."""
    platform: str
    """``S2A`` or ``S2B``."""
    orbit: int
    """Relative orbit; the edge of the swath of `EDGE_ORBIT` crosses the tiles."""
    baseline: str
    """Processing baseline of both levels."""
    convention: Convention
    """Radiometric offset of the L2A pixels: ``none`` never had one, ``present`` has one
    (DN = 10000 r + 1000), ``removed`` had one that was removed."""
    flag: bool
    """``earthsearch:boa_offset_applied`` of the L2A items."""
    offset: float
    """``raster:bands`` offset of the L2A items."""
    cover: float
    """Share of the imaged area under cloud or cirrus."""
    layer_weights: tuple[float, float, float]
    """Weights of low cloud, middle cloud and cirrus in the cover."""
    heights_m: tuple[float, float]
    """Heights of low and middle cloud above ground, metres."""
    cloud_m: float
    """Size of the largest clouds, metres."""
    sun: tuple[float, float]
    """Azimuth and elevation of the sun, degrees."""
    jitter_m: tuple[float, float]
    """Geolocation error of the image to the east and north, metres; at most 10."""
    sequence: int = 0
    """``s2:sequence`` of the items; 1 for a reprocessed product."""

    @property
    def day(self) -> int:
        """Day of the year."""
        return self.sensing.timetuple().tm_yday

    @property
    def flag_is_right(self) -> bool:
        """Whether the flag and the offset in ``raster:bands`` together describe the L2A pixels.

        Pixels with an offset need the flag False and an offset other than 0, pixels whose offset
        was removed need the flag True, and others need the flag False and the offset 0.
        """
        if self.convention == "present":
            return not self.flag and self.offset != 0
        if self.convention == "removed":
            return self.flag
        return not self.flag and self.offset == 0


EDGE_ORBIT = 22


def _sensing_time(month: int, day: int, orbit: int) -> dt.datetime:
    """Start of a datatake of 2023, UTC, at the time of day of its orbit over these tiles."""
    clock = (9, 50, 31) if orbit == EDGE_ORBIT else (10, 0, 31)
    return dt.datetime(2023, month, day, *clock, tzinfo=dt.UTC)


# Sun angles: NOAA's solar position formulas for 45.9 N 15.1 E at those times, rounded.
PLAN = (
    Datatake(
        0, _sensing_time(5, 10, 122), "S2A", 122, "02.14", "none", False, 0.0,
        0.34, (0.75, 0.1, 0.15), (1100, 3200), 1500, (153.4, 59.6), (6.0, -4.5),
    ),
    Datatake(
        1, _sensing_time(5, 22, 22), "S2A", 22, "05.09", "removed", True, -0.1,
        0.50, (0.5, 0.3, 0.2), (1400, 2900), 2100, (147.8, 61.4), (-3.2, 2.1),
    ),
    Datatake(
        2, _sensing_time(6, 4, 122), "S2B", 122, "05.09", "present", False, -0.1,
        0.86, (0.3, 0.6, 0.1), (1500, 2600), 3400, (149.0, 64.5), (1.4, 2.7),
    ),
    Datatake(
        3, _sensing_time(6, 21, 22), "S2A", 22, "03.01", "none", False, -0.1,
        0.27, (0.8, 0.1, 0.1), (1300, 3000), 1200, (142.5, 63.4), (-7.1, -6.6),
    ),
    Datatake(
        4, _sensing_time(7, 9, 122), "S2A", 122, "05.09", "removed", False, -0.1,
        0.17, (0.8, 0.05, 0.15), (1600, 3500), 1100, (145.9, 62.9), (2.2, -1.3),
    ),
    Datatake(
        5, _sensing_time(7, 26, 22), "S2B", 22, "05.10", "present", True, -0.1,
        0.62, (0.35, 0.35, 0.3), (1500, 3300), 2600, (144.6, 59.7), (0.9, 3.8),
    ),
    Datatake(
        6, _sensing_time(8, 13, 122), "S2B", 122, "05.09", "removed", True, 0.0,
        0.36, (0.45, 0.15, 0.4), (1400, 3600), 1900, (154.5, 56.9), (-1.8, -0.6),
    ),
    Datatake(
        7, _sensing_time(9, 2, 122), "S2B", 122, "05.10", "present", False, 0.0,
        0.20, (0.7, 0.15, 0.15), (1000, 2700), 1400, (160.7, 51.0), (3.1, 1.7),
    ),
)  # fmt: skip

# Reprocessing of the first datatake on one tile, as in Collection 1: higher baseline, and a smaller
# geolocation error.
REPROCESSED_TILE = "33TWL"
REPROCESSED = Datatake(
    0, _sensing_time(5, 10, 122), "S2A", 122, "05.00", "removed", True, -0.1,
    0.34, (0.75, 0.1, 0.15), (1100, 3200), 1500, (153.4, 59.6), (0.8, -0.5), sequence=1,
)  # fmt: skip
# Datatake and tile of the L2A item without a near-infrared asset.
MISSING_NIR = (6, "33TWM")


def tiles_of(size: Size) -> tuple[Tile, ...]:
    """Tiles of a world of that size."""
    pixels = TILE_PIXELS[size]
    return tuple(Tile(name, *origin, pixels) for name, origin in TILE_ORIGINS[size].items())


def world_bounds(size: Size) -> tuple[int, int, int, int]:
    """Bounds (west, south, east, north) of the union of the tiles, metres."""
    west, south, east, north = zip(*(tile.bounds for tile in tiles_of(size)), strict=True)
    return min(west), min(south), max(east), max(north)


def planned_scenes(size: Size) -> list[tuple[Datatake, Tile]]:
    """Datatake and tile of every scene, ordered by time and tile, the reprocessed one last."""
    tiles = tiles_of(size)
    scenes = [(datatake, tile) for datatake in PLAN for tile in tiles]
    return [*scenes, *((REPROCESSED, tile) for tile in tiles if tile.name == REPROCESSED_TILE)]
