"""Strategy `clear`: which scenes are picked, and which parts of each."""

from datetime import date
from typing import Any

import numpy as np
import pytest
import shapely
from pyproj import Geod, Transformer
from shapely.geometry import Polygon, box
from shapely.geometry.base import BaseGeometry

from cloudbuster.core.arrays import BoolRaster
from cloudbuster.core.grids.grid import Grid
from cloudbuster.core.pixels.masks import PixelClass
from cloudbuster.core.selection.holes import Holes
from cloudbuster.core.selection.sky_thumbnail import SkyThumbnail, grid_of_parts
from cloudbuster.models import Delivery, FilterOptions, SelectionEntry
from cloudbuster.selection.cells import SelectionCells, area_cells
from cloudbuster.selection.clear_candidates import ClearCandidates
from cloudbuster.selection.clear_choice import choose_clear
from cloudbuster.selection.further_choice import extend_choice
from cloudbuster.selection.score import score_factors
from tests.factories import CRS, NORTH, WEST, unit_rows

# Two units of delivery side by side, each of 32 x 32 cells; drawings have four columns for each.
CELLS = Grid(CRS, WEST, NORTH, 320, 320, 64, 32)
AREA = np.ones(CELLS.shape, dtype=bool)
EAST = np.arange(64) >= 32
CODES = {"#": PixelClass.CLEAR, "o": PixelClass.MASKED, ".": PixelClass.UNOBSERVED}
TO_LONLAT = Transformer.from_crs(CRS, "EPSG:4326", always_xy=True)
AOI = shapely.transform(box(*CELLS.bounds), TO_LONLAT.transform, interleaved=False)
WEST_UNIT, EAST_UNIT, BOTH, NOTHING = ("10",), ("01",), ("11",), ("00",)


def thumbnail(drawing: str) -> SkyThumbnail:
    """A scene from a drawing: ``#`` clear, ``o`` cloudy, ``.`` without data."""
    row = np.repeat([CODES[letter] for letter in drawing], 8).astype(np.uint8)
    return SkyThumbnail(CELLS, np.tile(row, (32, 1)))


def candidates(
    drawings: dict[str, str | None],
    properties: dict[str, dict[str, Any]] | None = None,
    *,
    whole: bool = False,
    stated: dict[str, Grid] | None = None,
) -> ClearCandidates:
    """Candidates by id; one of None has no thumbnail, and a cloud cover of zero."""
    items = [
        {
            "id": name,
            "properties": {"datetime": "2023-06-01T10:00:00Z", **(properties or {}).get(name, {})},
        }
        for name in drawings
    ]
    thumbnails = {name: thumbnail(text) for name, text in drawings.items() if text is not None}
    count = len(items)
    return ClearCandidates(
        items, [AOI] * count, [0.0] * count, thumbnails, CELLS, whole=whole, stated=stated
    )


def chosen(
    drawings: dict[str, str | None],
    properties: dict[str, dict[str, Any]] | None = None,
    *,
    delivered: int = 1,
    **options: Any,
) -> Any:
    wanted = FilterOptions.model_validate({"coverage_count": 1} | options)
    made = candidates(drawings, properties)
    cells = SelectionCells(CELLS, AREA, AREA)
    return choose_clear(AOI, made, cells, wanted, layers=delivered)


def parts(choice: Any) -> dict[str, tuple[str, ...] | None]:
    """Rows of the units that each pick delivers in part or whole, by item id."""
    entries = choice if isinstance(choice, tuple) else choice.entries
    return {entry.item_id: entry.delivery and unit_rows(entry.delivery) for entry in entries}


def test_each_scene_delivers_the_unit_that_it_alone_shows_clear() -> None:
    choice = chosen({"a": "####oooo", "b": "oooo####"})
    assert parts(choice) == {"a": WEST_UNIT, "b": EAST_UNIT}
    assert [entry.weight for entry in choice.entries] == [0.5, 0.5]
    assert [entry.clear_fraction for entry in choice.entries] == [0.5, 1.0]
    assert (choice.layers, choice.unseen, choice.optimum_bound) == ((1.0,), 0.0, 1.0)


