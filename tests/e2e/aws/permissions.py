"""IAM: each call of a role is compared with the policies that its stack gave to the role.

The access key of a function or a job is made of the name of its role. moto's own enforcement would
refuse calls, but compares resources for S3 only; here each call is recorded with the answer of
moto's evaluation of policies, and the tests fail for one that no statement allows.
"""

import json
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from moto.core.authorization import ActionAuthenticatorMixin
from moto.iam.access_control import IAMPolicy, PermissionResult
from moto.iam.models import iam_backends
from moto.stepfunctions.parser.models import stepfunctions_parser_backends

from tests.e2e.aws.bed import Bed
from tests.e2e.aws.patches import wrap
from tests.e2e.aws.settings import ACCOUNT, COMMAND_LINE_KEY, REGION

ROLE_KEY = "role."
# Access key with which moto calls services for a state machine.
MACHINE_KEY = "ak"
_CREDENTIAL = re.compile(r"Credential=([^/]+)/\d+/[^/]+/([a-z0-9-]+)/aws4_request")
# Permissions of operations that have another name than their permission; see
# https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations.html.
PERMISSIONS = {
    # moto knows operations of Batch by their paths.
    **{
        f"batch:{name.lower()}": f"batch:{name}"
        for name in (
            *("SubmitJob", "TerminateJob", "ListJobs", "DescribeJobs", "DescribeJobQueues"),
            *("DescribeJobDefinitions", "DescribeComputeEnvironments"),
        )
    },
    "lambda:Invoke": "lambda:InvokeFunction",
    "s3:HeadObject": "s3:GetObject",
    "s3:HeadBucket": "s3:ListBucket",
    "s3:ListObjects": "s3:ListBucket",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:CreateMultipartUpload": "s3:PutObject",
    "s3:UploadPart": "s3:PutObject",
    "s3:CompleteMultipartUpload": "s3:PutObject",
    "s3:ListParts": "s3:ListMultipartUploadParts",
    "s3:CopyObject": "s3:PutObject",
}
Parameters = Callable[[str], Any]
HERE = f"{REGION}:{ACCOUNT}"
# Resources of calls by their parameters; those of S3 are found by moto.
RESOURCES: dict[str, Callable[[Parameters], list[str]]] = {
    "batch:SubmitJob": lambda given: [given("jobQueue"), given("jobDefinition")],
    "batch:TerminateJob": lambda given: [f"arn:aws:batch:{HERE}:job/{given('jobId')}"],
    "lambda:InvokeFunction": lambda given: [given("FunctionName")],
    "sns:Publish": lambda given: [given("TopicArn")],
    "states:StartExecution": lambda given: [given("stateMachineArn")],
    "states:ListExecutions": lambda given: [given("stateMachineArn")],
    "states:DescribeExecution": lambda given: [given("executionArn")],
    "sqs:SendMessage": lambda given: [_queue(given("QueueUrl"))],
    "sqs:ChangeMessageVisibility": lambda given: [_queue(given("QueueUrl"))],
}


def key_of(role_arn: str) -> dict[str, str]:
    """Environment with the access key of a role."""
    return {"AWS_ACCESS_KEY_ID": f"{ROLE_KEY}{role_arn.rsplit('/', 1)[-1]}"}


class Calls:
    """Distinct calls of roles and of the command line, as lines of JSON in a file."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "calls.jsonl"
        self._path.touch()
        self._known: set[str] = set()
        self._lock = threading.Lock()

    def note(self, **call: Any) -> None:
        line = json.dumps(call, sort_keys=True)
        with self._lock:
            if line not in self._known:
                self._known.add(line)
                with self._path.open("a") as file:
                    file.write(f"{line}\n")

    def entries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._path.read_text().splitlines()]


def repair(bed: Bed) -> None:
    """Record each call, and whether a policy allows it."""
    calls = Calls(Path(bed.settings.folder))

    @wrap(ActionAuthenticatorMixin, "_authenticate_and_authorize_action")
    def authorize(original: Any, response: Any, request: type, resource: str = "*") -> None:
        _note(calls, response, resource)
        original(response, request, resource)


def _note(calls: Calls, response: Any, resource: str) -> None:
    given = str(response.headers.get("Authorization", ""))
    found = _CREDENTIAL.search(given)
    key, service = (found[1], found[2]) if found else ("anonymous", "s3")
    if not key.startswith(ROLE_KEY) and key not in (MACHINE_KEY, COMMAND_LINE_KEY, "anonymous"):
        return  # The CDK, and the tests themselves.
    operation = f"{service}:{response._get_action()}"
    action = PERMISSIONS.get(operation, operation)
    find = RESOURCES.get(action)
    resources = find(lambda name: _parameter(response, name)) if find else [resource]
    for name in resources:
        calls.note(
            principal=key.removeprefix(ROLE_KEY),
            action=action,
            resource=name,
            allowed=any(_is_allowed(role, action, name) for role in _roles(key)),
        )


def _parameter(response: Any, name: str) -> str:
    value = response._get_param(name)
    if value is None and name == "FunctionName":
        value = response.path.split("/functions/")[1].split("/")[0]
    return str(value)


def _queue(url: str) -> str:
    return f"arn:aws:sqs:{HERE}:{url.rsplit('/', 1)[-1]}"


def _roles(key: str) -> Iterator[str]:
    """Names of the roles that may have called: one, or that of some state machine."""
    if key.startswith(ROLE_KEY):
        yield key.removeprefix(ROLE_KEY)
    if key == MACHINE_KEY:
        for machine in stepfunctions_parser_backends[ACCOUNT][REGION].state_machines:
            yield machine.roleArn.rsplit("/", 1)[-1]


def _is_allowed(role: str, action: str, resource: str) -> bool:
    iam = iam_backends[ACCOUNT]["aws"]
    answers = [
        IAMPolicy(_text(iam.get_role_policy(role, name)[1])).is_action_permitted(action, resource)
        for name in iam.list_role_policies(role)
    ]
    refused = PermissionResult.DENIED in answers
    return PermissionResult.PERMITTED in answers and not refused


def _text(document: Any) -> str:
    """Policy as text, whether moto keeps it as text or as a document."""
    return document if isinstance(document, str) else json.dumps(document)
