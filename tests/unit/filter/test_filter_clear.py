"""Strategy `clear` of the filter: its report, further rounds, and the table of what scenes add."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import shapely
from pyproj import Transformer
from shapely.geometry import box, mapping

from cloudbuster.core.grids.grid import Grid
from cloudbuster.core.pixels.masks import PixelClass
from cloudbuster.core.selection.holes import Holes
from cloudbuster.core.selection.sky_thumbnail import SkyThumbnail
from cloudbuster.errors import NothingUsableError
from cloudbuster.filter import extend_selection, filter_scenes
from cloudbuster.models import (
    Candidates,
    CandidatesInfo,
    Dropped,
    FilterOptions,
    Item,
    Selection,
)
from cloudbuster.selection import clear_strategy
from cloudbuster.selection.frontier import frontier_lines
from cloudbuster.selection.messages import not_covered_error
from cloudbuster.selection.thumbnails import Thumbnails
from tests.factories import CRS, NORTH, WEST, unit_rows

# Two units of 32 x 32 cells; drawings have four columns for each.
CELLS = Grid(CRS, WEST, NORTH, 320, 320, 64, 32)
CODES = {"#": PixelClass.CLEAR, "o": PixelClass.MASKED, ".": PixelClass.UNOBSERVED}
TO_LONLAT = Transformer.from_crs(CRS, "EPSG:4326", always_xy=True)
FOOTPRINT = mapping(shapely.transform(box(*CELLS.bounds), TO_LONLAT.transform, interleaved=False))
# The middle of the rectangle, 50 cells wide and 20 high, and so half of it in each unit.
INSIDE = box(WEST + 7 * 320, NORTH - 26 * 320, WEST + 57 * 320, NORTH - 6 * 320)
AOI = mapping(shapely.transform(INSIDE, TO_LONLAT.transform, interleaved=False))
EAST = np.tile(np.arange(64) >= 32, (32, 1))

Shown = Callable[..., None]


def thumbnail(drawing: str) -> SkyThumbnail:
    row = np.repeat([CODES[letter] for letter in drawing], 8).astype(np.uint8)
    return SkyThumbnail(CELLS, np.tile(row, (32, 1)))


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    """Let thumbnails be drawings, by item id, and some scenes have none."""

    def show(
        drawings: dict[str, str],
        unusable: dict[str, str] | None = None,
        missing: dict[str, str] | None = None,
    ) -> None:
        found = {name: thumbnail(drawing) for name, drawing in drawings.items()}
        answer = Thumbnails(found, unusable or {}, missing or {})
        monkeypatch.setattr(clear_strategy, "read_thumbnails", lambda *_, **__: answer)

    return show


def item(name: str, day: int = 1, sizes: tuple[int, ...] = ()) -> Item:
    properties = {"datetime": f"2023-06-{day:02d}T10:00:00Z", "eo:cloud_cover": 5.0}
    assets = {f"B{number}": {"href": "x", "file:size": size} for number, size in enumerate(sizes)}
    return {"id": name, "geometry": FOOTPRINT, "properties": properties, "assets": assets}


def candidates(*items: Item) -> Candidates:
    info = CandidatesInfo(aoi=AOI, kind="L2A", catalog="local")
    return Candidates(features=items, cloudbuster=info)


def select(*items: Item, **options: Any) -> Selection:
    return filter_scenes(candidates(*items), FilterOptions(coverage_count=1, **options))


def rows(selection: Selection) -> list[tuple[str, int, tuple[str, ...] | None]]:
    """Id, round and rows of units, of 16 by 16 parts, of each entry."""
    return [
        (entry.item_id, entry.round, unit_rows(entry.delivery) if entry.delivery else None)
        for entry in selection.cloudbuster.entries
    ]


def holes(never_clear: np.ndarray) -> Holes:
    return Holes(
        CELLS, never_clear, never_clear & False, never_clear.size, float(never_clear.mean())
    )


def test_scenes_are_picked_by_what_their_thumbnails_show(shown: Shown) -> None:
    shown({"a": "####oooo", "b": "oooooooo", "c": "oooo####"})
    selection = select(item("a"), item("b"), item("c"))
    info = selection.cloudbuster
    assert sorted(rows(selection)) == [("a", 1, ("10",)), ("c", 1, ("01",))]
    assert {each["id"] for each in selection.features} == {"a", "c"}
    assert (info.strategy, info.covered, info.uncovered_by_layer) == ("clear", True, (0.0,))
    assert (info.backstop_uncovered, info.optimum_bound) == (0.0, 1.0)


def test_of_equal_scenes_the_newest_is_taken_and_then_the_one_of_the_lowest_id(
    shown: Shown,
) -> None:
    shown(dict.fromkeys("abc", "########"))
    assert rows(select(item("a", 1), item("c", 2), item("b", 2))) == [("b", 1, ("11",))]


@pytest.mark.parametrize(("limit", "covered"), [(0.49, False), (0.51, True)])
def test_covered_is_at_most_so_much_that_is_never_clear(
    shown: Shown, limit: float, covered: bool
) -> None:
    shown({"a": "####oooo"})
    selection = select(item("a"), max_never_clear=limit)
    info = selection.cloudbuster
    assert info.uncovered_by_layer == pytest.approx((0.5,), abs=0.005)
    assert (info.covered, info.backstop_uncovered) == (covered, 0)
    message = str(not_covered_error(selection, FilterOptions(max_never_clear=limit)))
    assert "of the area is clear in no picked scene, " in message


def test_a_place_that_no_scene_shows_is_not_covered_whatever_the_limit(shown: Shown) -> None:
    shown({"a": "####...."})
    selection = select(item("a"), max_never_clear=1)
    assert not selection.cloudbuster.covered
    assert selection.cloudbuster.backstop_uncovered == pytest.approx(0.5, abs=0.005)
    error = not_covered_error(selection, FilterOptions(max_selections=1))
    assert "is in none of them: raise --max-selections (all 1 are taken)" in str(error)


def test_unusable_scenes_are_dropped_and_those_without_thumbnail_are_named(shown: Shown) -> None:
    shown({"a": "########"}, {"b": "its mask is torn"}, {"c": "time was up"})
    info = select(item("a"), item("b"), item("c")).cloudbuster
    assert [(each.item_id, each.reason) for each in info.dropped] == [("b", "its mask is torn")]
    named = [(each.item_id, each.reason) for each in info.without_thumbnail]
    assert named == [("c", "time was up")]


def test_scenes_that_are_not_picked_are_listed_by_day_with_what_they_show(shown: Shown) -> None:
    shown({"a": "########", "b": "##oooooo", "d": "oooooooo"}, {"c": "its mask is torn"})
    found = candidates(item("a", 9), item("b", 8), item("c", 7), item("d", 6))
    query = found.cloudbuster.model_copy(update={"dropped": (Dropped(item_id="e", reason="old"),)})
    found = found.model_copy(update={"cloudbuster": query})
    info = filter_scenes(found, FilterOptions(coverage_count=1)).cloudbuster
    assert [entry.item_id for entry in info.entries] == ["a"]
    stages = [(each.item_id, each.stage) for each in info.unpicked]
    assert stages == [("d", "choice"), ("c", "filter"), ("b", "choice"), ("e", "query")]
    nothing, torn, some, old = (each.reason for each in info.unpicked)
    assert (
        nothing == "it shows 0 % of the area clear, and would add 0 % to what the picks show clear"
    )
    assert (torn, old) == ("its mask is torn", "old")
    # b shows 9 of the 50 columns of the area.
    shares = re.fullmatch(r"it shows (.*) % of the area clear, and would add (.*) % to .*", some)
    assert shares is not None
    assert [float(share) for share in shares.groups()] == pytest.approx([18, 0], abs=0.5)
    assert [each.cloud_cover for each in info.unpicked] == [5.0, 5.0, 5.0, None]
    assert [each.acquired and each.acquired.day for each in info.unpicked] == [6, 7, 8, None]


def test_a_scene_that_max_selections_leaves_out_is_listed_with_what_it_would_add(
    shown: Shown,
) -> None:
    shown({"a": "######oo", "b": "oooooo##"})
    info = select(item("a"), item("b"), max_selections=1).cloudbuster
    (left,) = info.unpicked
    assert left.item_id == "b"
    assert left.reason.endswith(" to what the picks show clear; max_selections 1 was reached")


def test_candidates_that_are_all_unusable_are_nothing_usable(shown: Shown) -> None:
    shown({}, {"a": "its mask is torn"})
    with pytest.raises(
        NothingUsableError, match="all 1 candidates are dropped: 1 because its mask"
    ):
        select(item("a"))


def test_a_further_round_adds_entries_at_the_end_and_keeps_the_others(shown: Shown) -> None:
    shown({"a": "########", "b": "oooo####", "c": "########"})
    found = candidates(item("a", 3), item("b", 1), item("c", 2))
    options = FilterOptions(coverage_count=1)
    first = filter_scenes(found, options)
    assert rows(first) == [("a", 1, ("11",))]
    second = extend_selection(first, found, options, holes(EAST))
    assert second is not None
    assert rows(second) == [("a", 1, ("11",)), ("c", 2, ("01",))]
    assert [each["id"] for each in second.features] == ["a", "c"]
    third = extend_selection(second, found, options, holes(EAST))
    assert third is not None
    assert rows(third) == [*rows(second), ("b", 3, ("01",))]
    assert extend_selection(third, found, options, holes(EAST)) is None


def test_a_scene_that_failed_is_replaced_and_not_picked_again(shown: Shown) -> None:
    shown({"a": "########", "b": "########"})
    found, options = candidates(item("a", 2), item("b", 1)), FilterOptions(coverage_count=1)
    first = filter_scenes(found, options)
    everything = np.ones_like(EAST)
    second = extend_selection(first, found, options, holes(everything), failed={"a"})
    assert second is not None
    assert rows(second) == [("a", 1, ("11",)), ("b", 2, ("11",))]
    assert extend_selection(second, found, options, holes(everything), failed={"a", "b"}) is None


def test_the_frontier_says_what_each_scene_adds(shown: Shown) -> None:
    shown({"a": "######oo", "b": "oooo####"})
    selection = select(item("a", sizes=(30_000_000, 10_000_000)), item("b", sizes=(2_500_000,)))
    first, second = selection.cloudbuster.entries
    shares = [100 * (entry.weight or 0) for entry in (first, second)]
    assert frontier_lines(selection) == [
        "scenes   clear    adds  megabytes  scene",
        f"     1  {shares[0]:5.2f} %  {shares[0]:5.2f} %       40.0  a",
        f"     2  100.00 %  {shares[1]:5.2f} %       42.5  b",
        "no 2 scenes show more than 100.00 % clear",
    ]
    # 50 cells across, of which the second scene alone shows 9.
    assert shares == pytest.approx([82, 18], abs=1)


def test_the_frontier_does_not_guess_the_size_of_files(shown: Shown) -> None:
    shown({"a": "######oo", "b": "oooo####"})
    lines = frontier_lines(select(item("a"), item("b", sizes=(1_000_000,))))
    assert [line.split()[-2] for line in lines[1:3]] == ["unknown", "unknown"]


def test_the_frontier_is_of_strategy_clear_alone() -> None:
    (line,) = frontier_lines(select(item("a"), strategy="original"))
    assert line.startswith("strategy original does not measure")
