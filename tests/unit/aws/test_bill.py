"""Lines of the costs of a run, against calculations by hand."""

import pytest

from cloudbuster.aws.bill import cost_lines, default_settings, vcpu_hours
from cloudbuster.models import CostLine, ExpectedWork, MosaicRequest

WORK = ExpectedWork(
    scenes=100,
    rounds=2,
    decoded_pixels=36_000_000_000,
    decoded_mask_pixels=0,
    read_bytes=50_000_000_000,
    requests=1_000_000,
    jpeg2000_pixels=0,
    scene_bytes=10_000_000_000,
    product_bytes=1_000_000_000,
)
SETTINGS = default_settings("us-west-2").model_copy(
    update={
        "gather_usd_per_hour": 0.11,
        "gather_disk_usd_per_hour": 0.01,
        "merge_usd_per_hour": 0.22,
        "merge_disk_usd_per_hour": 0.02,
        "torch_usd_per_hour": 1.01,
        "scratch_days": 30,
    }
)


def request_of(**query: object) -> MosaicRequest:
    return MosaicRequest.model_validate(
        {"name": "m", "aoi": {"uri": "a.geojson"}, "query": query, "gather": {}}
    )


def lines(
    request: MosaicRequest | None = None, region: str = "us-west-2", **settings: object
) -> dict[str, CostLine]:
    found = cost_lines(
        WORK,
        request or request_of(),
        SETTINGS.model_copy(update=settings),
        region=region,
    )
    return {line.name: line for line in found}


# 100 jobs of a minute each beside their work, and 36 000 Mpx twice at 104 Mpx a second; the merge
# takes 0.08 hours, and 0.005 for each scene.
GATHER_HOURS = 100 / 60 + 2 * 36_000 / 104 / 3600
MERGE_HOURS = 0.58


def test_spot_hosts_cost_three_fifths_and_leave_no_line_of_on_demand_hosts() -> None:
    found = lines()
    hosts = GATHER_HOURS * 0.10 + MERGE_HOURS * 0.20
    assert found["spot hosts"].amount == pytest.approx(GATHER_HOURS + MERGE_HOURS)
    assert found["spot hosts"].usd == pytest.approx(0.6 * hosts, rel=1e-4)
    assert (found["on-demand hosts"].amount, found["on-demand hosts"].usd) == (0, 0)
    assert found["GPU hosts"].usd == 0


def test_hosts_cost_their_whole_price_without_spot() -> None:
    found = lines(spot=False)
    hosts = GATHER_HOURS * 0.10 + MERGE_HOURS * 0.20
    assert found["on-demand hosts"].usd == pytest.approx(hosts, rel=1e-4)
    assert found["spot hosts"].usd == 0


def test_jobs_of_a_model_run_on_gpu_hosts_alone() -> None:
    detector = {"type": "pytorch", "weights": "s3://b/w.pt"}
    request = MosaicRequest.model_validate(
        {"name": "m", "aoi": {"uri": "a.geojson"}, "gather": {"detector": detector}}
    )
    found = lines(request, gpu=True, torch=True)
    assert found["GPU hosts"].amount == pytest.approx(GATHER_HOURS)
    assert found["GPU hosts"].usd == pytest.approx(GATHER_HOURS * 1.00, rel=1e-4)
    assert found["spot hosts"].amount == pytest.approx(MERGE_HOURS)


def test_disks_are_paid_by_the_hours_of_their_jobs() -> None:
    usd = GATHER_HOURS * 0.01 + MERGE_HOURS * 0.02
    assert lines()["disks"].usd == pytest.approx(usd, rel=1e-4)
    assert lines()["disks"].amount == pytest.approx(usd / 0.08, rel=1e-4)
    # Disks in Sao Paulo cost 1.9 times as much, which the price of the job already contains.
    assert lines(region="sa-east-1")["disks"].amount == pytest.approx(usd / 0.152, rel=1e-4)


def test_functions_transitions_and_storage_are_counted() -> None:
    found = lines()
    # Query, two rounds of Filter and Assess, 100 scenes, Finish.
    seconds = 30 + 2 * 180 + 100 * 4.5 + 2.5
    assert found["Lambda"].amount == pytest.approx(seconds)
    assert found["Lambda"].usd == pytest.approx(seconds * 0.0000166667, abs=1e-6)
    assert found["transitions"].amount == 8 + 2 * 6 + 100 * 3
    assert found["transitions"].usd == pytest.approx(0.008, abs=1e-6)
    # 10 GB for 30 days, and 1 GB for a month.
    assert found["storage"].amount == pytest.approx(10 * 30 / 30.4 + 1, rel=1e-4)
    assert found["storage"].usd == pytest.approx((10 * 30 / 30.4 + 1) * 0.023, rel=1e-4)


@pytest.mark.parametrize(
    ("query", "region", "pays_usd", "gigabytes"),
    [
        ({"kind": "L2A"}, "us-west-2", 0, 0),
        ({"kind": "L2A"}, "eu-central-1", 0, 50),
        ({"kind": "L1C"}, "eu-central-1", 0.43, 0),
        ({"kind": "L1C"}, "us-west-2", 0.43, 50),
        ({"catalog": "planetary-computer"}, "eu-central-1", 0, 0),
        ({"kind": "L1C", "catalog": "cdse"}, "us-west-2", 0, 0),
        ({"kind": "L1C", "catalog": "/a/folder"}, "us-west-2", 0, 0),
        ({"kind": "L2A", "catalog": "https://stac.example.org"}, "eu-central-1", 0, 50),
        ({"kind": "L1C", "asset_mirror": ["s3://a=s3://b"]}, "us-west-2", 0, 0),
    ],
)
def test_reading_is_paid_where_the_scenes_lie(
    query: dict[str, object], region: str, pays_usd: float, gigabytes: float
) -> None:
    found = lines(request_of(**query), region)
    assert found["requester pays"].usd == pytest.approx(pays_usd)
    assert found["transfer between regions"].amount == pytest.approx(gigabytes)
    assert found["transfer between regions"].usd == pytest.approx(gigabytes * 0.02)


def test_jpeg_2000_takes_twelve_times_as_long() -> None:
    work = WORK.model_copy(update={"jpeg2000_pixels": WORK.decoded_pixels})
    gather = 100 / 60 + 2 * 36_000 / 8.7 / 3600
    assert vcpu_hours(work, SETTINGS) == pytest.approx(gather * 2 + MERGE_HOURS * 4)
