"""docs/operators.md agrees with the stack: commands, outputs, alarms, values, messages."""

import json
import re
import shlex
from typing import Any

import pytest

from cloudbuster.aws.outputs import JOB_OUTPUTS, QUEUE_OUTPUTS
from cloudbuster.aws.settings import StackSettings
from cloudbuster.cli.main import cli
from infra.app import notes
from infra.config import StackConfig
from infra.context import ConfigError, check_context, parse_config
from infra.settings import INLINE_CONCURRENCY, INLINE_TASKS
from tests.infra.conftest import ROOT, Synth
from tests.infra.templates import Template, resources

TEXT = (ROOT / "docs" / "operators.md").read_text()
SHELL = "\n".join(re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)).replace("\\\n", " ")
# What the examples leave to the reader.
PLACEHOLDERS = {"REPOSITORY:cuda": "123456789012.dkr.ecr.us-west-2.amazonaws.com/torch:cuda"}


def configurations() -> list[dict[str, Any]]:
    """Every configuration that an example deploys with."""
    texts = re.findall(r"-c cloudbuster='(.*?)'", SHELL)
    for name, value in PLACEHOLDERS.items():
        texts = [text.replace(name, value) for text in texts]
    return [json.loads(text) for text in texts]


def test_commands_in_the_examples_parse() -> None:
    lines = [shlex.split(line, comments=True) for line in SHELL.splitlines()]
    commands = [words[1:] for words in lines if words[:1] == ["cloudbuster"]]
    assert {name for name, *_ in commands} == {"submit", "status", "logs"}
    for name, *arguments in commands:
        with cli.commands[name].make_context(name, list(arguments)) as context:
            assert context.params


def test_commands_in_the_text_exist() -> None:
    named = re.findall(r"`cloudbuster ([a-z-]+)", TEXT)
    assert "doctor" in named
    assert set(named) <= set(cli.commands)


@pytest.mark.parametrize("number", range(len(configurations())))
def test_configurations_in_the_examples_can_be_deployed(number: int) -> None:
    assert parse_config(configurations()[number]).stack_name == "CloudBuster"


def test_outputs_are_those_of_the_stack(synth: Synth) -> None:
    outputs = set(synth(torch_image=True, gpu_queue=True)["Outputs"])
    assert set(re.findall(r"\$\(output (\w+)\)", TEXT)) <= outputs
    listed = TEXT.split("`output NAME` prints")[1].split("\n\n")[0]
    assert set(re.findall(r"`([A-Z]\w+)`", listed)) == outputs
    assert outputs >= {*QUEUE_OUTPUTS, *JOB_OUTPUTS}


def test_alarms_are_those_of_the_stack(template: Template) -> None:
    listed = " ".join(TEXT.split()).split("Alarms are for failures of the stack itself: ")[1]
    alarms = {
        re.sub(r"^Alarms|[0-9A-F]{8}$", "", name)
        for name in resources(template, "CloudWatch::Alarm")
    }
    assert set(re.findall(r"`(\w+)`", listed.split(". ")[0])) == alarms
    assert len(alarms) == 5
    assert "five alarms" in TEXT


@pytest.mark.parametrize(
    "config",
    [{"disk": {"gib": 60}}, {"instance_clases": ["m6i"]}, {"scratch": "shm"}],
    ids=["disk", "key", "shm"],
)
def test_refusals_have_these_messages(config: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(config)
    assert f"ConfigError: {caught.value}" in TEXT.splitlines()


def test_a_key_beside_the_configuration_is_refused_with_this_message() -> None:
    with pytest.raises(ConfigError) as caught:
        check_context({"preset": "prod"})
    assert f"ConfigError: {caught.value}" in TEXT.splitlines()


def test_limits_of_a_run_without_a_distributed_map_are_those_of_the_stack() -> None:
    assert f"up to {INLINE_TASKS} scenes and {INLINE_CONCURRENCY} jobs at a time" in TEXT
    assert f"more than {INLINE_TASKS} scenes" in str(
        StackConfig.model_fields["distributed_map"].description
    )
    settings = StackSettings(root="s3://bucket")
    assert settings.max_tasks == settings.max_inline_indices == INLINE_TASKS


@pytest.mark.parametrize(
    "config",
    [{}, {"vpc_id": "vpc-0abc", "subnet_ids": ["subnet-1"]}, {"retain_data": True}],
    ids=["disk", "vpc", "data"],
)
def test_notes_have_these_texts(config: dict[str, Any]) -> None:
    note = notes(parse_config(config))[-1]
    assert note in " ".join(TEXT.split())


def test_values_of_the_configuration_that_are_named_exist() -> None:
    known = set(type(parse_config(None)).model_fields)
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", TEXT))
    others = {
        "budget_usd",
        "exit_code",
        "memory_mib",
        "scratch_gib",
        "min_success_fraction",
        "trust_architecture",
    }
    assert named - known <= others
    assert {"kms_key_arn", "catalog_secret", "max_running_executions"} <= named


def policies() -> tuple[dict[str, Any], dict[str, Any]]:
    """Statements of the two policies in the text, by Sid: of a submitter, and of a key."""
    submitter, key = (
        {entry["Sid"]: entry for entry in json.loads(text)}
        for text in re.findall(r"```json\n(\[.*?\])\n```", TEXT, re.DOTALL)
    )
    return submitter, key


def test_the_policy_of_a_submitter_is_least_and_names_the_parts_of_the_stack(
    template: Template,
) -> None:
    submitter, _ = policies()
    assert {entry["Effect"] for entry in submitter.values()} == {"Allow"}
    assert "*" not in {entry["Resource"] for entry in submitter.values()}
    name = template["Outputs"]["SettingsParameter"]["Value"]
    assert submitter["ReadItsSettings"]["Resource"].endswith(f":parameter{name}")
    (machine,) = resources(template, "StepFunctions::StateMachine").values()
    machine_name = machine["Properties"]["StateMachineName"]
    assert submitter["StartExecutions"]["Resource"].endswith(f":stateMachine:{machine_name}")
    assert submitter["DescribeExecutions"]["Resource"].endswith(f":execution:{machine_name}:*")


def test_the_policy_of_a_key_names_what_uses_the_key() -> None:
    _, statements = policies()
    assert {entry["Effect"] for entry in statements.values()} == {"Allow"}
    services = statements["RulesToQueuesAndTopicAlarmsToTopic"]["Principal"]["Service"]
    assert services == ["events.amazonaws.com", "cloudwatch.amazonaws.com"]
    grant = statements["DisksOfHostsAreAttached"]
    assert grant["Principal"] == statements["DisksOfHosts"]["Principal"]
    assert grant["Condition"] == {"Bool": {"kms:GrantIsForAWSResource": True}}