@pytest.mark.parametrize(("backstop", "rows"), [(True, BOTH), (False, WEST_UNIT)])
def test_what_is_clear_in_no_scene_is_delivered_for_the_backstop_alone(
    backstop: bool, rows: tuple[str, ...]
) -> None:
    choice = chosen({"a": "####oooo"}, backstop=backstop)
    assert parts(choice) == {"a": rows}
    assert (choice.layers, choice.unseen) == ((0.5,), 0.0)


def test_a_scene_is_added_that_only_fills_the_backstop() -> None:
    drawings: dict[str, str | None] = {"a": "####....", "b": "....oooo"}
    choice = chosen(drawings)
    assert parts(choice) == {"a": WEST_UNIT, "b": EAST_UNIT}
    assert [entry.clear_fraction for entry in choice.entries] == [0.5, 0.5]
    assert (choice.entries[1].weight, choice.unseen) == (0, 0)
    assert parts(chosen(drawings, backstop=False)) == {"a": WEST_UNIT}
    assert chosen({"a": "####...."}).unseen == 0.5


def test_a_further_layer_is_picked_and_delivers_nothing_that_is_not_needed() -> None:
    choice = chosen({"a": "########", "b": "########", "c": "########"}, coverage_count=2)
    assert parts(choice) == {"a": BOTH, "b": NOTHING}
    assert choice.layers == (1.0, 1.0)


def test_further_layers_are_delivered_if_the_composite_takes_them() -> None:
    drawings: dict[str, str | None] = {"a": "########", "b": "########", "c": "####oooo"}
    choice = chosen(drawings, coverage_count=3, delivered=2)
    assert parts(choice) == {"a": BOTH, "b": BOTH, "c": NOTHING}
    choice = chosen(drawings, coverage_count=3, delivered=3)
    assert parts(choice) == {"a": BOTH, "b": BOTH, "c": WEST_UNIT}


def test_no_more_scenes_are_picked_than_are_allowed() -> None:
    choice = chosen({"a": "####oooo", "b": "ooo#####"}, max_selections=1)
    assert parts(choice) == {"b": BOTH}
    # One more scene could show the three eighths that this one does not.
    assert (choice.layers, choice.optimum_bound) == ((0.625,), 1.0)


def test_a_scene_without_thumbnail_delivers_all_of_itself() -> None:
    assert parts(chosen({"a": None})) == {"a": None}


def test_a_mosaic_of_whole_scenes_takes_none_of_them_again() -> None:
    made = candidates({"a": "####oooo", "b": "oooo####"}, whole=True)
    wanted = FilterOptions(coverage_count=1)
    choice = choose_clear(AOI, made, SelectionCells(CELLS, AREA, AREA), wanted)
    assert parts(choice) == {"a": None, "b": None}
    assert extend_choice(made, choice.entries, holes(AREA & EAST), wanted, 2) == ()


def test_a_scene_without_clear_sky_is_not_picked_for_a_clear_layer() -> None:
    assert chosen({"a": "oooooooo"}, backstop=False).entries == ()


# --- Score factors ---------------------------------------------------------------------------

# Of two scenes that show the same clear sky, the second is better by one factor alone. A third
# one, which is all cloud, decides which orbit shows most of the area.
SCORED = [
    pytest.param(
        *("date", {"a": "########", "b": "########"}),
        {"a": {"datetime": "2023-06-01T00:00:00Z"}, "b": {"datetime": "2023-08-30T00:00:00Z"}},
        # 90 days from the target halve the gain.
        (0.5, 1.0),
        id="date",
    ),
    pytest.param(
        *("sun", {"a": "########", "b": "########"}),
        {"a": {"view:sun_elevation": 30.0}, "b": {"view:sun_elevation": 90.0}},
        # 5 % times 1 - sin 30°.
        (0.975, 1.0),
        id="sun",
    ),
    pytest.param(
        *("orbit", {"a": "####....", "b": "####....", "c": "....oooo"}),
        {"a": {"sat:relative_orbit": 1}, "b": {"sat:relative_orbit": 2}}
        | {"c": {"sat:relative_orbit": 2}},
        (0.98, 1.0, 1.0),
        id="orbit",
    ),
    pytest.param(
        *("nodata", {"a": "####....", "b": "####oooo"}),
        {},
        # 2 % times the half without data.
        (0.99, 1.0),
        id="nodata",
    ),
]


