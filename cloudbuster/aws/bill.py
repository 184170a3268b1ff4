"""The expected costs of a run on a stack, line by line."""

from dataclasses import dataclass

from cloudbuster.aws.costs import (
    COG_PIXELS_PER_S,
    GATHER_OVER_DECODING,
    HOMES,
    JPEG2000_PIXELS_PER_S,
    MERGE_HOURS,
    MERGE_HOURS_PER_SCENE,
    OTHER_HOMES,
    SPOT_SHARE,
    USD_PER_GB_BETWEEN_REGIONS,
    USD_PER_GB_MONTH,
    USD_PER_GIB_MONTH,
    USD_PER_LAMBDA_GB_SECOND,
    USD_PER_READ,
    USD_PER_REQUESTER_PAYS_READ,
    USD_PER_TRANSITION,
    USD_PER_WRITE,
    disk_usd_per_hour,
    host_usd_per_hour,
    regional_prices,
)
from cloudbuster.aws.settings import StackSettings
from cloudbuster.catalogs import CATALOGS
from cloudbuster.models import CostLine, ExpectedWork, MosaicRequest
from cloudbuster.storage.files.uri import is_remote

# A gather job beside its work: the start of its container, and its share of the three minutes that
# a host takes to start, which eight jobs use together.
START_HOURS = 60 / 3600
# GB-seconds of the functions. Query has 1 GB, Filter and Assess have 3 GB; they took these seconds
# in the loopback, and longer with catalogs on the network.
QUERY_GB_SECONDS = 1.0 * 30
ROUND_GB_SECONDS = 3.0 * 60
ROUND_GB_SECONDS_PER_SCENE = 3.0 * 1.5
FINISH_GB_SECONDS = 0.5 * 5
# State transitions of a run, of a round, and of a scene (`infra.definition`, with the start of the
# execution and of the item of the map).
RUN_TRANSITIONS, ROUND_TRANSITIONS, SCENE_TRANSITIONS = 8, 6, 3
# Documents of a run and of a scene in the bucket of the stack: written once, and read by jobs and
# functions.
RUN_WRITES, SCENE_WRITES, SCENE_READS = 20, 8, 20
BYTES_PER_GB = 10**9
DAYS_PER_MONTH = 30.4


def default_settings(region: str) -> StackSettings:
    """Prices of the jobs of a stack with all defaults, for a plan without a deployed stack.

    Parameters
    ----------
    region : str
        Region of the prices.
    """
    host = host_usd_per_hour("m7i", vcpus=8, region=region)
    disk = disk_usd_per_hour(gib=200, iops=3000, throughput_mibps=250, region=region)
    home = next((kind for kind, place in HOMES.items() if place == region), None)
    return StackSettings(
        root="s3://the-bucket-of-a-stack",
        home=home,
        gather_usd_per_hour=(host + disk) / 4,
        torch_usd_per_hour=(host + disk) / 4,
        merge_usd_per_hour=(host + disk) / 2,
        gather_disk_usd_per_hour=disk / 8,
        merge_disk_usd_per_hour=disk / 4,
    )


@dataclass(frozen=True)
class _Hours:
    """Hours of all gather jobs and of all merge jobs of a run."""

    gather: float
    merge: float


def cost_lines(
    work: ExpectedWork,
    request: MosaicRequest,
    settings: StackSettings,
    *,
    region: str,
    merge_jobs: int = 1,
) -> tuple[CostLine, ...]:
    """Calculate the expected costs of a run.

    Parameters
    ----------
    work : ExpectedWork
        What its scenes take.
    request : MosaicRequest
        Its catalog and level say where the scenes lie.
    settings : StackSettings
        Prices of the jobs.
    region : str
        Region of the stack.
    merge_jobs : int
        Number of merge jobs.

    Returns
    -------
    tuple of CostLine
        Every line that a run may have, also those of 0 USD.
    """
    hours = _hours(work, merge_jobs)
    return (
        *_host_lines(hours, request, settings, region),
        *_workflow_lines(work),
        *_storage_lines(work, settings),
        *_reading_lines(work, request, region),
    )


def vcpu_hours(work: ExpectedWork, settings: StackSettings, *, merge_jobs: int = 1) -> float:
    """Hours of virtual processors that the jobs of a run take."""
    hours = _hours(work, merge_jobs)
    return hours.gather * settings.gather_vcpus + hours.merge * settings.merge_vcpus


