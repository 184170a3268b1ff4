"""Documents between the states: the plan of a round, and the results of its jobs."""

import logging
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson

from cloudbuster.aws.costs import estimate_run_usd
from cloudbuster.aws.failures import check_success, exit_code_of
from cloudbuster.aws.run_plan import Prices, merge_job_count, priced_plan
from cloudbuster.aws.settings import StackSettings
from cloudbuster.aws.stack.state import GATHERED
from cloudbuster.errors import RequestError
from cloudbuster.gathered.resume import is_done
from cloudbuster.gathered.scene_lists import write_task_scenes
from cloudbuster.models import Candidates, GatherTask, MosaicRequest, SceneFailure, Selection
from cloudbuster.runs.expected_work import PLAN, expect_work, expected_rounds
from cloudbuster.runs.task_jobs import job_error
from cloudbuster.storage.files.documents import parse_json, read_document, write_document
from cloudbuster.storage.files.run_layout import RunLayout
from cloudbuster.storage.files.uri import exists, join, read_bytes, write_bytes

logger = logging.getLogger(__name__)

# Requests to S3 at a time, as many as boto3 keeps connections open for: one after the other they
# would take minutes for thousands of scenes.
THREADS = 10
FAILURES = "failures.json"
"""Document with the failed tasks of an attempt's rounds."""


def write_plan(
    run: RunLayout,
    tasks: Sequence[GatherTask],
    request: MosaicRequest,
    settings: StackSettings,
    *,
    anew: bool,
    is_first_round: bool = True,
    failed: Collection[int] = (),
) -> dict[str, Any]:
    """Write the tasks of a round as ``tasks/N.json`` and find those that are left to do.

    Parameters
    ----------
    run : RunLayout
        Layout of the run.
    tasks : sequence of GatherTask
        Tasks of all selected scenes.
    request : MosaicRequest
        Its budget is compared with the estimate.
    settings : StackSettings
        Prices, the greatest budget, and the greatest number of tasks of a round.
    anew : bool
        Repeat tasks that an earlier attempt finished.
    is_first_round : bool
        False for a later round, whose estimate includes the scenes of the earlier ones: a budget
        is that of the whole run.
    failed : collection of int
        Numbers of tasks that failed in an earlier round of this attempt; they are not tried again.

    Returns
    -------
    dict
        The state's entry ``plan``: ``task_count`` and ``todo_count``; ``indices`` of the tasks to
        do, and the key of a document with the same numbers for a distributed map; ``estimate_usd``
        for these tasks, ``budget_usd`` with the name of its value in ``budget_name``, and
        ``within_budget``.

    Raises
    ------
    RequestError
        If there are more tasks than the stack allows.
    """
    _check_count(tasks, settings)
    todo = [number for number in _write_tasks(run, tasks, anew=anew) if number not in failed]
    logger.info("round_planned", extra={"run_id": run.id, "todo_count": len(todo)})
    write_task_scenes(run, tasks)
    indices_uri = join(run.tasks, "indices.json")
    write_bytes(indices_uri, orjson.dumps(todo))
    counted = len(todo if is_first_round else tasks)
    return {
        "task_count": len(tasks),
        "todo_count": len(todo),
        # A distributed map reads the numbers from the document, so that the state stays small.
        "indices": todo if len(todo) <= settings.max_inline_indices else [],
        "indices_key": indices_uri.removeprefix(settings.root).lstrip("/"),
        "image": "torch" if "pytorch" in request.gather.detector.detectors.names else "base",
        **_budget(counted, merge_job_count(tasks, settings), request, settings),
    }