@pytest.mark.parametrize(("factor", "drawings", "properties", "factors"), SCORED)
def test_each_factor_alone_decides_between_equal_scenes_and_can_be_switched_off(
    factor: str,
    drawings: dict[str, str | None],
    properties: dict[str, dict[str, Any]],
    factors: tuple[float, ...],
) -> None:
    options: dict[str, Any] = {"target_date": date(2023, 8, 30), "backstop": False}
    wanted = FilterOptions(score=(factor,), **options)
    found = score_factors(candidates(drawings, properties), AREA, wanted)
    assert found == pytest.approx(factors)
    assert list(parts(chosen(drawings, properties, score=(factor,), **options))) == ["b"]
    assert list(parts(chosen(drawings, properties, score=(), **options))) == ["a"]
    off = FilterOptions(score=(), **options)
    assert score_factors(candidates(drawings, properties), AREA, off) == [1.0] * len(drawings)


def test_what_an_item_does_not_say_counts_for_nothing() -> None:
    found = candidates({"a": "########", "b": "########"}, {"a": {"view:sun_elevation": "high"}})
    assert score_factors(found, AREA, FilterOptions()) == [1.0, 1.0]


def test_a_factor_never_outweighs_what_a_scene_shows() -> None:
    low = {"a": {"view:sun_elevation": 1.0}}
    choice = chosen({"a": "########", "b": "######oo"}, low, backstop=False, max_selections=1)
    assert list(parts(choice)) == ["a"]


def test_a_scene_that_is_judged_by_its_metadata_delivers_units_if_its_place_is_known() -> None:
    known = {"a": "########", "b": None}
    only = FilterOptions(coverage_count=1, max_selections=1)
    cells = SelectionCells(CELLS, AREA, AREA)
    alone: dict[str, str | None] = {"b": None}
    whole = choose_clear(AOI, candidates(alone), cells, only)
    assert parts(whole) == {"b": None}
    units = choose_clear(AOI, candidates(alone, stated={"b": CELLS}), cells, only)
    assert parts(units) == {"b": BOTH}
    # Of a scene that another one leaves nothing to, no unit is needed.
    both = choose_clear(
        AOI, candidates(known, stated={"b": CELLS}), cells, FilterOptions(coverage_count=2)
    )
    assert parts(both) == {"a": BOTH, "b": ("00",)}


# --- Further rounds --------------------------------------------------------------------------


def picked(name: str, rows: tuple[str, ...]) -> SelectionEntry:
    units = np.array([[digit == "1" for digit in row] for row in rows])
    needed = units.repeat(16, axis=0).repeat(16, axis=1)
    return SelectionEntry(
        item_id=name, backstop=False, delivery=Delivery.of(grid_of_parts(CELLS), needed)
    )


def holes(never_clear: BoolRaster, empty: BoolRaster | None = None) -> Holes:
    nothing = AREA & False if empty is None else empty
    return Holes(CELLS, never_clear, nothing, AREA.size, float(never_clear.sum() / AREA.size))


def extended(
    drawings: dict[str, str | None], entries: list[SelectionEntry], left: Holes, **options: Any
) -> tuple[SelectionEntry, ...]:
    wanted = FilterOptions(coverage_count=1, **options)
    return extend_choice(candidates(drawings), entries, left, wanted, 2)


def test_a_round_adds_the_scene_that_shows_the_holes_clear() -> None:
    drawings: dict[str, str | None] = {"a": "########", "b": "########", "c": "####oooo"}
    (entry,) = extended(drawings, [picked("a", BOTH)], holes(AREA & EAST))
    assert (entry.item_id, entry.round, entry.weight) == ("b", 2, 0.5)
    assert parts((entry,)) == {"b": EAST_UNIT}


@pytest.mark.parametrize(("allowed", "names"), [(0.2, ["c"]), (0.05, [])])
def test_a_limit_that_is_out_of_reach_makes_no_scene_worth_it(
    monkeypatch: pytest.MonkeyPatch, allowed: float, names: list[str]
) -> None:
    # "c" shows three of the four columns that are left: 0.125 of the area stays never clear.
    monkeypatch.setattr("cloudbuster.selection.further_choice.LEAST_FIRST_GAIN", 0.5)
    drawings: dict[str, str | None] = {"a": "####oooo", "c": "ooooo###"}
    entries = [picked("a", BOTH)]
    added = extended(drawings, entries, holes(AREA & EAST), max_never_clear=allowed)
    assert [entry.item_id for entry in added] == names


