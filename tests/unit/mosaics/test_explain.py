"""A pixel explained: with the scenes of the run, and by what is left when they are gone."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cloudbuster.errors import ExitCode, NotFoundError, RequestError
from cloudbuster.models import Explanation, MosaicRequest, SceneFate
from cloudbuster.mosaics.explain import explain_cell, explain_place, explanation_text
from cloudbuster.mosaics.opened import open_mosaic
from cloudbuster.runs import pipeline
from tests.command_line import invoke, last_line
from tests.factories import SceneSpec, request_of_may, write_scene
from tests.hand_made import merged, write_three

# Columns of 20 m that are cloudy on each day, masks not grown; the third scene is not needed.
CLOUDS = {10: slice(12, 30), 11: slice(0, 13), 12: slice(0, 30)}
DAYS = {day: f"S2A_33TWL_202305{day}_0_L2A" for day in CLOUDS}
FAR = "S2A_33TWL_20230513_0_L2A"


def make_run(folder: Path) -> MosaicRequest:
    """Run a mosaic of two of four scenes, of which one lies elsewhere in the area's tile."""
    for day, columns in CLOUDS.items():
        clouds = [(slice(None), columns, 9)]
        time, cover = f"2023-05-{day}T10:00:00Z", float(day)
        spec = SceneSpec(id=DAYS[day], datetime=time, cloud_cover=cover, scl=clouds)
        write_scene(folder / "catalog", spec)
    # A corner of the area, clear, but of another product level's band list.
    far = SceneSpec(id=FAR, datetime="2023-05-13T10:00:00Z", size=4, bands=("B02",))
    write_scene(folder / "catalog", far)
    request = MosaicRequest.model_validate(request_of_may(folder))
    pipeline.run(request)
    return request


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run; tests only read it."""
    folder = tmp_path_factory.mktemp("explain")
    make_run(folder)
    return folder / "run"


def fates(explanation: Explanation) -> dict[tuple[str, bool], SceneFate]:
    """Fate of each scene by its day, and whether it is of its backstop."""
    return {(str(each.item_id)[10:18], each.backstop): each for each in explanation.scenes}


def test_a_clear_pixel_names_its_scene_and_why_the_others_lost(run: Path) -> None:
    # Column 5 lies under the cloud of the 11th, and 180 m from that of the 10th.
    found = explain_cell(open_mosaic(str(run)), 20, 5)
    assert found.state == "clear"
    assert found.cloudless is not None
    assert found.cloudless.item_id == DAYS[10]
    assert (found.times_observed, found.times_clear) == (2, 1)
    assert found.values == {"B02": 500, "B03": 501, "B04": 502, "B08": 503}
    assert found.scenes[0].fate == "chosen"
    of = fates(found)
    assert of["20230510", False].fate == "chosen"
    assert of["20230511", False].fate == "masked"
    reason = of["20230511", False].reason
    assert reason.startswith("masked as cloud or shadow by ")
    assert "stock scl standard" in reason
    assert of["20230512", False].fate == "not-picked"
    assert of["20230513", False].fate == "rejected"
    assert "B03" in of["20230513", False].reason
    assert found.unknown == ()


def test_a_pixel_of_the_backstop_is_explained(run: Path) -> None:
    # Columns 24 and 25 of 10 m lie under the clouds of both days.
    found = explain_cell(open_mosaic(str(run)), 20, 24)
    assert found.state == "backstop"
    assert found.cloudless == found.cloudy
    assert found.cloud_distance_m is None
    assert found.scenes[0].backstop
    lost = {each.fate for each in found.scenes if not each.backstop and each.index}
    assert lost == {"masked"}


def test_a_place_and_a_cell_are_explained_alike(run: Path) -> None:
    mosaic = open_mosaic(str(run))
    by_cell = explain_cell(mosaic, 20, 5)
    assert explain_place(mosaic, by_cell.longitude, by_cell.latitude) == by_cell
    x, y = 500_040 + 10 * 5.5 + 10, 5_000_040 - 10 * 20.5 - 10
    assert explain_place(mosaic, x, y, crs="EPSG:32633") == by_cell


def test_without_the_run_it_says_what_it_cannot_know(run: Path, tmp_path: Path) -> None:
    for path in run.glob("m*"):
        shutil.copy(path, tmp_path)
    found = explain_cell(open_mosaic(str(tmp_path)), 20, 5)
    assert found.cloudless is not None
    assert found.cloudless.item_id == DAYS[10]
    of = fates(found)
    other = of["20230511", False]
    assert other.fate in ("later", "unknown")
    assert "20230512" not in {day for day, _ in of}
    assert len(found.unknown) == 2
    assert "gone or cannot be read" in found.unknown[0]
    assert "selection and candidates cannot be found" in found.unknown[1]


def test_without_the_scenes_the_documents_still_tell_who_was_not_picked(
    run: Path, tmp_path: Path
) -> None:
    shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "scenes")
    found = explain_cell(open_mosaic(str(tmp_path / "run")), 20, 5)
    assert fates(found)["20230512", False].fate == "not-picked"
    assert len(found.unknown) == 1


def test_scenes_merged_by_hand_are_explained_from_their_folder(tmp_path: Path) -> None:
    write_three(tmp_path)
    merged(tmp_path)
    mosaic = open_mosaic(str(tmp_path / "m.json"))
    found = explain_cell(mosaic, 0, 0)
    assert [each.fate for each in found.scenes] == ["chosen", "later", "later"]
    low = explain_cell(mosaic, 1, 2)
    assert [each.fate for each in low.scenes[:2]] == ["chosen", "low-rank"]
    # Neither is observed in the last column.
    never = explain_cell(mosaic, 0, 3)
    assert (never.state, never.cloudless) == ("never observed", None)
    assert {each.fate for each in never.scenes} == {"no-data"}


def test_the_text_is_sentences(run: Path) -> None:
    text = explanation_text(explain_cell(open_mosaic(str(run)), 20, 5))
    lines = text.splitlines()
    assert lines[0].startswith("m, row 20, column 5 (15.00")
    assert lines[0].endswith("): seen clear.")
    assert lines[1].startswith(f"The pixel comes from {DAYS[10]} of 2023-05-10 10:00 UTC (index ")
    assert lines[1].endswith("where its nearest masked cloud is 180 m away.")
    assert lines[3] == "2 acquisitions observed the place, and 1 of them saw it clear."
    assert all(line.endswith((".", ":")) for line in lines)
    # The backstops would say nothing where a scene saw the place clear.
    assert "backstop index" not in text


@pytest.mark.parametrize(
    "name",
    ["", "m.json", "m-cloudless.tif", "m-cloudy.tif", "m-quality.tif", "m-preview.png"],
)
def test_a_mosaic_is_opened_by_any_of_its_files(run: Path, name: str) -> None:
    mosaic = open_mosaic(str(run / name) if name else f"{run}/")
    assert mosaic.name == "m"
    assert mosaic.run.selection is not None


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda folder: folder / "none", NotFoundError, "there is no such folder"),
        (lambda folder: folder, NotFoundError, "holds no finished mosaic"),
        (lambda folder: folder / "x-cloudless.tif", NotFoundError, "there is no item"),
    ],
)
def test_a_place_without_a_mosaic_is_refused(
    tmp_path: Path, make: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        open_mosaic(str(make(tmp_path)))


def test_an_item_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text(json.dumps({"type": "Feature", "id": "other"}))
    with pytest.raises(RequestError, match="is not the item of a mosaic: it has no scene table"):
        open_mosaic(str(tmp_path / "other.json"))


def test_several_mosaics_in_a_folder_are_named(run: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        for path in run.glob("m*"):
            shutil.copy(path, tmp_path / path.name.replace("m", name, 1))
    with pytest.raises(NotFoundError, match=r"holds 2 mosaics; give one of a\.json, b\.json"):
        open_mosaic(str(tmp_path))


def test_runs_in_the_folders_of_a_folder_are_named(run: Path) -> None:
    with pytest.raises(NotFoundError, match=f"there are mosaics in {run}"):
        open_mosaic(str(run.parent))


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["-100.5", "40"], ExitCode.BAD_INPUT, "PlaceError: -100.5 40 is outside of the mosaic"),
        (["15"], ExitCode.USAGE, "UsageError: LON LAT must be two numbers, not 15"),
        (["a", "b"], ExitCode.USAGE, "UsageError: LON LAT must be two numbers, not a b"),
        ([], ExitCode.USAGE, "UsageError: Give LON and LAT, or --row and --col"),
        (["--row", "1"], ExitCode.USAGE, "UsageError: Give LON and LAT, or --row and --col"),
        (["--row", "1", "--col", "99"], ExitCode.BAD_INPUT, "PlaceError: row 1, column 99 is"),
    ],
)
def test_a_wrong_command_ends_with_one_clear_line(
    run: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, message: str
) -> None:
    assert invoke("explain", run, *words) == code
    assert last_line(capsys.readouterr().err).startswith(message)


def test_the_command_prints_json(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke("explain", run, "15.003,45.15", "--json") == ExitCode.DONE
    found = Explanation.model_validate_json(capsys.readouterr().out)
    assert (found.mosaic, found.state) == ("m", "clear")
