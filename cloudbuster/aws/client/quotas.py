"""Quotas of EC2 on virtual processors, compared with what the stack's hosts may use."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cloudbuster.aws.client.findings import Finding
from cloudbuster.storage.remote.boto import aws_client, translate_boto_errors

HINT = "check the region"
PERMISSION = "servicequotas:GetServiceQuota"


@dataclass(frozen=True)
class Quota:
    """A quota on the virtual processors of running instances.

    Attributes
    ----------
    name, code : str
        What it limits, and its code in Service Quotas.
    """

    name: str
    code: str


# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-quotas.html: by the kind of the
# compute environment, and whether its hosts are of the families G and VT.
QUOTAS = {
    ("EC2", False): Quota("on-demand standard", "L-1216C47A"),
    ("EC2", True): Quota("on-demand G and VT", "L-DB2E81BA"),
    ("SPOT", False): Quota("spot standard", "L-34B43A08"),
    ("SPOT", True): Quota("spot G and VT", "L-3819A6DF"),
}
GPU_FAMILIES = ("g", "vt")


def quota_findings(environments: Iterable[Mapping[str, Any]]) -> Iterator[Finding]:
    """Compare each quota with the virtual processors that compute environments may use together.

    Parameters
    ----------
    environments : iterable of mapping
        Descriptions of Batch.

    Raises
    ------
    AccessError, TryAgainError
        If Service Quotas refuses to answer, or does not answer.
    """
    needs: dict[Quota, int] = {}
    smallest: dict[Quota, int] = {}
    for environment in environments:
        resources = environment["computeResources"]
        types = [str(name) for name in resources["instanceTypes"]]
        quota = QUOTAS[resources["type"], types[0].startswith(GPU_FAMILIES)]
        needs[quota] = needs.get(quota, 0) + int(resources["maxvCpus"])
        smallest[quota] = min(vcpus_of(name) for name in types)
    for quota, need in needs.items():
        yield _compared(quota, _value(quota), need, smallest[quota])


def vcpus_of(instance_type: str) -> int:
    """Virtual processors of an instance type: 8 for ``m6i.2xlarge``; larger ones in proportion."""
    size = instance_type.rpartition(".")[2].removesuffix("xlarge")
    return 4 * int(size or 1)


def _compared(quota: Quota, value: float, need: int, smallest: int) -> Finding:
    what = f"quota {quota.name} ({quota.code})"
    detail = f"{math.floor(value)} vCPU, the stack may use {need}"
    if value >= need:
        return Finding(ok=True, what=what, detail=detail)
    effect = "no host can start" if value < smallest else "jobs wait for fewer hosts"
    remedy = (
        "aws service-quotas request-service-quota-increase --service-code ec2 "
        f"--quota-code {quota.code} --desired-value {need}"
    )
    return Finding(ok=False, what=what, detail=f"{detail}: {effect}; {remedy}, or lower max_vcpus")


def _value(quota: Quota) -> float:
    """Value that holds for the account, or else AWS's default."""
    client = aws_client("service-quotas")
    asked = {"ServiceCode": "ec2", "QuotaCode": quota.code}
    with translate_boto_errors(f"read quota {quota.code}", hint=HINT, permission=PERMISSION):
        try:
            found = client.get_service_quota(**asked)
        except client.exceptions.NoSuchResourceException:  # None of the account's own.
            found = client.get_aws_default_service_quota(**asked)
    return float(found["Quota"]["Value"])
