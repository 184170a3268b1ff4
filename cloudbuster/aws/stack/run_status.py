"""The ``status.json`` of a run on the stack."""

from typing import Any

from cloudbuster.models import MosaicRequest, RunStatus
from cloudbuster.storage.files.documents import write_document
from cloudbuster.storage.files.reuse import read_earlier
from cloudbuster.storage.files.run_layout import RunLayout, request_fingerprint


def make_status(request: MosaicRequest, **values: Any) -> RunStatus:  # noqa: ANN401 -- fields of RunStatus
    """Make the status of a run of ``request``; ``values`` are further fields of `RunStatus`."""
    return RunStatus(name=request.name, request_fingerprint=request_fingerprint(request), **values)


def enter_stage(run: RunLayout, stage: str) -> None:
    """Write to ``status.json`` which stage a run has reached, unless the run has ended."""
    uri = run.document("status.json")
    status = read_earlier(uri, RunStatus)
    if status is not None and status.state == "running":
        write_document(uri, status.model_copy(update={"stage": stage}))