def write_expected(
    run: RunLayout,
    selection: Selection,
    candidates: Candidates,
    tasks: Sequence[GatherTask],
    request: MosaicRequest,
    prices: Prices,
) -> None:
    """Write what a run is expected to read, decode and cost, as ``plan.json``.

    Parameters
    ----------
    run : RunLayout
        Layout of the run.
    selection, candidates, tasks : Selection, Candidates, sequence of GatherTask
        Scenes of the first round, and how they are gathered.
    request : MosaicRequest
        The request.
    prices : Prices
        Where the run is paid.
    """
    work = expect_work(tasks, rounds=expected_rounds(selection, candidates, request))
    plan = priced_plan(selection, tasks, work, request, prices)
    write_document(run.document(PLAN), plan)
    extra = {"run_id": run.id, "usd": plan.usd, "read_bytes": work.read_bytes}
    logger.info("run_expected", extra=extra)


def _check_count(tasks: Sequence[GatherTask], settings: StackSettings) -> None:
    """Raise RequestError if there are more tasks than the stack allows."""
    if len(tasks) > settings.max_tasks:
        msg = (
            f"{len(tasks)} scenes are selected, this stack takes {settings.max_tasks}: lower "
            "coverage_count or max_selections, or deploy with distributed_map on"
        )
        raise RequestError(msg)


def _write_tasks(run: RunLayout, tasks: Sequence[GatherTask], *, anew: bool) -> list[int]:
    """Write each task; return the numbers of those to do, counted from 1."""

    def write(number: int, task: GatherTask) -> bool:
        """Write a task; return whether it is to be done."""
        write_document(join(run.tasks, f"{number}.json"), task)
        return anew or not is_done(task)

    numbers = range(1, len(tasks) + 1)
    with ThreadPoolExecutor(THREADS) as pool:
        is_left = pool.map(write, numbers, tasks)
        return [number for number, left in zip(numbers, is_left, strict=True) if left]


def _budget(
    scenes: int, merge_jobs: int, request: MosaicRequest, settings: StackSettings
) -> dict[str, Any]:
    """Compare the estimated cost with the budget: the request's, or the stack's if it is lower."""
    torch = "pytorch" in request.gather.detector.detectors.names
    estimate = estimate_run_usd(
        kind=request.query.kind,
        home=settings.home,
        scenes=scenes,
        gather_usd_per_hour=(
            settings.torch_usd_per_hour if torch else settings.gather_usd_per_hour
        ),
        merge_usd_per_hour=settings.merge_usd_per_hour,
        merge_jobs=merge_jobs,
        with_twins=request.needs_twins,
    )
    budget, name = request.limits.budget_usd, "limits.budget_usd"
    ceiling = settings.max_budget_usd
    if ceiling is not None and (budget is None or budget > ceiling):
        budget, name = ceiling, "max_budget_usd of the stack"
    return {
        "estimate_usd": estimate,
        "budget_usd": budget,
        "budget_name": name,
        "within_budget": budget is None or estimate <= budget,
    }


def gather_results(gathered: object, *, root: str) -> list[dict[str, Any]]:
    """Read the results of a map from the state, or from the files of a distributed map.

    Parameters
    ----------
    gathered : list or dict
        Results of a map, ``{"index": 7, "status": "SUCCEEDED"}`` each; or the answer of a
        distributed map, with a manifest that lists the files of its results:
        https://docs.aws.amazon.com/step-functions/latest/dg/input-output-resultwriter.html
    root : str
        URI of the stack's bucket.

    Returns
    -------
    list of dict
        Results, by ``index``.

    Raises
    ------
    RequestError
        If ``gathered`` is neither.
    """
    if isinstance(gathered, list):
        return gathered
    if not isinstance(gathered, dict):
        msg = f"the map answered {type(gathered).__name__}, neither a list nor a manifest"
        raise RequestError(msg)
    uri = join(root, gathered["ResultWriterDetails"]["Key"])
    manifest = parse_json(read_bytes(uri), source=uri)
    results: list[dict[str, Any]] = []
    # A failed child fails the map, so the manifest of a map that succeeded lists no other files.
    for file in manifest["ResultFiles"]["SUCCEEDED"]:
        part = join(root, file["Key"])
        children = parse_json(read_bytes(part), source=part)
        # Each entry describes a child execution, with its output as JSON text.
        results.extend(orjson.loads(child["Output"]) for child in children)
    return sorted(results, key=lambda result: int(result["index"]))