def test_a_round_adds_a_further_part_of_a_scene_that_was_picked_before() -> None:
    entries = [picked("a", WEST_UNIT)]
    added = extended({"a": "########", "b": "####oooo"}, entries, holes(AREA & EAST))
    assert parts(added) == {"a": EAST_UNIT}


def test_a_scene_that_was_delivered_whole_is_not_delivered_again() -> None:
    whole = SelectionEntry(item_id="a", backstop=False)
    assert extended({"a": "########"}, [whole], holes(AREA & EAST)) == ()


@pytest.mark.parametrize(
    ("most", "wanted"), [(1, {}), (2, {"b": EAST_UNIT}), (3, {"b": EAST_UNIT, "c": EAST_UNIT})]
)
def test_all_rounds_together_pick_no_more_scenes_than_are_allowed(
    most: int, wanted: dict[str, tuple[str, ...]]
) -> None:
    drawings: dict[str, str | None] = {"a": "####oooo", "b": "oooo###o", "c": "ooooooo#"}
    entries, left = [picked("a", BOTH)], holes(AREA & EAST)
    assert parts(extended(drawings, entries, left, max_selections=most)) == wanted
    empty = holes(AREA & False, AREA & EAST)
    added = extended({"a": "####....", "b": "oooooooo"}, entries, empty, max_selections=1)
    assert added == ()


def test_a_scene_that_was_picked_fills_what_no_new_scene_may() -> None:
    drawings: dict[str, str | None] = {"a": "#####ooo", "b": "oooo####"}
    entries = [picked("a", WEST_UNIT)]
    added = extended(drawings, entries, holes(AREA & EAST), max_selections=1)
    assert parts(added) == {"a": EAST_UNIT}


def test_a_hole_of_one_cell_is_filled_where_none_may_be_left() -> None:
    one = AREA & False
    one[0, 40] = True
    drawings: dict[str, str | None] = {"a": "########", "b": "########"}
    added = extended(drawings, [picked("a", BOTH)], holes(one), max_never_clear=0)
    assert parts(added) == {"b": EAST_UNIT}


@pytest.mark.parametrize(("backstop", "wanted"), [(True, {"b": EAST_UNIT}), (False, {})])
def test_a_place_without_a_value_is_filled_with_cloud_where_a_backstop_is_wanted(
    backstop: bool, wanted: dict[str, tuple[str, ...]]
) -> None:
    left = holes(AREA & EAST, AREA & EAST)
    drawings: dict[str, str | None] = {"a": "########", "b": "oooooooo"}
    added = extended(drawings, [picked("a", BOTH)], left, backstop=backstop)
    assert parts(added) == wanted
    assert all(entry.weight == 0 for entry in added)


# --- Cells -----------------------------------------------------------------------------------


def square(side_m: float, lon: float = 15.0, lat: float = 45.0) -> BaseGeometry:
    """About a square around a place."""
    high = side_m / 111_132 / 2
    wide = high / np.cos(np.radians(lat))
    return box(lon - wide, lat - high, lon + wide, lat + high)


@pytest.mark.parametrize(
    ("side_m", "cell_m"), [(4.0, 20.0), (5_000.0, 20.0), (51_200.0, 100.0), (800_000.0, 1000.0)]
)
def test_cells_are_of_20_m_to_a_kilometre_and_cover_the_area(side_m: float, cell_m: float) -> None:
    aoi = square(side_m)
    cells = area_cells(aoi)
    grid, inside = cells.grid, cells.area
    assert grid.x_size == pytest.approx(cell_m, rel=0.06 if cell_m == 100 else 1e-9)
    assert inside.any()
    area_m2 = abs(Geod(ellps="WGS84").geometry_area_perimeter(aoi)[0])
    covered = np.count_nonzero(inside) * grid.x_size * grid.y_size
    assert area_m2 <= covered <= area_m2 + 8 * (side_m + grid.x_size) * grid.x_size


def test_a_spit_that_is_narrower_than_a_cell_belongs_to_the_area() -> None:
    # A square of 2 km, and from it to the east a strip of 2 m by 4 km.
    land = square(2000)
    strip = box(15, 45.00103, 15.063, 45.00105)
    cells = area_cells(Polygon(land.union(strip).exterior))
    grid, inside = cells.grid, cells.area
    assert inside[:, -1].sum() in (1, 2)
    assert inside.any(axis=0).all()
    assert grid.x_size == 20
