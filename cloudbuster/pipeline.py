"""All stages on one machine: from a request to a mosaic, reusing what an earlier run finished."""

import hashlib
import logging
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from cloudbuster.assess import assess_scenes, backstop_repairs, with_backstop
from cloudbuster.core.bands import requested_bands
from cloudbuster.errors import NotCoveredError, OutputError
from cloudbuster.events import Event, OnEvent, emit
from cloudbuster.filter import filter_scenes
from cloudbuster.gather import GatherReport, gather_scenes
from cloudbuster.gathered.resume import output_stems
from cloudbuster.gathered.scene_raster import BACKSTOP_PREFIX, MASK_PREFIX
from cloudbuster.merge import MosaicRecipe, merge_scenes
from cloudbuster.models import (
    Assessment,
    Candidates,
    Document,
    GatherTask,
    MergeResult,
    MosaicRequest,
    RunResult,
    SceneRecord,
    Selection,
)
from cloudbuster.query import query_request
from cloudbuster.run_status import StatusFile
from cloudbuster.storage.documents import write_document
from cloudbuster.storage.reuse import made_once, read_earlier
from cloudbuster.storage.run_folder import check_apart, held
from cloudbuster.storage.run_layout import RunLayout, request_fingerprint
from cloudbuster.storage.uri import is_remote, join, local_path, output_error
from cloudbuster.tasks import earlier_decisions, plan_tasks, read_tasks

logger = logging.getLogger(__name__)

D = TypeVar("D", bound=Document)

# Documents of a run that another request must not find.
STAGE_DOCUMENTS = ("candidates.json", "selection.json", "assessment.json", "status.json")


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
    OutputError
        If the output cannot be written, holds another request's run and ``force`` is off, or lies
        in the folder of another run or contains one.
    TryAgainError
        If another run uses the folder.
    CloudBusterError
        As any stage; ``status.json`` names the stage.
    """
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
        "--maxclouds, or lower --coverage-count"
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
        self._force_documents = request.force
        self._force_scenes = request.force

    def run(self, workers: int) -> RunResult:
        """Run all stages; see `cloudbuster.pipeline.run`."""
        request = self.request
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
            lambda: filter_scenes(candidates, request.filter, bands=bands, on_event=self.on_event),
        )
        selection, report = self._gather(selection, workers)
        assessment = self._assess(selection, report)
        products = self._merge(report.records, assessment)
        return RunResult(
            output=self.layout.products,
            products=products,
            assessment=assessment,
            reused=(*self.reused, *report.reused),
        )

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

    def _gather(self, selection: Selection, workers: int) -> tuple[Selection, GatherReport]:
        """Gather the selected scenes, and once more those that the backstop still needs."""
        self.status.enter("gather")
        report, tasks = self._gather_once(selection, workers)
        repairs: tuple[str, ...] = ()
        if self.request.filter.backstop:
            repairs = backstop_repairs(self.layout.scenes, report.records)
        if repairs:
            logger.info("backstop_repaired", extra={"scenes": ", ".join(repairs)})
            selection = with_backstop(selection, repairs)
            write_document(self.layout.document("selection.json"), selection)
            reused = report.reused
            report, tasks = self._gather_once(selection, workers)
            report = replace(report, reused=reused)
        _remove_stale(Path(self.layout.scenes), self.request.name, report.records, tasks)
        return selection, report

    def _gather_once(
        self, selection: Selection, workers: int
    ) -> tuple[GatherReport, list[GatherTask]]:
        """Plan and write the tasks of a selection, and gather those that are not done."""
        planned = [] if self._force_scenes else read_tasks(self.layout.tasks)
        known, stamps = earlier_decisions(planned)
        tasks = plan_tasks(
            selection,
            name=self.request.name,
            options=self.request.gather,
            output=self.layout.scenes,
            known=known,
            stamps=stamps,
        )
        for number, task in enumerate(tasks, start=1):
            write_document(join(self.layout.tasks, f"{number:04d}.json"), task)
        report = gather_scenes(
            tasks, workers=workers, force=self._force_scenes, on_event=self.on_event
        )
        # A second round must not gather again what this one has gathered.
        self._force_scenes = False
        report.raise_for_failures(self.request.limits.min_success_fraction)
        return report, tasks

    def _assess(self, selection: Selection, report: GatherReport) -> Assessment:
        """Assess what the gathered scenes cover; this is never reused."""
        self.status.enter("assess")
        assessment = assess_scenes(
            self.layout.scenes,
            report.records,
            selection,
            self.request.filter,
            failures=report.failures,
            on_event=self.on_event,
        )
        write_document(self.layout.document("assessment.json"), assessment)
        return assessment

    def _merge(self, records: tuple[SceneRecord, ...], assessment: Assessment) -> MergeResult:
        """Merge the scenes, unless the products of these very scenes are there."""
        self.status.enter("merge")
        fingerprint = _merge_fingerprint(self.request, records)
        products = self.status.finished_merge(fingerprint)
        if products is not None:
            self.reused.append(f"{self.request.name}-cloudless.tif")
            emit(self.on_event, Event("merge", 1, 1, "done before"))
        else:
            self.status.forget_merge()
            recipe = MosaicRecipe.of(self.request, assessment=assessment)
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
    """Write a request into its folder; raise OutputError if the folder is another request's.

    With ``force`` the documents of the other run are removed instead.
    """
    document = Path(layout.document("request.json"))
    if document.is_file() and request.force:
        for name in STAGE_DOCUMENTS:
            Path(layout.document(name)).unlink(missing_ok=True)
    elif document.is_file():
        known = read_earlier(str(document), MosaicRequest)
        if known is None or request_fingerprint(known) != request_fingerprint(request):
            whose = "a request that cannot be read" if known is None else "another request"
            msg = (
                f"{layout.documents} holds the run of {whose}"
                f"{f' ({known.name})' if known else ''}; "
                "choose another output, or --force to replace it"
            )
            raise OutputError(msg)
    write_document(str(document), request)


def _remove_stale(
    scenes: Path, name: str, records: tuple[SceneRecord, ...], tasks: list[GatherTask]
) -> None:
    """Remove the scenes of this name that an earlier request left and this one does not need."""
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


def _merge_fingerprint(request: MosaicRequest, records: tuple[SceneRecord, ...]) -> str:
    """Identify what is merged: the request, the composite and the rasters; SHA-256."""
    parts = [
        request_fingerprint(request),
        request.merge.composite,
        *(record.identity for record in records),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
