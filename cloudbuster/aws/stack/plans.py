"""Documents between the states: what is made once, the plan of a round, what came of it."""

import logging
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import PurePosixPath
from typing import Any, TypeVar

import orjson

from cloudbuster.aws.costs import estimate_run_usd
from cloudbuster.aws.failures import check_success, exit_code_of
from cloudbuster.aws.settings import StackSettings
from cloudbuster.aws.stack.state import GATHERED
from cloudbuster.errors import BadInputError, RequestError
from cloudbuster.gathered.resume import output_stems
from cloudbuster.gathered.scene_lists import write_task_scenes
from cloudbuster.gathered.scene_raster import MASK_PREFIX
from cloudbuster.models import Document, GatherTask, MosaicRequest, SceneFailure, SceneRecord
from cloudbuster.products.parts import part_windows
from cloudbuster.storage.documents import parse_json, read_document, write_document
from cloudbuster.storage.run_layout import RunLayout
from cloudbuster.storage.uri import exists, join, read_bytes, write_bytes

logger = logging.getLogger(__name__)

D = TypeVar("D", bound=Document)


def made_once(uri: str, model: type[D], make: Callable[[], D], *, anew: bool = False) -> D:
    """Read a document if an earlier attempt left it, else make and write it.

    Parameters
    ----------
    uri : str
        Of the document.
    model : type of Document
        What it is; one that cannot be read as that is made anew.
    make : callable
        Makes it.
    anew : bool
        Make it in any case.
    """
    if not anew and exists(uri):
        try:
            return read_document(uri, model)
        except BadInputError:
            logger.warning("document_unreadable", extra={"uri": uri})
    made = make()
    write_document(uri, made)
    return made


def write_plan(
    run: RunLayout,
    tasks: Sequence[GatherTask],
    request: MosaicRequest,
    settings: StackSettings,
    *,
    anew: bool,
) -> dict[str, Any]:
    """Write the tasks of a round as ``tasks/N.json`` and say which of them are to be done.

    Parameters
    ----------
    run : RunLayout
        Where to.
    tasks : sequence of GatherTask
        Of every selected scene.
    request : MosaicRequest
        Its budget is compared with the estimate.
    settings : StackSettings
        Prices, and how many tasks one round may have.
    anew : bool
        Do again what an earlier attempt gathered.

    Returns
    -------
    dict
        The ``plan`` of the state: ``task_count`` and ``todo_count``; ``indices`` of the tasks to
        do, and where they also lie as a document, for a distributed map; ``estimate_usd`` of these,
        and ``within_budget``.

    Raises
    ------
    RequestError
        For more tasks than the stack takes.
    """
    if len(tasks) > settings.max_tasks:
        msg = (
            f"{len(tasks)} scenes are selected, this stack takes {settings.max_tasks}: lower "
            "coverage_count or max_selections, or deploy with distributed_map on"
        )
        raise RequestError(msg)
    for number, task in enumerate(tasks, start=1):
        write_document(join(run.tasks, f"{number}.json"), task)
    todo = [number for number, task in enumerate(tasks, start=1) if anew or not is_gathered(task)]
    write_task_scenes(run, tasks)
    indices_uri = join(run.tasks, "indices.json")
    write_bytes(indices_uri, orjson.dumps(todo))
    return {
        "task_count": len(tasks),
        "todo_count": len(todo),
        # A distributed map reads them from the document: the state stays small.
        "indices": todo if len(todo) <= settings.max_inline_indices else [],
        "indices_key": PurePosixPath(indices_uri.removeprefix(settings.root))
        .as_posix()
        .lstrip("/"),
        "image": "torch" if request.gather.detector.type == "pytorch" else "base",
        **_budget(len(todo), _merge_jobs(tasks, settings), request, settings),
    }


def _merge_jobs(tasks: Sequence[GatherTask], settings: StackSettings) -> int:
    """Count the jobs of the merge: one, or those of the parts, one before and one after them."""
    parts = len(part_windows(tasks[0].grid.grid(), settings.merge_part_cells)) if tasks else 1
    return parts + 2 if parts > 1 else 1


