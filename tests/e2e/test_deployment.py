"""Deployments by ``cdk``: an update during an execution, and a deployment that fails."""

import json

import pytest

from tests.e2e.cloud import Cloud, until
from tests.e2e.conftest import CONFIG
from tests.e2e.deployments import definitions_since, left_of, parameters, resources

pytestmark = pytest.mark.e2e

STAGES = ("Query", "Filter", "Assess", "Finish")
# Resources that moto's CloudFormation does not support: tests/infra checks them in the template.
NOT_MADE = {
    "AWS::CloudWatch::Alarm",
    "AWS::Lambda::EventInvokeConfig",
    "AWS::Lambda::Permission",
    "AWS::Logs::MetricFilter",
    "AWS::Logs::QueryDefinition",
    "AWS::S3::BucketPolicy",
    "AWS::SNS::TopicPolicy",
    "AWS::SQS::QueuePolicy",
}


def test_the_loopback_makes_all_resources_but_the_listed_ones(stack, assembly) -> None:
    template = json.loads((assembly / f"{stack.name}.template.json").read_text())
    kinds = {name: entry["Type"] for name, entry in template["Resources"].items()}
    missing = {kinds[name] for name in kinds.keys() - resources(stack.cloud, stack.name).keys()}
    assert missing == NOT_MADE


def test_a_running_execution_keeps_the_versions_that_it_started_with_during_an_update(
    cloud, stack, world, tmp_path
) -> None:
    changed = {
        **CONFIG,
        "gather": {"memory_mib": 7168},
        "merge": {"memory_mib": 14_336},
        # A setting that no other test of this stack depends on.
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
    published = {entry["Name"]: json.loads(entry["Value"]) for entry in parameters(cloud)}
    assert set(published) == {after["SettingsParameter"], after["ConfigParameter"]}
    settings, configuration = (
        published[after[name]] for name in ("SettingsParameter", "ConfigParameter")
    )
    assert settings["output_roots"] == ["s3://mosaics-of-others"]
    assert configuration["given"] == changed
    assert stack.states.describe_execution(executionArn=arn)["status"] == "RUNNING"
    assert before["MergeJobArn"] != after["MergeJobArn"]
    held.unlink()
    assert stack.end(arn).status == "SUCCEEDED"
    assert definitions_since(cloud, place) == {before["GatherJobArn"], before["MergeJobArn"]}
    # Its later states called the same versions as its first ones, with the old settings.
    called = versions_since(cloud, place)
    assert {name: len(versions) for name, versions in called.items()} == dict.fromkeys(STAGES, 1)
    assert {*versions_since(cloud, before_update)} == {"Assess", "Finish"}
    assert output_roots(cloud, called) == {()}
    place = cloud.journal.place()
    assert stack.run(world.in_s3(name="after"), name="after").status == "SUCCEEDED"
    assert definitions_since(cloud, place) == {after["GatherJobArn"], after["MergeJobArn"]}
    since = versions_since(cloud, place)
    assert since.keys() == called.keys()
    assert not any(since[name] & called[name] for name in called)
    assert output_roots(cloud, since) == {("s3://mosaics-of-others",)}


def test_a_deployment_that_would_lower_what_protects_data_stops(cloud, stack) -> None:
    lower = cloud.configured("lower", {**CONFIG, "stack_name": stack.name, "log_days": 7})
    refused = cloud.cdk("synth", "--quiet", *lower)
    assert refused.returncode != 0
    assert "log_days is 7, it was 30" in refused.stdout
    assert "give -c allow_downgrade=true as well" in refused.stdout
    folder = str(cloud.settings.path("assemblies") / "lower")
    allowed = cloud.do_cdk("synth", "-o", folder, *lower, "-c", "allow_downgrade=true")
    assert f"{stack.name}: lowers what protects data: log_days is 7, it was 30" in allowed


def versions_since(cloud: Cloud, place: int) -> dict[str, set[str]]:
    """Names and versions of the functions that were called for each stage."""
    found: dict[str, set[str]] = {}
    for entry in cloud.journal.entries("function", since=place):
        (stage,) = (stage for stage in STAGES if f"-Stages{stage}" in entry["name"])
        found.setdefault(stage, set()).add(f"{entry['name']}:{entry['version']}")
    return found


def output_roots(cloud: Cloud, called: dict[str, set[str]]) -> set[tuple[str, ...]]:
    """Buckets that runs may write to, in the settings of versions of functions."""
    functions = cloud.client("lambda")
    found = set()
    for name in set.union(*called.values()):
        assert not name.endswith("$LATEST")
        known = functions.get_function_configuration(FunctionName=name)
        settings = json.loads(known["Environment"]["Variables"]["CLOUDBUSTER_STACK"])
        found.add(tuple(settings["output_roots"]))
    return found


def test_a_failed_deployment_is_reported_and_leaves_nothing(stack) -> None:
    cloud = stack.cloud
    uri = "123456789012.dkr.ecr.us-west-2.amazonaws.com/nowhere@sha256:" + 64 * "0"
    name = "CloudBuster-Broken"
    config = {**CONFIG, "stack_name": name, "image_uri": uri}
    assembly = cloud.synth("broken", config)
    done = cloud.cdk("deploy", "--app", str(assembly), "--require-approval", "never")
    assert done.returncode != 0
    assert "CannotPullContainerError" in done.stdout
    assert left_of(cloud, name) == []
