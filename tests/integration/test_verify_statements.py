"""A small mosaic verified: sound ones pass, and false statements of an item are found."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cloudbuster.checks.verify import Verified, VerifyOptions, verification_text, verify_mosaic
from cloudbuster.errors import NotFoundError, VerifyError
from cloudbuster.models import MosaicRequest
from cloudbuster.runs import pipeline
from tests.factories import SceneSpec, request_of_may, write_scene
from tests.hand_made import merged, write_three
from tests.planting import Products

# Columns of 20 m that are cloudy on each day.
CLOUDS = {10: slice(12, 30), 11: slice(0, 13)}
# Clouds that leave most of the area clear on three days, and a strip on none.
FEW_CLOUDS = {10: slice(24, 30), 11: slice(22, 28), 12: slice(0, 28)}
OFFLINE = VerifyOptions(offline=True)


def make_run(folder: Path, clouds: dict[int, slice] = CLOUDS, **changes: dict[str, Any]) -> Path:
    """Run a mosaic of scenes of random ground; return its folder."""
    random = np.random.default_rng(5)
    ground = random.integers(200, 3000, (60, 60)).astype(np.uint16)
    for day, columns in clouds.items():
        spec = SceneSpec(
            id=f"S2A_33TWL_202305{day}_0_L2A",
            datetime=f"2023-05-{day}T10:00:00Z",
            cloud_cover=day,
            scl=[(slice(None), columns, 9)],
            pixels=ground + random.integers(0, 300, ground.shape).astype(np.uint16),
        )
        write_scene(folder / "catalog", spec)
    request = request_of_may(folder, dilate_m=20)
    for part, fields in changes.items():
        request[part] = {**request.get(part, {}), **fields}
    pipeline.run(MosaicRequest.model_validate(request))
    return folder / "run"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run; tests only read it."""
    return make_run(tmp_path_factory.mktemp("verify"))


@pytest.fixture
def copied(run: Path, tmp_path: Path) -> Path:
    """Copy of the run, to be changed."""
    return Path(shutil.copytree(run, tmp_path / "run"))


def change_item(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "m.json"
    item = json.loads(path.read_text())
    change(item)
    path.write_text(json.dumps(item))


def wrong_in(verified: Verified) -> dict[str, str]:
    return {check.name: check.message for check in verified.report.disagreeing}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"merge": {"layout": "per-band"}},
        {"merge": {"clip": True}},
        {"filter": {"strategy": "original"}},
        {"filter": {"backstop": False}},
        {"gather": {"crs": "EPSG:3035"}},
        {"gather": {"gsd_m": 40}},
    ],
    ids=str,
)
def test_a_sound_mosaic_passes(tmp_path: Path, changes: dict[str, dict[str, Any]]) -> None:
    folder = make_run(tmp_path, CLOUDS, **changes)
    verified = verify_mosaic(str(folder), VerifyOptions(samples=20))
    assert wrong_in(verified) == {}
    verified.raise_for_disagreement()
    assert {check.status for check in verified.report.checks} == {"agrees"}
    assert verified.report.samples == 20


@pytest.mark.parametrize("composite", ["median", "geomedian", "percentile:25", "medoid"])
def test_a_sound_statistic_passes_and_a_wrong_one_is_found(tmp_path: Path, composite: str) -> None:
    folder = make_run(
        tmp_path, FEW_CLOUDS, merge={"composite": composite}, filter={"coverage_count": 3}
    )
    shutil.rmtree(folder / "scenes")
    options = VerifyOptions(samples=20)
    verified = verify_mosaic(str(folder), options)
    assert wrong_in(verified) == {}
    status = {check.name: check.status for check in verified.report.checks}
    assert status["pixels"] == "agrees"
    # The plan of the run can be made again from its selection.
    shutil.rmtree(folder / "tasks")
    assert wrong_in(verify_mosaic(str(folder), options)) == {}

    products = Products(folder, "m")
    _, cells = products.most_used()

    def change(pixels: np.ndarray) -> None:
        pixels[:-1, cells] += 30

    products.rewrite("cloudless", change)
    found = wrong_in(verify_mosaic(str(folder), options))
    assert "pixels" in found
    if composite != "medoid":
        assert found["pixels"] == f"values are not the {composite} of their looks"


