"""Jobs that are submitted by hand: meta-gather and meta-merge."""

import functools
import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import (
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
)

from cloudbuster.aws.client import jobs
from cloudbuster.aws.client import session as aws_client
from cloudbuster.aws.client.session import service_error
from cloudbuster.aws.stack.calls import call
from cloudbuster.cli.main import meta_gather_py, meta_merge_py
from cloudbuster.errors import AccessError, BadInputError, CredentialsError, ExitCode, TryAgainError
from cloudbuster.models import GatherTask, MergeTask
from cloudbuster.storage import s3
from cloudbuster.storage.documents import read_document
from tests.factories import SceneSpec, area_of, write_scene
from tests.unit.aws.account import (
    QUEUE,
    REGION,
    Invoke,
    forget,
)


@pytest.fixture
def world(tmp_path: Path, invoke: Invoke) -> Path:
    """A selection of two clear looks and a backstop."""
    days = ("10", "15", "20")
    specs = [
        SceneSpec(
            id=f"S2A_33TWL_202305{day}_0_L2A",
            datetime=f"2023-05-{day}T10:00:00Z",
            cloud_cover=int(day),
        )
        for day in days
    ]
    for spec in specs:
        write_scene(tmp_path / "catalog", spec)
    (tmp_path / "area.geojson").write_text(json.dumps(area_of(specs[0])))
    query = ["--geojson", tmp_path / "area.geojson", "--catalog", tmp_path / "catalog"]
    response, selection = tmp_path / "response.json", tmp_path / "selection.json"
    period = ["--mindate", "2023-05-01", "--maxdate", "2023-05-31", "--maxclouds", "100"]
    assert invoke("query", *query, *period, "--response", response)[0] == 0
    filtered = ["--input", response, "--output", selection, "--coverage-count", "2"]
    assert invoke("filter", *filtered)[0] == 0
    return tmp_path


def gather_flags(world: Path, output: str, *more: object) -> list[object]:
    return [
        *("meta-gather", "--jobqueue", QUEUE, "--jobdef", "my-gather:1", "--name", "small"),
        *("--response", world / "selection.json", "--output-path", output),
        *("--bands", "B04,B03,B02", *more),
    ]


def merge_flags(output: str, *more: object) -> list[object]:
    return [
        *("meta-merge", "--jobqueue", QUEUE, "--jobdef", "my-merge", "--name", "small"),
        *("--input-path", "s3://store/in/", "--output-path", output, *more),
    ]


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
    job = batch.describe_jobs(jobs=json.loads(out)[:1])["jobs"][0]
    environment = {entry["name"]: entry["value"] for entry in job["container"]["environment"]}
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
    assert s3.list_names("s3://store/out/tasks") == []


def test_bug_2_meta_merge_keeps_output_path_and_tmp_apart(invoke: Invoke, batch: Any) -> None:
    code, out, err = invoke(*merge_flags("s3://store/out/", "--tmp", "/scratch", "--merge", "m.py"))
    assert (code, err.strip()) == (
        0,
        "meta-merge: --merge m.py is not executed: the image carries the code",
    )
    (job,) = batch.describe_jobs(jobs=json.loads(out))["jobs"]
    task = read_document(job["parameters"]["task_uri"], MergeTask)
    assert (task.scenes, task.output, task.name) == ("s3://store/in", "s3://store/out", "small")
    environment = {entry["name"]: entry["value"] for entry in job["container"]["environment"]}
    assert (environment["TMPDIR"], environment["CPL_TMPDIR"]) == ("/scratch", "/scratch")


@pytest.mark.usefixtures("batch")
def test_what_is_submitted_by_hand_makes_the_mosaic(invoke: Invoke, world: Path) -> None:
    """The jobs' own commands, run here as their containers would."""
    assert invoke(*gather_flags(world, "s3://store/in"))[0] == 0
    for number in (1, 2, 3):
        uri = f"s3://store/in/tasks/small-{number:02d}.json"
        assert invoke("gather", "--task", uri)[0] == 0
    assert invoke(*merge_flags("s3://store/out"))[0] == 0
    code, out, _ = invoke("merge", "--task", "s3://store/out/tasks/small-merge.json")
    assert code == 0
    assert json.loads(out)["cloudless"] == "s3://store/out/small-cloudless.tif"
    made = set(s3.list_names("s3://store/out"))
    assert {"small-cloudless.tif", "small-cloudy.tif", "small-quality.tif"} <= made
    assert s3.exists("s3://store/out/tasks/small-products.json")


def test_a_merge_task_is_of_a_run_or_of_a_name() -> None:
    places = {"scenes": "in", "output": "out", "result": "out/products.json"}
    for wrong in ({}, {"request": "r.json"}, {"name": "m", "selection": "s.json"}):
        with pytest.raises(ValueError, match="request, selection and assessment"):
            MergeTask.model_validate({**places, **wrong})


