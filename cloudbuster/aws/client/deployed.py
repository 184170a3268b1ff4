"""The deployed stack, found by its name."""

from collections.abc import Mapping
from dataclasses import dataclass

from cloudbuster.aws.client.session import client, told
from cloudbuster.aws.settings import StackSettings
from cloudbuster.errors import BadInputError

DEFAULT_STACK = "CloudBuster"
# Logical id of the function that starts runs, less its hash: it knows everything of its stack.
START_FUNCTION = "TriggerStartRunFunction"
MACHINE_OUTPUT = "StateMachineArn"
# Outputs that name queues and job definitions; not every stack has the last ones.
QUEUE_OUTPUTS = ("QueueArn", "OnDemandQueueArn", "GpuQueueArn")
JOB_OUTPUTS = ("GatherJobArn", "MergeJobArn", "TorchJobArn")


@dataclass(frozen=True)
class DeployedStack:
    """A stack of this package in the account and region of the environment.

    Attributes
    ----------
    name : str
        Of the stack.
    status : str
        As CloudFormation names it.
    outputs : mapping of str to str
        What the stack says of itself.
    """

    name: str
    status: str
    outputs: Mapping[str, str]

    @classmethod
    def find(cls, name: str) -> "DeployedStack":
        """Find a stack.

        Raises
        ------
        BadInputError
            Where there is none of that name, or it is not one of this package.
        TryAgainError
            Where AWS did not answer.
        """
        hint = "deploy it, or give --stack and the AWS_REGION that it lies in"
        with told(f"find stack {name}", hint=hint):
            (found,) = client("cloudformation").describe_stacks(StackName=name)["Stacks"]
        outputs = {entry["OutputKey"]: entry["OutputValue"] for entry in found.get("Outputs") or ()}
        if MACHINE_OUTPUT not in outputs:
            msg = f"stack {name} is {found['StackStatus']} and has no {MACHINE_OUTPUT}; {hint}"
            raise BadInputError(msg)
        return cls(name, str(found["StackStatus"]), outputs)

    @property
    def machine_arn(self) -> str:
        """ARN of the state machine."""
        return self.outputs[MACHINE_OUTPUT]

    @property
    def region(self) -> str:
        """Region that it lies in."""
        return self.machine_arn.split(":")[3]

    @property
    def queue_arns(self) -> list[str]:
        """ARNs of its Batch queues."""
        return [self.outputs[name] for name in QUEUE_OUTPUTS if name in self.outputs]

    @property
    def definition_arns(self) -> list[str]:
        """ARNs of its job definitions, revisions included."""
        return [self.outputs[name] for name in JOB_OUTPUTS if name in self.outputs]

    def settings(self) -> StackSettings:
        """Read what the stack tells its functions: what may run on it, where outputs may lie.

        Raises
        ------
        BadInputError
            Where the function that knows it is not there, or may not be read.
        """
        hint = "deploy it anew"
        with told(f"read the settings of stack {self.name}", hint=hint):
            pages = client("cloudformation").get_paginator("list_stack_resources")
            functions = [
                entry["PhysicalResourceId"]
                for page in pages.paginate(StackName=self.name)
                for entry in page["StackResourceSummaries"]
                if entry["ResourceType"] == "AWS::Lambda::Function"
                and entry["LogicalResourceId"].startswith(START_FUNCTION)
            ]
            if not functions:
                msg = f"stack {self.name} has no function {START_FUNCTION}; {hint}"
                raise BadInputError(msg)
            found = client("lambda").get_function_configuration(FunctionName=functions[0])
        variables = found.get("Environment", {}).get("Variables", {})
        settings = StackSettings.of_environment(variables)
        return settings.model_copy(update={"state_machine_arn": self.machine_arn})
