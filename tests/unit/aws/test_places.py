"""Buckets that a request, and the scenes of a catalog, may lie in."""

import re
from typing import Any

import pytest

from cloudbuster.aws.settings import StackSettings
from cloudbuster.aws.stack.scene_places import check_scenes
from cloudbuster.errors import RequestError
from cloudbuster.models import Candidates, CandidatesInfo
from tests.stac_items import make_item, square
from tests.unit.aws.requests import QUERY, request

SETTINGS = StackSettings(
    root="s3://stack", input_roots=("s3://scenes",), output_roots=("s3://ours",)
)


def fields(field: str, uri: str) -> dict[str, Any]:
    """Change of a request that names an address in a field."""
    mirror = [f"s3://sentinel-cogs={uri}"]
    changes: dict[str, dict[str, Any]] = {
        "aoi": {"aoi": {"uri": uri}},
        "query.catalog": {"query": {**QUERY, "catalog": uri}},
        "query.asset_mirror": {"query": {**QUERY, "asset_mirror": mirror}},
        "gather.detector.donor_mask": {
            "gather": {"detector": {"type": "donor", "donor_mask": uri}}
        },
    }
    return changes[field]


DONOR = "gather.detector.donor_mask"
FIELDS = ("aoi", "query.catalog", "query.asset_mirror", DONOR)


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("bucket", ["theirs", "scenes-of-others", "our"])
def test_an_address_in_a_bucket_that_no_role_may_read_is_refused_by_its_field_and_name(
    field: str, bucket: str
) -> None:
    uri = f"s3://{bucket}/some/file.json"
    with pytest.raises(RequestError) as caught:
        request(settings=SETTINGS, **fields(field, uri))
    assert str(caught.value) == (
        f"test: {field} {uri} lies in the bucket {bucket}, which this stack may not read (other "
        f"buckets: s3://scenes, s3://ours): copy it, or deploy with {bucket} in input_buckets"
    )


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize(
    "uri",
    [
        "s3://scenes/some/file.json",
        "s3://ours/some/file.json",
        "s3://sentinel-cogs/some/file.json",
        "s3://stack/runs/a/file.json",
    ],
)
def test_an_address_that_the_roles_may_read_is_admitted(field: str, uri: str) -> None:
    assert request(settings=SETTINGS, **fields(field, uri)).name == "denver-2020"


@pytest.mark.parametrize("field", [field for field in FIELDS if field != DONOR])
def test_an_address_over_https_needs_no_role(field: str) -> None:
    uri = "https://example.org/some/file.json"
    assert request(settings=SETTINGS, **fields(field, uri)).name == "denver-2020"


@pytest.mark.parametrize(
    "uri", ["/etc/passwd", "m.tif", "http://169.254.169.254/x", "https://example.org/m.tif"]
)
def test_donated_masks_lie_in_buckets_alone(uri: str) -> None:
    with pytest.raises(RequestError, match=f"^test: {DONOR} {uri} lies outside of all buckets"):
        request(settings=SETTINGS, **fields(DONOR, uri))


@pytest.mark.parametrize(
    ("field", "uri"),
    [
        ("aoi", "s3://stack/scratch/a.json"),
        ("aoi", "s3://stack/mosaics/a.json"),
        ("query.catalog", "s3://stack/turns/start-run"),
        ("query.asset_mirror", "s3://stack/requests/"),
        (DONOR, "s3://stack/rejected/a.tif"),
        ("query.asset_mirror", "s3://stack"),
    ],
)
def test_a_part_of_the_own_bucket_that_the_role_does_not_read_is_refused(
    field: str, uri: str
) -> None:
    with pytest.raises(RequestError, match=f"{field} {uri} lies in a part of the stack's bucket"):
        request(settings=SETTINGS, **fields(field, uri))


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("key", ["../theirs/a.json", "a/./b.json", "a/../../b.json", ".."])
def test_an_address_that_clients_may_resolve_to_another_is_refused(field: str, key: str) -> None:
    uri = f"s3://scenes/{key}"
    with pytest.raises(RequestError, match=f"^test: {field} {re.escape(uri)} has a part . or .."):
        request(settings=SETTINGS, **fields(field, uri))


def candidates(*items: dict[str, Any]) -> Candidates:
    info = CandidatesInfo(aoi=square(14.6, 45.6, 0.2), kind="L2A", catalog="ours")
    return Candidates(features=items, cloudbuster=info)


def test_scenes_whose_files_no_role_may_read_are_refused_before_any_job() -> None:
    here = make_item(folder="s3://scenes/2020")
    there = make_item(taken="2020-06-10T10:00:31", folder="s3://theirs/2020")
    check_scenes(candidates(here), ["B04"], SETTINGS)
    with pytest.raises(RequestError) as caught:
        check_scenes(candidates(here, there, there), ["B04"], SETTINGS)
    assert str(caught.value).startswith(
        f"2 of 3 scenes of ours cannot be read: asset of {there['id']} "
        f"s3://theirs/2020/{there['id']}/B04.tif lies in the bucket theirs, which this stack may "
    )


def test_files_of_bands_that_are_not_gathered_may_lie_anywhere() -> None:
    item = make_item(folder="s3://scenes/2020")
    item["assets"]["coastal"]["href"] = "s3://theirs/B01.tif"
    check_scenes(candidates(item), ["B04"], SETTINGS)
    with pytest.raises(RequestError, match="1 of 1 scenes"):
        check_scenes(candidates(item), ["B01", "B04"], SETTINGS)
    item["assets"]["scl"]["href"] = "s3://theirs/SCL.tif"
    with pytest.raises(RequestError, match=r"s3://theirs/SCL\.tif"):
        check_scenes(candidates(item), ["B04"], SETTINGS)


def test_a_scene_whose_file_clients_may_resolve_to_another_is_refused_by_its_name() -> None:
    item = make_item(folder="s3://scenes/../theirs")
    with pytest.raises(RequestError, match=rf"asset of {item['id']} s3://scenes/\.\./.* part"):
        check_scenes(candidates(item), ["B04"], SETTINGS)


@pytest.mark.parametrize("folder", ["s3://sentinel-cogs/a", "https://example.org/a", "/data/a"])
def test_scenes_in_public_buckets_and_elsewhere_need_no_role(folder: str) -> None:
    check_scenes(candidates(make_item(folder=folder)), ["B04"], SETTINGS)
