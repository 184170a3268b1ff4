"""The ``status.json`` of a run."""

import pytest

from cloudbuster.aws.stack.run_status import enter_stage, make_status
from cloudbuster.models import MosaicRequest, RunStatus
from cloudbuster.storage.files.documents import write_document
from cloudbuster.storage.files.reuse import read_earlier
from cloudbuster.storage.files.run_layout import RunLayout
from cloudbuster.storage.remote import s3
from tests.unit.aws.requests import REQUEST

pytestmark = pytest.mark.usefixtures("aws")

MOSAIC = MosaicRequest.model_validate(REQUEST)
RUN = RunLayout.in_bucket(MOSAIC, "s3://store")
STATUS_URI = RUN.document("status.json")


def write(state: str) -> None:
    status = make_status(MOSAIC, state=state, stage="query", execution="a", exit_code=None)
    write_document(STATUS_URI, status)


def stage() -> tuple[str | None, str | None]:
    status = read_earlier(STATUS_URI, RunStatus)
    return (status.state, status.stage) if status else (None, None)


def test_a_running_run_enters_its_next_stage() -> None:
    write("running")
    enter_stage(RUN, "filter")
    assert stage() == ("running", "filter")


@pytest.mark.parametrize("state", ["failed", "succeeded"])
def test_entering_a_stage_never_revives_a_run(state: str) -> None:
    write(state)
    enter_stage(RUN, "filter")
    assert stage() == (state, "query")


def test_a_run_without_a_status_that_can_be_read_has_none() -> None:
    enter_stage(RUN, "filter")
    assert not s3.object_exists(STATUS_URI)
    s3.write_object(STATUS_URI, b"{")
    assert read_earlier(STATUS_URI, RunStatus) is None
    enter_stage(RUN, "filter")
    assert s3.read_object(STATUS_URI) == b"{"
