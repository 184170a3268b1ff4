"""Jobs that are submitted by hand: meta-gather and meta-merge."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest

from cloudbuster.cli.main import main, meta_gather_py, meta_merge_py
from cloudbuster.errors import ExitCode
from cloudbuster.models import GatherTask, MergeTask
from cloudbuster.storage.files.documents import read_document
from cloudbuster.storage.remote import s3
from tests.factories import SceneSpec, area_of, write_scene
from tests.unit.aws.account import QUEUE, Invoke
from tests.unit.aws.conftest import Break


def run_command(*arguments: object) -> None:
    """Run a command that must succeed."""
    with contextlib.redirect_stdout(io.StringIO()), pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    assert stop.value.code == 0


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a response of query, and a selection of strategy `original`.

    Two clear scenes and a backstop.
    """
    folder = tmp_path_factory.mktemp("world")
    specs = [
        SceneSpec(
            id=f"S2A_33TWL_202305{day}_0_L2A",
            datetime=f"2023-05-{day}T10:00:00Z",
            cloud_cover=int(day),
        )
        for day in ("10", "15", "20")
    ]
    for spec in specs:
        write_scene(folder / "catalog", spec)
    area, response, selection = (folder / f"{name}.json" for name in ("aoi", "response", "s"))
    area.write_text(json.dumps(area_of(specs[0])))
    run_command(
        *("query", "--geojson", area, "--catalog", folder / "catalog", "--response", response),
        *("--mindate", "2023-05-01", "--maxdate", "2023-05-31", "--maxclouds", "100"),
    )
    run_command(
        *("filter", "--input", response, "--output", selection, "--coverage-count", "2"),
        *("--strategy", "original"),
    )
    return folder


def gather_flags(world: Path, output: str, *more: object) -> list[object]:
    return [
        *("meta-gather", "--jobqueue", QUEUE, "--jobdef", "my-gather:1", "--name", "small"),
        *("--response", world / "s.json", "--output-path", output),
        *("--bands", "B04,B03,B02", *more),
    ]


def merge_flags(output: str, *more: object) -> list[object]:
    return [
        *("meta-merge", "--jobqueue", QUEUE, "--jobdef", "my-merge", "--name", "small"),
        *("--input-path", "s3://store/in/", "--output-path", output, *more),
    ]


def environment_of(job: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in job["container"]["environment"]}


def test_meta_gather_submits_one_job_for_each_scene(
    invoke: Invoke, batch: Any, world: Path
) -> None:
    code, out, err = invoke(*gather_flags(world, "s3://store/scenes/", "--index-start", "7"))
    assert code == 0
    ids = json.loads(out)
    assert "--kind is L2A, as in the response" in err
    found = {job["jobId"]: job for job in batch.describe_jobs(jobs=ids)["jobs"]}
    assert [found[each]["jobName"] for each in ids] == [
        *("small-gather-07", "small-gather-08", "small-gather-09")
    ]
    for number, each in enumerate(ids, start=7):
        uri = f"s3://store/scenes/tasks/small-{number:02d}.json"
        assert found[each]["parameters"] == {"task_uri": uri}
        assert found[each]["jobDefinition"].endswith("/my-gather:1")
        task = read_document(uri, GatherTask)
        assert (task.name, task.output) == ("small", "s3://store/scenes")
        assert number in (task.index, task.backstop_index)


