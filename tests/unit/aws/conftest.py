"""A mocked account in this process, its services, and commands that use them."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import moto.core.models
import pytest
from botocore.exceptions import EndpointConnectionError
from moto import mock_aws

from cloudbuster.cli.main import main
from cloudbuster.storage.remote.boto import aws_client
from tests.unit.aws.account import (
    DEFINITION,
    IMAGE,
    MACHINE,
    ON_DEMAND,
    QUEUE,
    REGION,
    Invoke,
    deploy,
    forget_clients,
    template,
)
from tests.unit.aws.requests import REQUEST

Break = Callable[..., None]
Respond = Callable[[dict[str, Any]], dict[str, Any]]
Answer = Callable[[str, str, Respond], None]


@pytest.fixture(scope="package", autouse=True)
def _own_clients() -> Iterator[None]:
    """Make the clients once for all tests of this package: that costs more than most tests.

    They are of boto3, so moto need not prepare, for each account, to answer `requests` as well.
    """
    forget_clients()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(moto.core.models, "RESPONSES_METHODS", [])
        yield
    forget_clients()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An account with an empty bucket ``store``; its region."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, REGION)
    with mock_aws(config={"batch": {"use_docker": False}}):
        region = {"LocationConstraint": REGION}
        aws_client("s3").create_bucket(Bucket="store", CreateBucketConfiguration=region)
        yield REGION


@pytest.fixture
def machine(aws: str) -> str:
    """A state machine of the stack's name; its ARN."""
    assert aws == REGION
    role = "arn:aws:iam::123456789012:role/states"
    made = aws_client("stepfunctions").create_state_machine(
        name="CloudBuster", definition=DEFINITION, roleArn=role
    )["stateMachineArn"]
    assert made == MACHINE
    return MACHINE


@pytest.fixture
def break_service(aws: str) -> Iterator[Break]:
    """Let calls of an operation fail: with an error code of the service, or without an answer."""
    assert aws == REGION
    undo: list[Callable[[], None]] = []

    def break_calls(service: str, operation: str, code: str | None, *, after: int = 0) -> None:
        client = aws_client(service)
        event = f"before-call.{client.meta.service_model.service_id.hyphenize()}.{operation}"
        calls: list[str] = []

        def fail(**_call: Any) -> Any:
            calls.append(operation)
            if len(calls) <= after:
                return None
            if code is None:
                raise EndpointConnectionError(endpoint_url=f"https://{service}")
            answer = {"HTTPStatusCode": 400}
            error = {"Code": code, "Message": f"{code} of a test"}
            return SimpleNamespace(status_code=400), {"Error": error, "ResponseMetadata": answer}

        client.meta.events.register(event, fail)
        undo.append(lambda: client.meta.events.unregister(event, fail))

    yield break_calls
    for each in undo:
        each()


@pytest.fixture
def answer(aws: str) -> Iterator[Answer]:
    """Answer calls of an operation that moto lacks, by a function of their parameters."""
    assert aws == REGION
    undo: list[Callable[[], None]] = []

    def answer_calls(service: str, operation: str, respond: Respond) -> None:
        client = aws_client(service)
        event = f"before-call.{client.meta.service_model.service_id.hyphenize()}.{operation}"

        def reply(*, params: dict[str, Any], **_call: Any) -> Any:
            content = respond(json.loads(params["body"]))
            code = content.pop("code", None)
            if code is None:
                return SimpleNamespace(status_code=200), content
            error = {"Code": code, "Message": f"{code} of a test"}
            metadata = {"HTTPStatusCode": 400}
            return SimpleNamespace(status_code=400), {"Error": error, "ResponseMetadata": metadata}

        client.meta.events.register(event, reply)
        undo.append(lambda: client.meta.events.unregister(event, reply))

    yield answer_calls
    for each in undo:
        each()


@pytest.fixture
def quotas(answer: Answer) -> dict[str, float]:
    """Quotas of the account by their codes; AWS's default is 5 virtual processors."""
    known: dict[str, float] = {}

    def own(asked: dict[str, Any]) -> dict[str, Any]:
        if asked["QuotaCode"] not in known:
            return {"code": "NoSuchResourceException"}
        return {"Quota": {"Value": known[asked["QuotaCode"]]}}

    answer("service-quotas", "GetServiceQuota", own)
    answer("service-quotas", "GetAWSDefaultServiceQuota", lambda _asked: {"Quota": {"Value": 5.0}})
    return known


@pytest.fixture
def batch(aws: str) -> Any:
    """Batch with two queues, and job definitions of gather and merge."""
    assert aws == REGION
    iam, ec2, found = (aws_client(name) for name in ("iam", "ec2", "batch"))
    aws_client("ecr").create_repository(repositoryName="mosaics")
    role = iam.create_role(RoleName="batch", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    iam.create_instance_profile(InstanceProfileName="hosts")
    profile = iam.get_instance_profile(InstanceProfileName="hosts")["InstanceProfile"]["Arn"]
    subnet = ec2.describe_subnets()["Subnets"][0]
    group = ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]
    environment = found.create_compute_environment(
        computeEnvironmentName="hosts",
        type="MANAGED",
        state="ENABLED",
        serviceRole=role,
        computeResources={
            "type": "EC2",
            "minvCpus": 0,
            "maxvCpus": 8,
            "instanceTypes": ["m5.2xlarge"],
            "subnets": [subnet["SubnetId"]],
            "securityGroupIds": [group],
            "instanceRole": profile,
        },
    )["computeEnvironmentArn"]
    for name in (QUEUE, ON_DEMAND):
        found.create_job_queue(
            jobQueueName=name,
            state="ENABLED",
            priority=1,
            computeEnvironmentOrder=[{"order": 1, "computeEnvironment": environment}],
        )
    for name in ("gather", "merge"):
        found.register_job_definition(
            jobDefinitionName=f"my-{name}",
            type="container",
            containerProperties={
                "image": IMAGE,
                "vcpus": 2,
                "memory": 2048,
                "command": [name, "--task", "Ref::task_uri"],
            },
        )
    return found


@pytest.fixture
def invoke(capsys: pytest.CaptureFixture[str]) -> Invoke:
    """Run a command in this process; return its exit code, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        output = capsys.readouterr()
        return int(stop.value.code or 0), output.out, output.err

    return run


@pytest.fixture
def stack(aws: str) -> str:
    """The deployed stack; its region."""
    deploy(template())
    return aws


@pytest.fixture
def request_file(tmp_path: Path) -> Path:
    """A request in a file."""
    path = tmp_path / "request.json"
    path.write_text(json.dumps(REQUEST))
    return path
