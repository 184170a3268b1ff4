"""The deployed stack, found by its name and by the outputs that it publishes."""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from cloudbuster.aws.outputs import JOB_OUTPUTS, QUEUE_OUTPUTS, Output
from cloudbuster.aws.published import PublishedConfig
from cloudbuster.aws.settings import StackSettings
from cloudbuster.errors import BadInputError
from cloudbuster.storage.remote.boto import aws_client, translate_boto_errors

REDEPLOY = "deploy the stack again with this version of cloudbuster"


@dataclass(frozen=True)
class DeployedStack:
    """A stack of this package in the account and region of the environment.

    Attributes
    ----------
    name : str
        Name of the stack.
    status : str
        Status that CloudFormation reports.
    outputs : mapping of str to str
        Outputs of the stack, by `Output`.
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
            If there is no stack of that name, or it is not one of this package.
        CredentialsError, AccessError
            If there are no credentials, or they do not allow it.
        TryAgainError
            If CloudFormation is throttled, broken or out of reach.
        """
        hint = "deploy it, or give --stack and the AWS_REGION that it lies in"
        with translate_boto_errors(f"find stack {name}", hint=hint):
            (found,) = aws_client("cloudformation").describe_stacks(StackName=name)["Stacks"]
        outputs = {entry["OutputKey"]: entry["OutputValue"] for entry in found.get("Outputs") or ()}
        if Output.STATE_MACHINE not in outputs:
            msg = (
                f"stack {name} is {found['StackStatus']} and has no output "
                f"{Output.STATE_MACHINE}; {hint}"
            )
            raise BadInputError(msg)
        return cls(name, str(found["StackStatus"]), outputs)

    @property
    def machine_arn(self) -> str:
        """ARN of the state machine."""
        return self.outputs[Output.STATE_MACHINE]

    @property
    def region(self) -> str:
        """Region of the stack."""
        return self.machine_arn.split(":")[3]

    @property
    def queue_arns(self) -> list[str]:
        """ARNs of the Batch queues."""
        return [self.outputs[name] for name in QUEUE_OUTPUTS if name in self.outputs]

    @property
    def definition_arns(self) -> list[str]:
        """ARNs of the job definitions, with their revisions."""
        return [self.outputs[name] for name in JOB_OUTPUTS if name in self.outputs]

    def settings(self) -> StackSettings:
        """Read the settings that the stack publishes in Systems Manager's Parameter Store.

        Raises
        ------
        BadInputError
            If the stack publishes none, or those of another version of this package.
        CredentialsError, AccessError
            If there are no credentials, or they do not allow it.
        TryAgainError
            If Systems Manager is throttled, broken or out of reach.
        """
        parameter = self.outputs.get(Output.SETTINGS)
        if parameter is None:
            msg = f"stack {self.name} has no output {Output.SETTINGS}; {REDEPLOY}"
            raise BadInputError(msg)
        content = _read_parameter(parameter)
        try:
            return StackSettings.model_validate_json(content)
        except ValidationError as error:
            msg = f"parameter {parameter} holds no settings of this version; {REDEPLOY}"
            raise BadInputError(msg) from error

    def published_config(self) -> PublishedConfig | None:
        """Read the configuration that the stack publishes; None if that is of another version.

        Raises
        ------
        CredentialsError, AccessError
            If there are no credentials, or they do not allow it.
        TryAgainError
            If Systems Manager is throttled, broken or out of reach.
        """
        parameter = self.outputs.get(Output.CONFIG)
        if parameter is None:
            return None
        try:
            return PublishedConfig.model_validate_json(_read_parameter(parameter))
        except ValidationError:
            return None


def _read_parameter(name: str) -> str:
    with translate_boto_errors(f"read parameter {name}", hint=REDEPLOY):
        found = aws_client("ssm").get_parameter(Name=name)
    return str(found["Parameter"]["Value"])