def test_the_flags_of_meta_gather_reach_the_task(invoke: Invoke, batch: Any, world: Path) -> None:
    flags = ["--architecture", "s3://m/arch.py", "--weights", "s3://m/w.pth", "--tmp", "/scratch/a"]
    more = ["--trust-architecture", "--bounds-clip", "False", "--donate-mask", "True"]
    gathered = gather_flags(world, "s3://store/a", *flags, *more, "--kind", "L2A")
    code, out, err = invoke(*gathered, "--gather", "s3://m/gather.py")
    assert (code, err.strip()) == (
        0,
        "meta-gather: --gather s3://m/gather.py is not executed: the image carries the code",
    )
    task = read_document("s3://store/a/tasks/small-01.json", GatherTask)
    assert task.donate_mask
    assert task.detector.type == "pytorch"
    assert task.detector.trust_architecture
    assert (task.detector.architecture, task.detector.weights) == (
        *("s3://m/arch.py", "s3://m/w.pth"),
    )
    environment = environment_of(batch.describe_jobs(jobs=json.loads(out)[:1])["jobs"][0])
    assert (environment["TMPDIR"], environment["CPL_TMPDIR"]) == ("/scratch/a", "/scratch/a")
    donor = ["--donor-mask", "s3://m/masks/", "--donor-mask-name", "mask-a"]
    assert invoke(*gather_flags(world, "s3://store/b", *donor))[0] == 0
    task = read_document("s3://store/b/tasks/small-01.json", GatherTask)
    assert (task.detector.type, task.detector.donor_mask_name) == ("donor", "mask-a")


@pytest.mark.usefixtures("aws")
def test_a_dry_run_prints_the_submissions_and_writes_nothing(
    invoke: Invoke, world: Path, tmp_path: Path
) -> None:
    output = tmp_path / "scenes"
    code, out, _ = invoke(*gather_flags(world, str(output), "--dryrun", "True"))
    assert code == 0
    expected = [
        {
            "jobName": f"small-gather-{number:02d}",
            "jobQueue": QUEUE,
            "jobDefinition": "my-gather:1",
            "parameters": {"task_uri": f"{output}/tasks/small-{number:02d}.json"},
        }
        for number in (1, 2, 3)
    ]
    assert out == json.dumps(expected, indent=2) + "\n"
    assert not output.exists()
    code, out, _ = invoke(*merge_flags("s3://store/out/", "--dryrun"))
    expected = [
        {
            "jobName": "small-merge",
            "jobQueue": QUEUE,
            "jobDefinition": "my-merge",
            "parameters": {"task_uri": "s3://store/out/tasks/small-merge.json"},
        }
    ]
    assert (code, out) == (0, json.dumps(expected, indent=2) + "\n")
    assert s3.object_names("s3://store/out/tasks") == []


def test_bug_2_meta_merge_keeps_output_path_and_tmp_apart(invoke: Invoke, batch: Any) -> None:
    code, out, err = invoke(*merge_flags("s3://store/out/", "--tmp", "/scratch", "--merge", "m.py"))
    assert (code, err.strip()) == (
        0,
        "meta-merge: --merge m.py is not executed: the image carries the code",
    )
    (job,) = batch.describe_jobs(jobs=json.loads(out))["jobs"]
    task = read_document(job["parameters"]["task_uri"], MergeTask)
    assert (task.scenes, task.output, task.name) == ("s3://store/in", "s3://store/out", "small")
    environment = environment_of(job)
    assert (environment["TMPDIR"], environment["CPL_TMPDIR"]) == ("/scratch", "/scratch")


@pytest.mark.usefixtures("batch")
def test_the_jobs_submitted_by_hand_make_the_mosaic(invoke: Invoke, world: Path) -> None:
    """Run the commands of the jobs here, as their containers would."""
    assert invoke(*gather_flags(world, "s3://store/in"))[0] == 0
    for number in (1, 2, 3):
        uri = f"s3://store/in/tasks/small-{number:02d}.json"
        assert invoke("gather", "--task", uri)[0] == 0
    assert invoke(*merge_flags("s3://store/out"))[0] == 0
    code, out, _ = invoke("merge", "--task", "s3://store/out/tasks/small-merge.json")
    assert code == 0
    assert json.loads(out)["cloudless"] == "s3://store/out/small-cloudless.tif"
    made = set(s3.object_names("s3://store/out"))
    assert {"small-cloudless.tif", "small-cloudy.tif", "small-quality.tif"} <= made
    assert s3.object_exists("s3://store/out/tasks/small-products.json")


