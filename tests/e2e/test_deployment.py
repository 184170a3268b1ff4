"""What ``cdk`` does to a stack: while it runs, beside another one, when it breaks, at its end."""

import json
from pathlib import Path

import pytest

from tests.e2e.cloud import Cloud, DeployedStack, until
from tests.e2e.conftest import CONFIG, STACK

pytestmark = pytest.mark.e2e

SECOND = "CloudBuster-Second"
# What moto's CloudFormation has no notion of: asserted in the template by tests/infra instead.
NOT_MADE = {
    "AWS::CloudWatch::Alarm",
    "AWS::Logs::MetricFilter",
    "AWS::S3::BucketPolicy",
    "AWS::SNS::TopicPolicy",
    "AWS::SQS::QueuePolicy",
}


@pytest.fixture(scope="module")
def second(stack: DeployedStack) -> DeployedStack:
    """Another stack in the same account."""
    cloud = stack.cloud
    cloud.deploy(cloud.synth("second", {**CONFIG, "stack_name": SECOND}))
    return DeployedStack(cloud, SECOND)


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
    ]
    prefix = stack.lower()
    return sorted(name for name in names if name.rsplit(":", 1)[-1].lower().startswith(prefix))


def test_the_loopback_makes_every_resource_but_those_that_are_named(stack, assembly) -> None:
    template = json.loads((assembly / f"{stack.name}.template.json").read_text())
    kinds = {name: entry["Type"] for name, entry in template["Resources"].items()}
    missing = {kinds[name] for name in kinds.keys() - resources(stack.cloud, stack.name).keys()}
    assert missing == NOT_MADE


def test_an_update_leaves_a_running_execution_what_it_started_with(
    cloud, stack, world, tmp_path
) -> None:
    changed = {**CONFIG, "gather": {"memory_mib": 7168}, "merge": {"memory_mib": 14_336}}
    assembly = cloud.synth("changed", changed)
    place = cloud.journal.place()
    held = tmp_path / "held"
    held.touch()
    cloud.faults.add("attempt", match={"job": "*-gather-1"}, held_by=str(held))
    arn = stack.start(world.in_s3(name="before"), name="before")
    until(lambda: cloud.journal.entries("started", since=place))
    before = stack.outputs
    cloud.deploy(assembly)
    after = stack.outputs
    assert stack.states.describe_execution(executionArn=arn)["status"] == "RUNNING"
    assert before["MergeJobArn"] != after["MergeJobArn"]
    held.unlink()
    assert stack.end(arn).status == "SUCCEEDED"
    assert definitions_since(cloud, place) == {before["GatherJobArn"], before["MergeJobArn"]}
    place = cloud.journal.place()
    assert stack.run(world.in_s3(name="after"), name="after").status == "SUCCEEDED"
    assert definitions_since(cloud, place) == {after["GatherJobArn"], after["MergeJobArn"]}


def definitions_since(cloud: Cloud, place: int) -> set[str]:
    """Job definitions that jobs have run with."""
    return {entry["definition"] for entry in cloud.journal.entries("attempt", since=place)}


def test_two_stacks_in_one_account_share_nothing(cloud, stack, second, world) -> None:
    ids = [set(resources(cloud, name).values()) for name in (STACK, SECOND)]
    assert not ids[0] & ids[1]
    place = cloud.journal.place()
    running = [each.start(world.in_s3(name="same"), name="same") for each in (stack, second)]
    for each, arn in zip((stack, second), running, strict=True):
        ended = each.end(arn)
        assert ended.status == "SUCCEEDED", ended.cause
        assert ended.output["products"]["cloudless"].startswith(f"s3://{each.bucket}/")
    assert len(definitions_since(cloud, place)) == 4


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


def test_destroy_leaves_nothing_once_the_bucket_is_empty(cloud, stack, second, world) -> None:
    assembly = str(Path(cloud.settings.folder, "assemblies", "second"))
    second.put("mosaics/kept.tif", b"kept")
    bucket, keys = second.bucket, second.keys()
    refused = cloud.cdk("destroy", "--app", assembly, "--force")
    assert refused.returncode != 0
    assert "is not empty" in refused.stdout
    assert left_of(cloud, SECOND) == [bucket]
    second.s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys]})
    cloud.do_cdk("destroy", "--app", assembly, "--force")
    assert left_of(cloud, SECOND) == []
    assert stack.run(world.in_s3(name="alone"), name="alone").status == "SUCCEEDED"
