"""A deployment that lowers what protects data stops; one that cannot be compared says so."""

from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from cloudbuster.aws.outputs import config_parameter, settings_parameter
from infra.app import check_downgrade, publish
from infra.configuration.config import StackConfig
from infra.context import ConfigError, parse_config
from infra.deployed import Comparison, compare, compare_with, file_identity
from infra.downgrade import RULES, lowered

KEY = "arn:aws:kms:us-west-2:123456789012:key/00000000-0000-0000-0000-00000000000{}"
BOUNDARY = "arn:aws:iam::123456789012:policy/Boundary"
PROD: dict[str, Any] = {"preset": "prod"}


def values(**config: Any) -> dict[str, Any]:
    return parse_config(config).model_dump(mode="json")


@pytest.mark.parametrize(
    ("before", "after", "phrases"),
    [
        (
            PROD,
            {},
            [
                "retain_data is switched off",
                "versioning is switched off",
                "log_days is 30, it was 90",
            ],
        ),
        (PROD, {**PROD, "retain_data": False}, ["retain_data is switched off"]),
        ({}, {"runs_days": 10}, ["runs_days is 10, it was for ever"]),
        ({"runs_days": 10}, {"runs_days": 9}, ["runs_days is 9, it was 10"]),
        ({}, {"scratch_days": 3}, ["scratch_days is 3, it was 30"]),
        (
            {"notify_emails": ["a@b.org", "c@d.org"]},
            {"notify_emails": ["c@d.org", "e@f.org"]},
            ["notify_emails lacks a@b.org"],
        ),
        ({"kms_key_arn": KEY.format(1)}, {}, [f"kms_key_arn is removed, it was {KEY.format(1)}"]),
        (
            {"kms_key_arn": KEY.format(1)},
            {"kms_key_arn": KEY.format(2)},
            [f"kms_key_arn is {KEY.format(2)}, it was {KEY.format(1)}"],
        ),
        (
            {"permissions_boundary": BOUNDARY},
            {},
            [f"permissions_boundary is removed, it was {BOUNDARY}"],
        ),
        ({"max_budget_usd": 5}, {}, ["max_budget_usd is removed, it was 5.0"]),
        ({"monthly_budget_usd": 50}, {}, ["monthly_budget_usd is removed, it was 50.0"]),
    ],
)
def test_each_value_that_protects_less_is_named(
    before: dict[str, Any], after: dict[str, Any], phrases: list[str]
) -> None:
    assert lowered(values(**before), values(**after)) == phrases


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, PROD),
        ({"runs_days": 10}, {}),
        ({}, {"log_days": 60, "scratch_days": 60}),
        ({}, {"kms_key_arn": KEY.format(1)}),
        ({"max_budget_usd": 5}, {"max_budget_usd": 9}),
        (PROD, {**PROD, "disk": {"gib": 1000}, "max_vcpus": 64}),
    ],
)
def test_a_value_that_protects_as_much_or_more_stops_nothing(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    assert lowered(values(**before), values(**after)) == []


def test_a_value_that_the_deployed_version_did_not_have_stops_nothing() -> None:
    assert lowered({}, values()) == []


def test_every_value_with_a_rule_exists() -> None:
    assert set(RULES) <= set(StackConfig.model_fields)


@pytest.mark.parametrize("lowers", [[], ["log_days is 7, it was 30"]])
@pytest.mark.parametrize("allowed", [False, True])
def test_a_downgrade_stops_unless_it_is_allowed(lowers: list[str], *, allowed: bool) -> None:
    compared = Comparison(lowers=lowers)
    if allowed or not lowers:
        check_downgrade(compared, parse_config({}), allowed=allowed)
        return
    with pytest.raises(ConfigError) as caught:
        check_downgrade(compared, parse_config({}), allowed=allowed)
    assert str(caught.value) == (
        "this would lower what protects the data of CloudBuster: log_days is 7, it was 30: correct "
        "it, or give -c allow_downgrade=true as well"
    )


def published(file: str = "ours/prod.json", **config: Any) -> Any:
    return publish(parse_config(config), given=config, file=file)


def test_a_file_whose_stack_name_or_region_changed_would_leave_the_old_stack_alone() -> None:
    old = published(**PROD, stack_name="Old")
    found = compare_with({("us-west-2", "Old"): old}, parse_config(PROD), file="ours/prod.json")
    assert found.notes == ["CloudBuster is not deployed in us-west-2 yet"]
    assert found.lowers == [
        "stack_name or region is changed: ours/prod.json was deployed as Old in us-west-2, which "
        "would stay and never be updated again"
    ]
    # Another file is another stack.
    other = compare_with({("us-west-2", "Old"): old}, parse_config({}), file="ours/dev.json")
    assert other.lowers == []


def test_a_stack_that_is_deployed_from_another_file_says_so() -> None:
    place = ("us-west-2", "CloudBuster")
    found = compare_with({place: published(**PROD)}, parse_config({}), file="ours/dev.json")
    assert found.notes == ["was deployed from ours/prod.json, this is ours/dev.json"]
    assert "retain_data is switched off" in found.lowers


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")


@pytest.mark.usefixtures("account")
def test_what_stacks_publish_is_read_from_all_regions_of_scenes() -> None:
    with mock_aws():
        assert compare(parse_config({}), file="a/b.json").lowers == []
        for region, name in (("us-west-2", "CloudBuster"), ("eu-central-1", "Frankfurt")):
            ssm = boto3.client("ssm", region_name=region)
            content = published(**PROD, stack_name=name).model_dump_json()
            for key, value in (
                (config_parameter(name), content),
                (settings_parameter(name), '{"root": "s3://b"}'),
                (config_parameter(f"{name}-of-another-version"), '{"a": 1}'),
            ):
                ssm.put_parameter(Name=key, Value=value, Type="String")
        found = compare(parse_config({}), file="ours/prod.json")
        assert found.notes == ["compared with what is deployed"]
        assert "retain_data is switched off" in found.lowers
        moved = compare(parse_config({"stack_name": "New"}), file="ours/prod.json")
        assert len(moved.lowers) == 2


def test_without_credentials_the_synthesis_says_that_nothing_was_compared(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    boto3.DEFAULT_SESSION = None
    found = compare(parse_config({}), file="a/b.json")
    boto3.DEFAULT_SESSION = None
    assert found.lowers == []
    assert found.notes[0].startswith("not compared with what is deployed: ")
    assert "credentials" in found.notes[0]


def test_a_file_is_known_by_its_name_and_folder(tmp_path: Path) -> None:
    assert file_identity(tmp_path / "ours" / "prod.json") == "ours/prod.json"


def test_a_configuration_that_no_parameter_can_hold_is_refused() -> None:
    tags = {f"key-{number:03}": 250 * "x" for number in range(45)}
    with pytest.raises(ConfigError, match="bytes, a parameter of Systems Manager has 8192"):
        published(tags=tags)
