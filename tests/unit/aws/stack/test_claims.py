"""Claims of the places that runs on the stack write to."""

import json
from typing import Any

import pytest

from cloudbuster.aws.admission import admit
from cloudbuster.aws.settings import StackSettings
from cloudbuster.aws.stack import claims
from cloudbuster.aws.stack.claims import claim_place
from cloudbuster.errors import OutputError
from cloudbuster.models import MosaicRequest
from cloudbuster.storage.files.run_layout import RunLayout, request_fingerprint, run_id
from cloudbuster.storage.remote import s3
from cloudbuster.storage.remote.boto import aws_client
from tests.unit.aws.account import REGION
from tests.unit.aws.requests import REQUEST

SETTINGS = StackSettings(root="s3://store", output_roots=("s3://ours",))

pytestmark = pytest.mark.usefixtures("buckets")


@pytest.fixture
def buckets(aws: str) -> None:
    assert aws == REGION
    region = {"LocationConstraint": REGION}
    aws_client("s3").create_bucket(Bucket="ours", CreateBucketConfiguration=region)


def made(name: str = "m", output: str | None = None, **changes: Any) -> MosaicRequest:
    document = {**REQUEST, "name": name, "output": output, **changes}
    return admit(document, source="test", settings=SETTINGS)


def claim(request: MosaicRequest) -> str:
    """Claim the place of a request; return it."""
    layout = RunLayout.in_bucket(request, SETTINGS.root)
    claim_place(layout, request, SETTINGS)
    return layout.products


def claimed(place: str) -> dict[str, Any]:
    return dict(json.loads(s3.read_object(f"{place}/claim.json")))


@pytest.mark.parametrize("output", [None, "s3://store/mosaics/x", "s3://ours/a/b"])
def test_a_place_that_nobody_has_is_claimed_with_the_requests_fingerprint(
    output: str | None,
) -> None:
    request = made(output=output)
    assert claimed(claim(request)) == {
        "schema": "cloudbuster.claim/1",
        "name": "m",
        "run": run_id(request),
        "request_fingerprint": request_fingerprint(request),
    }


def test_the_same_request_claims_its_place_again(monkeypatch: pytest.MonkeyPatch) -> None:
    first = claim(made(output="s3://ours/x"))
    monkeypatch.setattr(claims, "write_object_if", None)
    assert claim(made(output="s3://ours/x")) == first
    assert claim(made(output="s3://ours/x", force=True)) == first


def test_the_place_of_another_request_is_refused_unless_it_is_forced() -> None:
    place = claim(made("first", output="s3://ours/x"))
    with pytest.raises(
        OutputError,
        match=r"^output s3://ours/x/ holds run first-\w+ of another request \(first\); choose "
        r"another output, or set force to replace it$",
    ):
        claim(made("second", output="s3://ours/x"))
    assert claimed(place)["name"] == "first"
    assert claim(made("second", output="s3://ours/x", force=True)) == place
    assert claimed(place)["name"] == "second"


def test_the_default_place_of_another_run_is_refused() -> None:
    place = claim(made("first"))
    with pytest.raises(OutputError, match="holds run first-"):
        claim(made("second", output=place))


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("below", ["y", "y/z", "m-cloudless.tif", "claim.json"])
def test_a_place_in_that_of_another_run_is_refused(below: str, *, force: bool) -> None:
    claim(made("first", output="s3://ours/x"))
    with pytest.raises(OutputError, match="lies in s3://ours/x, which belongs to another run"):
        claim(made("second", output=f"s3://ours/x/{below}", force=force))


@pytest.mark.parametrize("force", [False, True])
def test_a_place_that_contains_that_of_another_run_is_refused(*, force: bool) -> None:
    claim(made("first", output="s3://ours/x/y/z"))
    for output in ("s3://ours/x", "s3://ours/x/y"):
        with pytest.raises(OutputError, match="contains s3://ours/x/y/z, which belongs to another"):
            claim(made("second", output=output, force=force))


def test_places_beside_each_other_are_claimed() -> None:
    for output in ("s3://ours/x", "s3://ours/xy", "s3://ours/a/x", "s3://ours/a/y/"):
        claim(made("m", output=output))


def test_a_file_that_is_no_claim_is_not_taken_for_one() -> None:
    s3.write_object("s3://ours/x/claim.json", b"{}")
    with pytest.raises(OutputError, match=r"holds another program; .* set force"):
        claim(made(output="s3://ours/x"))
    claim(made(output="s3://ours/x", force=True))


def test_a_place_that_is_claimed_meanwhile_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    request = made("second", output="s3://ours/x")
    write = s3.write_object_if

    def write_after_another(uri: str, content: bytes, **condition: str) -> bool:
        monkeypatch.setattr(claims, "write_object_if", write)
        claim(made("first", output="s3://ours/x"))
        return write(uri, content, **condition)

    monkeypatch.setattr(claims, "write_object_if", write_after_another)
    with pytest.raises(OutputError, match="holds run first-"):
        claim(request)
    assert claimed("s3://ours/x")["name"] == "first"


def test_of_two_places_in_each_other_that_are_claimed_at_once_one_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write = s3.write_object_if

    def write_after_another(uri: str, content: bytes, **condition: str) -> bool:
        monkeypatch.setattr(claims, "write_object_if", write)
        claim(made("inner", output="s3://ours/x/y"))
        return write(uri, content, **condition)

    monkeypatch.setattr(claims, "write_object_if", write_after_another)
    with pytest.raises(OutputError, match="contains s3://ours/x/y"):
        claim(made("outer", output="s3://ours/x"))


def test_a_prefix_with_too_many_objects_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "MAX_OBJECTS", 3)
    for number in range(3):
        s3.write_object(f"s3://ours/x/{number}.tif", b"0")
    with pytest.raises(OutputError, match="holds 3 objects or more; choose an empty prefix"):
        claim(made(output="s3://ours/x"))
