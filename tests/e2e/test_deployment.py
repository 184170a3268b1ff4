"""What ``cdk`` does to a stack: while it runs, and when it breaks."""

import json
from typing import Any

import pytest

from tests.e2e.cloud import Cloud, until
from tests.e2e.conftest import CONFIG

pytestmark = pytest.mark.e2e

STAGES = ("Query", "Filter", "Assess", "Finish")
# What moto's CloudFormation has no notion of, or no id for: tests/infra looks at the template.
NOT_MADE = {
    "AWS::CloudWatch::Alarm",
    "AWS::Lambda::EventInvokeConfig",
    "AWS::Lambda::Permission",
    "AWS::Logs::MetricFilter",
    "AWS::S3::BucketPolicy",
    "AWS::SNS::TopicPolicy",
    "AWS::SQS::QueuePolicy",
}


def resources(cloud: Cloud, stack: str) -> dict[str, str]:
    """Physical ids of a stack's resources, by their logical ones."""
    pages = cloud.client("cloudformation").get_paginator("list_stack_resources")
    return {
        entry["LogicalResourceId"]: entry["PhysicalResourceId"]
        for page in pages.paginate(StackName=stack)
        for entry in page["StackResourceSummaries"]
        if entry["PhysicalResourceId"]
    }


def left_of(cloud: Cloud, stack: str) -> list[str]:
    """Names of what there still is of a stack."""
    batch, states = cloud.client("batch"), cloud.client("stepfunctions")
    definitions = batch.describe_job_definitions(status="ACTIVE")["jobDefinitions"]
    queues = batch.describe_job_queues()["jobQueues"]
    hosts = batch.describe_compute_environments()["computeEnvironments"]
    names = [
        *(bucket["Name"] for bucket in cloud.client("s3").list_buckets()["Buckets"]),
        *(f["FunctionName"] for f in cloud.client("lambda").list_functions()["Functions"]),
        *(definition["jobDefinitionName"] for definition in definitions),
        *(queue["jobQueueName"] for queue in queues),
        *(environment["computeEnvironmentName"] for environment in hosts),
        *(machine["name"] for machine in states.list_state_machines()["stateMachines"]),
        *(role["RoleName"] for role in cloud.client("iam").list_roles()["Roles"]),
        *(url.rsplit("/")[-1] for url in cloud.client("sqs").list_queues().get("QueueUrls", [])),
        *(topic["TopicArn"] for topic in cloud.client("sns").list_topics()["Topics"]),
        *(rule["Name"] for rule in cloud.client("events").list_rules()["Rules"]),
        *(entry["Name"].split("/")[2] for entry in settings_parameters(cloud)),
    ]
    prefix = stack.lower()
    return sorted(name for name in names if name.rsplit(":", 1)[-1].lower().startswith(prefix))


def settings_parameters(cloud: Cloud) -> list[dict[str, Any]]:
    """Parameters in which stacks publish their settings."""
    path = {"Path": "/cloudbuster", "Recursive": True}
    found: list[dict[str, Any]] = cloud.client("ssm").get_parameters_by_path(**path)["Parameters"]
    return found


def test_the_loopback_makes_every_resource_but_those_that_are_named(stack, assembly) -> None:
    template = json.loads((assembly / f"{stack.name}.template.json").read_text())
    kinds = {name: entry["Type"] for name, entry in template["Resources"].items()}
    missing = {kinds[name] for name in kinds.keys() - resources(stack.cloud, stack.name).keys()}
    assert missing == NOT_MADE


def test_an_update_leaves_a_running_execution_what_it_started_with(
    cloud, stack, world, tmp_path
) -> None:
    changed = {
        **CONFIG,
        "gather": {"memory_mib": 7168},
        "merge": {"memory_mib": 14_336},
        # What no other test of this stack depends on.
        "output_buckets": ["mosaics-of-others"],
    }
    assembly = cloud.synth("changed", changed)
    place = cloud.journal.place()
    held = tmp_path / "held"
    held.touch()
    cloud.faults.add("attempt", match={"job": "*-gather-1"}, held_by=str(held))
    arn = stack.start(world.in_s3(name="before"), name="before")
    until(lambda: cloud.journal.entries("started", since=place))
    before, before_update = stack.outputs, cloud.journal.place()
    cloud.deploy(assembly)
    after = stack.outputs
    (published,) = settings_parameters(cloud)
    assert published["Name"] == after["SettingsParameter"]
    assert json.loads(published["Value"])["output_roots"] == ["s3://mosaics-of-others"]
    assert stack.states.describe_execution(executionArn=arn)["status"] == "RUNNING"
    assert before["MergeJobArn"] != after["MergeJobArn"]
    held.unlink()
    assert stack.end(arn).status == "SUCCEEDED"
    assert definitions_since(cloud, place) == {before["GatherJobArn"], before["MergeJobArn"]}
    # Its later states called what its first ones did: the code and the settings of before.
    called = versions_since(cloud, place)
    assert {name: len(versions) for name, versions in called.items()} == dict.fromkeys(STAGES, 1)
    assert {*versions_since(cloud, before_update)} == {"Assess", "Finish"}
    assert told(cloud, called) == {()}
    place = cloud.journal.place()
    assert stack.run(world.in_s3(name="after"), name="after").status == "SUCCEEDED"
    assert definitions_since(cloud, place) == {after["GatherJobArn"], after["MergeJobArn"]}
    since = versions_since(cloud, place)
    assert since.keys() == called.keys()
    assert not any(since[name] & called[name] for name in called)
    assert told(cloud, since) == {("s3://mosaics-of-others",)}


def definitions_since(cloud: Cloud, place: int) -> set[str]:
    """Job definitions that jobs have run with."""
    return {entry["definition"] for entry in cloud.journal.entries("attempt", since=place)}


def versions_since(cloud: Cloud, place: int) -> dict[str, set[str]]:
    """Name and version of what was called for each stage."""
    found: dict[str, set[str]] = {}
    for entry in cloud.journal.entries("function", since=place):
        (stage,) = (stage for stage in STAGES if f"-Stages{stage}" in entry["name"])
        found.setdefault(stage, set()).add(f"{entry['name']}:{entry['version']}")
    return found


def told(cloud: Cloud, called: dict[str, set[str]]) -> set[tuple[str, ...]]:
    """What the versions of functions know of their stack: where runs may write."""
    functions = cloud.client("lambda")
    found = set()
    for name in set.union(*called.values()):
        assert not name.endswith("$LATEST")
        known = functions.get_function_configuration(FunctionName=name)
        settings = json.loads(known["Environment"]["Variables"]["CLOUDBUSTER_STACK"])
        found.add(tuple(settings["output_roots"]))
    return found


def test_a_deploy_that_breaks_is_seen_as_broken_and_leaves_nothing(stack) -> None:
    cloud = stack.cloud
    uri = "123456789012.dkr.ecr.us-west-2.amazonaws.com/nowhere:latest"
    name = "CloudBuster-Broken"
    config = {**CONFIG, "stack_name": name, "image_uri": uri}
    assembly = cloud.synth("broken", config)
    done = cloud.cdk("deploy", "--app", str(assembly), "--require-approval", "never")
    assert done.returncode != 0
    assert "CannotPullContainerError" in done.stdout
    assert left_of(cloud, name) == []
