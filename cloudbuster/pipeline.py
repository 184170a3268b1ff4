"""The whole line on one machine: a request in, a mosaic out, nothing done twice."""

import hashlib
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from cloudbuster.assess import assess_scenes, backstop_repairs
from cloudbuster.core.bands import requested_bands
from cloudbuster.errors import (
    BadInputError,
    CloudBusterError,
    ExitCode,
    OutputError,
)
from cloudbuster.events import Event, OnEvent, emit
from cloudbuster.filter import filter_scenes
from cloudbuster.gather import GatherReport, gather_scenes
from cloudbuster.gathered.resume import output_stems
from cloudbuster.gathered.scene_raster import MASK_PREFIX
from cloudbuster.merge import merge_scenes
from cloudbuster.models import (
    Assessment,
    Candidates,
    Document,
    GatherTask,
    MergeResult,
    MosaicRequest,
    RunResult,
    RunStatus,
    SceneRecord,
    Selection,
    SelectionEntry,
)
from cloudbuster.query import query_request
from cloudbuster.storage.documents import read_document, write_document
from cloudbuster.storage.run_folder import held
from cloudbuster.storage.run_layout import request_fingerprint
from cloudbuster.storage.uri import is_remote, local_path, output_error
from cloudbuster.tasks import earlier_decisions, plan_tasks, read_tasks

logger = logging.getLogger(__name__)

D = TypeVar("D", bound=Document)


def run(request: MosaicRequest, *, workers: int = 1, on_event: OnEvent | None = None) -> RunResult:
    """Make the mosaic of a request, resuming what an earlier run of the same request finished.

    Parameters
    ----------
    request : MosaicRequest
        Relative paths in it count from the working directory.
    workers : int
        Processes to gather with.
    on_event : callable, optional
        Told of every step.

    Returns
    -------
    RunResult
        Where an area could not be covered, the mosaic is made all the same and
        ``assessment.covered`` is False, with the reasons.

    Raises
    ------
    OutputError
        Where the output cannot be written, or holds another request's run and ``force`` is off.
    NothingUsableError
        Without a candidate, or where fewer scenes than ``min_success_fraction`` were gathered.
    TryAgainError
        Where another run is at work in the folder, or the disk or a remote service failed.
    CloudBusterError
        Of any stage; ``status.json`` then says which.
    """
    folder = _folder_of(request)
    with held(folder):
        _claim(request, folder)
        return _run_in(folder, request, workers, on_event)


def _run_in(
    folder: Path, request: MosaicRequest, workers: int, on_event: OnEvent | None
) -> RunResult:
    """Run the stages in a folder that is this request's."""
    status = _Status(folder, request)
    with status.watching():
        line = _Line(request, folder, status, on_event)
        candidates = line.document("query", "candidates.json", Candidates, line.query)
        selection = line.document(
            "filter",
            "selection.json",
            Selection,
            lambda: filter_scenes(
                candidates, request.filter, bands=_bands(request), on_event=on_event
            ),
        )
        selection, report = line.gather(selection, workers)
        status.enter("assess")
        assessment = assess_scenes(
            folder / "scenes",
            report.records,
            selection,
            request.filter,
            failures=report.failures,
            on_event=on_event,
        )
        write_document(str(folder / "assessment.json"), assessment)
        products = line.merge(report.records, assessment)
    return RunResult(
        output=str(folder),
        products=products,
        assessment=assessment,
        reused=(*line.reused, *report.reused),
    )


