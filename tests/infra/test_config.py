"""The configuration: what is refused, and in which words."""

import json
from typing import Any

import pytest
from pydantic import BaseModel

from infra.config import (
    PRESETS,
    ConfigError,
    Disk,
    Job,
    StackConfig,
    parse_config,
)


@pytest.mark.parametrize(
    ("context", "words"),
    [
        ({"disk": {"gbi": 500}}, ["disk.gbi", "did you mean gib?"]),
        ({"instance_class": ["m6i"]}, ["instance_class", "did you mean instance_classes?"]),
        ({"instance_classes": ["m6x"]}, ["unknown instance family m6x", "did you mean m6"]),
        ({"gpu_instance_classes": ["p5"]}, ["unknown instance family p5", "g5"]),
        ({"disk": {"gib": 100}}, ["disk.gib 100 cannot hold", "170 GiB", "raise it"]),
        ({"gather": {"scratch_gib": 100}}, ["disk.gib 200 cannot hold"]),
        ({"scratch": "nvme"}, ["m6i, m6a, m7i have no NVMe", "m6id"]),
        ({"merge": {"memory_mib": 40_000}}, ["merge: the second try needs", "raise host_vcpus"]),
        ({"host_vcpus": [2, 4]}, ["host_vcpus [2, 4]", "8, 16, 32"]),
        ({"vpc_id": "vpc-1"}, ["vpc_id and subnet_ids: give both"]),
        ({"security_group_ids": ["sg-1"]}, ["belong to a vpc_id"]),
        ({"gpu_queue": True}, ["gpu_queue needs torch_image"]),
        ({"image_uri": "docker.io/cloudbuster:1"}, ["images of ECR only"]),
        ({"default_request": {"query": {"mindate": []}}}, ["default_request: query.mindate"]),
        ({"preset": "test"}, ["preset", "'dev' or 'prod'"]),
        ({"log_days": 31}, ["log_days"]),
        ({"role_path": "cloud"}, ["role_path"]),
        ("{'disk': 1}", ["is not JSON"]),
        ([1], ["is a list; give an object"]),
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


def test_the_text_of_cdk_c_is_read() -> None:
    assert parse_config(json.dumps({"max_vcpus": 8})).max_vcpus == 8


def test_what_is_given_wins_over_the_preset_value_by_value() -> None:
    config = parse_config({"preset": "prod", "disk": {"gib": 700}, "gather": {"attempts": 2}})
    assert config.disk == Disk(gib=700, iops=6000, throughput_mibps=500)
    assert (config.gather.attempts, config.gather.vcpus) == (2, 2)
    assert config.retain_data


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_can_be_deployed(preset: str) -> None:
    assert parse_config({"preset": preset}).disk_need_gib <= 500


@pytest.mark.parametrize("model", [StackConfig, Disk, Job])
def test_every_value_is_documented(model: type[BaseModel]) -> None:
    assert [name for name, field in model.model_fields.items() if not field.description] == []


def test_scratch_counts_for_every_job_of_the_greatest_host() -> None:
    config = parse_config({"host_vcpus": [8, 16]})
    # 16 vCPU and 64 GiB hold 8 gather jobs of 2 vCPU, or 4 merge jobs of 15 200 MiB: 160 GiB.
    assert config.jobs_per_host(config.gather) == 8
    assert config.jobs_per_host(config.merge) == 4
    assert config.disk_need_gib == 8 + 2 + 4 * 40


def test_scratch_elsewhere_needs_no_room_on_the_disk() -> None:
    assert parse_config({"scratch": "shm", "disk": {"gib": 30}}).disk_need_gib == 10


def test_the_disk_report_prices_a_job_hour() -> None:
    # 200 GiB x 0.08 + 125 MiB/s x 0.04 = 21 USD a month, 0.0288 an hour, 8 jobs a host.
    assert "0.00360 USD per gather job-hour" in parse_config(None).disk_report()
