"""Strategy ``clear`` of the filter: pick scenes and parts of them by their thumbnails."""

import hashlib
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import shapely
from pyproj.crs import ProjectedCRS
from pyproj.crs.coordinate_operation import LambertAzimuthalEqualAreaConversion
from rasterio.features import rasterize
from shapely.geometry.base import BaseGeometry

from cloudbuster.catalogs.item_properties import first_number
from cloudbuster.core.arrays import BoolRaster
from cloudbuster.core.clear_cover import (
    LEAST_FIRST_GAIN,
    ClearCover,
    CoverGoal,
    cover_clear,
)
from cloudbuster.core.coverage import CoverRules, pick_original
from cloudbuster.core.delivery import SceneUnits, plan_delivery, spare_margins
from cloudbuster.core.grid import Grid
from cloudbuster.core.holes import Holes
from cloudbuster.core.mosaic_grid import project_area, projected_bounds, resolve_crs
from cloudbuster.core.sky_thumbnail import (
    CellSampler,
    SkyThumbnail,
    part_layout,
    scene_cells,
    window_shape,
)
from cloudbuster.core.transformers import transformer
from cloudbuster.models import Delivery, FilterOptions, Item, SelectionEntry

logger = logging.getLogger(__name__)

# Cells along the longer side of the area. A cell is at least as large as a pixel of the product's
# masks, and at most a kilometre, over which clouds differ.
CELLS_ACROSS = 512
LEAST_CELL_M, MOST_CELL_M = 20.0, 1000.0
# Points along the longer side of the mosaic's box, whose edges are curved in another CRS.
EDGE_POINTS = 21
# How much a factor may lower the gains of a scene: less than the next scene usually shows, so that
# factors decide between scenes that show about as much. `target_date` is the user's wish and may
# halve them: at 90 days for crops and forests, whose looks change within a season.
SUN_WEIGHT, ORBIT_WEIGHT, NODATA_WEIGHT = 0.05, 0.02, 0.02
DATE_SCALE_DAYS = 90.0
# Further layers are taken up to three quarters of the scenes that strategy `original` takes, its
# backstop, which is one layer more, included: each scene costs, and a composite of the first clear
# scene gains nothing from them.
ENOUGH_OF_ORIGINAL = 0.75


@dataclass(frozen=True)
class Choice:
    """Scenes that were picked, and what they show of the area.

    Attributes
    ----------
    entries : tuple of SelectionEntry
        Picks in order, with the parts that each is to deliver.
    layers : tuple of float
        Shares of the area that are seen clear at least 1, 2, ... times.
    unseen : float
        Share of the area that no pick shows at all, 0 to 1.
    optimum_bound : float
        Share of the area that no selection of as many scenes would see clear more of.
    """

    entries: tuple[SelectionEntry, ...]
    layers: tuple[float, ...]
    unseen: float
    optimum_bound: float


@dataclass(frozen=True, eq=False)
class SelectionCells:
    """Cells of an area on which scenes are compared.

    Attributes
    ----------
    grid : Grid
        Grid of the cells, in an equal-area projection about the area's centre.
    area : ndarray of bool, shape (y, x)
        Cells that the area touches.
    frame : ndarray of bool, shape (y, x)
        Cells that the mosaic touches: its bounding box in its CRS holds more than the area.
    """

    grid: Grid
    area: BoolRaster
    frame: BoolRaster


def area_cells(aoi: BaseGeometry, crs: str = "utm") -> SelectionCells:
    """Lay the grid of cells over an area and the mosaic of it.

    Parameters
    ----------
    aoi : shapely geometry
        Area in longitude and latitude, unwrapped.
    crs : str
        CRS of the mosaic, as in a request.
    """
    centre = aoi.centroid
    equal = equal_area_crs(centre.x, centre.y)
    area = project_area(aoi, equal)
    frame = area.union(_mosaic_box(aoi, crs, equal))
    west, south, east, north = frame.bounds
    size = min(MOST_CELL_M, max(LEAST_CELL_M, max(east - west, north - south) / CELLS_ACROSS))
    width = max(1, math.ceil((east - west) / size))
    height = max(1, math.ceil((north - south) / size))
    grid = Grid(equal, west, north, size, size, width, height)
    return SelectionCells(grid, _touched(area, grid), _touched(frame, grid))


