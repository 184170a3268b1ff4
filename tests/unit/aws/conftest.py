"""A mocked account, and commands that run in this process."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from cloudbuster.cli.main import main
from cloudbuster.storage import s3
from tests.unit.aws.account import (
    IMAGE,
    ON_DEMAND,
    QUEUE,
    REGION,
    Invoke,
    deploy,
    forget,
    template,
)
from tests.unit.aws.requests import REQUEST


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An account in this process, with a bucket; its region."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, REGION)
    with mock_aws(config={"batch": {"use_docker": False}}):
        forget()
        region = {"LocationConstraint": REGION}
        s3.client().create_bucket(Bucket="store", CreateBucketConfiguration=region)
        yield REGION
    forget()


@pytest.fixture
def batch(aws: str) -> Any:
    """Batch with two queues, and job definitions of gather and merge."""
    iam, ec2, found = (boto3.client(name, aws) for name in ("iam", "ec2", "batch"))
    boto3.client("ecr", aws).create_repository(repositoryName="mosaics")
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
    """Run a command in this process: its exit code, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        told = capsys.readouterr()
        return int(stop.value.code or 0), told.out, told.err

    return run


@pytest.fixture
def stack(aws: str) -> Any:
    """The deployed stack; its Step Functions."""
    deploy(template())
    return boto3.client("stepfunctions", aws)


@pytest.fixture
def request_file(tmp_path: Path) -> Path:
    path = tmp_path / "request.json"
    path.write_text(json.dumps(REQUEST))
    return path
