"""Values that AWS would refuse at deployment, or with which no job could run, are refused early."""

import json
from pathlib import Path
from typing import Any

import pytest

from infra.checks import MAX_BUCKET_KEYS, MAX_BUCKETS, MAX_MODEL_PREFIX, MAX_MODEL_PREFIXES
from infra.configuration.capacity import greatest_scratch_gib
from infra.configuration.sections import Job
from infra.context import (
    ConfigError,
    allows_downgrade,
    config_path,
    parse_config,
    read_config,
)
from infra.settings import longest_variables
from tests.infra.conftest import Synth
from tests.infra.templates import flat, properties, resources, settings

REGISTRY = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
DIGEST = f"sha256:{'ab' * 32}"
KEY = "arn:aws:kms:us-west-2:123456789012:key/00000000-0000-0000-0000-000000000000"
LONG = "b" * 63
DATES = {"mindate": ["2020-05-01"], "maxdate": ["2020-10-01"]}
OURS = "s3://cloudbuster-storagebucket5cb7c8ea-a1"


def with_dates(**values: Any) -> dict[str, Any]:
    return {"query": DATES, **values}


def bucket_of(number: int) -> str:
    return f"{number:02d}{LONG}"[:63]


def with_key(number: int) -> dict[str, str]:
    return {"name": bucket_of(number), "kms_key_arn": f"{KEY[:-2]}{number:02d}"}


