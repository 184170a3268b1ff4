"""A mocked account with as much of the deployed stack as the command line looks at."""

import json
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import boto3
from moto.stepfunctions.models import stepfunctions_backends

from cloudbuster.aws import DEFAULT_STACK
from cloudbuster.aws.outputs import Output, config_parameter, settings_parameter
from cloudbuster.aws.published import PublishedConfig
from cloudbuster.aws.settings import StackSettings
from cloudbuster.storage.remote.boto import aws_client

REGION = "us-west-2"
ACCOUNT = "123456789012"
GIVEN: dict[str, Any] = {"preset": "prod", "log_days": 90}
QUEUE, ON_DEMAND = "big-queue", "on-demand"
IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/mosaics:1"
MACHINE = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:CloudBuster"
DEFINITION = '{"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}}'
DEAD_LETTERS = f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/dead-letters"
Invoke = Callable[..., tuple[int, str, str]]


def forget_clients() -> None:
    """Drop the clients and the session, which keeps the credentials that it found first."""
    boto3.DEFAULT_SESSION = None
    aws_client.cache_clear()


def template(*, more: dict[str, str] | None = None, **settings: Any) -> str:
    """The part of the stack's template that the command line needs, with ``more`` outputs."""
    published = StackSettings(
        root="s3://store", state_machine_arn=MACHINE, **{"home": "L2A", **settings}
    )
    machine = {
        "StateMachineName": "CloudBuster",
        "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/states",
        "DefinitionString": DEFINITION,
    }
    parameter = {
        "Name": settings_parameter(DEFAULT_STACK),
        "Type": "String",
        "Value": published.model_dump_json(),
    }
    config = PublishedConfig(
        version=version("cloudbuster"), file="ours/prod.json", given=GIVEN, effective=GIVEN
    )
    configuration = {
        "Name": config_parameter(DEFAULT_STACK),
        "Type": "String",
        "Value": config.model_dump_json(),
    }
    resources = {
        "Configuration": {"Type": "AWS::SSM::Parameter", "Properties": configuration},
        "Machine": {"Type": "AWS::StepFunctions::StateMachine", "Properties": machine},
        "Settings": {"Type": "AWS::SSM::Parameter", "Properties": parameter},
    }
    batch = f"arn:aws:batch:{REGION}:{ACCOUNT}"
    values = {
        Output.STATE_MACHINE: {"Ref": "Machine"},
        Output.SETTINGS: {"Ref": "Settings"},
        Output.CONFIG: {"Ref": "Configuration"},
        Output.BUCKET: "store",
        Output.DEAD_LETTERS: DEAD_LETTERS,
        Output.QUEUE: f"{batch}:job-queue/{QUEUE}",
        Output.ON_DEMAND_QUEUE: f"{batch}:job-queue/{ON_DEMAND}",
        Output.GATHER_JOB: f"{batch}:job-definition/my-gather:1",
        Output.MERGE_JOB: f"{batch}:job-definition/my-merge:1",
        **{name: f"{batch}:{value}" for name, value in (more or {}).items()},
    }
    outputs = {str(name): {"Value": value} for name, value in values.items()}
    return json.dumps({"Resources": resources, "Outputs": outputs})


def deploy(body: str) -> None:
    """Create or update the stack."""
    cloudformation = aws_client("cloudformation")
    known = cloudformation.list_stacks()["StackSummaries"]
    put = cloudformation.update_stack if known else cloudformation.create_stack
    put(StackName=DEFAULT_STACK, TemplateBody=body)


def end_execution(arn: str, status: str, **values: Any) -> None:
    """End an execution with any status; moto, which does not run it, can only stop it."""
    execution = stepfunctions_backends[ACCOUNT][REGION].describe_execution(arn)
    execution.status = status
    for name, value in values.items():
        setattr(execution, name, value)


def executions() -> list[dict[str, Any]]:
    """Descriptions of all executions, oldest first."""
    states = aws_client("stepfunctions")
    listed = states.list_executions(stateMachineArn=MACHINE)["executions"]
    found = [states.describe_execution(executionArn=each["executionArn"]) for each in listed]
    return sorted(found, key=lambda execution: str(execution["startDate"]))
