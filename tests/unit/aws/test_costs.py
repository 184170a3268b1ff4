"""Costs of a run."""

from functools import partial

import pytest

from cloudbuster.aws.costs import (
    REGIONS,
    disk_usd_per_hour,
    estimate_run_usd,
    host_usd_per_hour,
)


@pytest.mark.parametrize(
    ("region", "usd_per_month"),
    # 500 GiB x 0.08 + 3000 IOPS x 0.005 + 375 MiB/s x 0.04 = 70 USD a month in us-west-2.
    [("us-west-2", 70), ("eu-central-1", 70 * 1.19), ("sa-east-1", 133), ("mx-central-1", 133)],
)
def test_a_disk_costs_what_its_region_asks(region: str, usd_per_month: float) -> None:
    price = disk_usd_per_hour(gib=500, iops=6000, throughput_mibps=500, region=region)
    assert price == pytest.approx(usd_per_month / 730)


# Published prices of whole hosts: https://aws.amazon.com/ec2/pricing/on-demand, Linux.
@pytest.mark.parametrize(
    ("family", "vcpus", "region", "published"),
    [
        ("m6i", 8, "us-west-2", 0.384),
        ("m6i", 32, "us-west-2", 1.536),
        ("r6id", 16, "us-east-1", 1.2096),
        ("m6i", 8, "eu-central-1", 0.46),
        ("m6i", 8, "ap-northeast-1", 0.496),
        ("c6i", 8, "sa-east-1", 0.524),
        ("g5", 8, "us-west-2", 1.212),
        ("g5", 16, "us-west-2", 1.624),
        ("g5", 8, "eu-central-1", 1.516),
        ("g4dn", 8, "eu-central-1", 0.94),
        ("g6", 8, "us-east-2", 0.9776),
    ],
)
def test_a_host_costs_its_published_price_or_a_little_more(
    family: str, vcpus: int, region: str, published: float
) -> None:
    price = host_usd_per_hour(family, vcpus=vcpus, region=region)
    assert published <= price + 1e-9 <= 1.1 * published


@pytest.mark.parametrize("family", ["m6i", "g5"])
def test_a_region_without_prices_costs_as_much_as_the_dearest(family: str) -> None:
    known = [host_usd_per_hour(family, vcpus=8, region=region) for region in REGIONS]
    assert host_usd_per_hour(family, vcpus=8, region="mx-central-1") == max(known)


def test_scenes_of_another_region_cost_their_transfer() -> None:
    estimate = partial(
        estimate_run_usd, kind="L2A", scenes=10, gather_usd_per_hour=0.1, merge_usd_per_hour=0.2
    )
    at_home = estimate(home="L2A")
    assert at_home == 0.09
    assert estimate(home="L1C") == pytest.approx(at_home + 0.2)
    # 10 twins: 0.1 hours of a job each, and 0.8 GB from the other region.
    assert estimate(home="L2A", with_twins=True) == pytest.approx(at_home + 0.1 + 0.16)
    # A stack in a third region has no scenes in its own.
    assert estimate(home=None) == estimate(home="L1C")


def test_each_merge_job_of_a_mosaic_in_parts_costs_its_start() -> None:
    estimate = partial(
        estimate_run_usd,
        kind="L2A",
        home="L2A",
        scenes=10,
        gather_usd_per_hour=0.0,
        merge_usd_per_hour=1.0,
    )
    # 0.08 hours for each job that starts, 0.005 for each scene.
    assert estimate() == 0.13
    assert estimate(merge_jobs=4) == 0.37
