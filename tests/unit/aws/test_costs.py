"""Costs of a run."""

from functools import partial

import pytest

from cloudbuster.aws.costs import disk_usd_per_hour, estimate_run_usd, job_usd_per_hour


def test_prices_of_disks_and_jobs() -> None:
    # 500 GiB x 0.08 + 3000 IOPS x 0.005 + 375 MiB/s x 0.04 = 70 USD a month.
    assert disk_usd_per_hour(gib=500, iops=6000, throughput_mibps=500) == pytest.approx(70 / 730)
    assert job_usd_per_hour(vcpus=2, disk_usd_per_host_hour=0.08, jobs_per_host=8) == pytest.approx(
        0.106
    )


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