def equal_area_crs(longitude: float, latitude: float) -> str:
    """Return Lambert's azimuthal equal-area projection about a place, in metres, as WKT."""
    conversion = LambertAzimuthalEqualAreaConversion(round(latitude, 4), round(longitude, 4))
    return str(ProjectedCRS(conversion, "WGS 84 / equal area").to_wkt())


def _mosaic_box(aoi: BaseGeometry, crs: str, target_crs: str) -> BaseGeometry:
    """Return the bounding box of an area in the CRS of its mosaic, in another CRS.

    For an area that the CRS cannot hold it is the box in ``target_crs``: gather refuses the area.
    """
    try:
        resolved = resolve_crs(crs, aoi)
        box = shapely.box(*projected_bounds(aoi, resolved))
    except ValueError:
        return shapely.box(*project_area(aoi, target_crs).bounds)
    west, south, east, north = box.bounds
    dense = shapely.segmentize(box, max(east - west, north - south) / EDGE_POINTS)
    to_target = transformer(resolved, target_crs)
    return shapely.transform(dense, lambda xy: np.column_stack(to_target.transform(*xy.T)))


def _touched(geometry: BaseGeometry, grid: Grid) -> BoolRaster:
    """Return the cells that a geometry touches, however narrow it is."""
    burnt = rasterize(
        [(geometry, 1)],
        out_shape=grid.shape,
        transform=grid.transform,
        dtype="uint8",
        all_touched=True,
    )
    return np.asarray(burnt, dtype=np.bool_)


class ClearCandidates:
    """Candidates of strategy ``clear`` on a grid of cells.

    Parameters
    ----------
    items : sequence of dict
        STAC items, in order of preference among equals.
    footprints : sequence of shapely geometry
        Their footprints, longitude and latitude, unwrapped as the area.
    cloud_cover : sequence of float
        Cloud cover of each as the catalog gives it, percent.
    thumbnails : mapping of str to SkyThumbnail
        Thumbnails by item id; a candidate without one is judged by its metadata.
    cells : Grid
        Grid of the cells.
    whole : bool
        Whether a scene of which a part is needed is delivered whole.
    """

    def __init__(
        self,
        items: Sequence[Item],
        footprints: Sequence[BaseGeometry],
        cloud_cover: Sequence[float],
        thumbnails: Mapping[str, SkyThumbnail],
        cells: Grid,
        *,
        whole: bool = False,
    ) -> None:
        """Sample what each candidate shows of each cell."""
        self.whole = whole
        self.items = items
        self.footprints = footprints
        self.cloud_cover = cloud_cover
        self.ids = [str(item.get("id")) for item in items]
        self.thumbnails = [thumbnails.get(item_id) for item_id in self.ids]
        sampler = CellSampler(cells)
        self.units = [
            sampler.sample(thumbnail)
            if thumbnail is not None
            else sampler.sample_footprint(
                project_area(footprint, cells.crs), 1 - clouds / 100, _seed(item_id)
            )
            for thumbnail, footprint, clouds, item_id in zip(
                self.thumbnails, footprints, cloud_cover, self.ids, strict=True
            )
        ]

    def delivery(
        self, scene: int, numbers: frozenset[int], parts: BoolRaster | None = None
    ) -> Delivery | None:
        """Make the document of what a scene delivers: some units, or some ``parts`` of them.

        Returns None for the whole scene.
        """
        thumbnail = self.thumbnails[scene]
        if thumbnail is None or (self.whole and numbers):
            return None
        if parts is None:
            parts = part_layout(thumbnail.grid).parts(numbers)
        return Delivery.of(thumbnail.parts, parts)

    def without_delivered(self, entries: Sequence[SelectionEntry]) -> list[SceneUnits]:
        """Return what each candidate shows beyond what its picks deliver already."""
        delivered: dict[str, list[SelectionEntry]] = {}
        for entry in entries:
            delivered.setdefault(entry.item_id, []).append(entry)
        return [
            _remaining(units, delivered.get(item_id, ()))
            for units, item_id in zip(self.units, self.ids, strict=True)
        ]


def _remaining(units: SceneUnits, entries: Sequence[SelectionEntry]) -> SceneUnits:
    """Return what a scene shows in the units that it does not deliver yet."""
    left = np.ones(window_shape(units.window), dtype=np.bool_)
    for entry in entries:
        if entry.delivery is None:
            left[:] = False
            break
        if units.part is not None:
            left &= ~entry.delivery.needed().ravel()[units.part]
    return _without(units, ~left)