def _hours(work: ExpectedWork, merge_jobs: int) -> _Hours:
    jpeg2000 = work.jpeg2000_pixels / JPEG2000_PIXELS_PER_S
    cogs = (work.decoded_pixels - work.jpeg2000_pixels) / COG_PIXELS_PER_S
    gather = work.scenes * START_HOURS + (jpeg2000 + cogs) * GATHER_OVER_DECODING / 3600
    return _Hours(gather, MERGE_HOURS * merge_jobs + MERGE_HOURS_PER_SCENE * work.scenes)


def _host_lines(
    hours: _Hours, request: MosaicRequest, settings: StackSettings, region: str
) -> tuple[CostLine, ...]:
    """Lines of the hosts and of their disks."""
    torch = "pytorch" in request.gather.detector.detectors.names
    on_gpu = torch and settings.gpu
    price = settings.torch_usd_per_hour if torch else settings.gather_usd_per_hour
    disk = settings.gather_disk_usd_per_hour
    merge_host = settings.merge_usd_per_hour - settings.merge_disk_usd_per_hour
    shared = hours.merge * merge_host + (0 if on_gpu else hours.gather * (price - disk))
    shared_hours = hours.merge + (0 if on_gpu else hours.gather)
    disks = hours.gather * disk + hours.merge * settings.merge_disk_usd_per_hour
    gib_month_usd = USD_PER_GIB_MONTH * regional_prices(region).disk
    spot, on_demand = (shared_hours, 0.0) if settings.spot else (0.0, shared_hours)
    return (
        _line("spot hosts", spot, "job-hours", shared * SPOT_SHARE if spot else 0.0),
        _line("on-demand hosts", on_demand, "job-hours", shared if on_demand else 0.0),
        _line(
            "GPU hosts",
            hours.gather if on_gpu else 0.0,
            "job-hours",
            hours.gather * (price - disk) if on_gpu else 0.0,
        ),
        _line("disks", disks / gib_month_usd, "GiB-months", disks),
    )


def _workflow_lines(work: ExpectedWork) -> tuple[CostLine, ...]:
    """Lines of the functions and of the state machine."""
    seconds = (
        QUERY_GB_SECONDS
        + work.rounds * ROUND_GB_SECONDS
        + work.scenes * ROUND_GB_SECONDS_PER_SCENE
        + FINISH_GB_SECONDS
    )
    transitions = (
        RUN_TRANSITIONS + work.rounds * ROUND_TRANSITIONS + work.scenes * SCENE_TRANSITIONS
    )
    return (
        _line("Lambda", seconds, "GB-seconds", seconds * USD_PER_LAMBDA_GB_SECOND),
        _line("transitions", transitions, "transitions", transitions * USD_PER_TRANSITION),
    )


def _storage_lines(work: ExpectedWork, settings: StackSettings) -> tuple[CostLine, ...]:
    """Lines of the bucket: scenes until they expire, and products for a month."""
    months = settings.scratch_days / DAYS_PER_MONTH
    stored = (work.scene_bytes * months + work.product_bytes) / BYTES_PER_GB
    writes, reads = RUN_WRITES + work.scenes * SCENE_WRITES, work.scenes * SCENE_READS
    return (
        _line("storage", stored, "GB-months", stored * USD_PER_GB_MONTH),
        _line(
            "requests of the bucket",
            writes + reads,
            "requests",
            writes * USD_PER_WRITE + reads * USD_PER_READ,
        ),
    )


def _reading_lines(work: ExpectedWork, request: MosaicRequest, region: str) -> tuple[CostLine, ...]:
    """Lines of reading the scenes: requester pays, and transfer from another region."""
    query = request.query
    # With a mirror the scenes may lie anywhere, and those of files of this machine lie there.
    is_elsewhere = query.asset_mirror or not (query.catalog in CATALOGS or is_remote(query.catalog))
    homes = {} if is_elsewhere else OTHER_HOMES.get(query.catalog, HOMES)
    pays = query.kind == "L1C" and query.kind in homes
    requests = work.requests if pays else 0
    home = homes.get(query.kind)
    gigabytes = work.read_bytes / BYTES_PER_GB if home not in (None, region) else 0.0
    return (
        _line(
            "requester pays",
            requests,
            "requests",
            requests * USD_PER_REQUESTER_PAYS_READ,
        ),
        _line(
            "transfer between regions",
            gigabytes,
            "GB",
            gigabytes * USD_PER_GB_BETWEEN_REGIONS,
        ),
    )


def _line(name: str, amount: float, unit: str, usd: float) -> CostLine:
    return CostLine(name=name, amount=round(amount, 6), unit=unit, usd=round(usd, 6))
