"""The ``status.json`` of a run on the stack."""

import logging
from typing import Any

from cloudbuster.errors import BadInputError
from cloudbuster.models import MosaicRequest, RunStatus
from cloudbuster.storage.documents import read_document, write_document
from cloudbuster.storage.run_layout import RunLayout, request_fingerprint
from cloudbuster.storage.uri import exists

logger = logging.getLogger(__name__)


def make_status(request: MosaicRequest, **values: Any) -> RunStatus:  # noqa: ANN401 -- fields of RunStatus
    """Make the status of a run of ``request``; ``values`` are further fields of `RunStatus`."""
    return RunStatus(name=request.name, request_fingerprint=request_fingerprint(request), **values)


def read_status(uri: str) -> RunStatus | None:
    """Read a run's status; None if there is none, or none that can be read."""
    if not exists(uri):
        return None
    try:
        return read_document(uri, RunStatus)
    except BadInputError:
        logger.warning("document_unreadable", extra={"uri": uri})
        return None


def enter_stage(run: RunLayout, stage: str) -> None:
    """Write to ``status.json`` which stage a run has reached, unless the run has ended."""
    uri = run.document("status.json")
    status = read_status(uri)
    if status is not None and status.state == "running":
        write_document(uri, status.model_copy(update={"stage": stage}))
