"""The lock on a run's folder, other runs near it, and what a killed run left in it."""

import os
from pathlib import Path

import pytest

from cloudbuster.errors import OutputError
from cloudbuster.storage.files.run_folder import check_apart, held


def make_run(folder: Path) -> Path:
    """Write the documents that every run has."""
    folder.mkdir(parents=True)
    for name in ("request.json", "status.json"):
        (folder / name).write_text("{}")
    return folder


def test_a_lock_that_is_a_link_is_refused_and_its_target_kept(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("kept")
    (tmp_path / "run").mkdir()
    for name, place in (("run", target), ("other", tmp_path / "made")):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / ".lock").symlink_to(place)
        with (
            pytest.raises(OutputError, match=r"\.lock is no regular file; remove it"),
            held(tmp_path / name),
        ):
            pass
    assert target.read_text() == "kept"
    assert not (tmp_path / "made").exists()


def test_a_lock_that_is_a_pipe_or_a_folder_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / ".lock")
    (tmp_path / "folder" / ".lock").mkdir(parents=True)
    for name in ("pipe", "folder"):
        with pytest.raises(OutputError), held(tmp_path / name):
            pass


def test_only_files_inside_of_the_folder_are_swept(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / ".tree.scratch").mkdir(parents=True)
    (outside / ".a.partial").write_text("kept")
    (outside / ".tree.scratch" / "deep").write_text("kept")
    run = tmp_path / "run"
    (run / "scenes" / ".own.scratch").mkdir(parents=True)
    (run / "scenes" / ".own.partial").write_text("0")
    (run / "scenes" / ".own.scratch" / "link").symlink_to(outside)
    # A folder that is a link, a file that is one, and a folder to be swept that is one.
    (run / "linked").symlink_to(outside)
    (run / ".b.partial").symlink_to(outside / ".a.partial")
    (run / ".c.scratch").symlink_to(outside)
    (run / ".d.scratch").write_text("0")
    (run / "notes.partial").write_text("mine")
    with held(run):
        pass
    assert sorted(path.name for path in run.iterdir()) == [
        *(".lock", "linked", "notes.partial", "scenes")
    ]
    assert list((run / "scenes").iterdir()) == []
    assert (outside / ".a.partial").read_text() == "kept"
    assert (outside / ".tree.scratch" / "deep").read_text() == "kept"


def test_a_run_whose_folder_is_a_link_is_swept(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    (disk / ".a.partial").write_text("0")
    (tmp_path / "run").symlink_to(disk)
    with held(tmp_path / "run"):
        pass
    assert [path.name for path in disk.iterdir()] == [".lock"]


@pytest.mark.parametrize("below", ["x", "scenes", "a/b/c/d/e"])
def test_a_folder_in_that_of_another_run_is_refused(tmp_path: Path, below: str) -> None:
    run = make_run(tmp_path / "run")
    with pytest.raises(OutputError, match=f"lies in {run}, the folder of another run"):
        check_apart(run / below)


@pytest.mark.parametrize("below", ["x", "scenes", "a/b/run"])
def test_a_folder_that_contains_that_of_another_run_is_refused(tmp_path: Path, below: str) -> None:
    other = make_run(tmp_path / "place" / below)
    with pytest.raises(OutputError, match=f"contains {other}, the folder of another run"):
        check_apart(tmp_path / "place")


def test_a_link_does_not_hide_that_a_folder_lies_in_another_runs(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (tmp_path / "link").symlink_to(run)
    with pytest.raises(OutputError, match="the folder of another run"):
        check_apart(tmp_path / "link" / "x")
    with pytest.raises(OutputError, match="the folder of another run"):
        check_apart(tmp_path / "y" / ".." / "run" / "x")


def test_folders_beside_other_runs_are_taken(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    # A request beside the outputs of its runs is no run.
    (tmp_path / "request.json").write_text("{}")
    (tmp_path / "files" / "deep").mkdir(parents=True)
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "link").symlink_to(run)
    for folder in (run, tmp_path / "new", tmp_path / "files", tmp_path / "linked"):
        check_apart(folder)
    check_apart(tmp_path / ("x" * 300))
    check_apart(tmp_path / "loop")