def test_a_statistic_is_not_computed_again_without_the_selection(tmp_path: Path) -> None:
    make_run(tmp_path, FEW_CLOUDS, merge={"composite": "median"})
    alone = tmp_path / "alone"
    alone.mkdir()
    for path in (tmp_path / "run").glob("m*"):
        shutil.copy(path, alone)
    verified = verify_mosaic(str(alone), VerifyOptions(samples=20))
    assert wrong_in(verified) == {}
    messages = [each.message for each in verified.report.checks if each.status == "not-checked"]
    assert any("unknown without the run's selection" in message for message in messages)


def test_scenes_merged_by_hand_pass_without_a_request(tmp_path: Path) -> None:
    write_three(tmp_path)
    merged(tmp_path)
    verified = verify_mosaic(str(tmp_path), OFFLINE)
    # Their records are by hand, too, and have no real items.
    assert set(wrong_in(verified)) <= {"scene-table"}
    names = {check.name for check in verified.report.checks if check.status == "agrees"}
    assert {"scenes", "quality", "scene-index", "shares", "metadata"} <= names


def test_the_same_seed_reads_the_same_places(run: Path) -> None:
    first, again = (verify_mosaic(str(run), VerifyOptions(samples=7, seed=3)) for _ in range(2))
    assert first == again


