"""Images of hosts, compared with the newest of AWS."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cloudbuster.aws.client.host_images import batch_image_findings, image_findings
from cloudbuster.aws.outputs import Output, host_image_parameter
from cloudbuster.storage.remote.boto import aws_client

pytestmark = pytest.mark.usefixtures("aws")


def newest(*, gpu: bool = False) -> tuple[str, str]:
    """Id and name of the newest image in the account of the tests."""
    ssm = aws_client("ssm")
    image_id, name = (
        ssm.get_parameter(Name=host_image_parameter(gpu=gpu, detail=detail))["Parameter"]["Value"]
        for detail in ("image_id", "image_name")
    )
    return image_id, name


def registered(image_id: str, monkeypatch: pytest.MonkeyPatch, *, made: str) -> None:
    """Let EC2 know one image."""
    image = {"ImageId": image_id, "Name": f"name of {image_id}", "CreationDate": made}
    answered = {"Images": [image]}

    def describe(*, ImageIds: list[str]) -> dict[str, Any]:  # noqa: N803 -- boto3's name
        return answered if ImageIds == [image_id] else {"Images": []}

    monkeypatch.setattr(aws_client("ec2"), "describe_images", describe)


def shown(image_id: str, *, own: str | None = None, days: int = 0) -> list[tuple[bool, str]]:
    now = datetime(2026, 7, 1, tzinfo=UTC) + timedelta(days=days)
    outputs: dict[str, str] = {Output.HOST_IMAGE: image_id}
    return [
        (found.ok, f"{found.what}: {found.detail}")
        for found in image_findings(outputs, own=own, now=now)
    ]


def test_the_newest_image_is_as_it_should_be(monkeypatch: pytest.MonkeyPatch) -> None:
    image_id, _ = newest()
    registered(image_id, monkeypatch, made="2026-06-20T08:00:00.000Z")
    line = f"image of hosts {image_id}: name of {image_id} of 2026-06-20, the newest"
    assert shown(image_id, days=900) == [(True, line)]


@pytest.mark.parametrize(("days", "ok"), [(30, True), (60, True), (61, False)])
def test_an_older_image_is_wrong_after_two_months(
    monkeypatch: pytest.MonkeyPatch, days: int, *, ok: bool
) -> None:
    registered("ami-0", monkeypatch, made="2026-07-01T00:00:00.000Z")
    ((found, line),) = shown("ami-0", days=days)
    assert found is ok
    assert line == (
        f"image of hosts ami-0: name of ami-0 of 2026-07-01, {days} days old; {newest()[1]} is "
        "the newest: deploy again for the newest"
    )


def test_an_image_that_is_gone_says_that_no_host_can_start(monkeypatch: pytest.MonkeyPatch) -> None:
    registered("ami-0", monkeypatch, made="2026-07-01T00:00:00.000Z")
    ((ok, line),) = shown("ami-1")
    assert not ok
    assert "does not exist any more, so that no host can start: deploy again" in line


def test_an_own_image_is_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    registered("ami-0", monkeypatch, made="2020-07-01T00:00:00.000Z")
    ((ok, line),) = shown("ami-0", own="ami-0")
    assert ok
    assert line.endswith("name of ami-0 of 2020-07-01, your own (ami_id)")


def test_gpu_hosts_are_compared_with_their_own_image(monkeypatch: pytest.MonkeyPatch) -> None:
    image_id, _ = newest(gpu=True)
    registered(image_id, monkeypatch, made="2026-06-20T08:00:00.000Z")
    now = datetime(2026, 7, 1, tzinfo=UTC)
    (found,) = image_findings({Output.GPU_HOST_IMAGE: image_id}, own=None, now=now)
    assert (found.ok, found.what) == (True, f"image of GPU hosts {image_id}")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (None, []),
        ("LATEST", [(True, "LATEST")]),
        (
            "UPDATE_AVAILABLE",
            [(False, "UPDATE_AVAILABLE: deploy again for the newest")],
        ),
    ],
)
def test_the_status_of_an_image_that_batch_manages_is_shown(
    status: str | None, expected: list[tuple[bool, str]]
) -> None:
    entry = {"imageType": "ECS_AL2023", **({"batchImageStatus": status} if status else {})}
    environment = {
        "computeEnvironmentName": "hosts",
        "computeResources": {"ec2Configuration": [entry]},
    }
    found = [*batch_image_findings([environment])]
    assert [(each.ok, each.detail) for each in found] == expected
    assert {each.what for each in found} <= {"image of hosts by Batch"}