def _budget(
    scenes: int, merge_jobs: int, request: MosaicRequest, settings: StackSettings
) -> dict[str, Any]:
    """Compare what gathering ``scenes`` and merging will cost with what the request allows."""
    estimate = estimate_run_usd(
        kind=request.query.kind,
        home=settings.home,
        scenes=scenes,
        gather_usd_per_hour=settings.gather_usd_per_hour,
        merge_usd_per_hour=settings.merge_usd_per_hour,
        merge_jobs=merge_jobs,
        with_twins=request.needs_twins,
    )
    budget = request.limits.budget_usd
    within = budget is None or estimate <= budget
    return {"estimate_usd": estimate, "budget_usd": budget, "within_budget": within}


def is_gathered(task: GatherTask) -> bool:
    """Whether an earlier attempt of the same run and version finished everything of ``task``."""
    stems = [stem for stem in output_stems(task) if not stem.startswith(MASK_PREFIX)]
    return all(_is_finished(task, join(task.output, f"{stem}.json")) for stem in stems)


def _is_finished(task: GatherTask, uri: str) -> bool:
    if not exists(uri):
        return False
    try:
        record = read_document(uri, SceneRecord)
    except BadInputError:
        return False
    return (
        record.item_id == str(task.item.get("id"))
        and record.bands == task.bands
        and record.grid == task.grid
        and record.version == version("cloudbuster")
    )


def gather_results(gathered: object, *, root: str) -> list[dict[str, Any]]:
    """Read what a map answered: the items themselves, or where a distributed map wrote them.

    Parameters
    ----------
    gathered : list or dict
        Results of a map, ``{"index": 7, "status": "SUCCEEDED"}`` each; or of a distributed map,
        whose manifest names the files that hold them:
        https://docs.aws.amazon.com/step-functions/latest/dg/input-output-resultwriter.html
    root : str
        URI of the bucket.

    Returns
    -------
    list of dict
        By ``index``.
    """
    if isinstance(gathered, list):
        return gathered
    if not isinstance(gathered, dict):
        msg = f"the map answered {type(gathered).__name__}, no list and no manifest"
        raise RequestError(msg)
    uri = join(root, gathered["ResultWriterDetails"]["Key"])
    manifest = parse_json(read_bytes(uri), source=uri)
    results: list[dict[str, Any]] = []
    # A child that failed has failed the map: what is read here has succeeded.
    for file in manifest["ResultFiles"]["SUCCEEDED"]:
        part = join(root, file["Key"])
        children = parse_json(read_bytes(part), source=part)
        # Each describes a child execution, which ended with JSON text.
        results.extend(orjson.loads(child["Output"]) for child in children)
    return sorted(results, key=lambda result: int(result["index"]))


def assess_round(
    run: RunLayout,
    plan: Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    request: MosaicRequest,
) -> tuple[dict[str, int], tuple[SceneFailure, ...]]:
    """Count what was gathered, and tell what failed.

    Returns
    -------
    dict, tuple of SceneFailure
        ``selected``, ``gathered`` and ``failed`` scenes; why each failed.

    Raises
    ------
    JobsTryAgainError, JobsFailedError, NothingUsableError
        Where fewer than ``min_success_fraction`` of the scenes were gathered, by what kept the
        others back.
    """
    lost = [result for result in results if result["status"] != GATHERED]
    selected = int(plan["task_count"])
    failed = {int(result["index"]): str(result["status"]) for result in lost}
    check_success(
        run.id, failed=failed, selected=selected, least=request.limits.min_success_fraction
    )
    failures = tuple(_failure(run, result) for result in lost)
    counts = {"selected": selected, "gathered": selected - len(lost), "failed": len(lost)}
    return counts, failures


def _failure(run: RunLayout, result: Mapping[str, Any]) -> SceneFailure:
    number, status = int(result["index"]), str(result["status"])
    task = read_document(join(run.tasks, f"{number}.json"), GatherTask)
    code = exit_code_of(status)
    return SceneFailure(
        item_id=str(task.item.get("id")),
        index=task.index or task.backstop_index or 0,
        error=status if code is None else code.name,
        message=(
            f"task {number} of {run.id} ended as {status}; "
            f"cloudbuster logs {run.id} --scene {number} prints why"
        ),
    )