def _without(units: SceneUnits, cells: BoolRaster) -> SceneUnits:
    """Return what a scene shows outside of some cells of its window."""
    left = ~cells
    return replace(units, clear=units.clear & left, seen=units.seen & left, safe=units.safe & left)


def _seed(item_id: str) -> int:
    """Return a number that depends on an item's id alone."""
    return int.from_bytes(hashlib.sha256(item_id.encode()).digest()[:8])


def choose_clear(
    aoi: BaseGeometry, candidates: ClearCandidates, cells: SelectionCells, options: FilterOptions
) -> Choice:
    """Pick scenes so that the area is seen clear, and again for further layers.

    The picks of strategy `original` are measured by the same thumbnails, and what they reach is
    the least that these must reach.

    Parameters
    ----------
    aoi : shapely geometry
        Area in longitude and latitude.
    candidates : ClearCandidates
        What there is to pick from.
    cells : SelectionCells
        Cells of the area, on the grid of the candidates.
    options : FilterOptions
        ``coverage_count``, ``max_selections``, ``backstop``, ``score`` and ``target_date`` are
        used.
    """
    area = cells.area
    cover = cover_clear(
        area,
        [scene_cells(units) for units in candidates.units],
        _goal(aoi, candidates, area, options),
        scores=score_factors(candidates, area, options),
    )
    chosen = _with_backstop(cover, options)
    scenes = [candidates.units[scene] for scene in chosen]
    numbers = plan_delivery(cells.frame, scenes, fill=options.backstop)
    parts = spare_margins(cells.frame, scenes, numbers, fill=options.backstop)
    steps = {step.scene: step for step in cover.steps}
    shares = np.maximum.accumulate(
        [steps[scene].layers[0] if scene in steps else 0.0 for scene in chosen]
    )
    return Choice(
        entries=tuple(
            SelectionEntry(
                item_id=candidates.ids[scene],
                backstop=False,
                weight=max(0.0, steps[scene].gain) if scene in steps else 0.0,
                clear_fraction=min(1.0, max(0.0, float(share))),
                delivery=candidates.delivery(scene, needed, kept),
            )
            for scene, share, needed, kept in zip(chosen, shares, numbers, parts, strict=True)
        ),
        layers=cover.steps[-1].layers if cover.steps else (0.0,) * options.coverage_count,
        unseen=cover.unseen,
        optimum_bound=cover.optimum_bound,
    )


def extend_choice(
    candidates: ClearCandidates,
    entries: Sequence[SelectionEntry],
    holes: Holes,
    options: FilterOptions,
    round_number: int,
) -> tuple[SelectionEntry, ...]:
    """Pick further scenes, or further parts of picked ones, for what is not yet clear.

    Parameters
    ----------
    candidates : ClearCandidates
        What there is to pick from, on the grid of the holes; without scenes that failed.
    entries : sequence of SelectionEntry
        Picks whose scenes were gathered.
    holes : Holes
        Places to fill.
    options : FilterOptions
        ``max_never_clear``, ``max_selections``, ``backstop``, ``score`` and ``target_date`` are
        used.
    round_number : int
        Number of the new round.

    Returns
    -------
    tuple of SelectionEntry
        New picks; empty if no candidate adds enough.
    """
    left = candidates.without_delivered(entries)
    goal = _goal_of_round(left, holes, options)
    factors = score_factors(candidates, holes.never_clear, options)
    room = _Room.of(candidates, entries, options)

    def covered() -> ClearCover:
        """Cover the holes with what is left."""
        cells = [scene_cells(units) for units in left]
        return cover_clear(holes.never_clear, cells, goal, scores=factors)

    cover = covered()
    if len(room.kept(cover.scenes)) < len(cover.scenes):
        # Scenes that were picked before may show what those that are left out would have shown.
        left = room.only(room.kept(cover.scenes), left)
        cover = covered()
    clear_scenes = list(cover.scenes)
    numbers = plan_delivery(holes.never_clear, [left[scene] for scene in clear_scenes], fill=False)
    needed = dict(zip(clear_scenes, numbers, strict=True))
    if options.backstop and holes.empty.any():
        _fill_empty(left, holes.empty, needed, room)
    share = int(np.count_nonzero(holes.never_clear)) / holes.total
    gains = {step.scene: step.gain * share for step in cover.steps}
    return tuple(
        SelectionEntry(
            item_id=candidates.ids[scene],
            backstop=False,
            weight=gains.get(scene, 0.0),
            delivery=candidates.delivery(scene, units),
            round=round_number,
        )
        for scene, units in needed.items()
        if units
    )