def set_property(name: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(item: dict[str, Any]) -> None:
        item["properties"][name] = value

    return change


def set_row(name: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(item: dict[str, Any]) -> None:
        item["properties"]["cloudbuster:scenes"][0][name] = value

    return change


def move_geometry(item: dict[str, Any]) -> None:
    ring = item["geometry"]["coordinates"][0]
    item["geometry"]["coordinates"][0] = [[x + 0.001, y] for x, y in ring]


def set_asset(key: str, name: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(item: dict[str, Any]) -> None:
        item["assets"][key][name] = value

    return change


FALSE_STATEMENTS: list[tuple[str, Callable[[dict[str, Any]], None]]] = [
    ("stac", lambda item: item.pop("geometry")),
    ("stac", lambda item: item.pop("stac_extensions")),
    ("stac", set_property("proj:epsg", "no number")),
    ("stac", set_property("datetime", "last summer")),
    ("scene-table", set_property("start_datetime", "2023-01-01T00:00:00Z")),
    ("scene-table", set_property("end_datetime", None)),
    ("footprint", move_geometry),
    ("footprint", lambda item: item.update(bbox=[0, 0, 1, 1])),
    ("files", set_asset("report", "href", "./none.html")),
    ("files", set_asset("preview", "proj:shape", [1, 1])),
    ("files", set_asset("quality", "file:size", 1)),
    ("files", set_asset("quality", "file:checksum", "1220" + 64 * "0")),
    ("shares", set_property("cloudbuster:clear_fraction", 0.5)),
    ("shares", set_row("share", 0.9)),
    ("scene-table", set_property("cloudbuster:scene_count", 7)),
    ("scene-table", lambda item: item.update(links=[])),
    ("scene-table", set_row("item_id", "S2A_33TWL_20230512_0_L2A")),
    ("scene-table", set_row("datetime", "2023-05-12T10:00:00Z")),
    ("scene-table", set_row("platform", "sentinel-2b")),
    ("scene-table", set_row("mgrs_tile", "33TWM")),
    ("scene-table", set_row("baseline", "05.09")),
    ("scene-table", set_row("radiometry", "present")),
    ("scene-table", set_row("detector", "none")),
    ("scene-table", set_row("radiometry_evidence", [])),
    ("scene-table", set_row("backstop", None)),
    ("scene-index", set_row("index", 9)),
    # Statements of another type than they should be.
    ("stac", lambda item: item.update(type="Item")),
    ("metadata", set_asset("cloudless", "eo:bands", -1)),
    ("metadata", set_asset("quality", "raster:bands", [True, "x", None, 1])),
    ("metadata", lambda item: item["assets"]["cloudy"]["raster:bands"][0].update(scale="x")),
    ("metadata", set_property("proj:transform", ["a", None, 1, 2, 3, 4])),
    ("metadata", lambda item: item["assets"].pop("quality")),
    ("footprint", lambda item: item.update(bbox=["a", None, True, 4])),
]


@pytest.mark.parametrize(
    ("check", "change"), FALSE_STATEMENTS, ids=[str(n) for n in range(len(FALSE_STATEMENTS))]
)
def test_a_false_statement_of_the_item_is_found(
    copied: Path, check: str, change: Callable[[dict[str, Any]], None]
) -> None:
    change_item(copied, change)
    verified = verify_mosaic(str(copied), OFFLINE)
    assert check in wrong_in(verified)
    with pytest.raises(VerifyError, match=f"{check}: ") as caught:
        verified.raise_for_disagreement()
    assert "\n" not in str(caught.value)


def test_recorded_sizes_and_checksums_that_are_right_agree(copied: Path) -> None:
    path = copied / "m-quality.tif"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()

    def record(item: dict[str, Any]) -> None:
        item["assets"]["quality"]["file:size"] = path.stat().st_size
        item["assets"]["quality"]["file:checksum"] = f"1220{digest}"

    change_item(copied, record)
    assert "files" not in wrong_in(verify_mosaic(str(copied), OFFLINE))


def test_an_item_that_is_no_json_disagrees(copied: Path) -> None:
    (copied / "m.json").write_text('{"type": ')
    with pytest.raises(VerifyError, match="make the mosaic again"):
        verify_mosaic(str(copied / "m-cloudless.tif"))


def test_no_mosaic_is_bad_input_and_no_disagreement(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        verify_mosaic(str(tmp_path))


def test_a_mosaic_that_lost_a_raster_disagrees(copied: Path) -> None:
    (copied / "m-cloudy.tif").unlink()
    assert "m-cloudy.tif is missing" in wrong_in(verify_mosaic(str(copied), OFFLINE))["complete"]


def test_a_scene_gathered_by_another_task_is_found(copied: Path) -> None:
    path = copied / "scenes" / "m-01.json"
    record = json.loads(path.read_text())
    record["task_fingerprint"] = "0" * 64 + record["task_fingerprint"][64:]
    path.write_text(json.dumps(record))
    message = wrong_in(verify_mosaic(str(copied), OFFLINE))["scene-table"]
    assert message == "scene 1 was gathered by another task than the run's"


def test_a_wrong_decision_about_the_offset_is_found(tmp_path: Path) -> None:
    # Pixels with the offset, whose task says that there is none: all that was made of them agrees.
    folder = make_run(tmp_path)
    for path in (folder / "tasks").glob("*.json"):
        task = json.loads(path.read_text())
        task["radiometry"] |= {"verdict": "present", "offset_dn": -1000}
        path.write_text(json.dumps(task))
    verified = verify_mosaic(str(folder), VerifyOptions(samples=10))
    assert "radiometry" in wrong_in(verified)


def test_the_text_has_a_line_for_each_check(run: Path) -> None:
    report = verify_mosaic(str(run), OFFLINE).report
    lines = verification_text(report).splitlines()
    assert lines[0] == "m:"
    assert len(lines) == len(report.checks) + 2
    assert lines[-1] == "0 places were read from their sources (seed 0)."
    assert any("--offline reads no source" in line for line in lines)


@pytest.mark.parametrize("place", [0.02, 0.5, 0.9])
def test_a_file_with_a_damaged_byte_ends_in_a_report(copied: Path, place: float) -> None:
    path = copied / "m-cloudless.tif"
    content = bytearray(path.read_bytes())
    for offset in range(16):
        content[int(len(content) * place) + offset] ^= 0x5A
    path.write_bytes(bytes(content))
    assert wrong_in(verify_mosaic(str(copied), OFFLINE))
