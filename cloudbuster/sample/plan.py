"""The fixed plan of the sample world: tiles, datatakes, and what is odd about each.

The plan is a table so that every radiometric case, every orbit and every oddity is there whatever
the seed. It is not history: baselines 02 and 03 are older than 2023, and are here on purpose, so
that whoever goes by the sensing date (and not by the baseline and the pixels) gets caught.
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
# Upper left corners in metres, multiples of 60. `full` has those of the real tiles (9.8 km of
# overlap); in `small` 33TWM is moved south until 100 pixels overlap.
TILE_ORIGINS: dict[Size, dict[str, tuple[int, int]]] = {
    "small": {"33TWL": (499_980, 5_100_000), "33TWM": (499_980, 5_109_240)},
    "full": {"33TWL": (499_980, 5_100_000), "33TWM": (499_980, 5_200_020)},
}


@dataclass(frozen=True)
class Tile:
    """One MGRS tile (or its window, in the small world)."""

    name: str
    """As in ``grid:code``: ``33TWL``."""
    west_m: int
    """Easting of the upper left corner, metres."""
    north_m: int
    """Northing of the upper left corner, metres."""
    pixels: int
    """Width and height in pixels of 10 m."""

    def side(self, gsd_m: int) -> int:
        """Width and height in pixels of ``gsd_m``; the last one may reach over the edge."""
        return -(-self.pixels * 10 // gsd_m)

    @property
    def bounds(self) -> tuple[int, int, int, int]:
        """West, south, east, north, metres."""
        reach = self.pixels * 10
        return self.west_m, self.north_m - reach, self.west_m + reach, self.north_m


@dataclass(frozen=True)
class Datatake:
    """One overpass: what is true of its scenes, and what their items say."""

    index: int
    """Position in the plan, from 0."""
    sensing: dt.datetime
    """Start of the datatake, UTC."""
    platform: str
    """``S2A`` or ``S2B``."""
    orbit: int
    """Relative orbit; `EDGE_ORBIT` has its swath edge in the tiles."""
    baseline: str
    """Processing baseline of both levels."""
    convention: Convention
    """What the L2A pixels hold: ``none`` never had an offset, ``present`` DN = 10000 r + 1000,
    ``removed`` had one that was taken off."""
    flag: bool
    """``earthsearch:boa_offset_applied`` of the L2A items."""
    offset: float
    """``raster:bands`` offset of the L2A items."""
    cover: float
    """Share of the seen area under cloud or cirrus."""
    low_share: tuple[float, float, float]
    """Weights of the low cloud, the middle cloud and the cirrus in the cover."""
    heights_m: tuple[float, float]
    """Heights of the low and the middle cloud above ground."""
    cloud_m: float
    """Size of the largest clouds, metres."""
    sun: tuple[float, float]
    """Azimuth and elevation, degrees."""
    jitter_m: tuple[float, float]
    """By how much the image lies east and north of the ground, metres; at most 10."""
    sequence: int = 0
    """``s2:sequence``; 1 is a reprocessed product."""

    @property
    def day(self) -> int:
        """Day of the year."""
        return self.sensing.timetuple().tm_yday

    @property
    def flag_is_right(self) -> bool:
        """Whether flag and ``raster:bands`` offset together describe the L2A pixels.

        Right is: an offset in the pixels with flag false and -0.1, no offset with 0 unless the
        flag says that the described offset has been removed already.
        """
        if self.convention == "present":
            return not self.flag and self.offset != 0
        if self.convention == "removed":
            return self.flag
        return not self.flag and self.offset == 0


EDGE_ORBIT = 22


def _utc(month: int, day: int, orbit: int) -> dt.datetime:
    # Time of day of the two orbits over these tiles.
    clock = (9, 50, 31) if orbit == EDGE_ORBIT else (10, 0, 31)
    return dt.datetime(2023, month, day, *clock, tzinfo=dt.UTC)


# Sun angles: NOAA's solar position formulas for 45.9 N 15.1 E at those times, rounded.
PLAN = (
    Datatake(
        0, _utc(5, 10, 122), "S2A", 122, "02.14", "none", False, 0.0,
        0.34, (0.75, 0.1, 0.15), (1100, 3200), 1500, (153.4, 59.6), (6.0, -4.5),
    ),
    Datatake(
        1, _utc(5, 22, 22), "S2A", 22, "05.09", "removed", True, -0.1,
        0.50, (0.5, 0.3, 0.2), (1400, 2900), 2100, (147.8, 61.4), (-3.2, 2.1),
    ),
    Datatake(
        2, _utc(6, 4, 122), "S2B", 122, "05.09", "present", False, -0.1,
        0.86, (0.3, 0.6, 0.1), (1500, 2600), 3400, (149.0, 64.5), (1.4, 2.7),
    ),
    Datatake(
        3, _utc(6, 21, 22), "S2A", 22, "03.01", "none", False, -0.1,
        0.27, (0.8, 0.1, 0.1), (1300, 3000), 1200, (142.5, 63.4), (-7.1, -6.6),
    ),
    Datatake(
        4, _utc(7, 9, 122), "S2A", 122, "05.09", "removed", False, -0.1,
        0.17, (0.8, 0.05, 0.15), (1600, 3500), 1100, (145.9, 62.9), (2.2, -1.3),
    ),
    Datatake(
        5, _utc(7, 26, 22), "S2B", 22, "05.10", "present", True, -0.1,
        0.62, (0.35, 0.35, 0.3), (1500, 3300), 2600, (144.6, 59.7), (0.9, 3.8),
    ),
    Datatake(
        6, _utc(8, 13, 122), "S2B", 122, "05.09", "removed", True, 0.0,
        0.36, (0.45, 0.15, 0.4), (1400, 3600), 1900, (154.5, 56.9), (-1.8, -0.6),
    ),
    Datatake(
        7, _utc(9, 2, 122), "S2B", 122, "05.10", "present", False, 0.0,
        0.20, (0.7, 0.15, 0.15), (1000, 2700), 1400, (160.7, 51.0), (3.1, 1.7),
    ),
)  # fmt: skip

# Collection-1 reprocessing of the first datatake on one tile: higher baseline, refined geolocation.
REPROCESSED_TILE = "33TWL"
REPROCESSED = Datatake(
    0, _utc(5, 10, 122), "S2A", 122, "05.00", "removed", True, -0.1,
    0.34, (0.75, 0.1, 0.15), (1100, 3200), 1500, (153.4, 59.6), (0.8, -0.5), sequence=1,
)  # fmt: skip
# The L2A item without its near infrared asset: datatake and tile.
MISSING_NIR = (6, "33TWM")


def tiles_of(size: Size) -> tuple[Tile, ...]:
    """Tiles of a world."""
    pixels = TILE_PIXELS[size]
    return tuple(Tile(name, *origin, pixels) for name, origin in TILE_ORIGINS[size].items())


def world_bounds(size: Size) -> tuple[int, int, int, int]:
    """West, south, east, north of the tiles' union, metres."""
    west, south, east, north = zip(*(tile.bounds for tile in tiles_of(size)), strict=True)
    return min(west), min(south), max(east), max(north)


def planned_scenes(size: Size) -> list[tuple[Datatake, Tile]]:
    """Datatake and tile of every scene, in order of time and tile; the reprocessed one last."""
    tiles = tiles_of(size)
    scenes = [(datatake, tile) for datatake in PLAN for tile in tiles]
    return [*scenes, *((REPROCESSED, tile) for tile in tiles if tile.name == REPROCESSED_TILE)]