class _Line:
    """The stages of one run, each reusing the document it wrote before."""

    def __init__(
        self, request: MosaicRequest, folder: Path, status: "_Status", on_event: OnEvent | None
    ) -> None:
        self.request = request
        self.folder = folder
        self.status = status
        self.on_event = on_event
        self.reused: list[str] = []
        self._force_documents = request.force
        self._force_scenes = request.force

    def query(self) -> Candidates:
        """Search the catalog, once the mosaic's CRS is known to hold the area."""
        return query_request(self.request, on_event=self.on_event)

    def document(self, stage: str, name: str, model: type[D], make: Callable[[], D]) -> D:
        """Read a stage's document if an earlier run left it, else make it and all after it."""
        self.status.enter(stage)
        path = self.folder / name
        if path.is_file() and not self._force_documents:
            try:
                known = read_document(str(path), model)
            except BadInputError:
                logger.warning("document_unreadable", extra={"path": str(path)})
            else:
                self.reused.append(name)
                emit(self.on_event, Event(stage, 1, 1, "done before"))
                return known
        self._force_documents = True
        made = make()
        write_document(str(path), made)
        return made

    def gather(self, selection: Selection, workers: int) -> tuple[Selection, GatherReport]:
        """Gather; where scenes see what nothing fills, gather these as backstop too."""
        self.status.enter("gather")
        scenes = self.folder / "scenes"
        report, tasks = self._gather_once(selection, workers)
        if self.request.filter.backstop:
            repairs = backstop_repairs(scenes, report.records)
            if repairs:
                logger.info("backstop_repaired", extra={"scenes": ", ".join(repairs)})
                selection = with_backstop(selection, repairs)
                write_document(str(self.folder / "selection.json"), selection)
                first = report
                report, tasks = self._gather_once(selection, workers)
                report = replace(report, reused=first.reused)
        _remove_stale(scenes, self.request.name, report.records, tasks)
        return selection, report

    def _gather_once(
        self, selection: Selection, workers: int
    ) -> tuple[GatherReport, list[GatherTask]]:
        planned = [] if self._force_scenes else read_tasks(str(self.folder / "tasks"))
        known, stamps = earlier_decisions(planned)
        tasks = plan_tasks(
            selection,
            name=self.request.name,
            options=self.request.gather,
            output=str(self.folder / "scenes"),
            known=known,
            stamps=stamps,
        )
        for number, task in enumerate(tasks, start=1):
            write_document(str(self.folder / "tasks" / f"{number:04d}.json"), task)
        report = gather_scenes(
            tasks, workers=workers, force=self._force_scenes, on_event=self.on_event
        )
        # What was gathered just now is not gathered again by a second round.
        self._force_scenes = False
        report.raise_for_failures(self.request.limits.min_success_fraction)
        return report, tasks

    def merge(self, records: tuple[SceneRecord, ...], assessment: Assessment) -> MergeResult:
        """Merge, unless the products of these very scenes are there."""
        self.status.enter("merge")
        fingerprint = _merge_fingerprint(self.request, records)
        products = self.status.finished_merge(fingerprint)
        if products is not None:
            self.reused.append(f"{self.request.name}-cloudless.tif")
            emit(self.on_event, Event("merge", 1, 1, "done before"))
        else:
            self.status.forget_merge()
            products = merge_scenes(
                str(self.folder / "scenes"),
                str(self.folder),
                name=self.request.name,
                composite=self.request.merge.composite,
                request=self.request,
                assessment=assessment,
                on_event=self.on_event,
            )
        reasons = None if assessment.covered else assessment.reasons
        self.status.succeed(products, fingerprint, reasons=reasons)
        return products