def is_affordable(selection: Selection, request: MosaicRequest, settings: StackSettings) -> bool:
    """Whether gathering all picks of a selection, and one merge, stay within the budget."""
    entries = len(selection.cloudbuster.entries)
    return bool(_budget(entries, 1, request, settings)["within_budget"])


def earlier_failures(run: RunLayout, round_number: int) -> dict[int, SceneFailure]:
    """Read which tasks failed in earlier rounds of an attempt, by their numbers."""
    uri = run.document(FAILURES)
    if round_number == 1 or not exists(uri):
        return {}
    document = parse_json(read_bytes(uri), source=uri)
    return {int(number): SceneFailure(**failure) for number, failure in document.items()}


def round_failures(
    run: RunLayout, results: Sequence[Mapping[str, Any]], round_number: int
) -> dict[int, SceneFailure]:
    """Describe the tasks that failed up to this round, by their numbers, and keep that."""
    lost = {
        int(result["index"]): str(result["status"])
        for result in results
        if result["status"] != GATHERED
    }
    reasons = root_errors(run, lost)
    failures = earlier_failures(run, round_number) | {
        number: _failure(run, number, status, reasons.get(number))
        for number, status in lost.items()
    }
    content = {str(number): failure.model_dump() for number, failure in failures.items()}
    write_bytes(run.document(FAILURES), orjson.dumps(content))
    return failures


def assess_round(
    run: RunLayout,
    plan: Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    request: MosaicRequest,
) -> tuple[dict[str, int], tuple[SceneFailure, ...]]:
    """Count the gathered scenes of a round and describe the failed ones.

    Parameters
    ----------
    run : RunLayout
        Layout of the run.
    plan : mapping
        The state's entry ``plan``.
    results : sequence of mapping
        Results of the map, as of `gather_results`.
    request : MosaicRequest
        The request.

    Returns
    -------
    dict, tuple of SceneFailure
        Numbers of ``selected``, ``gathered`` and ``failed`` scenes; the reason of each failure.

    Raises
    ------
    JobsTryAgainError, JobsFailedError, NothingUsableError
        If fewer than ``min_success_fraction`` of the scenes were gathered; which of the errors
        depends on why the others were not (`check_success`).
    """
    lost = [result for result in results if result["status"] != GATHERED]
    selected = int(plan["task_count"])
    failed = {int(result["index"]): str(result["status"]) for result in lost}
    reasons = root_errors(run, failed)
    check_success(
        run.id,
        failed=failed,
        selected=selected,
        least=request.limits.min_success_fraction,
        reasons=reasons,
    )
    failures = tuple(
        _failure(run, number, status, reasons.get(number)) for number, status in failed.items()
    )
    counts = {"selected": selected, "gathered": selected - len(lost), "failed": len(lost)}
    return counts, failures


def root_errors(run: RunLayout, failed: Mapping[int, str]) -> dict[int, str]:
    """Read the errors that jobs kept, by the numbers of their tasks.

    Parameters
    ----------
    run : RunLayout
        Layout of the run.
    failed : mapping of int to str
        Status of the job of each task that failed, ``EXIT_5``. A job that was killed kept none.
    """
    codes = {number: exit_code_of(status) for number, status in failed.items()}
    found = {
        number: job_error(join(run.tasks, f"{number}.json"), code=int(code))
        for number, code in codes.items()
        if code is not None
    }
    return {number: text for number, text in found.items() if text is not None}


def _failure(run: RunLayout, number: int, status: str, reason: str | None) -> SceneFailure:
    task = read_document(join(run.tasks, f"{number}.json"), GatherTask)
    code = exit_code_of(status)
    return SceneFailure(
        item_id=str(task.item.get("id")),
        index=task.index or task.backstop_index or 0,
        error=status if code is None else code.name,
        message=(
            f"task {number} of {run.id} ended as {status}; {f'{reason}; ' if reason else ''}"
            f"cloudbuster logs {run.id} --scene {number} prints its log"
        ),
    )