def _goal_of_round(left: Sequence[SceneUnits], holes: Holes, options: FilterOptions) -> CoverGoal:
    """Return what further picks are to reach of the holes."""
    wanted = max(1, int(np.count_nonzero(holes.never_clear)))
    missing = max(0.0, holes.never_clear_share - options.max_never_clear) * holes.total
    share = min(1.0, missing / wanted)
    return CoverGoal(
        layers=1,
        # If the limit is out of reach, a scene must be worth it by itself.
        first_share=share if _shown_share(left, holes.never_clear) >= share else 0.0,
        least_first_gain=LEAST_FIRST_GAIN * holes.total / wanted,
        # There is one layer: nothing is worth it for another.
        least_depth_share=math.inf,
    )


@dataclass(frozen=True)
class _Room:
    """Scenes that were picked before, and how many more ``max_selections`` allows."""

    picked: frozenset[int]
    more: int | None

    @classmethod
    def of(
        cls,
        candidates: ClearCandidates,
        entries: Sequence[SelectionEntry],
        options: FilterOptions,
    ) -> "_Room":
        """Count the scenes of some picks."""
        names = {entry.item_id for entry in entries}
        picked = frozenset(
            scene for scene, item_id in enumerate(candidates.ids) if item_id in names
        )
        most = options.max_selections
        return cls(picked, None if most is None else max(0, most - len(names)))

    def kept(self, scenes: Sequence[int]) -> list[int]:
        """Leave out new scenes after the first ones that are allowed; keep the order."""
        new = [scene for scene in scenes if scene not in self.picked]
        allowed = self.picked.union(new[: self.more])
        return [scene for scene in scenes if scene in allowed]

    def only(self, scenes: Sequence[int], units: Sequence[SceneUnits]) -> list[SceneUnits]:
        """Let scenes show nothing that are neither given nor were picked before."""
        allowed = self.picked.union(scenes)
        return [
            each if scene in allowed else _without(each, np.ones_like(each.seen))
            for scene, each in enumerate(units)
        ]


def _shown_share(scenes: Sequence[SceneUnits], wanted: BoolRaster) -> float:
    """Return the share of some cells that any of the scenes shows clear."""
    shown = np.zeros_like(wanted)
    for units in scenes:
        shown[units.window.slices] |= units.clear
    return int(np.count_nonzero(shown & wanted)) / max(1, int(np.count_nonzero(wanted)))


def _fill_empty(
    left: Sequence[SceneUnits], empty: BoolRaster, needed: dict[int, frozenset[int]], room: _Room
) -> None:
    """Add the units to ``needed`` that fill cells without a value: of scenes in it first."""
    rest = empty.copy()
    for scene, numbers in needed.items():
        units = left[scene]
        rest[units.window.slices] &= ~(units.seen & np.isin(units.unit, sorted(numbers)))
    others = [scene for scene in range(len(left)) if scene not in needed]
    if room.more is not None:
        # Those that fill most come first, as far as there is room for them.
        others.sort(key=lambda scene: -np.count_nonzero(_part(rest, left[scene])))
    order = room.kept([*needed, *others])
    fills = plan_delivery(rest, [left[scene] for scene in order], layers=1, fill=True)
    for scene, more in zip(order, fills, strict=True):
        if more:
            needed[scene] = needed.get(scene, frozenset()) | more


def _part(cells: BoolRaster, units: SceneUnits) -> BoolRaster:
    """Return which of some cells a scene shows, in its window."""
    return cells[units.window.slices] & units.seen