def test_a_merge_task_is_that_of_a_run_or_of_a_name() -> None:
    paths = {"scenes": "in", "output": "out", "result": "out/products.json"}
    for wrong in ({}, {"request": "r.json"}, {"name": "m", "selection": "s.json"}):
        with pytest.raises(ValueError, match="request, selection and assessment"):
            MergeTask.model_validate({**paths, **wrong})


@pytest.mark.usefixtures("aws")
def test_another_level_than_that_of_the_response_is_refused(invoke: Invoke, world: Path) -> None:
    code, _, err = invoke(*gather_flags(world, "s3://store/a", "--kind", "L1C", "--dryrun"))
    assert code == ExitCode.BAD_INPUT
    assert "selects L2A scenes, not L1C" in err.splitlines()[-1]


@pytest.mark.usefixtures("aws")
def test_a_response_without_its_level_is_l1c(invoke: Invoke, world: Path, tmp_path: Path) -> None:
    original = tmp_path / "original.json"
    filtered = ["--input", world / "response.json", "--output", original, "--format", "original"]
    assert invoke("filter", *filtered)[0] == 0
    flags = [*gather_flags(world, "s3://store/a"), "--response", original, "--dryrun"]
    code, out, err = invoke(*flags)
    assert (code, err) == (0, "meta-gather: --kind is L1C, the default\n")
    assert len(json.loads(out)) >= 2
    assert invoke(*flags, "--kind", "L2A")[::2] == (0, "")


@pytest.mark.usefixtures("aws")
def test_an_output_on_this_machine_is_refused(invoke: Invoke, world: Path, tmp_path: Path) -> None:
    code, _, err = invoke(*gather_flags(world, str(tmp_path / "scenes")))
    assert code == ExitCode.BAD_INPUT
    assert "lies on this machine; give an s3:// prefix" in err.splitlines()[-1]
    assert not (tmp_path / "scenes").exists()


@pytest.mark.usefixtures("batch")
@pytest.mark.parametrize("flag", ["--jobqueue", "--jobdef"])
def test_an_unknown_queue_or_definition_is_bad_input(invoke: Invoke, flag: str) -> None:
    code, _, err = invoke(*merge_flags("s3://store/out", flag, "nowhere"))
    assert code == ExitCode.BAD_INPUT
    assert "check --jobqueue and --jobdef" in err.splitlines()[-1]


@pytest.mark.parametrize("missing", ["--jobqueue", "--jobdef", "--name", "--output-path"])
def test_a_missing_flag_is_a_malformed_command_line(
    invoke: Invoke, world: Path, missing: str
) -> None:
    for flags in (gather_flags(world, "s3://store/a"), merge_flags("s3://store/a")):
        place = flags.index(missing)
        code, _, err = invoke(*flags[:place], *flags[place + 2 :])
        assert (code, missing in err) == (ExitCode.USAGE, True)


@pytest.mark.parametrize("name", ["backstop-x", "a b", "../x"])
def test_a_name_that_no_file_may_have_is_refused(invoke: Invoke, name: str) -> None:
    flags = merge_flags("s3://store/a")
    flags[flags.index("small")] = name
    code, _, err = invoke(*flags)
    assert code == ExitCode.BAD_INPUT
    assert err.startswith("RequestError: --name")


@pytest.mark.usefixtures("batch")
def test_jobs_that_were_submitted_before_a_failure_are_named(
    world: Path, invoke: Invoke, break_service: Break
) -> None:
    break_service("batch", "SubmitJob", "TooManyRequestsException", after=1)
    code, _, err = invoke(*gather_flags(world, "s3://store/a"))
    assert code == ExitCode.TRY_AGAIN
    last = err.splitlines()[-1]
    assert "TooManyRequestsException of a test; try again; 1 of 3 were submitted: " in last


def test_the_original_names_are_aliases(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for command, flag in (
        (meta_gather_py, "--donor-mask-name"),
        (meta_merge_py, "--merge"),
    ):
        monkeypatch.setattr("sys.argv", ["alias", "--help"])
        with pytest.raises(SystemExit) as stop:
            command()
        assert (stop.value.code, flag in capsys.readouterr().out) == (0, True)
