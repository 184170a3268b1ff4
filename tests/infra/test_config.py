"""The configuration: its values, and the messages of refused ones."""

from typing import Any

import pytest
from pydantic import BaseModel

from cloudbuster.aws.stack.catalog_secret import VARIABLES
from infra.app import notes
from infra.configuration.config import StackConfig
from infra.configuration.sections import CatalogSecret, Disk, Job
from infra.context import PRESETS, ConfigError, parse_config

REGISTRY = "123456789012.dkr.ecr.us-west-2.amazonaws.com"
CATALOGS = "arn:aws:secretsmanager:us-west-2:123456789012:secret:catalogs/ours-AbCd12"
# Memory for a /scratch of 10 GiB and for the work beside it.
IN_MEMORY = {"memory_mib": 10 * 1024 + 2048, "scratch_gib": 10}


def with_secret(**values: Any) -> dict[str, Any]:
    return {"catalog_secret": {"arn": CATALOGS, "variables": [VARIABLES[0]], **values}}


@pytest.mark.parametrize(
    ("context", "words"),
    [
        ({"disk": {"gbi": 500}}, ["disk.gbi", "did you mean gib?"]),
        ({"instance_class": ["m6i"]}, ["instance_class", "did you mean instance_classes?"]),
        ({"instance_classes": ["m6x"]}, ["unknown instance family m6x", "did you mean m6"]),
        ({"gpu_instance_classes": ["p5"]}, ["unknown instance family p5", "g5"]),
        ({"disk": {"gib": 100}}, ["disk.gib 100 cannot hold", "170 GiB", "raise it"]),
        ({"gather": {"scratch_gib": 100}}, ["disk.gib 200 cannot hold"]),
        (
            {"scratch": "shm"},
            ["gather.memory_mib 7600 must hold scratch_gib 10", "12288 MiB", "lower scratch_gib"],
        ),
        (
            {"scratch": "shm", "gather": IN_MEMORY},
            ["merge.memory_mib 15200 must hold scratch_gib 40", "43008 MiB"],
        ),
        (
            {"scratch": "shm", "gather": IN_MEMORY, "merge": {"memory_mib": 43_008}},
            ["merge: the second try needs 4 vCPU and 86016 MiB", "the greatest host has 16 and"],
        ),
        (
            {"disk": {"throughput_mibps": 800}},
            ["disk: throughput_mibps 800 needs iops 3200, it is 3000", "raise iops"],
        ),
        (
            {"scratch": "nvme", "instance_classes": ["m6id"], "disk": {"gib": 30, "iops": 16_000}},
            ["disk: 30 GiB have at most iops 15000, it is 16000", "raise gib"],
        ),
        (
            {
                "torch_image": True,
                "gpu_queue": True,
                "instance_classes": ["r6i"],
                "gather": {"memory_mib": 32_000},
            },
            ["gather: the second try needs 2 vCPU and 64000 MiB", "the greatest GPU host has 16"],
        ),
        (with_secret(arn="catalogs/ours"), ["catalog_secret: arn catalogs/ours is no whole ARN"]),
        (with_secret(arn=CATALOGS[:-7]), ["is no whole ARN", "describe-secret"]),
        (with_secret(variables=["CDSE_S3_KEY"]), ["no catalog reads CDSE_S3_KEY", *VARIABLES]),
        (with_secret(variables=["CDSE_S3_ACCESS_KEY"]), ["CDSE_S3_SECRET_KEY is not given"]),
        (with_secret(variables=[]), ["catalog_secret.variables"]),
        (with_secret(variabels=[]), ["catalog_secret.variabels", "did you mean variables?"]),
        (
            {"home": "l1c", **with_secret()},
            ["catalog_secret lies in us-west-2, the stack in eu-central-1", "replicate it"],
        ),
        (
            {
                "home": "l1c",
                "publish": {
                    "api": "https://stac.example.org",
                    "collection": "mosaics",
                    "secret_arn": CATALOGS,
                },
            },
            ["publish.secret_arn lies in us-west-2, the stack in eu-central-1", "replicate it"],
        ),
        ({"publish": {"api": "http://stac", "collection": "mosaics"}}, ["publish.api"]),
        ({"scratch": "nvme"}, ["m6i, m6a, m7i have no NVMe", "m6id"]),
        ({"merge": {"memory_mib": 40_000}}, ["merge: the second try needs", "raise host_vcpus"]),
        ({"host_vcpus": [2, 4]}, ["host_vcpus [2, 4]", "8, 16, 32"]),
        ({"vpc_id": "vpc-1"}, ["vpc_id and subnet_ids: give both"]),
        ({"security_group_ids": ["sg-1"]}, ["belong to a vpc_id"]),
        ({"gpu_queue": True}, ["gpu_queue needs torch_image"]),
        ({"image_uri": "docker.io/cloudbuster:1"}, ["give an image in ECR by its digest"]),
        ({"image_uri": f"{REGISTRY}/cloudbuster:1"}, ["by its digest", "a tag can be moved"]),
        (
            {"torch_image": True, "torch_image_uri": f"{REGISTRY}/torch:1@sha256:ab"},
            ["by its digest"],
        ),
        ({"default_request": {"query": {"mindate": ["x"]}}}, ["default_request: query.mindate"]),
        ({"preset": "test"}, ["preset", "'dev' or 'prod'"]),
        ({"log_days": 31}, ["log_days"]),
        ({"role_path": "cloud"}, ["role_path"]),
    ],
)
def test_a_configuration_that_cannot_be_deployed_is_one_clear_line(
    context: Any, words: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(context)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_given_values_override_those_of_the_preset_one_by_one() -> None:
    config = parse_config({"preset": "prod", "disk": {"gib": 700}, "gather": {"attempts": 2}})
    assert config.disk == Disk(gib=700, iops=6000, throughput_mibps=500)
    assert (config.gather.attempts, config.gather.vcpus) == (2, 2)
    assert config.retain_data


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_can_be_deployed(preset: str) -> None:
    assert parse_config({"preset": preset}).disk_need_gib <= 500


@pytest.mark.parametrize("model", [StackConfig, Disk, Job, CatalogSecret])
def test_every_value_is_documented(model: type[BaseModel]) -> None:
    assert [name for name, field in model.model_fields.items() if not field.description] == []


def test_the_disk_needs_scratch_for_every_job_of_the_greatest_host() -> None:
    config = parse_config({"host_vcpus": [8, 16]})
    # 16 vCPU and 64 GiB hold 8 gather jobs of 2 vCPU, or 4 merge jobs of 15 200 MiB: 160 GiB.
    assert config.jobs_per_host(config.gather) == 8
    assert config.jobs_per_host(config.merge) == 4
    assert config.disk_need_gib == 8 + 2 + 4 * 40


def test_scratch_in_memory_needs_no_room_on_the_disk() -> None:
    sizes = {"gather": IN_MEMORY, "merge": IN_MEMORY}
    assert parse_config({"scratch": "shm", "disk": {"gib": 30}, **sizes}).disk_need_gib == 10


def test_private_subnets_need_a_route_to_the_secret() -> None:
    own = {"vpc_id": "vpc-1", "subnet_ids": ["subnet-1"]}
    assert "secretsmanager" not in " ".join(notes(parse_config(own)))
    assert "secretsmanager" in " ".join(notes(parse_config({**own, **with_secret()})))


def test_a_disk_may_have_the_throughput_that_its_iops_allow() -> None:
    assert Disk(iops=4000, throughput_mibps=1000).iops == 4000


@pytest.mark.parametrize(
    ("context", "kind"),
    [
        ({}, "L2A"),
        ({"home": "l1c"}, "L1C"),
        ({"region": "eu-central-1"}, "L1C"),
        ({"region": "eu-west-1"}, None),
    ],
)
def test_the_region_decides_whose_scenes_lie_in_it(context: Any, kind: str | None) -> None:
    assert parse_config(context).home_kind == kind


def test_the_disk_report_prices_a_job_hour() -> None:
    # 200 GiB x 0.08 + 125 MiB/s x 0.04 = 21 USD a month, 0.0288 an hour, 8 jobs a host.
    assert "0.00360 USD per gather job-hour" in parse_config({}).disk_report()
