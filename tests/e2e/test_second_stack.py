"""A second stack in the same account, whose gathering map runs as child executions."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cloud import DeployedStack, FinishedExecution
from tests.e2e.commands import output_of
from tests.e2e.conftest import CONFIG, STACK
from tests.e2e.deployments import definitions_since, left_of, resources
from tests.e2e.worlds import torn_world, upload

pytestmark = pytest.mark.e2e

SECOND = "CloudBuster-Second"


@pytest.fixture(scope="module")
def second(stack: DeployedStack) -> DeployedStack:
    """Another stack in the same account."""
    cloud = stack.cloud
    cloud.deploy(cloud.synth("second", {**CONFIG, "stack_name": SECOND, "distributed_map": True}))
    return DeployedStack(cloud, SECOND)


def results_of(
    stack: DeployedStack, ended: FinishedExecution
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Manifest of an execution's map run, and the children in the files that it lists."""
    run = ended.output["run_id"]
    (key,) = (key for key in stack.keys(f"scratch/{run}/results/") if key.endswith("manifest.json"))
    manifest: dict[str, Any] = json.loads(stack.get(f"s3://{stack.bucket}/{key}"))
    files = manifest["ResultFiles"]["SUCCEEDED"]
    children = [
        child
        for file in files
        for child in json.loads(stack.get(f"s3://{stack.bucket}/{file['Key']}"))
    ]
    return manifest, children


def test_two_stacks_in_one_account_share_nothing(cloud, stack, second, world) -> None:
    ids = [set(resources(cloud, name).values()) for name in (STACK, SECOND)]
    assert not ids[0] & ids[1]
    place = cloud.journal.place()
    running = [each.start(world.in_s3(name="same"), name="same") for each in (stack, second)]
    for each, arn in zip((stack, second), running, strict=True):
        ended = each.end(arn)
        assert ended.status == "SUCCEEDED", ended.cause
        assert ended.output["scenes"] == {"selected": 3, "gathered": 3, "failed": 0}
        assert ended.output["products"]["cloudless"].startswith(f"s3://{each.bucket}/")
    assert len(definitions_since(cloud, place)) == 4


def test_the_results_of_a_distributed_map_are_read_from_its_files(second, tmp_path) -> None:
    world = torn_world(tmp_path / "torn")
    upload(second.cloud, world)
    request = world.in_s3(name="torn", limits={"min_success_fraction": 0.6})
    ended = second.run(request, name="torn")
    assert ended.status == "SUCCEEDED", ended.cause
    assert ended.output["scenes"] == {"selected": 3, "gathered": 2, "failed": 1}
    manifest, children = results_of(second, ended)
    (file,) = manifest["ResultFiles"]["SUCCEEDED"]
    assert file["Size"] == len(second.get(f"s3://{second.bucket}/{file['Key']}"))
    answers = sorted((json.loads(child["Output"]) for child in children), key=lambda a: a["index"])
    assert [answer["index"] for answer in answers] == [1, 2, 3]
    statuses = [answer["status"] for answer in answers]
    (lost,) = (status for status in statuses if status != "SUCCEEDED")
    assert lost.startswith("EXIT_")
    # The state holds neither the items nor the results.
    state = json.loads(ended.entered_with("Assess"))
    assert state["plan"]["indices"] == []
    assert state["gathered"]["MapRunArn"] == manifest["MapRunArn"]
    assessment = json.loads(
        second.get(f"s3://{second.bucket}/runs/{ended.output['run_id']}/assessment.json")
    )
    (failure,) = assessment["failures"]
    number = statuses.index(lost) + 1
    assert failure["index"] == number
    # The message names the command that prints the reason.
    words = f"cloudbuster logs {ended.output['run_id']} --scene {number}"
    assert words in failure["message"]
    log = output_of(second, *words.split()[1:], "--stack", SECOND)
    last = json.loads(log.splitlines()[-1])
    assert last["event"] == "failed"
    assert last["error"].endswith("Error")


def test_a_child_that_cannot_submit_fails_the_distributed_map(second, world) -> None:
    refused = {"code": "ClientException", "message": "JobQueue is not valid", "status": 400}
    second.cloud.faults.add("submit", match={"job": "*-gather-2"}, **refused)
    ended = second.run(world.in_s3(name="refused"), name="refused")
    assert (ended.status, ended.error) == ("FAILED", "WorkflowExceedToleratedFailureThreshold")


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
