"""All stages on one machine: from a request to a mosaic, reusing what an earlier run finished."""

import hashlib
import logging
import re
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from cloudbuster.assess import assess_scenes, backstop_repairs, with_backstop
from cloudbuster.core.scenes.bands import requested_bands
from cloudbuster.core.selection.holes import Holes
from cloudbuster.detectors import check_detector
from cloudbuster.errors import NotCoveredError, OutputError
from cloudbuster.events import Event, OnEvent, emit
from cloudbuster.filter import filter_scenes
from cloudbuster.gather import GatherReport, gather_scenes
from cloudbuster.gathered.resume import output_stems
from cloudbuster.gathered.scene_raster import BACKSTOP_PREFIX, MASK_PREFIX
from cloudbuster.inputs.areas import check_crs, request_area
from cloudbuster.merge import MosaicRecipe, merge_scenes
from cloudbuster.models import (
    Assessment,
    Candidates,
    Document,
    GatherTask,
    MergeResult,
    MosaicRequest,
    RunPlan,
    RunResult,
    SceneFailure,
    SceneRecord,
    Selection,
)
from cloudbuster.processes.workers import refuse_reimport
from cloudbuster.products.hole_file import write_holes
from cloudbuster.query import query_request
from cloudbuster.runs.expected_work import PLAN, expected_plan, with_expected
from cloudbuster.runs.refresh import adopt_scenes, remove_aside, set_aside
from cloudbuster.runs.rounds import next_round
from cloudbuster.runs.run_status import StatusFile
from cloudbuster.runs.tasks import earlier_decisions, plan_tasks, read_tasks
from cloudbuster.selection.clear_strategy import LookOptions
from cloudbuster.storage.files.documents import write_document
from cloudbuster.storage.files.reuse import made_once, read_earlier
from cloudbuster.storage.files.run_folder import check_apart, held
from cloudbuster.storage.files.run_layout import RunLayout, request_fingerprint
from cloudbuster.storage.files.uri import is_remote, join, local_path, output_error

logger = logging.getLogger(__name__)

D = TypeVar("D", bound=Document)

# Documents that the run of another request must not find.
STAGE_DOCUMENTS = ("candidates.json", "selection.json", PLAN, "assessment.json", "status.json")


def run(request: MosaicRequest, *, workers: int = 1, on_event: OnEvent | None = None) -> RunResult:
    """Make the mosaic of a request, reusing what an earlier run of the same request finished.

    Parameters
    ----------
    request : MosaicRequest
        Relative paths in it are relative to the working directory.
    workers, on_event : int, callable
        Number of processes that gather scenes, and progress callback.

    Returns
    -------
    RunResult
        The mosaic is made also if the area is not covered; ``assessment.reasons`` says why.

    Raises
    ------
    RequestError
        If a process that another pool started runs its parent's script again.
    OutputError
        If the output cannot be written, holds another request's run and ``force`` is off, or lies
        in the folder of another run or contains one.
    TryAgainError
        If another run uses the folder.
    CloudBusterError
        As any stage; ``status.json`` names the stage.
    """
    refuse_reimport()
    layout = RunLayout.in_folder(request, _folder_of(request))
    check_apart(Path(layout.documents))
    with held(Path(layout.documents)):
        _claim(request, layout)
        status = StatusFile(layout, request)
        with status.watching():
            return _Stages(request, layout, status, on_event).run(workers)


def not_covered_error(assessment: Assessment) -> NotCoveredError | None:
    """Make the error of a mosaic that does not cover its area as asked; None if it does."""
    if assessment.covered:
        return None
    return NotCoveredError(
        f"{'; '.join(assessment.reasons)}; the mosaic was made all the same: widen the dates or "
        "--maxclouds, or raise --max-never-clear"
    )