def _goal(
    aoi: BaseGeometry, candidates: ClearCandidates, area: BoolRaster, options: FilterOptions
) -> CoverGoal:
    """Return what strategy `original` would reach, as the least that is to be reached."""
    rules = CoverRules(
        coverage_count=options.coverage_count,
        max_uncovered=options.max_uncovered,
        max_selections=options.max_selections,
        backstop=False,
    )
    picks = pick_original(aoi, candidates.footprints, candidates.cloud_cover, rules)
    times = np.zeros(area.shape, dtype=np.uint16)
    for pick in picks:
        units = candidates.units[pick.index]
        times[units.window.slices] += units.clear
    seen = times[area]
    shares = [float(np.mean(seen >= layer)) for layer in range(1, options.coverage_count + 1)]
    return CoverGoal(
        layers=options.coverage_count,
        first_share=shares[0],
        mean_share=float(np.mean(shares)),
        enough_scenes=int(ENOUGH_OF_ORIGINAL * len(picks) * (1 + options.backstop / len(shares))),
        max_scenes=options.max_selections,
    )


def _with_backstop(cover: ClearCover, options: FilterOptions) -> list[int]:
    """Return the scenes of a cover, and after them those that fill what none shows clear."""
    chosen = list(cover.scenes)
    if options.backstop:
        chosen += [scene for scene in cover.backstop if scene not in cover.scenes]
    return chosen if options.max_selections is None else chosen[: options.max_selections]


def score_factors(
    candidates: ClearCandidates, area: BoolRaster, options: FilterOptions
) -> list[float]:
    """Return the factor of each candidate's gains, above 0 and at most 1.

    Parameters
    ----------
    candidates : ClearCandidates
        Candidates.
    area : ndarray of bool, shape (y, x)
        Cells of the area.
    options : FilterOptions
        ``score`` names the factors that count:

        - ``date``: scenes near ``target_date`` come first, because fields and forests look alike
          on near dates; half weight at `DATE_SCALE_DAYS`.
        - ``sun``: a high sun casts short shadows.
        - ``orbit``: the relative orbit that shows most of the area gives fewest seams of viewing
          angle.
        - ``nodata``: a whole tile gives fewer seams than a part of one.

    Returns
    -------
    list of float
    """
    factors = np.ones(len(candidates.items))
    if "date" in options.score and options.target_date is not None:
        target = datetime(
            options.target_date.year, options.target_date.month, options.target_date.day, tzinfo=UTC
        )
        days = np.array([_days_from(item, target) for item in candidates.items])
        factors /= 1 + days / DATE_SCALE_DAYS
    if "sun" in options.score:
        elevation = [_number(item, "view:sun_elevation", 90.0) for item in candidates.items]
        factors *= 1 - SUN_WEIGHT * (1 - np.sin(np.radians(np.clip(elevation, 0, 90))))
    if "orbit" in options.score:
        factors *= _orbit_factors(candidates, area)
    if "nodata" in options.score:
        shown = np.array(
            [np.mean(units.seen) if units.seen.size else 0.0 for units in candidates.units]
        )
        factors *= 1 - NODATA_WEIGHT * (1 - shown)
    return [float(factor) for factor in factors]


def _orbit_factors(candidates: ClearCandidates, area: BoolRaster) -> np.ndarray:
    """Return 1 for scenes of the orbit that shows most of the area, less for the others."""
    shown: dict[float, BoolRaster] = {}
    orbits = [_number(item, "sat:relative_orbit", math.nan) for item in candidates.items]
    for orbit, units in zip(orbits, candidates.units, strict=True):
        if not math.isnan(orbit):
            cells = shown.setdefault(orbit, np.zeros_like(area))
            cells[units.window.slices] |= units.seen
    if len(shown) < 2:
        return np.ones(len(orbits))
    best = max(shown, key=lambda orbit: (np.count_nonzero(shown[orbit] & area), -orbit))
    return np.array([1.0 if orbit == best else 1 - ORBIT_WEIGHT for orbit in orbits])


def _number(item: Item, name: str, default: float) -> float:
    """Return a number of an item's properties; ``default`` if it has none."""
    properties = item.get("properties")
    value = first_number(properties, (name,)) if isinstance(properties, dict) else None
    return default if value is None or not math.isfinite(value) else value


def _days_from(item: Item, target: datetime) -> float:
    """Return how many days an item was acquired from a time; a year if that is unknown."""
    acquired = item_time(item)
    return 365.0 if acquired is None else abs((acquired - target).total_seconds()) / 86400


def item_time(item: Item) -> datetime | None:
    """Return the acquisition time of an item, UTC; None if it has none that can be read."""
    properties = item.get("properties")
    text = properties.get("datetime") if isinstance(properties, dict) else None
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment
