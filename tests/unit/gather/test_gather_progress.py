"""Gather reports how far it is, within a scene as well."""

from pathlib import Path

import pytest

from cloudbuster.errors import CloudBusterError, NothingUsableError
from cloudbuster.events import Event
from cloudbuster.gather import gather_or_raise, gather_scene, gather_scenes
from cloudbuster.models import GatherTask
from cloudbuster.source import placing
from tests.factories import SceneSpec
from tests.gathering import task_of


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four blocks of 32 pixels in a scene of 60."""
    monkeypatch.setattr(placing, "MAX_TARGET_BLOCK", 32)


def copies(task: GatherTask, count: int) -> list[GatherTask]:
    return [task.model_copy(update={"index": index}) for index in range(1, count + 1)]


@pytest.mark.usefixtures("small_blocks")
def test_a_scene_reports_the_share_of_it_that_is_done(tmp_path: Path) -> None:
    events: list[Event] = []
    gather_scene(task_of(tmp_path, SceneSpec()), on_event=events.append)
    shares = [event.done for event in events]
    assert events[0] == Event("gather", 0, 1, SceneSpec().id)
    assert shares[1] == pytest.approx(32 * 32 / 60**2)
    assert shares[1:] == sorted(shares[1:])
    assert shares[-1] == 1
    assert {(event.stage, event.total, event.message) for event in events} == {
        ("gather", 1, SceneSpec().id)
    }


@pytest.mark.usefixtures("small_blocks")
def test_scenes_in_this_process_count_with_the_share_that_is_done(tmp_path: Path) -> None:
    events: list[Event] = []
    tasks = copies(task_of(tmp_path, SceneSpec(), backstop_index=None), 3)
    gather_scenes(tasks[:1])
    gather_scenes(tasks, on_event=events.append)
    done = [event.done for event in events]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (1, 3)
    assert len([share for share in done if 1 < share < 2]) == 3
    assert {event.total for event in events} == {3}
    assert events[0].message == "1 scenes were gathered before"


def test_one_scene_alone_raises_its_own_error_and_several_what_is_too_few(tmp_path: Path) -> None:
    task = task_of(tmp_path, SceneSpec(), backstop_index=None)
    Path(task.item["assets"]["B04"]["href"]).unlink()
    with pytest.raises(CloudBusterError) as alone:
        gather_or_raise([task], min_success_fraction=0.8)
    assert type(alone.value).__name__ == "RasterError"
    with pytest.raises(NothingUsableError, match="2 of 2 scenes could not be gathered"):
        gather_or_raise(copies(task, 2), min_success_fraction=0.8)
