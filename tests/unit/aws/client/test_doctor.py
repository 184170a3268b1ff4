"""The examination of the deployed stack."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from cloudbuster.aws.outputs import config_parameter
from cloudbuster.errors import ExitCode
from cloudbuster.storage.remote.boto import aws_client
from tests.unit.aws.account import GIVEN, IMAGE, QUEUE, Invoke, deploy, template

DEPLOYED = f"deployed with cloudbuster {version('cloudbuster')}"


@pytest.mark.usefixtures("stack")
def test_doctor_finds_what_is_wrong(invoke: Invoke, batch: Any, quotas: dict[str, float]) -> None:
    quotas["L-1216C47A"] = 8
    code, out, err = invoke("doctor")
    assert code == ExitCode.BAD_INPUT
    assert [line for line in out.splitlines() if line.startswith("[ ]")] == [
        line for line in out.splitlines() if line.startswith(f"[ ] image {IMAGE}: ")
    ]
    assert f"1 of 11 are not as they should be: image {IMAGE}" in err.splitlines()[-1]
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


@pytest.mark.usefixtures("stack", "quotas")
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


@pytest.mark.usefixtures("batch", "quotas")
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


@pytest.fixture
def sound(stack: str, batch: Any, quotas: dict[str, float]) -> None:
    """A stack of which only the image is missing."""
    assert stack
    assert batch
    quotas["L-1216C47A"] = 8


@pytest.mark.usefixtures("sound")
@pytest.mark.parametrize(
    ("given", "line"),
    [
        (GIVEN, f"[x] configuration: ours/prod.json, {DEPLOYED}, as in the file"),
        (
            {**GIVEN, "log_days": 30},
            f"[ ] configuration: ours/prod.json, {DEPLOYED}; log_days is 30 in the file and 90 in "
            "the stack",
        ),
    ],
)
def test_doctor_shows_in_what_a_file_differs_from_the_deployed_configuration(
    invoke: Invoke, tmp_path: Path, given: dict[str, Any], line: str
) -> None:
    path = tmp_path / "prod.json"
    path.write_text(json.dumps(given))
    assert line in invoke("doctor", "--config", path)[1].splitlines()
    assert f"[x] configuration: ours/prod.json, {DEPLOYED}" in invoke("doctor")[1].splitlines()


@pytest.mark.usefixtures("sound")
def test_doctor_refuses_a_file_that_holds_no_configuration(invoke: Invoke, tmp_path: Path) -> None:
    path = tmp_path / "prod.json"
    code, _, err = invoke("doctor", "--config", path)
    assert code == ExitCode.BAD_INPUT
    assert "NotFoundError" in err.splitlines()[-1]
    path.write_text("[]")
    code, _, err = invoke("doctor", "--config", path)
    assert code == ExitCode.BAD_INPUT
    assert err.splitlines()[-1].endswith("holds a list: give a configuration file, a JSON object")


@pytest.mark.usefixtures("sound")
def test_doctor_of_a_stack_of_an_earlier_version_says_to_deploy_again(invoke: Invoke) -> None:
    aws_client("ssm").put_parameter(
        Name=config_parameter("CloudBuster"), Value='{"a": 1}', Type="String", Overwrite=True
    )
    line = "[ ] configuration: is not published: deploy the stack again"
    assert line in invoke("doctor")[1].splitlines()


@pytest.mark.usefixtures("sound")
def test_doctor_compares_the_quota_with_the_processors_of_the_hosts(
    invoke: Invoke, quotas: dict[str, float]
) -> None:
    quotas["L-1216C47A"] = 7
    code, out, _ = invoke("doctor")
    assert code == ExitCode.BAD_INPUT
    (line,) = (line for line in out.splitlines() if "quota" in line)
    assert line.startswith("[ ] quota on-demand standard (L-1216C47A): 7 vCPU, the stack may use 8")
