"""Worker processes that gather scenes leave nothing behind, however they are stopped."""

import multiprocessing
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest

from cloudbuster.errors import TryAgainError
from cloudbuster.events import Event
from cloudbuster.gather import gather_scenes
from cloudbuster.models import GatherTask
from cloudbuster.processes import workers
from cloudbuster.storage.files.documents import write_document
from tests.factories import SceneSpec
from tests.gathering import scene_files, task_of

# Rows and columns of a scene that takes a worker a few tenths of a second: time to stop it midway.
SLOW_SIZE = 1200
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def slow_scene(tmp_path_factory: pytest.TempPathFactory) -> GatherTask:
    noise = np.random.default_rng(2).integers(300, 3000, (SLOW_SIZE, SLOW_SIZE), dtype=np.uint16)
    spec = SceneSpec(size=SLOW_SIZE, pixels=noise)
    return task_of(tmp_path_factory.mktemp("slow"), spec, backstop_index=None)


@pytest.fixture
def slow_tasks(slow_scene: GatherTask, tmp_path: Path) -> list[GatherTask]:
    """Six tasks that gather the same scene into this test's folder."""
    output = str(tmp_path / "scenes")
    return [
        slow_scene.model_copy(update={"index": index, "output": output}) for index in range(1, 7)
    ]


@pytest.fixture
def running_workers() -> Callable[[], list[BaseProcess]]:
    """Return the processes that this one has started since the test began."""
    before = {process.pid for process in multiprocessing.active_children()}

    def started() -> list[BaseProcess]:
        return [p for p in multiprocessing.active_children() if p.pid not in before]

    return started


def wait_for(condition: object) -> None:
    assert callable(condition)
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_worker_that_is_killed_is_one_clear_error_and_leaves_nothing(
    tmp_path: Path, slow_tasks: list[GatherTask], running_workers: Callable[[], list[BaseProcess]]
) -> None:
    def kill_one() -> None:
        wait_for(lambda: scene_files(tmp_path, ".*.partial"))
        running_workers()[0].kill()

    killer = threading.Thread(target=kill_one)
    killer.start()
    with pytest.raises(TryAgainError, match="fewer --workers"):
        gather_scenes(slow_tasks, workers=2)
    killer.join()
    assert running_workers() == []
    # A worker that had no time to clean up may leave one file.
    assert len(scene_files(tmp_path, ".*")) <= 1


def test_an_interrupt_stops_the_workers_in_the_middle_of_their_scenes(
    tmp_path: Path,
    slow_tasks: list[GatherTask],
    running_workers: Callable[[], list[BaseProcess]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workers, "REPORT_S", 0.05)
    done: list[float] = []

    def interrupt(event: Event) -> None:
        done.append(event.done)
        if event.done >= 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gather_scenes(slow_tasks, workers=2, on_event=interrupt)
    # Workers report how much of their scenes is done.
    assert done == sorted(done)
    assert any(share % 1 for share in done)
    assert running_workers() == []
    assert scene_files(tmp_path, ".*") == []
    assert len(scene_files(tmp_path, "*.tif")) < len(slow_tasks)


def test_workers_do_not_outlive_the_process_that_started_them(
    tmp_path: Path, slow_tasks: list[GatherTask]
) -> None:
    for number, task in enumerate(slow_tasks):
        write_document(str(tmp_path / "tasks" / f"{number}.json"), task)
    code = (
        "import sys; from pathlib import Path\n"
        "from cloudbuster.gather import gather_scenes\n"
        "from cloudbuster.storage.files.documents import read_document\n"
        "from cloudbuster.models import GatherTask\n"
        "if __name__ == '__main__':\n"
        "    paths = sorted(Path(sys.argv[1]).iterdir())\n"
        "    gather_scenes([read_document(str(p), GatherTask) for p in paths], workers=2)\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    with subprocess.Popen([sys.executable, str(script), str(tmp_path / "tasks")]) as process:
        wait_for(lambda: scene_files(tmp_path, ".*.partial"))
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.kill()
    assert len(children) >= 2
    wait_for(lambda: not any(is_running(int(child)) for child in children))


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
