"""Access to the parts of a template."""

import json
from typing import Any

Template = dict[str, Any]


def resources(template: Template, kind: str) -> dict[str, dict[str, Any]]:
    """Resources of one type, by logical id."""
    return {
        name: resource
        for name, resource in template["Resources"].items()
        if resource["Type"] == f"AWS::{kind}"
    }


def properties(template: Template, kind: str, part: str = "") -> dict[str, Any]:
    """Properties of the one resource of a type whose logical id holds ``part``."""
    found = [entry for name, entry in resources(template, kind).items() if part in name]
    assert len(found) == 1, f"{len(found)} of {kind} {part}"
    content: dict[str, Any] = found[0].get("Properties", {})
    return content


def flat(value: Any) -> Any:
    """Convert intrinsic functions to text: ``<LogicalId>``, ``<LogicalId.Attribute>``, joined."""
    if isinstance(value, list):
        return [flat(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"Ref"}:
        return f"<{value['Ref']}>"
    if set(value) == {"Fn::GetAtt"}:
        return f"<{'.'.join(value['Fn::GetAtt'])}>"
    if set(value) == {"Fn::Join"}:
        delimiter, parts = value["Fn::Join"]
        return str(delimiter).join(str(flat(part)) for part in parts)
    return {key: flat(entry) for key, entry in value.items()}


def state_machine(template: Template) -> dict[str, Any]:
    """Definition of the state machine, with ARNs as text."""
    (entry,) = resources(template, "StepFunctions::StateMachine").values()
    content: dict[str, Any] = json.loads(flat(entry["Properties"]["DefinitionString"]))
    return content


def statements(template: Template, role: str) -> list[tuple[list[str], list[str]]]:
    """Actions and resources of a role's inline policy, as text."""
    policies = properties(template, "IAM::Role", role)["Policies"]
    return [
        (_several(entry["Action"]), _several(flat(entry["Resource"])))
        for policy in policies
        for entry in policy["PolicyDocument"]["Statement"]
    ]


def settings(template: Template, function: str) -> dict[str, Any]:
    """Settings of the stack in the environment of a function."""
    variables = properties(template, "Lambda::Function", function)["Environment"]["Variables"]
    content: dict[str, Any] = json.loads(flat(variables["CLOUDBUSTER_STACK"]))
    return content


def _several(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]
