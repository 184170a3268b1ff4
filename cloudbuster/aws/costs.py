"""Costs of a run and of its disks: a dated table of prices, and estimates that err upwards.

The prices are AWS's public on-demand list prices in US dollars, as of `PRICES_AS_OF`; nothing asks
AWS for them.
"""

import math
from dataclasses import dataclass

from cloudbuster.core.scenes.bands import Kind

PRICES_AS_OF = "2026-07"
# Regions of the scenes of each level: the free COGs, and the requester-pays JPEG 2000 files.
HOMES: dict[Kind, str] = {"L2A": "us-west-2", "L1C": "eu-central-1"}
# Catalogs whose scenes lie elsewhere: in the buckets of the originals; or outside of AWS, where
# incoming data is not billed.
OTHER_HOMES: dict[str, dict[Kind, str]] = {
    "rasterfoundry": {"L2A": "eu-central-1", "L1C": "eu-central-1"},
    "planetary-computer": {},
    "cdse": {},
}
# https://aws.amazon.com/ec2/pricing/on-demand, Linux, us-west-2: price of a host with 8 vCPU
# (2xlarge) of each family; larger ones cost as much for each vCPU. An estimate does not count on
# the lower price of spot hosts, which changes all the time.
USD_PER_8_VCPU_HOUR = {
    **{"c6a": 0.306, "c6i": 0.34, "c6id": 0.4032, "c7a": 0.41056, "c7i": 0.357},
    **{"m5": 0.384, "m5d": 0.452, "m6a": 0.3456, "m6i": 0.384, "m6id": 0.4746},
    **{"m7a": 0.46368, "m7i": 0.4032},
    **{"r5": 0.504, "r5d": 0.576, "r6a": 0.4536, "r6i": 0.504, "r6id": 0.6048},
    **{"r7a": 0.6086, "r7i": 0.5292},
}
# Hosts with one GPU, by their vCPU: the price of the GPU does not grow with them.
USD_PER_GPU_HOST_HOUR = {
    "g4dn": {8: 0.752, 16: 1.204},
    "g5": {8: 1.212, 16: 1.624},
    "g6": {8: 0.9776, 16: 1.3232},
}
# https://aws.amazon.com/ebs/pricing, us-west-2: gp3; 3000 IOPS and 125 MiB/s are included.
USD_PER_GIB_MONTH = 0.08
USD_PER_IOPS_MONTH = 0.005
USD_PER_MIBPS_MONTH = 0.04
INCLUDED_IOPS = 3000
INCLUDED_MIBPS = 125
HOURS_PER_MONTH = 730


@dataclass(frozen=True)
class RegionalPrices:
    """Prices of a region as multiples of those of us-west-2, rounded up over the families.

    Attributes
    ----------
    cpu, gpu, disk : float
        Hosts without and with a GPU, and gp3 volumes.
    """

    cpu: float
    gpu: float
    disk: float


