"""Scenes that an earlier execution of a run has gathered, for jobs of a refreshed one."""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from cloudbuster.models import GatheredTasks, GatherTask
from cloudbuster.runs.refresh import earlier_task_uri, find_earlier
from cloudbuster.runs.tasks import read_tasks
from cloudbuster.storage.files.documents import write_document
from cloudbuster.storage.files.reuse import read_earlier
from cloudbuster.storage.files.run_layout import RunLayout
from cloudbuster.storage.files.uri import join

logger = logging.getLogger(__name__)

GATHERED = "gathered.json"
"""Document that says where the tasks of the latest gathered execution of a run are."""
# Documents that are written at a time, as many as boto3 keeps connections open for.
THREADS = 10


def note_gathered(run: RunLayout) -> None:
    """Note where the tasks of a run are, once its jobs have ended."""
    write_document(run.document(GATHERED), GatheredTasks(tasks=run.tasks))


def write_earlier_tasks(run: RunLayout, tasks: Sequence[GatherTask]) -> None:
    """Write beside each task the earlier one whose rasters hold all that it asks for, if any.

    The job of the task copies these rasters, with other numbers and fewer parts, and reads nothing
    of the scene. Scenes expire after ``scratch_days``; those are gathered again.

    Parameters
    ----------
    run : RunLayout
        Layout of the refreshed run.
    tasks : sequence of GatherTask
        Its tasks, in the order of their numbers.
    """
    noted = read_earlier(run.document(GATHERED), GatheredTasks)
    # A second try of the function finds its own tasks if the run has gathered meanwhile.
    earlier = [] if noted is None or noted.tasks == run.tasks else read_tasks(noted.tasks)
    found = find_earlier(tasks, earlier)
    places = [join(run.tasks, f"{number}.json") for number in range(1, len(tasks) + 1)]
    kept = [
        (earlier_task_uri(place), old)
        for place, old in zip(places, found, strict=True)
        if old is not None
    ]
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda each: write_document(*each), kept))
    logger.info("scenes_known", extra={"run_id": run.id, "known": len(kept), "tasks": len(tasks)})
