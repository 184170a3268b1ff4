"""Permissions: no call is made that no policy allows, and no policy allows what nothing calls.

The runs of this module use every function and every kind of job; what other tests of the session
called is checked too.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.aws.permissions import MACHINE_KEY, Calls
from tests.e2e.aws.settings import COMMAND_LINE_KEY
from tests.e2e.cloud import ROOT, DeployedStack, until
from tests.e2e.commands import output_of
from tests.e2e.conftest import STACK

pytestmark = pytest.mark.e2e

Call = dict[str, Any]


# Permissions that no test of the loopback uses, with the reason why they are needed.
LOGS = dict.fromkeys(
    ("logs:CreateLogStream", "logs:PutLogEvents"), "used by the runtime of Lambda and by the agent"
)
STORE = {"s3:AbortMultipartUpload": "used when an upload in parts fails"}
DELIVERY = "used by Step Functions itself, for logs and traces; the actions have no resources"
MISSING = "distinguishes a missing object from a refusal"
UNUSED: dict[str, dict[str, str]] = {
    "StagesQueryRole": {
        **LOGS,
        **STORE,
        "s3:ListBucket": MISSING,
    },
    "StagesFilterRole": {**LOGS, **STORE},
    "StagesAssessRole": {
        **LOGS,
        **STORE,
        "s3:ListBucket": MISSING,
    },
    "StagesFinishRole": {
        **LOGS,
        **STORE,
        "s3:ListBucket": MISSING,
        "sqs:SendMessage": "used by Lambda for events that the function failed with",
    },
    "JobsRolesJobRole": STORE,
    "JobsRolesExecutionRole": {
        **LOGS,
        **dict.fromkeys(
            (
                "ecr:GetAuthorizationToken",
                "ecr:BatchCheckLayerAvailability",
                "ecr:BatchGetImage",
                "ecr:GetDownloadUrlForLayer",
            ),
            "used by the agent of the host, which pulls the image",
        ),
    },
    "TriggerStartRunRole": {
        **LOGS,
        **STORE,
        **dict.fromkeys(
            ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"),
            "used by Lambda, which polls the queue",
        ),
        "sqs:ChangeMessageVisibility": "delays a request while too many runs go on: test_trigger",
        "sqs:SendMessage": "delays a request while too many runs go on: test_trigger",
        "s3:ListBucket": MISSING,
    },
    "WorkflowRole": {
        "batch:TerminateJob": "ends the jobs of a stopped execution: test_execution",
        "batch:TagResource": "a part of SubmitJob with tags, which the loopback does not ask for",
        **dict.fromkeys(
            ("events:PutTargets", "events:PutRule", "events:DescribeRule"),
            "used by Step Functions itself, which waits for jobs by a rule",
        ),
        **dict.fromkeys(
            (
                *("logs:CreateLogDelivery", "logs:GetLogDelivery", "logs:UpdateLogDelivery"),
                *("logs:DeleteLogDelivery", "logs:ListLogDeliveries", "logs:PutResourcePolicy"),
                *("logs:DescribeResourcePolicies", "logs:DescribeLogGroups"),
                *("xray:PutTraceSegments", "xray:PutTelemetryRecords"),
                *("xray:GetSamplingRules", "xray:GetSamplingTargets"),
            ),
            DELIVERY,
        ),
    },
}


@pytest.fixture(scope="module")
def calls(stack: DeployedStack, world: Any, tmp_path_factory: pytest.TempPathFactory) -> list[Call]:
    """Calls of roles and of the command line, after a run by each way to start one."""
    request = tmp_path_factory.mktemp("permissions") / "permitted.json"
    document = world.in_s3(name="permitted")
    request.write_text(json.dumps(document))
    run = json.loads(output_of(stack, "submit", request, "--wait"))["run_id"]
    output_of(stack, "status", run)
    output_of(stack, "logs", run, "--scene", "1")
    output_of(stack, "doctor")
    output_of(stack, "plan", request, "--stack", STACK)
    output_of(stack, "results", run, "--output", request.parent / "results")
    output_of(stack, "redrive")
    output_of(stack, "rerun", "--since", "2020-01-01", "--dryrun")
    output_of(stack, "cancel", run)
    place = stack.cloud.journal.place()
    budget = {"limits": {"budget_usd": 0.001}}
    dropped = {
        "again": document,
        "new": {**document, **budget, "name": "new-one"},
        "wrong": {**document, "name": "wrong", "crs": 1},
    }
    for name, content in dropped.items():
        stack.put(f"requests/{name}.json", json.dumps(content).encode())

    def handled() -> bool:
        functions = stack.cloud.journal.entries("function", since=place)
        return sum("StartRun" in entry["name"] for entry in functions) >= len(dropped)

    until(handled)
    (new,) = (name for name in stack.executions() if name.startswith("new-one-"))
    stack.end(stack.execution(new))
    return Calls(stack.cloud.settings.path()).entries()


def test_no_call_is_made_that_no_policy_allows(calls: list[Call]) -> None:
    of_roles = [call for call in calls if call["principal"] != COMMAND_LINE_KEY]
    assert {call["principal"] for call in of_roles} >= {MACHINE_KEY}
    assert [call for call in of_roles if not call["allowed"]] == []


def test_every_permission_is_used_or_has_a_reason(
    stack: DeployedStack, assembly: Path, calls: list[Call]
) -> None:
    template = json.loads((assembly / f"{STACK}.template.json").read_text())
    unused, stale = {}, {}
    for part, listed in UNUSED.items():
        role = role_of(stack, part)
        who = {role, MACHINE_KEY} if part == "WorkflowRole" else {role}
        used = {call["action"] for call in calls if call["principal"] in who and call["allowed"]}
        allowed = granted(template, part)
        unused[part] = allowed - used - set(listed)
        stale[part] = set(listed) - allowed
    assert {part: found for part, found in unused.items() if found} == {}
    assert {part: found for part, found in stale.items() if found} == {}


def test_every_role_with_policies_of_its_own_is_looked_at(stack: DeployedStack) -> None:
    iam = stack.cloud.client("iam")
    roles = [role["RoleName"] for role in iam.list_roles(MaxItems=1000)["Roles"]]
    for name in roles:
        own = name.startswith(f"{STACK}-") and not name.startswith(f"{STACK}-Second")
        if own and iam.list_role_policies(RoleName=name)["PolicyNames"]:
            assert name.removeprefix(f"{STACK}-").startswith(tuple(UNUSED)), name


def test_what_the_command_line_calls_is_in_the_documentation(calls: list[Call]) -> None:
    text = (ROOT / "docs" / "operators.md").read_text()
    documented = set(re.findall(r"\b([a-z0-9]+:[A-Z][A-Za-z]+)", text))
    of_user = {call["action"] for call in calls if call["principal"] == COMMAND_LINE_KEY}
    assert of_user >= {
        "states:StartExecution",
        "servicequotas:GetServiceQuota",
        "s3:GetObject",
        "sqs:ReceiveMessage",
        "states:ListExecutions",
        "batch:ListJobs",
    }
    assert of_user - documented == set()


def role_of(stack: DeployedStack, part: str) -> str:
    """Name of a role of the stack by the beginning of its logical id."""
    names = [
        role["RoleName"] for role in stack.cloud.client("iam").list_roles(MaxItems=1000)["Roles"]
    ]
    (name,) = (name for name in names if name.startswith(f"{STACK}-{part}"))
    return str(name)


def granted(template: dict[str, Any], part: str) -> set[str]:
    """Actions that the policies of a role allow."""
    (role,) = (
        name
        for name, entry in template["Resources"].items()
        if entry["Type"] == "AWS::IAM::Role" and name.startswith(part)
    )
    inline = template["Resources"][role]["Properties"].get("Policies", [])
    documents = [policy["PolicyDocument"] for policy in inline]
    documents += [
        entry["Properties"]["PolicyDocument"]
        for entry in template["Resources"].values()
        if entry["Type"] == "AWS::IAM::Policy" and {"Ref": role} in entry["Properties"]["Roles"]
    ]
    actions: set[str] = set()
    for document in documents:
        for statement in document["Statement"]:
            named = statement["Action"]
            actions |= {named} if isinstance(named, str) else set(named)
    return actions
