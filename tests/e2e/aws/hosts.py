"""Quotas of EC2, and the newest images of AWS for hosts, which moto lacks."""

from typing import Any

from moto.ec2.models import ec2_backends
from moto.ec2.models.amis import Ami
from moto.servicequotas.models import ServiceQuotasBackend
from moto.ssm.models import ssm_backends

from tests.e2e.aws.bed import Bed
from tests.e2e.aws.patches import wrap
from tests.e2e.aws.settings import ACCOUNT, REGION

QUOTA_VCPUS = 640.0
IMAGES = "/aws/service/ecs/optimized-ami/amazon-linux-2023"
KINDS = ("recommended", "gpu/recommended")


def repair(_bed: Bed) -> None:
    """Let the account have quotas of EC2, and the images that parameters of SSM name."""
    _answer_quotas()
    _make_images()


def _answer_quotas() -> None:
    @wrap(ServiceQuotasBackend, "get_service_quota")
    def get(original: Any, backend: Any, service_code: str, quota_code: str) -> dict[str, Any]:
        if service_code != "ec2":
            found: dict[str, Any] = original(backend, service_code, quota_code)
            return found
        return {"ServiceCode": "ec2", "QuotaCode": quota_code, "Value": QUOTA_VCPUS}


def _make_images() -> None:
    parameters = ssm_backends[ACCOUNT][REGION]
    hosts = ec2_backends[ACCOUNT][REGION]
    for kind in KINDS:
        names = [f"{IMAGES}/{kind}/{detail}" for detail in ("image_id", "image_name")]
        image_id, name = (found.value for found in map(parameters.get_parameter, names) if found)
        hosts.amis[image_id] = Ami(hosts, image_id, name=name, region_name=f"{REGION}a")