@pytest.mark.usefixtures("aws")
def test_another_level_than_asked_for_is_refused(invoke: Invoke, world: Path) -> None:
    code, _, err = invoke(*gather_flags(world, "s3://store/a", "--kind", "L1C", "--dryrun"))
    assert code == ExitCode.BAD_INPUT
    assert "selects L2A scenes, not L1C" in err.splitlines()[-1]


@pytest.mark.usefixtures("aws")
def test_a_response_that_does_not_tell_its_level_is_l1c(
    invoke: Invoke, world: Path, tmp_path: Path
) -> None:
    original = tmp_path / "original.json"
    filtered = ["--input", world / "response.json", "--output", original, "--format", "original"]
    assert invoke("filter", *filtered)[0] == 0
    flags = [*gather_flags(world, "s3://store/a"), "--response", original, "--dryrun"]
    code, out, err = invoke(*flags)
    assert (code, err) == (0, "meta-gather: --kind is L1C, the default\n")
    assert len(json.loads(out)) >= 2
    assert invoke(*flags, "--kind", "L2A")[::2] == (0, "")


@pytest.mark.usefixtures("batch")
def test_jobs_cannot_read_tasks_on_this_machine(
    invoke: Invoke, world: Path, tmp_path: Path
) -> None:
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


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize("missing", ["--jobqueue", "--jobdef", "--name", "--output-path"])
def test_a_missing_flag_is_a_malformed_command_line(
    invoke: Invoke, world: Path, missing: str
) -> None:
    for flags in (gather_flags(world, "s3://store/a"), merge_flags("s3://store/a")):
        place = flags.index(missing)
        code, _, err = invoke(*flags[:place], *flags[place + 2 :])
        assert (code, missing in err) == (ExitCode.USAGE, True)


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize("name", ["backstop-x", "a b", "../x"])
def test_a_name_that_no_file_may_have_is_refused(invoke: Invoke, name: str) -> None:
    flags = merge_flags("s3://store/a")
    flags[flags.index("small")] = name
    code, _, err = invoke(*flags)
    assert code == ExitCode.BAD_INPUT
    assert err.startswith("RequestError: --name")


def test_jobs_that_were_submitted_before_a_failure_are_told(
    batch: Any, world: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Throttled:
        """Batch that takes one job."""

        taken = 0

        def submit_job(self, **_arguments: Any) -> dict[str, str]:
            self.taken += 1
            if self.taken > 1:
                raise batch.exceptions.ClientException(
                    {"Error": {"Code": "TooManyRequestsException", "Message": "slow down"}},
                    "Submit",
                )
            return {"jobId": "first-id"}

    throttled = Throttled()
    monkeypatch.setattr(jobs, "client", lambda _service: throttled)
    code, _, err = invoke(*gather_flags(world, "s3://store/a"))
    assert code == ExitCode.TRY_AGAIN
    assert "slow down; try again; 1 of 3 were submitted: first-id" in err.splitlines()[-1]


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("AccessDeniedException", 400, AccessError),
        ("UnrecognizedClientException", 400, CredentialsError),
        ("ExpiredTokenException", 403, CredentialsError),
        ("ThrottlingException", 400, TryAgainError),
        ("Throttling", 400, TryAgainError),
        ("TooManyRequestsException", 429, TryAgainError),
        ("ServerException", 500, TryAgainError),
        ("ClientException", 400, BadInputError),
    ],
)
def test_what_aws_answers_has_an_error_of_ours(code: str, status: int, kind: type) -> None:
    answer = {
        "Error": {"Code": code, "Message": "told."},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    error = service_error(answer, "do it", "mend it")
    assert type(error) is kind
    assert str(error).startswith(f"cannot do it: {code}: told")


@pytest.mark.parametrize(
    ("cause", "kind", "words"),
    [
        (NoCredentialsError(), CredentialsError, "set AWS credentials"),
        (NoRegionError(), BadInputError, "no region; set AWS_REGION"),
        (ParamValidationError(report="name"), BadInputError, "mend it"),
        (EndpointConnectionError(endpoint_url="https://states"), TryAgainError, "https://states"),
    ],
)
@pytest.mark.parametrize("in_a_function", [False, True])
def test_a_call_that_got_no_answer_has_an_error_of_ours(
    cause: Exception, kind: type[Exception], words: str, *, in_a_function: bool
) -> None:
    def ask(*_words: str) -> Any:
        raise cause

    asked = functools.partial(call, ask) if in_a_function else ask
    with pytest.raises(kind) as caught, aws_client.told("do it", hint="mend it"):
        asked("states", "start")
    assert type(caught.value) is kind
    assert str(caught.value).startswith("cannot do it: ")
    assert words in str(caught.value)


def test_without_credentials_the_error_says_so(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_REGION", REGION)
    forget()
    code, _, err = invoke("submit", "request.json")
    forget()
    assert code == ExitCode.BAD_INPUT
    assert err.startswith("CredentialsError: cannot find stack CloudBuster")


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
