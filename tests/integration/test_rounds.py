"""Runs by strategy `clear` whose candidates are not what they seem."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import rasterio

from cloudbuster.models import RunResult
from cloudbuster.runs.pipeline import run
from tests.half_tiles import CANDIDATES, WHOLE, cloudy, request_of, write_candidates


def made(folder: Path, **changes: Any) -> RunResult:
    return run(request_of(folder, **changes))


def assert_covered(result: RunResult) -> None:
    assessment = result.assessment
    assert assessment.covered
    assert assessment.never_clear_fraction + assessment.never_observed_fraction == 0
    assert (assessment.end, assessment.reasons, assessment.hole_file) == ("covered", (), None)


def test_half_tiles_are_combined_whatever_their_footprints_say(tmp_path: Path) -> None:
    write_candidates(tmp_path)
    result = made(tmp_path)
    assert_covered(result)
    assert result.assessment.rounds == 1
    with rasterio.open(result.products.cloudless) as mosaic:
        west, east = mosaic.read(1)[:, 10], mosaic.read(1)[:, -10]
    assert set(west[west > 0]) <= {510, 511, 512, 513}
    assert set(east[east > 0]) <= {514, 515}


def test_a_scene_without_its_mask_is_left_out_before_it_costs_anything(tmp_path: Path) -> None:
    write_candidates(tmp_path)
    (tmp_path / "catalog" / CANDIDATES[-1].id / "SCL.tif").unlink()
    result = made(tmp_path)
    assert_covered(result)
    assert result.assessment.failures == ()
    selection = orjson.loads((tmp_path / "run" / "selection.json").read_bytes())["cloudbuster"]
    assert [each["item_id"] for each in selection["dropped"]] == [CANDIDATES[-1].id]


@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_a_scene_that_fails_is_replaced_in_the_next_round(tmp_path: Path, damage: str) -> None:
    write_candidates(tmp_path)
    band = tmp_path / "catalog" / CANDIDATES[-1].id / "B04.tif"
    content = band.read_bytes()
    band.unlink()
    if damage == "truncated":
        band.write_bytes(content[: len(content) // 2])
    result = made(tmp_path)
    assessment = result.assessment
    assert assessment.covered
    assert assessment.rounds == 2
    assert [failure.item_id for failure in assessment.failures] == [CANDIDATES[-1].id]
    again = made(tmp_path)
    assert again.assessment == assessment
    before = scenes_of(tmp_path)
    assert made(tmp_path, refresh=True).assessment == assessment
    assert scenes_of(tmp_path) == before


def scenes_of(folder: Path) -> dict[str, int]:
    """Inode of each raster in the folder of scenes: another one was written anew."""
    return {path.name: path.stat().st_ino for path in (folder / "run" / "scenes").glob("*.tif")}


def test_rounds_of_an_unclipped_mosaic_look_at_each_scene_once(tmp_path: Path) -> None:
    write_candidates(tmp_path, CANDIDATES)
    (tmp_path / "catalog" / CANDIDATES[-1].id / "B04.tif").unlink()
    result = made(tmp_path, gather={"bands": ["B04"], "dilate_m": 0, "bounds_clip": False})
    tasks = [orjson.loads(path.read_bytes()) for path in (tmp_path / "run/tasks").glob("*.json")]
    names = [task["item"]["id"] for task in tasks]
    assert len(names) == len(set(names))
    assert result.assessment.covered


def test_failed_scenes_are_replaced_within_the_scenes_that_are_allowed(tmp_path: Path) -> None:
    write_candidates(tmp_path)
    limits = {"max_rounds": 3, "min_success_fraction": 0}
    result = made(tmp_path, filter={"max_selections": 1}, limits=limits)
    assessment = result.assessment
    assert (assessment.covered, assessment.end) == (False, "no-more-candidates")
    assert "max_selections allows no more than 1, and 1 were taken" in assessment.reasons


def test_what_no_candidate_shows_clear_is_said_with_its_place(tmp_path: Path) -> None:
    write_candidates(tmp_path, CANDIDATES[:4])
    result = made(tmp_path)
    assessment = result.assessment
    assert not assessment.covered
    assert assessment.end == "no-more-candidates"
    assert assessment.never_observed_fraction == pytest.approx(0.5, abs=0.01)
    assert any(
        "none of the 4 candidates (2023-05-10 to 2023-05-13)" in each for each in assessment.reasons
    )
    assert assessment.hole_file is not None
    holes = orjson.loads(Path(assessment.hole_file).read_bytes())["features"]
    assert {hole["properties"]["state"] for hole in holes} == {"no-value"}
    area = sum(hole["properties"]["area_km2"] for hole in holes)
    assert area == pytest.approx(0.5 * assessment.area_km2, rel=0.05)


def test_rounds_end_where_the_limit_is(tmp_path: Path) -> None:
    write_candidates(tmp_path)
    (tmp_path / "catalog" / CANDIDATES[-1].id / "B04.tif").unlink()
    result = made(tmp_path, limits={"max_rounds": 1, "min_success_fraction": 0})
    assert (result.assessment.covered, result.assessment.end) == (False, "rounds-spent")


def test_a_clear_scene_covers_its_area_whatever_the_coverage_count(tmp_path: Path) -> None:
    write_candidates(tmp_path, (replace(WHOLE, dn=700),))
    assert_covered(made(tmp_path))


def products_of(folder: Path) -> dict[str, bytes]:
    return {
        name: (folder / "run" / f"halves-{name}.tif").read_bytes()
        for name in ("cloudless", "cloudy", "quality")
    }


def test_a_refresh_gathers_new_scenes_alone_and_has_the_bytes_of_a_new_run(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    write_candidates(old, CANDIDATES[:5])
    made(old)
    later = replace(WHOLE, id="S2A_33TWL_20230616_0_L2A", datetime="2023-06-16T10:00:00Z", dn=900)
    half_cloudy = replace(later, scl=cloudy(slice(0, 20)))
    write_candidates(old, (half_cloudy,))
    assert made(old).reused
    result = made(old, refresh=True)
    gathered = {
        record["item_id"]
        for path in (old / "run" / "scenes").glob("*.json")
        if (record := orjson.loads(path.read_bytes()))["decoded_pixels"]
    }
    assert gathered == {later.id}
    assert_covered(result)
    write_candidates(new, (*CANDIDATES[:5], half_cloudy))
    made(new)
    assert products_of(old) == products_of(new)
    item = (old / "run" / "halves.json").read_text()
    assert item.replace(str(old), str(new)) == (new / "run" / "halves.json").read_text()