@pytest.mark.parametrize(
    ("context", "words"),
    [
        *(
            ({key: [name]}, [f"{key}.0.name: '{name}' is no name of a bucket"])
            for key in ("output_buckets", "input_buckets")
            for name in ("*", "s3://foo/bar", "?", "Ours", "a..b", "192.168.0.1", "ab", "xn--foo")
        ),
        (
            {
                "output_buckets": [bucket_of(number) for number in range(MAX_BUCKETS)],
                "input_buckets": ["one-more"],
            },
            ["input_buckets and output_buckets have 21 buckets: at most 20", "10,240 characters"],
        ),
        (
            {"input_buckets": [with_key(number) for number in range(MAX_BUCKET_KEYS + 1)]},
            ["input_buckets and output_buckets have 6 keys: at most 5"],
        ),
        ({"input_buckets": [{"name": "ours", "key": "a"}]}, ["input_buckets.0.key: unknown key"]),
        (
            {"output_buckets": [{"name": "ours", "kms_key_arn": "alias/a"}]},
            ["output_buckets.0.kms_key_arn", "an alias is none"],
        ),
        *(
            ({"model_prefixes": [prefix]}, [f"model_prefixes.0: '{prefix}' is no prefix of models"])
            for prefix in ("models", "s3://ours/models", "https://a/", "/", "", "../x/", "a/../b/")
        ),
        (
            {"model_prefixes": [f"m{number}/" for number in range(MAX_MODEL_PREFIXES + 1)]},
            ["model_prefixes has 11 prefixes: at most 10"],
        ),
        ({"model_prefixes": [f"{'m' * 100}/"]}, ["has 101 characters, at most 100"]),
        ({"max_budget_usd": 0}, ["max_budget_usd", "greater than 0"]),
        ({"monthly_budget_usd": 0.5}, ["monthly_budget_usd"]),
        ({"wait_hours": 2}, ["wait_hours"]),
        ({"availability_zones": 1}, ["availability_zones"]),
        (
            {"availability_zones": 2, "vpc_id": "vpc-1", "subnet_ids": ["subnet-1"]},
            ["availability_zones is for the VPC that is made"],
        ),
        *(
            ({"allowed_hosts": [name]}, [f"allowed_hosts.0: '{name}' is no host or network"])
            for name in ("*", "a,b", "http://catalog.lan", "", "10.0.0.0/8/8", "a b")
        ),
        ({"max_vcpus": 4}, ["max_vcpus 4: the smallest host has 8 vCPU", "give at least 8"]),
        ({"max_vcpus": 0}, ["max_vcpus 0", "no job would ever start", "give at least 8"]),
        (
            {"max_vcpus": 8, "merge": {"vcpus": 16}},
            ["max_vcpus 8", "a merge job 16", "give at least 16"],
        ),
        (
            {"scratch": "nvme", "instance_classes": ["m5d"], "gather": {"scratch_gib": 80}},
            ["a m5d.2xlarge need 320 GiB", "its NVMe holds 259", "lower scratch_gib"],
        ),
        (
            {
                "scratch": "nvme",
                "instance_classes": ["r6id"],
                "torch_image": True,
                "gpu_queue": True,
                "gpu_instance_classes": ["g4dn"],
                "gather": {"vcpus": 4, "scratch_gib": 200},
            },
            ["a g4dn.2xlarge need 200 GiB", "its NVMe holds 194"],
        ),
        (
            {
                "gather": {"vcpus": 8, "memory_mib": 1000, "scratch_gib": 60},
                "merge": {"vcpus": 1, "memory_mib": 30_000, "scratch_gib": 60},
                "disk": {"gib": 180},
            },
            ["disk.gib 180 cannot hold", "190 GiB"],
        ),
        (
            {"image_uri": f"{REGISTRY}/cloudbuster@{DIGEST}"},
            ["lies in eu-west-1, the stack in us-west-2", "push it there"],
        ),
        (
            {"torch_image": True, "torch_image_uri": f"{REGISTRY}/torch@{DIGEST}"},
            [f"torch@{DIGEST} lies in eu-west-1"],
        ),
        ({"gpu_instance_classes": []}, ["gpu_instance_classes", "at least 1 item"]),
        ({"region": "oregon"}, ["region: 'oregon' is no region of AWS; give one as us-west-2"]),
        ({"region": "us-west-2a"}, ["region: 'us-west-2a' is no region"]),
        ({"kms_key_arn": KEY.replace("key/", "alias/")}, ["kms_key_arn", "an alias is none"]),
        ({"kms_key_arn": KEY, "region": "eu-west-1"}, ["kms_key_arn lies in us-west-2"]),
        ({"permissions_boundary": "Boundary"}, ["permissions_boundary: 'Boundary' is no ARN"]),
        ({"qualifier": "a-qualifier"}, ["qualifier: 'a-qualifier'", "1 to 10"]),
        ({"notify_emails": ["ops@"]}, ["notify_emails.0: 'ops@' is no address"]),
        ({"notify_emails": ["a@b", "ops"]}, ["notify_emails.1: 'ops' is no address"]),
        ({"tags": {"aws:owner": "us"}}, ["tags: key 'aws:owner'", "AWS's own"]),
        ({"tags": {"": "us"}}, ["tags: key '' has 0 characters", "1 to 128"]),
        ({"tags": {"k" * 129: ""}}, ["has 129 characters", "1 to 128"]),
        ({"tags": {"owner": "v" * 257}}, ["value of 'owner' has 257 characters", "0 to 256"]),
        ({"tags": {"owner": "us?"}}, ["tags: value of 'owner'", "letters, digits"]),
        ({"tags": {str(n): "" for n in range(46)}}, ["46 tags: at most 45"]),
        ({"gather": {"timeout_minutes": 20_161}}, ["gather.timeout_minutes", "20160"]),
        ({"merge": {"timeout_minutes": 0}}, ["merge.timeout_minutes"]),
        (
            {"default_request": with_dates(output="s3://theirs/x"), "output_buckets": ["ours"]},
            ["default_request: output s3://theirs/x lies outside of", "s3://ours", "output_bucket"],
        ),
        (
            {"default_request": with_dates(output=f"{OURS}/runs/x")},
            [f"lies outside of {OURS}/mosaics"],
        ),
        (
            {
                "default_request": with_dates(
                    gather={"detector": {"type": "pytorch", "weights": "s3://ours/model.pt"}}
                )
            },
            ["default_request: detector pytorch needs a stack with torch_image on"],
        ),
        (
            {"default_request": {"query": {**DATES, "catalog": "x" * 4000}}},
            ["the variables of a function would take up to", "Lambda has 4096", "shorten"],
        ),
        (
            {"map_concurrency": 41},
            ["map_concurrency 41: without distributed_map at most 40", "or set distributed_map"],
        ),
    ],
)
def test_a_value_that_cannot_be_deployed_is_refused_with_one_clear_line(
    context: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(context, source="prod.json")
    message = str(caught.value)
    assert message.startswith("prod.json: ")
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    "context",
    [
        {"output_buckets": ["our-mosaics", "a.b-3"]},
        # 59.25 GB x 8 x 0.93 are 410 GiB; 4 gather jobs on 8 vCPU need 400 GiB.
        {"scratch": "nvme", "instance_classes": ["m6id"], "gather": {"scratch_gib": 100}},
        {"max_vcpus": 8},
        {"region": "us-gov-west-1"},
        {"region": "ap-southeast-2"},
        {"kms_key_arn": KEY.replace("key/", "key/mrk-")},
        {"permissions_boundary": "arn:aws:iam::aws:policy/PowerUserAccess"},
        {"permissions_boundary": "arn:aws-us-gov:iam::123456789012:policy/path/Boundary"},
        {"qualifier": "hnb659fds"},
        {"tags": {"our:cost-centre": "GIS + maps", "empty": ""}},
        {"gather": {"timeout_minutes": 20_160}},
        {"default_request": with_dates(output="s3://ours/x"), "output_buckets": ["ours"]},
        {"default_request": with_dates(output=f"{OURS}/mosaics/x")},
        {"map_concurrency": 40},
        {"map_concurrency": 1000, "distributed_map": True},
        {"image_uri": f"{REGISTRY}/cloudbuster@{DIGEST}", "region": "eu-west-1"},
        {"$schema": "stack.schema.json"},
        {"model_prefixes": ["models/", "s3://ours/masks/v1/", "s3://ours/"]},
        {"model_prefixes": []},
        {"input_buckets": ["ours", {"name": "theirs", "kms_key_arn": KEY}]},
    ],
)
def test_a_value_that_can_be_deployed_is_accepted(context: dict[str, Any]) -> None:
    assert parse_config(context).stack_name == "CloudBuster"


