"""The error of a job is kept beside its task, and found again by the id or the exit code."""

import json
from pathlib import Path

import pytest

from cloudbuster.errors import RasterError
from cloudbuster.runs.task_jobs import JOB_ID_VARIABLE, TaskJob, job_error


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(JOB_ID_VARIABLE, "job-1")
    return str(tmp_path / "7.json")


def fail(task: str, error: BaseException) -> None:
    with pytest.raises(type(error)), TaskJob(task):
        raise error


def test_an_error_of_the_package_is_kept_with_its_exit_code(task: str) -> None:
    fail(task, RasterError("B04.tif: there is no such file; drop the scene"))
    assert job_error(task) == "RasterError: B04.tif: there is no such file; drop the scene"
    kept = json.loads(Path(task).with_name("7.error.json").read_text())
    assert (kept["job_id"], kept["exit_code"]) == ("job-1", 5)


def test_a_bug_is_kept_as_well(task: str) -> None:
    fail(task, KeyError("band"))
    assert job_error(task, code=1) == "KeyError: 'band'"


def test_secrets_in_an_error_are_not_kept(task: str) -> None:
    fail(task, RasterError("https://host/B04.tif?sig=abcdefghijklmnop: HTTP status 403"))
    assert "abcdefghijklmnop" not in Path(task).with_name("7.error.json").read_text()


@pytest.mark.parametrize("error", [SystemExit(143), KeyboardInterrupt()])
def test_a_signal_is_no_error(task: str, error: BaseException) -> None:
    fail(task, error)
    assert job_error(task) is None


def test_nothing_is_kept_outside_of_batch(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(JOB_ID_VARIABLE)
    fail(task, RasterError("broken"))
    assert list(Path(task).parent.iterdir()) == []


def test_a_place_that_cannot_be_written_does_not_hide_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(JOB_ID_VARIABLE, "job-1")
    (tmp_path / "file").write_text("")
    fail(str(tmp_path / "file" / "7.json"), RasterError("broken"))


def test_the_start_and_the_end_of_a_job_are_logged_for_the_metrics_of_the_stack(
    task: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_BATCH_JOB_ATTEMPT", "2")
    with caplog.at_level("INFO", "cloudbuster.runs.task_jobs"), TaskJob(task):
        pass
    started, ended = (vars(record) for record in caplog.records)
    assert (started["message"], started["attempt"]) == ("job_started", 2)
    assert ended["message"] == "job_ended"
    assert ended["duration_s"] >= 0


def test_the_error_of_another_job_of_the_task_is_not_taken_for_that_of_this_one(task: str) -> None:
    fail(task, RasterError("broken"))
    assert job_error(task, job_id="job-1") == job_error(task, code=5) == "RasterError: broken"
    assert job_error(task, job_id="job-2") is None
    assert job_error(task, code=75) is None
