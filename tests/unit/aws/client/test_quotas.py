"""Quotas on virtual processors, compared with what the stack may use."""

from typing import Any

import pytest

from cloudbuster.aws.client.quotas import quota_findings, vcpus_of
from cloudbuster.errors import AccessError
from tests.unit.aws.conftest import Answer

RAISE = (
    "aws service-quotas request-service-quota-increase --service-code ec2 --quota-code {} "
    "--desired-value {}, or lower max_vcpus"
)


def hosts(kind: str, most: int, *types: str) -> dict[str, Any]:
    return {"computeResources": {"type": kind, "maxvCpus": most, "instanceTypes": list(types)}}


ENVIRONMENTS = [
    hosts("SPOT", 64, "m6i.2xlarge", "m6i.4xlarge"),
    hosts("EC2", 64, "m6i.2xlarge", "m6i.4xlarge"),
    hosts("EC2", 32, "g5.2xlarge", "g6.4xlarge"),
]


def shown(*environments: dict[str, Any]) -> list[tuple[bool, str]]:
    return [(found.ok, f"{found.what}: {found.detail}") for found in quota_findings(environments)]


def test_a_quota_that_holds_all_hosts_is_as_it_should_be(quotas: dict[str, float]) -> None:
    quotas |= {"L-34B43A08": 64, "L-1216C47A": 1152, "L-DB2E81BA": 32}
    assert shown(*ENVIRONMENTS) == [
        (True, "quota spot standard (L-34B43A08): 64 vCPU, the stack may use 64"),
        (True, "quota on-demand standard (L-1216C47A): 1152 vCPU, the stack may use 64"),
        (True, "quota on-demand G and VT (L-DB2E81BA): 32 vCPU, the stack may use 32"),
    ]


@pytest.mark.parametrize(
    ("value", "effect"), [(63, "jobs wait for fewer hosts"), (5, "no host can start")]
)
def test_a_lower_quota_says_what_happens_and_how_to_raise_it(
    quotas: dict[str, float], value: float, effect: str
) -> None:
    quotas["L-34B43A08"] = value
    assert shown(ENVIRONMENTS[0]) == [
        (
            False,
            f"quota spot standard (L-34B43A08): {value} vCPU, the stack may use 64: {effect}; "
            + RAISE.format("L-34B43A08", 64),
        )
    ]


@pytest.mark.usefixtures("quotas")
def test_an_account_without_a_value_of_its_own_has_the_default() -> None:
    ((ok, text),) = shown(ENVIRONMENTS[2])
    assert not ok
    assert text.startswith("quota on-demand G and VT (L-DB2E81BA): 5 vCPU, the stack may use 32")


def test_environments_of_one_quota_share_it(quotas: dict[str, float]) -> None:
    quotas["L-1216C47A"] = 100
    ((ok, text),) = shown(ENVIRONMENTS[1], ENVIRONMENTS[1])
    assert not ok
    assert "100 vCPU, the stack may use 128" in text


@pytest.mark.parametrize(
    ("name", "vcpus"), [("m6i.xlarge", 4), ("m6i.2xlarge", 8), ("r7a.24xlarge", 96)]
)
def test_the_processors_of_an_instance_type_follow_from_its_size(name: str, vcpus: int) -> None:
    assert vcpus_of(name) == vcpus


def test_a_missing_permission_is_named(answer: Answer) -> None:
    refused = {"code": "AccessDeniedException"}
    answer("service-quotas", "GetServiceQuota", lambda _asked: {**refused})
    with pytest.raises(AccessError, match="servicequotas:GetServiceQuota"):
        shown(ENVIRONMENTS[0])
