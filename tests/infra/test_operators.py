"""docs/operators.md agrees with the stack: commands, outputs, alarms, values, messages."""

import json
import re
import shlex
from typing import Any

import pytest

from cloudbuster.aws.admission import admit
from cloudbuster.aws.client.quotas import QUOTAS
from cloudbuster.aws.outputs import JOB_OUTPUTS, QUEUE_OUTPUTS
from cloudbuster.aws.settings import StackSettings
from cloudbuster.cli.main import cli
from cloudbuster.errors import RequestError
from infra.app import check_downgrade, notes
from infra.configuration.config import StackConfig
from infra.context import ConfigError, config_path, parse_config
from infra.deployed import Comparison
from infra.downgrade import RULES, lowered
from infra.settings import INLINE_CONCURRENCY, INLINE_TASKS
from tests.infra.conftest import ROOT, Synth
from tests.infra.templates import Template, resources

TEXT = (ROOT / "docs" / "operators.md").read_text()
SHELL = "\n".join(re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)).replace("\\\n", " ")
# What the examples leave to the reader.
PLACEHOLDERS = {
    "REPOSITORY@": "123456789012.dkr.ecr.us-west-2.amazonaws.com/torch@",
    "sha256:DIGEST": "sha256:" + 64 * "0",
}


def configurations() -> list[dict[str, Any]]:
    """Every configuration file in the examples."""
    texts = re.findall(r"```json\n(\{\"(?!execution).*?\})\n```", TEXT, re.DOTALL)
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


def test_every_command_of_the_cdk_names_a_configuration_file() -> None:
    commands = re.findall(r"cdk (?:deploy|destroy|diff)\b[^\n`]*", SHELL)
    assert len(commands) >= 2
    assert all("-c config=" in command for command in commands)


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
    assert "five alarms" in " ".join(TEXT.split())


@pytest.mark.parametrize(
    "config",
    [
        {"disk": {"gib": 60}},
        {"instance_clases": ["m6i"]},
        {"scratch": "shm"},
        {"image_uri": "123456789012.dkr.ecr.us-west-2.amazonaws.com/cloudbuster:1.4"},
    ],
    ids=["disk", "key", "shm", "tag"],
)
def test_refusals_have_these_messages(config: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(config, source="prod.json")
    assert f"ConfigError: {caught.value}" in TEXT.splitlines()


@pytest.mark.parametrize("context", [{"preset": "prod"}, {}])
def test_a_context_that_is_not_one_file_is_refused_with_this_message(
    context: dict[str, Any],
) -> None:
    with pytest.raises(ConfigError) as caught:
        config_path(context)
    assert f"ConfigError: {caught.value}" in TEXT.splitlines()


def test_a_downgrade_is_refused_with_this_message_and_every_value_is_listed() -> None:
    after = parse_config({})
    lowers = lowered({"log_days": 90}, after.model_dump(mode="json"))
    with pytest.raises(ConfigError) as caught:
        check_downgrade(Comparison(lowers=lowers), after, allowed=False)
    assert f"ConfigError: {caught.value}" in TEXT.splitlines()
    listed = TEXT.split("It compares `")[1].split("with the deployed configuration")[0]
    assert set(re.findall(r"\w+", f"`{listed}")) - {"and"} == set(RULES)


def test_a_request_that_names_another_bucket_is_refused_with_this_message() -> None:
    query = {"mindate": ["2020-05-01"], "maxdate": ["2020-10-01"]}
    mirror = {"asset_mirror": ["s3://sentinel-cogs=s3://archive/l2a/"]}
    area = {"uri": "s3://bucket/aois/a.json"}
    document = {"name": "a", "aoi": area, "query": {**query, **mirror}}
    with pytest.raises(RequestError) as caught:
        admit(document, source="request.json", settings=StackSettings(root="s3://bucket"))
    assert f"RequestError: {caught.value}" in TEXT.splitlines()


def test_the_commands_that_raise_quotas_are_for_those_that_doctor_compares() -> None:
    named = set(re.findall(r"--quota-code (L-\w+)", SHELL))
    assert named == {QUOTAS[pair].code for pair in (("EC2", False), ("EC2", True), ("SPOT", False))}


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
    known = set(StackConfig.model_fields)
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", TEXT))
    others = {
        "budget_usd",
        "exit_code",
        "memory_mib",
        "scratch_gib",
        "min_success_fraction",
        "trust_architecture",
        "donor_mask",
        "secret_arn",
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
