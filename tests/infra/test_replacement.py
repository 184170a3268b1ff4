"""No change of the configuration replaces what holds jobs, requests, data or executions.

CloudFormation replaces a resource if a property changes that is create-only in its registry, which
cfn-lint has a copy of. A compute environment is emptied then, with its running jobs.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER as REGISTRY

from infra.configuration.config import StackConfig
from tests.infra.conftest import Synth
from tests.infra.templates import Template
from tests.infra.value_cases import CASES

# Types that hold something. The network belongs to them: subnets with running hosts cannot go.
KEPT = {
    "AWS::Batch::ComputeEnvironment",
    "AWS::Batch::JobQueue",
    "AWS::Budgets::Budget",
    "AWS::EC2::LaunchTemplate",
    "AWS::EC2::Subnet",
    "AWS::EC2::VPC",
    "AWS::Logs::LogGroup",
    "AWS::S3::Bucket",
    "AWS::SNS::Topic",
    "AWS::SQS::Queue",
    "AWS::SSM::Parameter",
    "AWS::StepFunctions::StateMachine",
}
# Values that name another stack, which the deployment stops for; and those that move the hosts to
# another network, which removes the one that the stack made.
ANOTHER_STACK = {"stack_name", "home", "region"}


def create_only(kind: str) -> list[list[str]]:
    """Paths of the create-only properties of a type.

    Those that are so under a condition are left out for compute environments: they are updated in
    place if ``ReplaceComputeEnvironment`` is false, which another test checks.
    """
    schema = REGISTRY.get_resource_schema("us-west-2", kind).schema
    paths = [*schema.get("createOnlyProperties", ())]
    if kind != "AWS::Batch::ComputeEnvironment":
        paths += schema.get("conditionalCreateOnlyProperties", ())
    return [path.removeprefix("/properties/").split("/") for path in paths]


def at(content: Any, path: list[str]) -> Any:
    for key in path:
        content = content.get(key) if isinstance(content, dict) else None
    return content


def replaced(before: Template, after: Template) -> Iterator[str]:
    """Yield the kept resources of both templates that an update would replace, with the reason."""
    for name, old in before["Resources"].items():
        new = after["Resources"].get(name)
        if old["Type"] not in KEPT or new is None:
            continue
        if new["Type"] != old["Type"]:
            yield f"{name}: {new['Type']}"
        for path in create_only(old["Type"]):
            if at(old.get("Properties"), path) != at(new.get("Properties"), path):
                yield f"{name}: {'/'.join(path)}"


@pytest.fixture(scope="module")
def tagged(synth: Synth) -> Template:
    return synth(tags={"owner": "one"})


CHANGES = [(name, config) for name, config, *_ in CASES if name not in ANOTHER_STACK]


@pytest.mark.parametrize(
    "config",
    [config for _, config in CHANGES],
    ids=[f"{n}-{i}" for i, (n, _) in enumerate(CHANGES)],
)
def test_a_change_of_a_value_replaces_nothing_that_holds_something(
    synth: Synth, template: Template, config: dict[str, Any]
) -> None:
    changed = synth(**config)
    assert [*replaced(template, changed), *replaced(changed, template)] == []


def test_every_value_that_may_change_is_changed_here() -> None:
    changed = {name for name, _ in CHANGES} | ANOTHER_STACK
    assert set(StackConfig.model_fields) - changed == {"base_image"}


@pytest.mark.parametrize("tags", [{"owner": "two"}, {"owner": "one", "more": "1"}, {}])
def test_a_change_of_tags_replaces_nothing(
    synth: Synth, tagged: Template, tags: dict[str, str]
) -> None:
    assert [*replaced(tagged, synth(tags=tags))] == []


def test_resources_that_would_be_replaced_for_their_tags_have_none_of_the_configuration(
    tagged: Template,
) -> None:
    found = set()
    for entry in tagged["Resources"].values():
        schema = REGISTRY.get_resource_schema("us-west-2", entry["Type"]).schema
        tagging = schema.get("tagging", {})
        if tagging.get("taggable") and not tagging.get("tagUpdatable", True):
            found.add(entry["Type"])
            assert "owner" not in str(entry["Properties"].get("Tags")), entry["Type"]
    assert "AWS::Batch::ComputeEnvironment" in found


def test_instances_have_the_tags_of_the_configuration(tagged: Template) -> None:
    for entry in tagged["Resources"].values():
        if entry["Type"] == "AWS::Batch::ComputeEnvironment":
            assert entry["Properties"]["ComputeResources"]["Tags"]["owner"] == "one"


def test_compute_environments_are_updated_in_place(template: Template) -> None:
    """What is create-only under a condition is so for environments that are to be replaced."""
    schema = REGISTRY.get_resource_schema("us-west-2", "AWS::Batch::ComputeEnvironment").schema
    assert (
        "/properties/ComputeResources/LaunchTemplate" in schema["conditionalCreateOnlyProperties"]
    )
    for entry in template["Resources"].values():
        if entry["Type"] == "AWS::Batch::ComputeEnvironment":
            assert entry["Properties"]["ReplaceComputeEnvironment"] is False
            # In place only with the service-linked role and one of these strategies.
            assert "ServiceRole" not in entry["Properties"]
            strategy = entry["Properties"]["ComputeResources"]["AllocationStrategy"]
            assert strategy in ("BEST_FIT_PROGRESSIVE", "SPOT_PRICE_CAPACITY_OPTIMIZED")


def test_a_replacement_would_be_found(template: Template) -> None:
    (name,) = (
        name
        for name, entry in template["Resources"].items()
        if "Spot" in name and "Environment" in entry["Type"]
    )
    entry = template["Resources"][name]
    changed = {**entry, "Properties": {**entry["Properties"], "Tags": {"a": "b"}}}
    after = {"Resources": {**template["Resources"], name: changed}}
    assert [*replaced(template, after)] == [f"{name}: Tags"]