class _Stages:
    """The stages of one run, each of which reuses the document that it wrote before."""

    def __init__(
        self,
        request: MosaicRequest,
        layout: RunLayout,
        status: StatusFile,
        on_event: OnEvent | None,
    ) -> None:
        """Start with nothing reused."""
        self.request = request
        self.layout = layout
        self.status = status
        self.on_event = on_event
        self.reused: list[str] = []
        self.reused_scenes: tuple[str, ...] = ()
        self.look = LookOptions.of(
            request.gather, layout.document("thumbnails"), layers=request.delivered_layers
        )
        self.tasks: list[GatherTask] = []
        self._earlier_tasks: list[GatherTask] = []
        self._is_first_gather = True
        self._force_documents = request.force or request.refresh
        self._force_scenes = request.force

    def run(self, workers: int) -> RunResult:
        """Run all stages; see `cloudbuster.runs.pipeline.run`."""
        request = self.request
        self._check_first()
        candidates = self._document(
            "query",
            "candidates.json",
            Candidates,
            lambda: query_request(request, on_event=self.on_event),
        )
        bands = requested_bands(request.query.kind, request.gather.bands)
        selection = self._document(
            "filter",
            "selection.json",
            Selection,
            lambda: filter_scenes(
                candidates, request.filter, bands=bands, look=self.look, on_event=self.on_event
            ),
        )
        report, assessment, selection = self._rounds(candidates, selection, workers)
        report.raise_for_area(
            1 - assessment.never_observed_fraction, request.limits.min_success_fraction
        )
        products = self._merge(report.records, assessment, selection)
        return RunResult(
            output=self.layout.products,
            products=products,
            assessment=assessment,
            reused=(*self.reused, *self.reused_scenes),
        )

    def _rounds(
        self, candidates: Candidates, selection: Selection, workers: int
    ) -> tuple[GatherReport, Assessment, Selection]:
        """Gather scenes and pick further ones, until nothing is left to do."""
        failures: dict[str, SceneFailure] = {}
        while True:
            selection, report = self._gather(candidates, selection, workers, failures)
            failures |= {failure.item_id: failure for failure in report.failures}
            report = replace(report, failures=tuple(failures.values()))
            assessment, holes = self._assess(selection, report)
            assessment, extended = next_round(
                self.request,
                candidates,
                selection,
                assessment,
                holes,
                failed=failures,
                look=self.look,
                on_event=self.on_event,
            )
            if extended is None:
                # Not before: after new scenes, a later round may need those of an earlier run.
                remove_aside(Path(self.layout.scenes))
                _remove_stale(
                    Path(self.layout.scenes), self.request.name, report.records, self.tasks
                )
                if not report.records:
                    report.raise_for_failures(1.0)
                return report, self._write_assessment(assessment, holes), selection
            added = len(extended.cloudbuster.entries) - len(selection.cloudbuster.entries)
            selection = extended
            logger.info("round_added", extra={"round": assessment.rounds + 1, "scenes": added})
            write_document(self.layout.document("selection.json"), selection)

    def _check_first(self) -> None:
        """Check area, CRS and detector before anything is searched.

        A run that resumes may have finished every scene, whatever became of the files since.
        """
        request = self.request
        if request.force or not _holds_results(self.layout):
            check_crs(request.gather, request_area(request.aoi, request.query))
            check_detector(request.gather.detector, request.query.kind)

    def _document(self, stage: str, name: str, model: type[D], make: Callable[[], D]) -> D:
        """Read the document of a stage if an earlier run made it, else make it.

        Once a document has been made, those of all later stages are made again.
        """
        self.status.enter(stage)
        is_new = False

        def make_new() -> D:
            """Make the document, and note that it is new."""
            nonlocal is_new
            is_new = True
            return make()

        uri = self.layout.document(name)
        document = made_once(uri, model, make_new, anew=self._force_documents)
        if is_new:
            self._force_documents = True
        else:
            self.reused.append(name)
            emit(self.on_event, Event(stage, 1, 1, "done before"))
        return document

    def _gather(
        self,
        candidates: Candidates,
        selection: Selection,
        workers: int,
        failed: Collection[str],
    ) -> tuple[Selection, GatherReport]:
        """Gather the selected scenes, except those that failed before in this run.

        With strategy `original`, scenes that the backstop still needs are gathered once more.
        """
        self.status.enter("gather")
        report = self._gather_once(candidates, selection, workers, failed)
        repairs: tuple[str, ...] = ()
        if self.request.filter.backstop and selection.cloudbuster.strategy == "original":
            repairs = backstop_repairs(self.layout.scenes, report.records)
        if repairs:
            logger.info("backstop_repaired", extra={"scenes": ", ".join(repairs)})
            selection = with_backstop(selection, repairs)
            write_document(self.layout.document("selection.json"), selection)
            report = self._gather_once(candidates, selection, workers, failed)
        return selection, report

    def _gather_once(
        self,
        candidates: Candidates,
        selection: Selection,
        workers: int,
        failed: Collection[str],
    ) -> GatherReport:
        """Plan and write the tasks of a selection, and gather those that are not done."""
        planned = [] if self._force_scenes else read_tasks(self.layout.tasks)
        is_refresh = self.request.refresh and self._is_first_gather
        # A run from scratch would compare the scenes with the new ones.
        known, stamps = earlier_decisions([] if is_refresh else planned)
        tasks = plan_tasks(
            selection,
            name=self.request.name,
            options=self.request.gather,
            output=self.layout.scenes,
            known=known,
            stamps=stamps,
        )
        if is_refresh:
            self._earlier_tasks = planned
            _remove_tasks(self.layout)
        # Scenes of this round may take the numbers of others that a later round needs.
        self._earlier_tasks = set_aside(tasks, self._earlier_tasks)
        adopt_scenes(tasks, self._earlier_tasks)
        for number, task in enumerate(tasks, start=1):
            write_document(join(self.layout.tasks, f"{number:04d}.json"), task)
        self.tasks = tasks
        if self._is_first_gather:
            self._expect(candidates, selection, tasks)
        todo = [task for task in tasks if str(task.item.get("id")) not in failed]
        report = gather_scenes(
            todo, workers=workers, force=self._force_scenes, on_event=self.on_event
        )
        if self._is_first_gather:
            self.reused_scenes = report.reused
        # A second round must not gather again what this one has gathered.
        self._force_scenes = self._is_first_gather = False
        return report

    def _expect(
        self, candidates: Candidates, selection: Selection, tasks: list[GatherTask]
    ) -> None:
        """Write what the run is expected to read, unless an earlier run of the same plan did."""
        made_once(
            self.layout.document(PLAN),
            RunPlan,
            lambda: expected_plan(selection, candidates, tasks, self.request),
            anew=self._force_documents,
        )

    def _assess(self, selection: Selection, report: GatherReport) -> tuple[Assessment, Holes]:
        """Assess what the gathered scenes cover; this is never reused."""
        self.status.enter("assess")
        return assess_scenes(
            self.layout.scenes,
            report.records,
            selection,
            self.request.filter,
            merge=self.request.merge,
            failures=report.failures,
            grid=self.tasks[0].grid.grid(),
            on_event=self.on_event,
        )

    def _write_assessment(self, assessment: Assessment, holes: Holes) -> Assessment:
        """Write the assessment, and where the holes are if the area is not covered."""
        hole_file = join(self.layout.products, f"{self.request.name}-holes.geojson")
        if assessment.covered:
            Path(hole_file).unlink(missing_ok=True)
        else:
            write_holes(hole_file, holes)
            assessment = assessment.model_copy(update={"hole_file": hole_file})
        assessment = with_expected(assessment, self.layout.document("selection.json"))
        write_document(self.layout.document("assessment.json"), assessment)
        return assessment

    def _merge(
        self, records: tuple[SceneRecord, ...], assessment: Assessment, selection: Selection
    ) -> MergeResult:
        """Merge the scenes, unless the products of these very scenes are there."""
        self.status.enter("merge")
        fingerprint = _merge_fingerprint(self.request, records, assessment)
        products = self.status.finished_merge(fingerprint)
        if products is not None:
            self.reused.append(f"{self.request.name}-cloudless.tif")
            emit(self.on_event, Event("merge", 1, 1, "done before"))
        else:
            self.status.forget_merge()
            recipe = MosaicRecipe.of(self.request, assessment=assessment, selection=selection)
            products = merge_scenes(
                self.layout.scenes, self.layout.products, recipe, on_event=self.on_event
            )
        reasons = None if assessment.covered else assessment.reasons
        self.status.succeed(products, fingerprint, reasons=reasons)
        return products


