"""How the command line finds the deployed stack: by its name, its outputs, and its parameter."""

import json
from pathlib import Path

import pytest

from cloudbuster.aws.client.deployed import DeployedStack
from cloudbuster.aws.outputs import Output, config_parameter, settings_parameter
from cloudbuster.aws.settings import StackSettings
from cloudbuster.errors import AccessError, BadInputError, ExitCode, NotFoundError, TryAgainError
from cloudbuster.storage.remote.boto import aws_client
from tests.unit.aws.account import (
    MACHINE,
    REGION,
    Invoke,
    deploy,
    forget_clients,
    template,
)
from tests.unit.aws.conftest import Break

GOLDEN = Path(__file__).parents[3] / "infra" / "golden" / "template.json"


def test_the_real_template_publishes_what_the_command_line_reads() -> None:
    found = json.loads(GOLDEN.read_text())
    published = {Output.BUCKET, Output.STATE_MACHINE, Output.QUEUE, Output.ON_DEMAND_QUEUE}
    assert {*published, Output.GATHER_JOB, Output.MERGE_JOB} <= set(found["Outputs"])
    name = found["Outputs"][Output.SETTINGS]["Value"]
    assert name == settings_parameter("CloudBuster") == "/cloudbuster/CloudBuster/settings"
    config = found["Outputs"][Output.CONFIG]["Value"]
    assert config == config_parameter("CloudBuster") == "/cloudbuster/CloudBuster/config"
    parameters = [
        (resource["Properties"]["Name"], resource["Properties"]["Type"])
        for resource in found["Resources"].values()
        if resource["Type"] == "AWS::SSM::Parameter"
    ]
    assert sorted(parameters) == [(config, "String"), (name, "String")]


@pytest.mark.usefixtures("aws")
def test_a_stack_is_found_by_its_name_and_knows_its_settings() -> None:
    deploy(template(torch=True, more={"GpuQueueArn": "job-queue/gpu"}))
    stack = DeployedStack.find("CloudBuster")
    assert (stack.status, stack.machine_arn, stack.region) == ("CREATE_COMPLETE", MACHINE, REGION)
    assert [arn.rsplit("/", 1)[1] for arn in stack.queue_arns] == ["big-queue", "on-demand", "gpu"]
    assert [arn.rsplit("/", 1)[1] for arn in stack.definition_arns] == [
        *("my-gather:1", "my-merge:1")
    ]
    wanted = StackSettings(root="s3://store", home="L2A", torch=True, state_machine_arn=MACHINE)
    assert stack.settings() == wanted


@pytest.mark.usefixtures("aws")
def test_the_settings_are_those_of_the_last_deployment() -> None:
    deploy(template())
    stack = DeployedStack.find("CloudBuster")
    deploy(template(max_running_executions=9))
    assert stack.settings().max_running_executions == 9


@pytest.mark.usefixtures("aws")
def test_a_stack_that_does_not_exist_is_named_with_what_to_give() -> None:
    with pytest.raises(BadInputError, match=r"find stack Nowhere: .*give --stack and the AWS_REG"):
        DeployedStack.find("Nowhere")


@pytest.mark.usefixtures("aws")
def test_a_stack_of_another_kind_is_refused() -> None:
    body = json.loads(template())
    del body["Outputs"][Output.STATE_MACHINE]
    deploy(json.dumps(body))
    with pytest.raises(BadInputError, match="is CREATE_COMPLETE and has no output StateMachineArn"):
        DeployedStack.find("CloudBuster")


@pytest.mark.usefixtures("stack")
def test_settings_that_cannot_be_read_say_to_deploy_again() -> None:
    stack = DeployedStack.find("CloudBuster")
    again = "deploy the stack again"
    name = stack.outputs[Output.SETTINGS]
    aws_client("ssm").put_parameter(Name=name, Value='{"ruut": 1}', Type="String", Overwrite=True)
    with pytest.raises(BadInputError, match=f"{name} holds no settings of this version; {again}"):
        stack.settings()
    aws_client("ssm").delete_parameter(Name=name)
    with pytest.raises(NotFoundError, match=f"{name}: ParameterNotFound.*{again}"):
        stack.settings()
    without = DeployedStack(stack.name, stack.status, {Output.STATE_MACHINE: MACHINE})
    with pytest.raises(BadInputError, match=f"has no output SettingsParameter; {again}"):
        without.settings()


@pytest.mark.usefixtures("stack")
@pytest.mark.parametrize(
    ("code", "error"), [("AccessDeniedException", AccessError), (None, TryAgainError)]
)
def test_settings_that_may_not_be_read_name_the_parameter(
    break_service: Break, code: str | None, error: type[Exception]
) -> None:
    stack = DeployedStack.find("CloudBuster")
    break_service("ssm", "GetParameter", code)
    with pytest.raises(error, match="cannot read parameter /cloudbuster/CloudBuster/settings"):
        stack.settings()


def test_without_credentials_the_error_says_what_to_set(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_REGION", REGION)
    forget_clients()
    code, _, err = invoke("submit", "request.json")
    forget_clients()
    assert code == ExitCode.BAD_INPUT
    assert err.startswith("CredentialsError: cannot find stack CloudBuster")
    assert "set AWS_ACCESS_KEY_ID" in err