class _Status:
    """``status.json``: what the run does now, and how it ended."""

    def __init__(self, folder: Path, request: MosaicRequest) -> None:
        self._uri = str(folder / "status.json")
        self._folder = folder
        self._before = self._read()
        self._now = RunStatus(
            name=request.name,
            state="running",
            stage="query",
            request_fingerprint=request_fingerprint(request),
        )
        self._force = request.force

    def _read(self) -> RunStatus | None:
        try:
            return read_document(self._uri, RunStatus)
        except BadInputError:
            return None

    def _write(self, **changes: object) -> None:
        self._now = self._now.model_copy(update=changes)
        write_document(self._uri, self._now)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Write down how the run ends."""
        try:
            yield
        except CloudBusterError as error:
            self._fail(int(error.exit_code), f"{type(error).__name__}: {error}")
            raise
        except KeyboardInterrupt:
            self._fail(int(ExitCode.INTERRUPTED), "stopped")
            raise
        except SystemExit as error:
            self._fail(error.code if isinstance(error.code, int) else int(ExitCode.BUG), "stopped")
            raise
        finally:
            if self._now.state == "running":
                self._fail(int(ExitCode.BUG), "a bug in this package; its traceback tells more")

    def _fail(self, exit_code: int, error: str) -> None:
        # What stopped the run may stop this as well: the first error is the one to tell.
        with suppress(CloudBusterError):
            self._write(state="failed", exit_code=exit_code, error=error)

    def enter(self, stage: str) -> None:
        """Say that ``stage`` begins; what an earlier run merged stays known until then."""
        before = self._before
        self._write(
            stage=stage,
            merge_fingerprint=before.merge_fingerprint if before else None,
            products=before.products if before else None,
        )

    def forget_merge(self) -> None:
        """Say that products are being replaced: those of an earlier run are no longer known."""
        self._write(merge_fingerprint=None, products=None)

    def finished_merge(self, fingerprint: str) -> MergeResult | None:
        """Products of an earlier merge of the same inputs, if all of them are there."""
        before = self._before
        if self._force or before is None or before.products is None:
            return None
        files = before.products.model_dump(
            include={"cloudless", "cloudy", "quality", "item", "preview", "report"}
        )
        if before.merge_fingerprint != fingerprint:
            return None
        # The folder may have been moved since: the products are looked for where it is now.
        moved = {key: str(self._folder / Path(path).name) for key, path in files.items()}
        if not all(Path(path).is_file() for path in moved.values()):
            return None
        return before.products.model_copy(update=moved)

    def succeed(
        self, products: MergeResult, fingerprint: str, *, reasons: tuple[str, ...] | None
    ) -> None:
        """Say that the products are there; ``reasons`` tell why they do not cover the area."""
        covered = reasons is None
        self._write(
            state="succeeded",
            products=products,
            merge_fingerprint=fingerprint,
            exit_code=int(ExitCode.DONE if covered else ExitCode.NOT_COVERED),
            error=None if reasons is None else "; ".join(reasons),
        )


def _folder_of(request: MosaicRequest) -> Path:
    output = request.output or request.name
    if is_remote(output):
        msg = f"{output}: a run on one machine writes to a local folder; the stack writes to S3"
        raise OutputError(msg)
    return local_path(output).absolute()


def _claim(request: MosaicRequest, folder: Path) -> None:
    """Make a folder this request's; refuse one that holds another's run."""
    document = folder / "request.json"
    if document.is_file() and not request.force:
        known = _known_request(document)
        if known is None or request_fingerprint(known) != request_fingerprint(request):
            whose = "a request that cannot be read" if known is None else "another request"
            msg = (
                f"{folder} holds the run of {whose}{f' ({known.name})' if known else ''}; "
                "choose another output, or --force to replace it"
            )
            raise OutputError(msg)
    elif document.is_file():
        for name in ("candidates.json", "selection.json", "assessment.json", "status.json"):
            (folder / name).unlink(missing_ok=True)
    write_document(str(document), request)


def _known_request(document: Path) -> MosaicRequest | None:
    try:
        return read_document(str(document), MosaicRequest)
    except BadInputError:
        return None


def _bands(request: MosaicRequest) -> tuple[str, ...]:
    return requested_bands(request.query.kind, request.gather.bands)


def with_backstop(selection: Selection, item_ids: tuple[str, ...]) -> Selection:
    """Let these items, picked for a clear look, be backstop as well; indices stay as they are."""
    info = selection.cloudbuster
    added = tuple(
        SelectionEntry(item_id=item_id, backstop=True, reused=True) for item_id in item_ids
    )
    return selection.model_copy(
        update={"cloudbuster": info.model_copy(update={"entries": info.entries + added})}
    )


def _remove_stale(
    scenes: Path, name: str, records: tuple[SceneRecord, ...], tasks: list[GatherTask]
) -> None:
    """Remove scenes of this name that an earlier request left and this one does not want."""
    wanted = {Path(record.raster).stem for record in records}
    wanted |= {
        stem for task in tasks for stem in output_stems(task) if stem.startswith(MASK_PREFIX)
    }
    pattern = re.compile(rf"(backstop-|mask-)?{re.escape(name)}-\d+")
    for path in scenes.iterdir():
        if pattern.fullmatch(path.stem) and path.stem not in wanted:
            try:
                path.unlink()
            except OSError as error:
                raise output_error(path, error) from error


def _merge_fingerprint(request: MosaicRequest, records: tuple[SceneRecord, ...]) -> str:
    parts = [
        request_fingerprint(request),
        request.merge.composite,
        *(f"{record.raster} {record.task_fingerprint}" for record in records),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
