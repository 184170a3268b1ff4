"""What follows a round of gather jobs: another round, or the merge."""

from collections.abc import Mapping, Sequence
from typing import Any

from cloudbuster.assess import assess_scenes
from cloudbuster.aws.failures import check_area
from cloudbuster.aws.settings import StackSettings
from cloudbuster.aws.stack.earlier_scenes import note_gathered
from cloudbuster.aws.stack.plans import (
    assess_round,
    is_affordable,
    root_errors,
    round_failures,
)
from cloudbuster.errors import ExitCode
from cloudbuster.gathered.scene_files import find_records
from cloudbuster.gathered.scene_lists import wanted_stems, write_wanted
from cloudbuster.models import (
    Assessment,
    Candidates,
    GatherTask,
    MosaicRequest,
    SceneFailure,
    SceneRecord,
    Selection,
    WantedScenes,
)
from cloudbuster.products.hole_file import write_holes
from cloudbuster.runs.expected_work import with_expected
from cloudbuster.runs.merging import plan_merge
from cloudbuster.runs.rounds import next_round
from cloudbuster.selection.clear_strategy import LookOptions
from cloudbuster.storage.files.documents import read_document, write_document
from cloudbuster.storage.files.run_layout import RunLayout
from cloudbuster.storage.files.uri import join

# The function that filters reads thumbnails for so long, of its fifteen minutes; the one that
# assesses finds most of them kept.
FILTER_SECONDS, ASSESS_SECONDS = 600.0, 120.0
# Cells of the mosaic times scenes whose classes the function reads: about three minutes. Larger
# mosaics are assessed by the merge, after one round.
MOST_CELLS = 20_000_000_000
THUMBNAILS = "thumbnails"


def end_round(
    run: RunLayout,
    round_number: int,
    plan: Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    settings: StackSettings,
) -> dict[str, Any]:
    """Assess a round, and write the selection of the next one or the tasks of the merge.

    Parameters
    ----------
    run : RunLayout
        Layout of the run.
    round_number : int
        Number of the round, from 1 in each attempt.
    plan : mapping
        The state's entry ``plan``.
    results : sequence of mapping
        Results of the map, as of `plans.gather_results`.
    settings : StackSettings
        Prices, and the size of the parts of a merge.

    Returns
    -------
    dict
        The state's entry ``assess``.

    Raises
    ------
    JobsTryAgainError, JobsFailedError, NothingUsableError
        If scenes failed and too little of the area was observed without them.
    """
    note_gathered(run)
    request = read_document(run.document("request.json"), MosaicRequest)
    selection = read_document(run.document("selection.json"), Selection)
    failures = round_failures(run, results, round_number)
    if selection.cloudbuster.strategy == "clear":
        more = _assess_clear(run, request, selection, plan, results, failures, settings)
        if more is not None:
            write_document(run.document("selection.json"), more)
            counts = _counts(plan, failures)
            return {"more_rounds": True, "scenes": counts, **_NO_MERGE}
        counts, lost = _counts(plan, failures), tuple(failures.values())
    else:
        # The merge completes the backstop and assesses, because it has the scenes on its disk.
        counts, lost = assess_round(run, plan, results, request)
    tasks = plan_merge(run, failures, lost, part_cells=settings.merge_part_cells)
    return {"more_rounds": False, "scenes": counts, **tasks}


_NO_MERGE: dict[str, Any] = {
    "merge_task_uri": "",
    "survey_task_uri": "",
    "part_count": 0,
    "parts": [],
}


def _counts(plan: Mapping[str, Any], failures: Mapping[int, SceneFailure]) -> dict[str, int]:
    """Count the scenes of all rounds."""
    selected, failed = int(plan["task_count"]), len(failures)
    return {"selected": selected, "gathered": selected - failed, "failed": failed}


def _assess_clear(
    run: RunLayout,
    request: MosaicRequest,
    selection: Selection,
    plan: Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    failures: Mapping[int, SceneFailure],
    settings: StackSettings,
) -> Selection | None:
    """Write the assessment; return the selection of the next round, or None if there is none."""
    records = _records(run, request, failures, int(plan["task_count"]))
    grid = read_document(join(run.tasks, "1.json"), GatherTask).grid.grid()
    if grid.width * grid.height * len(records) > MOST_CELLS:
        return None
    assessment, holes = assess_scenes(
        run.scenes,
        records,
        selection,
        request.filter,
        merge=request.merge,
        failures=tuple(failures.values()),
        grid=grid,
    )
    assessment, extended = next_round(
        request,
        read_document(run.document("candidates.json"), Candidates),
        selection,
        assessment,
        holes,
        failed={failure.item_id for failure in failures.values()},
        look=LookOptions.of(request.gather, run.document(THUMBNAILS), ASSESS_SECONDS),
        is_affordable=lambda more: is_affordable(more, request, settings),
    )
    if extended is not None:
        return extended
    _check_area(run, request, assessment, results, failures)
    if not assessment.covered:
        hole_file = join(run.products, f"{request.name}-holes.geojson")
        write_holes(hole_file, holes)
        assessment = assessment.model_copy(update={"hole_file": hole_file})
    assessment = with_expected(assessment, run.document("selection.json"))
    write_document(run.document("assessment.json"), assessment)
    return None


def _records(
    run: RunLayout, request: MosaicRequest, failures: Mapping[int, SceneFailure], tasks: int
) -> tuple[SceneRecord, ...]:
    """Read the records of the scenes that were gathered; none if all failed."""
    if len(failures) == tasks:
        return ()
    wanted = read_document(write_wanted(run, failures), WantedScenes)
    return find_records(run.scenes, request.name, wanted=wanted_stems(wanted, run.scenes))


def _check_area(
    run: RunLayout,
    request: MosaicRequest,
    assessment: Assessment,
    results: Sequence[Mapping[str, Any]],
    failures: Mapping[int, SceneFailure],
) -> None:
    """Raise the error of failed jobs if too little of the area was observed without them."""
    observed = 1 - assessment.never_observed_fraction
    if failures:
        names = ExitCode.__members__
        failed = {
            number: f"EXIT_{int(names[failure.error])}" if failure.error in names else failure.error
            for number, failure in failures.items()
        }
        failed |= {
            int(result["index"]): str(result["status"])
            for result in results
            if int(result["index"]) in failures
        }
        check_area(
            run.id,
            failed=failed,
            observed=observed,
            least=request.limits.min_success_fraction,
            reasons=root_errors(run, failed),
        )