def _folder_of(request: MosaicRequest) -> str:
    """Return the absolute path of a request's folder; raise OutputError if it is remote."""
    output = request.output or request.name
    if is_remote(output):
        msg = f"{output}: a run on one machine writes to a local folder; the stack writes to S3"
        raise OutputError(msg)
    return str(local_path(output).absolute())


def _claim(request: MosaicRequest, layout: RunLayout) -> None:
    """Write a request into its folder; raise OutputError if the folder holds another run's results.

    With ``force``, or if the other run gathered nothing, the other run's documents are removed.
    """
    document = Path(layout.document("request.json"))
    if document.is_file():
        known = read_earlier(str(document), MosaicRequest)
        is_same = known is not None and request_fingerprint(known) == request_fingerprint(request)
        if not is_same and not request.force and _holds_results(layout):
            whose = "a request that cannot be read" if known is None else "another request"
            msg = (
                f"{layout.documents} holds the run of {whose}"
                f"{f' ({known.name})' if known else ''}; "
                "choose another output, or --force to replace it"
            )
            raise OutputError(msg)
        if not is_same or request.force:
            _remove_documents(layout)
    write_document(str(document), request.model_copy(update={"refresh": False}))


def _holds_results(layout: RunLayout) -> bool:
    """Whether a run's folder holds a gathered scene, a mask or a mosaic."""
    return any(
        next(Path(folder).glob("*.tif"), None) is not None
        for folder in (layout.scenes, layout.products)
    )