def test_a_disk_must_hold_the_mix_of_jobs_that_needs_most() -> None:
    sizes = {"attempts": 1, "timeout_minutes": 1, "scratch_gib": 60}
    gather = Job(vcpus=8, memory_mib=1000, **sizes)
    merge = Job(vcpus=1, memory_mib=30_000, **sizes)
    # 16 vCPU and 62 914 MiB hold two jobs of either kind, or one gather job and two merge jobs.
    assert greatest_scratch_gib(gather, merge, vcpus=16, memory_mib=62_914) == 180


def test_the_most_and_longest_buckets_fit_into_policies_and_variables(synth: Synth) -> None:
    given = {
        "torch_image": True,
        "kms_key_arn": KEY,
        "output_buckets": [
            with_key(number) if number < MAX_BUCKET_KEYS else bucket_of(number)
            for number in range(MAX_BUCKETS)
        ],
        "model_prefixes": [
            f"s3://{'m' * (MAX_MODEL_PREFIX - 8)}{n}/" for n in range(MAX_MODEL_PREFIXES)
        ],
        "catalog_secret": {
            "arn": "arn:aws:secretsmanager:us-west-2:123456789012:secret:catalogs-AbCd12",
            "variables": ["PC_SDK_SUBSCRIPTION_KEY"],
            "kms_key_arn": KEY,
        },
    }
    template = synth(**given)
    for name, role in resources(template, "IAM::Role").items():
        policies = flat(role["Properties"].get("Policies", []))
        # With the longest partition, and a bucket name of 63 characters.
        text = json.dumps([policy["PolicyDocument"] for policy in policies], separators=(",", ":"))
        text = text.replace("<AWS::Partition>", "aws-us-gov").replace("<AWS::AccountId>", "1" * 12)
        text = text.replace("<StorageBucket5CB7C8EA.Arn>", f"arn:aws-us-gov:s3:::{LONG}")
        assert len(text) < 10_240, name
    size = len(json.dumps(settings(template, "StartRun")))
    assert size < longest_variables(parse_config(given)) <= 4096


def test_the_variables_of_the_default_functions_are_smaller_than_planned_for(synth: Synth) -> None:
    variables = properties(synth(), "Lambda::Function", "StartRun")["Environment"]["Variables"]
    assert len(json.dumps(flat(variables))) < longest_variables(parse_config({})) < 2000


@pytest.mark.parametrize(
    ("context", "line"),
    [
        (
            {"preset": "prod"},
            'context preset: write "preset": "prod" into the file of -c config=FILE.json',
        ),
        (
            {"max_vcpus": "8"},
            'context max_vcpus: write "max_vcpus": 8 into the file of -c config=FILE.json',
        ),
        *(
            ({name: "prod.json"}, f"context {name}: unknown key; did you mean config?")
            for name in ("confg", "configs", "Config")
        ),
        (
            {"allow-downgrade": "true"},
            "context allow-downgrade: unknown key; did you mean allow_downgrade?",
        ),
        (
            {},
            "no configuration: give -c config=FILE.json, the file of this stack; {} in it is a "
            "stack with all defaults",
        ),
    ],
)
def test_a_context_without_its_file_or_with_more_is_refused_with_the_right_command(
    context: dict[str, object], line: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        config_path(context)
    assert str(caught.value) == line


def test_keys_of_the_cdk_and_of_others_are_ignored() -> None:
    keys = ("aws:cdk:enable-path-metadata", "@aws-cdk/core:newStyle", "cluster", "environment")
    context = {**dict.fromkeys(keys, "true"), "config": "ours/prod.json"}
    assert config_path(context).name == "prod.json"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ["cannot read the configuration"]),
        ("{'disk': 1}", ["is not JSON"]),
        ("[1]", ["holds a list: give an object"]),
    ],
)
def test_a_file_that_holds_no_configuration_is_refused(
    tmp_path: Path, content: str | None, words: list[str]
) -> None:
    path = tmp_path / "prod.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    for word in ["prod.json", *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize("given", ["yes", "1", ""])
def test_a_downgrade_is_allowed_in_one_way_only(given: str) -> None:
    assert allows_downgrade({"allow_downgrade": "true"})
    assert not allows_downgrade({})
    with pytest.raises(ConfigError, match="give -c allow_downgrade=true"):
        allows_downgrade({"allow_downgrade": given})
