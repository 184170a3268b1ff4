"""The examination of the deployed stack."""

import json
from typing import Any

import pytest

from cloudbuster.errors import ExitCode
from cloudbuster.storage.boto import aws_client
from tests.unit.aws.account import IMAGE, QUEUE, Invoke, deploy, template


@pytest.mark.usefixtures("stack")
def test_doctor_finds_what_is_wrong(invoke: Invoke, batch: Any) -> None:
    code, out, err = invoke("doctor")
    assert code == ExitCode.BAD_INPUT
    assert [line for line in out.splitlines() if line.startswith("[ ]")] == [
        line for line in out.splitlines() if line.startswith(f"[ ] image {IMAGE}: ")
    ]
    assert f"1 of 9 are not as they should be: image {IMAGE}" in err.splitlines()[-1]
    media = "application/vnd.docker.distribution.manifest.v2+json"
    content = {"schemaVersion": 2, "mediaType": media, "config": {"digest": "a"}, "layers": []}
    manifest = json.dumps(content)
    aws_client("ecr").put_image(repositoryName="mosaics", imageManifest=manifest, imageTag="1")
    code, out, err = invoke("doctor")
    assert (code, err) == (0, "")
    assert f"[x] queue {QUEUE}: ENABLED, VALID" in out
    assert "[x] region: us-west-2; L2A scenes lie in us-west-2" in out
    batch.update_job_queue(jobQueue=QUEUE, state="DISABLED")
    code, out, _ = invoke("doctor")
    assert code == ExitCode.BAD_INPUT
    assert f"[ ] queue {QUEUE}: DISABLED, VALID" in out


@pytest.mark.usefixtures("stack")
def test_doctor_examines_the_gpu_queue_and_the_image_with_pytorch(
    invoke: Invoke, batch: Any
) -> None:
    deploy(template(more={"GpuQueueArn": "job-queue/gpu", "TorchJobArn": "job-definition/torch:1"}))
    _, out, _ = invoke("doctor")
    assert "[ ] queues: 2 of 3 exist" in out
    assert "[ ] job definitions: 2 of 3 exist" in out
    batch.create_job_queue(
        jobQueueName="gpu",
        state="DISABLED",
        priority=1,
        computeEnvironmentOrder=[{"order": 1, "computeEnvironment": "hosts"}],
    )
    properties = {"image": f"{IMAGE}-torch", "vcpus": 2, "memory": 2048}
    batch.register_job_definition(
        jobDefinitionName="torch", type="container", containerProperties=properties
    )
    _, out, _ = invoke("doctor")
    assert "[ ] queue gpu: DISABLED, VALID" in out
    assert "[x] job definition torch:1: ACTIVE" in out
    assert f"[ ] image {IMAGE}-torch: " in out


@pytest.mark.usefixtures("batch")
@pytest.mark.parametrize(
    ("home", "line"),
    [
        ("L1C", "[ ] region: us-west-2; L1C scenes lie in eu-central-1"),
        (
            None,
            "[x] region: us-west-2; L2A scenes lie in us-west-2, L1C scenes lie in eu-central-1",
        ),
    ],
)
def test_doctor_says_where_the_scenes_of_the_stack_lie(
    invoke: Invoke, home: str | None, line: str
) -> None:
    deploy(template(home=home))
    assert line in invoke("doctor")[1].splitlines()
