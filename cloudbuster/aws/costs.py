"""Costs of a run and of its disks: a dated table of prices, and estimates that err upwards.

The prices are AWS's public on-demand list prices of us-west-2 in US dollars, as of `PRICES_AS_OF`;
nothing asks AWS for them. eu-central-1 is 10 to 20 percent more expensive.
"""

import math

from cloudbuster.core.bands import Kind

PRICES_AS_OF = "2025-06"
# Regions of the scenes of each level: the free COGs, and the requester-pays JPEG 2000 files.
HOMES: dict[Kind, str] = {"L2A": "us-west-2", "L1C": "eu-central-1"}
# Catalogs whose scenes lie elsewhere: in the buckets of the originals; or outside of AWS, where
# incoming data is not billed.
OTHER_HOMES: dict[str, dict[Kind, str]] = {
    "rasterfoundry": {"L2A": "eu-central-1", "L1C": "eu-central-1"},
    "planetary-computer": {},
    "cdse": {},
}
# https://aws.amazon.com/ec2/pricing/on-demand: m6i.2xlarge (8 vCPU, 32 GiB) is 0.384 an hour. An
# estimate does not count on the lower price of spot hosts, which changes all the time.
USD_PER_VCPU_HOUR = 0.384 / 8
# https://aws.amazon.com/ebs/pricing: gp3; 3000 IOPS and 125 MiB/s are included.
USD_PER_GIB_MONTH = 0.08
USD_PER_IOPS_MONTH = 0.005
USD_PER_MIBPS_MONTH = 0.04
INCLUDED_IOPS = 3000
INCLUDED_MIBPS = 125
HOURS_PER_MONTH = 730
# https://aws.amazon.com/s3/pricing: data transfer to another region.
USD_PER_GB_BETWEEN_REGIONS = 0.02

# Hours of a gather job for one whole tile: decoding 673 Mpx takes 8.7 Mpx a CPU-second for the
# JPEG 2000 of L1C and 104 Mpx a CPU-second for the COGs of L2A (measured); twice that for the mask
# and the writing, and three minutes for a cold host.
GATHER_HOURS: dict[Kind, float] = {"L1C": 0.10, "L2A": 0.06}
# Size of all bands of one tile: the JPEG 2000 files, and the COGs.
SCENE_GB: dict[Kind, float] = {"L1C": 0.8, "L2A": 1.0}
# Hours of a merge job: the start of a host, then 4 CPU-seconds for each scene and band group
# (measured 3.8), four of them at a time.
MERGE_HOURS = 0.08
MERGE_HOURS_PER_SCENE = 0.005


def disk_usd_per_hour(*, gib: int, iops: int, throughput_mibps: int) -> float:
    """Price of one gp3 disk, US dollars an hour.

    Parameters
    ----------
    gib, iops, throughput_mibps : int
        Provisioned size, operations and throughput of the volume.
    """
    monthly = (
        gib * USD_PER_GIB_MONTH
        + max(0, iops - INCLUDED_IOPS) * USD_PER_IOPS_MONTH
        + max(0, throughput_mibps - INCLUDED_MIBPS) * USD_PER_MIBPS_MONTH
    )
    return monthly / HOURS_PER_MONTH


def job_usd_per_hour(*, vcpus: int, disk_usd_per_host_hour: float, jobs_per_host: int) -> float:
    """Price of one job in US dollars an hour: its share of the host's processors and disk."""
    return vcpus * USD_PER_VCPU_HOUR + disk_usd_per_host_hour / jobs_per_host


def transfer_usd(kind: Kind) -> float:
    """Price of reading all bands of one scene across regions, US dollars."""
    return SCENE_GB[kind] * USD_PER_GB_BETWEEN_REGIONS


def estimate_run_usd(
    *,
    kind: Kind,
    home: Kind | None,
    scenes: int,
    gather_usd_per_hour: float,
    merge_usd_per_hour: float,
    merge_jobs: int = 1,
    with_twins: bool = False,
) -> float:
    """Estimate the cost of gathering and merging, before the first job is submitted.

    Parameters
    ----------
    kind : {"L1C", "L2A"}
        Product level of the scenes.
    home : {"L1C", "L2A"} or None
        Product level whose scenes lie in the stack's own region; None for neither.
    scenes : int
        Number of gather jobs.
    gather_usd_per_hour, merge_usd_per_hour : float
        Prices of the jobs.
    merge_jobs : int
        Number of merge jobs: a large mosaic is merged in parts.
    with_twins : bool
        Whether the L1C twin of each scene is read too, for its mask.

    Returns
    -------
    float
        US dollars, rounded up to a cent; for whole tiles and on-demand prices.
    """
    kinds: list[Kind] = [kind, "L1C"] if with_twins else [kind]
    gather = scenes * sum(GATHER_HOURS[each] for each in kinds) * gather_usd_per_hour
    merge = (MERGE_HOURS * merge_jobs + MERGE_HOURS_PER_SCENE * scenes) * merge_usd_per_hour
    transfer = scenes * sum(transfer_usd(each) for each in kinds if each != home)
    return math.ceil((gather + merge + transfer) * 100) / 100
