"""Estimates of runs from the prices of a configuration, against calculations by hand."""

from typing import Any

import pytest

from cloudbuster.aws.costs import estimate_run_usd
from infra.context import parse_config
from infra.settings import stack_settings

GPU = {"torch_image": True, "gpu_queue": True}


def estimate(scenes: int, *, torch: bool = False, **config: Any) -> float:
    """Estimate of a run of L2A scenes on a stack."""
    settings = stack_settings(parse_config(config), bucket_name="b", topic_arn="t")
    return estimate_run_usd(
        kind="L2A",
        home="L2A",
        scenes=scenes,
        gather_usd_per_hour=settings.torch_usd_per_hour if torch else settings.gather_usd_per_hour,
        merge_usd_per_hour=settings.merge_usd_per_hour,
    )


@pytest.mark.parametrize(
    ("config", "scenes", "torch", "by_hand"),
    [
        # 3.6 minutes of a whole g5.2xlarge (1.212 USD) and its 200 GiB disk (0.0287 USD an hour)
        # for each scene, since it has one GPU; 0.58 hours of half an m7i.2xlarge and disk.
        ({**GPU, "gpu_instance_classes": ["g5"]}, 100, True, 6 * 1.2407 + 0.58 * 0.2159),
        # The same in Frankfurt, with its published 1.516 and 0.483 USD; scenes are read at home.
        (
            {**GPU, "gpu_instance_classes": ["g5"], "region": "eu-central-1"},
            100,
            True,
            6 * (1.516 + 0.0342) + 0.58 * 0.2586,
        ),
        ({**GPU, "gpu_instance_classes": ["g4dn"]}, 100, True, 6 * 0.7807 + 0.58 * 0.2159),
        # Without GPU hosts: the same hosts as any gather job, a quarter of an m7i.2xlarge.
        ({"torch_image": True}, 100, True, 6 * 0.1079 + 0.58 * 0.2159),
        ({}, 50, False, 3 * 0.1079 + 0.33 * 0.2159),
    ],
    ids=["g5", "g5 in Frankfurt", "g4dn", "torch on CPUs", "L2A"],
)
def test_a_run_is_estimated_within_a_quarter_of_the_price_by_hand_and_never_under(
    config: dict[str, Any], scenes: int, by_hand: float, *, torch: bool
) -> None:
    assert by_hand <= estimate(scenes, torch=torch, **config) <= 1.25 * by_hand


def test_an_estimate_counts_on_the_dearest_host_that_a_job_may_run_on() -> None:
    one = estimate(100, torch=True, **GPU, gpu_instance_classes=["g5"])
    assert estimate(100, torch=True, **GPU, gpu_instance_classes=["g4dn", "g5"]) == one
