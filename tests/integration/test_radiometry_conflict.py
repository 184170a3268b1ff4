"""What becomes of a scene whose metadata and pixels disagree: trusted, left out, or the end."""

import json
from pathlib import Path

import pytest
import rasterio

from cloudbuster.cli.main import main
from cloudbuster.errors import ExitCode
from cloudbuster.models import SceneRecord
from tests.factories import SceneSpec, area_of, write_scene

BEST = "S2A_33TWL_20230510_0_L2A"


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """Six dates; the clearest says that its offset is still there, and it is not."""
    flag = "earthsearch:boa_offset_applied"
    wrong = {flag: False, "eo:cloud_cover": 0}
    specs = [SceneSpec(id=BEST, baseline="05.09", properties=wrong)]
    specs += [
        SceneSpec(
            id=f"S2B_33TWL_202305{day}_0_L2A",
            datetime=f"2023-05-{day}T10:00:00Z",
            dn=700,
            cloud_cover=20,
            baseline="05.09",
            properties={flag: True},
        )
        for day in ("15", "20", "25", "28", "30")
    ]
    for spec in specs:
        write_scene(tmp_path / "catalog", spec)
    (tmp_path / "area.geojson").write_text(json.dumps(area_of(specs[0])))
    return tmp_path


def run(world: Path, *more: str) -> int:
    arguments = [
        *("run", "--geojson", world / "area.geojson", "--name", "small", "--workers", "1"),
        *("--catalog", world / "catalog", "--mindate", "2023-05-01", "--maxdate", "2023-05-31"),
        *("--maxclouds", "100", "--coverage-count", "6", "--backstop", "False"),
        # Which gathers each of the scenes, though one would do.
        *("--strategy", "original"),
        *("--bands", "B04,B03,B02", "--output", world / "out", *more),
    ]
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


def records(world: Path) -> dict[str, SceneRecord]:
    paths = (world / "out" / "scenes").glob("*.json")
    found = [SceneRecord.model_validate_json(path.read_bytes()) for path in paths]
    return {record.item_id: record for record in found}


def test_pixels_are_trusted_and_the_conflict_is_told(world: Path) -> None:
    assert run(world) == ExitCode.DONE
    found = records(world)
    assert len(found) == 6
    radiometry = found[BEST].radiometry
    assert (radiometry.verdict, radiometry.confidence) == ("removed", "high")
    assert radiometry.conflict
    assert not any(other.radiometry.conflict for name, other in found.items() if name != BEST)
    item = json.loads((world / "out" / "small.json").read_text())
    (row,) = (
        row
        for row in item["properties"]["cloudbuster:scenes"]
        if row.get("item_id") == BEST and not row["backstop"]
    )
    assert row["radiometry"] == "removed"
    assert row["radiometry_conflict"] is True
    assert row["radiometry_evidence"] == list(radiometry.evidence)
    with rasterio.open(world / "out" / "small-cloudless.tif") as mosaic:
        assert mosaic.read(1).min() == 502


def test_a_scene_in_conflict_is_left_out_with_the_reason(world: Path) -> None:
    assert run(world, "--on-radiometry-conflict", "skip") == ExitCode.DONE
    assert BEST not in records(world)
    assessment = json.loads((world / "out" / "assessment.json").read_text())
    (failure,) = assessment["failures"]
    assert (failure["item_id"], failure["error"]) == (BEST, "RadiometryError")
    assert "boa_offset_applied False" in failure["message"]
    with rasterio.open(world / "out" / "small-cloudless.tif") as mosaic:
        assert mosaic.read(1).min() == 702


def test_a_scene_in_conflict_ends_the_run_before_anything_is_gathered(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(world, "--on-radiometry-conflict", "fail") == ExitCode.BAD_INPUT
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith(f"RadiometryError: {BEST}: its radiometric offset is in conflict")
    assert records(world) == {}
    assert json.loads((world / "out" / "status.json").read_text())["state"] == "failed"


def test_a_task_by_itself_obeys_the_policy(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(world) == ExitCode.DONE
    for path in (world / "out" / "tasks").glob("*.json"):
        task = json.loads(path.read_text())
        task.update(on_radiometry_conflict="skip", radiometry=None, output=str(world / "one"))
        (world / "task.json").write_text(json.dumps(task))
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main(["gather", "--task", str(world / "task.json")])
        wrong = task["item"]["id"] == BEST
        assert (stop.value.code or 0) == (ExitCode.BAD_INPUT if wrong else ExitCode.DONE)