def _remove_documents(layout: RunLayout) -> None:
    """Remove the documents and tasks that another run left."""
    try:
        for name in STAGE_DOCUMENTS:
            Path(layout.document(name)).unlink(missing_ok=True)
    except OSError as error:
        raise output_error(Path(layout.documents), error) from error
    _remove_tasks(layout)


def _remove_tasks(layout: RunLayout) -> None:
    """Remove the tasks of an earlier plan, which may be more than those of the next one."""
    try:
        for path in Path(layout.tasks).glob("*.json"):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise output_error(Path(layout.tasks), error) from error


def _remove_stale(
    scenes: Path, name: str, records: tuple[SceneRecord, ...], tasks: list[GatherTask]
) -> None:
    """Remove the scenes of this name that an earlier request left and this one does not need."""
    if not scenes.is_dir():
        # No scene was gathered yet.
        return
    wanted = {Path(record.raster).stem for record in records}
    wanted |= {
        stem for task in tasks for stem in output_stems(task) if stem.startswith(MASK_PREFIX)
    }
    pattern = re.compile(rf"({BACKSTOP_PREFIX}|{MASK_PREFIX})?{re.escape(name)}-\d+")
    for path in scenes.iterdir():
        if pattern.fullmatch(path.stem) and path.stem not in wanted:
            try:
                path.unlink()
            except OSError as error:
                raise output_error(path, error) from error


def _merge_fingerprint(
    request: MosaicRequest, records: tuple[SceneRecord, ...], assessment: Assessment
) -> str:
    """Identify what is merged: request, composite, rasters and assessment; SHA-256."""
    parts = [
        request_fingerprint(request),
        request.merge.composite,
        # The folder may be moved as a whole.
        assessment.model_copy(update={"hole_file": None}).fingerprint(),
        *(record.identity for record in records),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