REGIONS = {
    **dict.fromkeys(("us-east-1", "us-east-2", "us-west-2"), RegionalPrices(1, 1, 1)),
    "us-west-1": RegionalPrices(1.25, 1.21, 1.2),
    "ca-central-1": RegionalPrices(1.12, 1.12, 1.1),
    "eu-central-1": RegionalPrices(1.21, 1.26, 1.19),
    "eu-north-1": RegionalPrices(1.08, 1.08, 1.05),
    "eu-west-1": RegionalPrices(1.13, 1.12, 1.1),
    "eu-west-2": RegionalPrices(1.19, 1.18, 1.16),
    "eu-west-3": RegionalPrices(1.19, 1.26, 1.16),
    "ap-northeast-1": RegionalPrices(1.3, 1.46, 1.2),
    "ap-northeast-2": RegionalPrices(1.24, 1.25, 1.14),
    "ap-south-1": RegionalPrices(1.06, 1.2, 1.14),
    "ap-southeast-1": RegionalPrices(1.26, 1.41, 1.2),
    "ap-southeast-2": RegionalPrices(1.31, 1.35, 1.2),
    "sa-east-1": RegionalPrices(1.61, 1.71, 1.9),
}
# Any other region is priced like the dearest of these.
DEAREST = RegionalPrices(
    max(prices.cpu for prices in REGIONS.values()),
    max(prices.gpu for prices in REGIONS.values()),
    max(prices.disk for prices in REGIONS.values()),
)
# https://aws.amazon.com/s3/pricing: data transfer to another region; S3 Standard in us-west-2;
# requests that write and that read. Requester pays bills the last two to who reads.
USD_PER_GB_BETWEEN_REGIONS = 0.02
USD_PER_GB_MONTH = 0.023
USD_PER_WRITE = 0.005 / 1000
USD_PER_READ = 0.0004 / 1000
# Frankfurt, where the requester-pays originals of L1C lie.
USD_PER_REQUESTER_PAYS_READ = 0.00043 / 1000
# https://aws.amazon.com/lambda/pricing (x86) and https://aws.amazon.com/step-functions/pricing
# (standard workflows), us-west-2; other regions differ by less than an eighth, except Sao Paulo,
# where a transition costs half as much again.
USD_PER_LAMBDA_GB_SECOND = 0.0000166667
USD_PER_TRANSITION = 0.025 / 1000
# Share of the on-demand price that a spot host is expected to cost. AWS names savings of up to 90
# percent; those of these families lie between 40 and 70 percent, and change all the time.
SPOT_SHARE = 0.6

# Pixels that are decoded in a CPU-second, of JPEG 2000 and of COGs (measured), and what a gather
# job needs with mask and writing, as a multiple of the decoding.
JPEG2000_PIXELS_PER_S, COG_PIXELS_PER_S = 8.7e6, 104e6
GATHER_OVER_DECODING = 2
# Hours of a gather job for one whole tile of 673 Mpx: `GATHER_OVER_DECODING` times its decoding,
# and three minutes for a cold host.
GATHER_HOURS: dict[Kind, float] = {"L1C": 0.10, "L2A": 0.06}
# Size of all bands of one tile: the JPEG 2000 files, and the COGs.
SCENE_GB: dict[Kind, float] = {"L1C": 0.8, "L2A": 1.0}
# Hours of a merge job: the start of a host, then 4 CPU-seconds for each scene and band group
# (measured 3.8), four of them at a time.
MERGE_HOURS = 0.08
MERGE_HOURS_PER_SCENE = 0.005


def regional_prices(region: str) -> RegionalPrices:
    """Prices of a region; `DEAREST` for one that is not in the table."""
    return REGIONS.get(region, DEAREST)


def host_usd_per_hour(family: str, *, vcpus: int, region: str) -> float:
    """Price of a whole host, US dollars an hour.

    Parameters
    ----------
    family : str
        Instance family of `USD_PER_8_VCPU_HOUR` or `USD_PER_GPU_HOST_HOUR`.
    vcpus : int
        Virtual processors of the host.
    region : str
        Region of the host.
    """
    prices = regional_prices(region)
    if family in USD_PER_GPU_HOST_HOUR:
        return USD_PER_GPU_HOST_HOUR[family][vcpus] * prices.gpu
    return USD_PER_8_VCPU_HOUR[family] / 8 * vcpus * prices.cpu


def disk_usd_per_hour(*, gib: int, iops: int, throughput_mibps: int, region: str) -> float:
    """Price of one gp3 disk, US dollars an hour.

    Parameters
    ----------
    gib, iops, throughput_mibps : int
        Provisioned size, operations and throughput of the volume.
    region : str
        Region of the volume.
    """
    monthly = (
        gib * USD_PER_GIB_MONTH
        + max(0, iops - INCLUDED_IOPS) * USD_PER_IOPS_MONTH
        + max(0, throughput_mibps - INCLUDED_MIBPS) * USD_PER_MIBPS_MONTH
    )
    return monthly * regional_prices(region).disk / HOURS_PER_MONTH


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
