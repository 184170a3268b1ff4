"""A mocked account with as much of the deployed stack as the command line looks at."""

import json
from collections.abc import Callable
from typing import Any

import boto3
from moto.stepfunctions.models import stepfunctions_backends

from cloudbuster.aws.client import session as aws_client
from cloudbuster.aws.client.deployed import DEFAULT_STACK, START_FUNCTION
from cloudbuster.aws.settings import SETTINGS_VARIABLE, StackSettings
from cloudbuster.storage import s3

REGION = "us-west-2"
ACCOUNT = "123456789012"
QUEUE, ON_DEMAND = "big-queue", "on-demand"
IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/mosaics:1"
Invoke = Callable[..., tuple[int, str, str]]


def forget() -> None:
    """Let go of clients of another account."""
    # The shared session keeps the credentials that it found first, of whichever test.
    boto3.DEFAULT_SESSION = None
    aws_client.client.cache_clear()
    s3.client.cache_clear()


def template(*, more: dict[str, str] | None = None, **settings: Any) -> str:
    """As much of the stack's template as submitting needs, with ``more`` outputs."""
    told = StackSettings(root="s3://store", **{"home": "L2A", **settings})
    arn = {"Fn::GetAtt": ["Role", "Arn"]}
    start = {
        "Role": arn,
        "Handler": "index.handler",
        "Runtime": "python3.12",
        "Code": {"ZipFile": "pass"},
        "Environment": {"Variables": {SETTINGS_VARIABLE: told.model_dump_json()}},
    }
    machine = {
        "StateMachineName": "CloudBuster",
        "RoleArn": arn,
        "DefinitionString": '{"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}}',
    }
    resources = {
        "Role": {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": {}}},
        f"{START_FUNCTION}3C01A044": {"Type": "AWS::Lambda::Function", "Properties": start},
        "Machine": {"Type": "AWS::StepFunctions::StateMachine", "Properties": machine},
    }
    place = f"arn:aws:batch:{REGION}:{ACCOUNT}"
    told_of = {
        "BucketName": "store",
        "QueueArn": f"{place}:job-queue/{QUEUE}",
        "OnDemandQueueArn": f"{place}:job-queue/{ON_DEMAND}",
        "GatherJobArn": f"{place}:job-definition/my-gather:1",
        "MergeJobArn": f"{place}:job-definition/my-merge:1",
        **{name: f"{place}:{value}" for name, value in (more or {}).items()},
    }
    outputs = {
        "StateMachineArn": {"Value": {"Ref": "Machine"}},
        **{name: {"Value": value} for name, value in told_of.items()},
    }
    return json.dumps({"Resources": resources, "Outputs": outputs})


def deploy(body: str) -> None:
    cloudformation = boto3.client("cloudformation", REGION)
    if cloudformation.list_stacks()["StackSummaries"]:
        cloudformation.update_stack(StackName=DEFAULT_STACK, TemplateBody=body)
    else:
        cloudformation.create_stack(StackName=DEFAULT_STACK, TemplateBody=body)


def machine() -> str:
    return f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:CloudBuster"


def end(arn: str, status: str, **values: Any) -> None:
    """End an execution; moto's own would never."""
    execution = stepfunctions_backends[ACCOUNT][REGION].describe_execution(arn)
    execution.status = status
    for name, value in values.items():
        setattr(execution, name, value)
