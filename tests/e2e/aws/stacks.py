"""CloudFormation: change sets that can fail, updates along references, and complete deletions."""

import json
import re
import traceback
from contextlib import suppress
from typing import Any

import moto.cloudformation.parsing as parsing
import moto.cloudformation.responses
from moto.cloudformation.exceptions import ValidationError
from moto.cloudformation.models import CloudFormationBackend
from moto.cloudformation.parsing import ResourceMap
from moto.cloudformation.responses import CloudFormationResponse
from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult, EmptyResult
from moto.ec2.models import ec2_backends
from moto.ec2.models.route_tables import RouteTable
from moto.s3.models import FakeBucket, s3_backends
from moto.ssm.models import ssm_backends
from werkzeug.exceptions import HTTPException

from tests.e2e.aws.bed import Bed
from tests.e2e.aws.patches import replace, wrap, wrap_classmethod
from tests.e2e.aws.settings import ACCOUNT

# Base classes of the errors of all services of moto.
SERVICE_ERRORS = (HTTPException, ServiceException)
MAX_PASSES = 8


def repair(bed: Bed) -> None:
    """Let ``cdk deploy`` and ``cdk destroy`` work as with AWS."""
    _find_change_sets_by_stack(bed)
    _find_templates_on_the_loopback()
    _keep_resolved_parameters()
    _update(bed)
    _fail_to_delete_what_is_in_use(bed)
    _delete_route_tables()
    _enable_event_bridge()


class _NoChangeSetError(ValidationError):
    __module__ = "moto.cloudformation.exceptions"  # moto formats an error by its module.
    code = "ChangeSetNotFound"


def _find_change_sets_by_stack(bed: Bed) -> None:
    """Find change sets by stack and name; all stacks of the CDK use the same name."""

    def find(response: Any) -> tuple[str, Any]:
        name, stack = response._get_param("ChangeSetName"), response._get_param("StackName")
        sets = response.cloudformation_backend.change_sets
        for arn, found in reversed(sets.items()):
            known = found.change_set_name == name and stack in (found.stack_name, found.stack_id)
            if arn == name or known:
                return arn, found
        raise _NoChangeSetError(message=f"ChangeSet [{name}] does not exist")

    def describe(response: Any) -> ActionResult:
        return ActionResult(find(response)[1])

    def delete(response: Any) -> EmptyResult:
        with suppress(_NoChangeSetError):  # AWS ignores a missing one.
            response.cloudformation_backend.change_sets.pop(find(response)[0])
        return EmptyResult()

    def execute(response: Any) -> EmptyResult:
        _execute(bed, find(response)[1])
        return EmptyResult()

    replace(
        CloudFormationResponse,
        describe_change_set=describe,
        delete_change_set=delete,
        execute_change_set=execute,
    )


def _execute(bed: Bed, change_set: Any) -> None:
    """Apply a change set; moto calls a stack complete even if a resource could not be made."""
    kind, stack = change_set.change_set_type, change_set.stack
    stack._add_stack_event(f"{kind}_IN_PROGRESS")
    try:
        change_set.apply()
        stack.template = change_set.template
        stack._parse_template()
        stack.output_map = stack._create_output_map()
        stack.status = f"{kind}_COMPLETE"
        stack._add_stack_event(stack.status)
    except Exception as error:  # noqa: BLE001 -- any error of a resource fails its stack
        traceback.print_exc()
        reason = f"{type(error).__name__}: {error}"
        bed.journal.note("rolled_back", stack=stack.name, reason=reason)
        if kind == "CREATE":
            _roll_back(stack)
        stack.status = {"CREATE": "ROLLBACK", "UPDATE": "UPDATE_ROLLBACK"}[kind] + "_COMPLETE"
        stack._add_stack_event(stack.status, resource_status_reason=reason)
    change_set.execution_status = "EXECUTE_COMPLETE"


def _roll_back(stack: Any) -> None:
    """Remove the resources of a stack whose creation failed."""
    resources = stack.resource_map
    made = {
        key: value
        for key, value in resources._resource_json_map.items()
        if key in resources._parsed_resources
    }
    resources._resource_json_map = made
    resources.delete()


def _find_templates_on_the_loopback() -> None:
    """Read a template from 127.0.0.1, which moto takes for the name of a bucket."""

    @wrap(moto.cloudformation.responses, "get_stack_from_s3_url")
    def get(original: Any, template_url: str, **kwargs: Any) -> Any:
        return original(template_url.replace("127.0.0.1", "localhost"), **kwargs)


def _keep_resolved_parameters() -> None:
    """Resolve a parameter of SSM once; on an update moto looks it up by its earlier value."""

    @wrap(ResourceMap, "parse_ssm_parameter")
    def parse(original: Any, resources: Any, value: str, value_type: str) -> Any:
        backend = ssm_backends[resources._account_id][resources._region_name]
        if backend.get_parameter(value) is None:
            return value
        return original(resources, value, value_type)


def _update(bed: Bed) -> None:
    """Update resources that refer to new ids too, and keep those that moto cannot update."""

    def update(resources: Any, template: dict[str, Any], parameters: Any = None) -> None:
        before, after = resources._resource_json_map, template["Resources"]
        changed = resources.build_resource_diff(template, parameters)
        modified = {name for name in changed["Modify"] if not _same(before[name], after[name])}
        resources._template = template
        if parameters:
            resources.input_parameters = parameters
        resources.load_mapping()
        resources.load_parameters()
        resources.load_conditions()
        resources._resource_json_map = after
        _make(bed, resources, modified=modified, added=set(changed["Add"]))
        _remove(resources, before, changed["Remove"])

    replace(ResourceMap, update=update)


def _make(bed: Bed, resources: Any, *, modified: set[str], added: set[str]) -> None:
    """Make and update resources after those that they refer to, then those that refer to new ids.

    So a version of a function is published after the function was updated.
    """
    documents = resources._resource_json_map
    refers = {name: references(entry.get("Properties")) for name, entry in documents.items()}
    todo, done = modified | added, set()
    while todo:
        free = [name for name in sorted(todo) if not refers[name] & todo - {name}]
        name = (free or sorted(todo))[0]
        todo.discard(name)
        done.add(name)
        if name in added:
            resources[name]
            continue
        old = resources._parsed_resources.get(name)
        new: Any = parsing.parse_and_update_resource(
            name, documents[name], resources, resources._account_id, resources._region_name
        )
        if new is None:
            bed.journal.note("not_updated", name=name, type=documents[name]["Type"])
            continue
        resources._parsed_resources[name] = new
        if _id_of(old) != _id_of(new) or new is not old:
            todo |= {other for other in documents if name in refers[other]} - done


def _id_of(resource: Any) -> Any:
    return getattr(resource, "physical_resource_id", None)


def _remove(resources: Any, documents: dict[str, Any], names: list[str]) -> None:
    """Remove resources in any order, and try again those that could not be removed yet."""
    left = [name for name in names if resources._parsed_resources.get(name) is not None]
    for last in range(MAX_PASSES):
        for name in list(left):
            try:
                resources._delete_resource(resources._parsed_resources[name], documents[name])
            except SERVICE_ERRORS:
                # What is left uses the resource still; the last pass raises the error.
                if last == MAX_PASSES - 1:
                    raise
                continue
            del resources._parsed_resources[name]
            left.remove(name)


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two documents of a resource are equal but for empty properties, which moto adds."""
    keys = ("Type", "Properties", "Metadata")
    return all((one.get(key) or {}) == (other.get(key) or {}) for key in keys)


def references(document: object) -> set[str]:
    """Find the logical ids that a part of a template refers to."""
    if isinstance(document, list):
        return {name for entry in document for name in references(entry)}
    if not isinstance(document, dict):
        return set()
    if "Ref" in document:
        return {str(document["Ref"])}
    if "Fn::GetAtt" in document:
        target = document["Fn::GetAtt"]
        return {target[0] if isinstance(target, list) else target.split(".")[0]}
    found = references(list(document.values()))
    if "Fn::Sub" in document:
        found |= set(re.findall(r"\$\{(\w+)", json.dumps(document["Fn::Sub"])))
    return found


def _fail_to_delete_what_is_in_use(bed: Bed) -> None:
    """Fail to delete a stack whose bucket is not empty; moto reports a success."""

    @wrap_classmethod(FakeBucket, "delete_from_cloudformation_json")
    def delete_bucket(original: Any, name: str, *rest: Any) -> None:
        if s3_backends[ACCOUNT]["aws"].get_bucket(name).keys:
            msg = f"The bucket you tried to delete is not empty: {name}"
            raise RuntimeError(msg)
        original(name, *rest)

    @wrap(CloudFormationBackend, "delete_stack")
    def delete_stack(original: Any, backend: Any, name: str) -> None:
        stack = backend.stacks.get(name)
        try:
            original(backend, name)
        except RuntimeError as error:
            if stack is None:
                return  # Called again with the id instead of the name.
            bed.journal.note("not_deleted", stack=stack.name, reason=str(error))
            backend.stacks[name] = stack
            stack.status = "DELETE_FAILED"
            stack._add_stack_event(stack.status, resource_status_reason=str(error))


def _delete_route_tables() -> None:
    """Delete route tables with their stack; otherwise their VPC stays too."""

    def delete(table: Any, account_id: str, region_name: str) -> None:
        table._associations.clear()
        ec2_backends[account_id][region_name].route_tables.pop(table.id, None)

    replace(RouteTable, delete=delete)


def _enable_event_bridge() -> None:
    """Enable EventBridge for a bucket if its template does; moto ignores that."""

    @wrap_classmethod(FakeBucket, "create_from_cloudformation_json")
    def create(original: Any, name: str, document: dict[str, Any], *rest: Any, **k: Any) -> Any:
        bucket = original(name, document, *rest, **k)
        configuration = document.get("Properties", {}).get("NotificationConfiguration", {})
        settings = configuration.get("EventBridgeConfiguration", {})
        if str(settings.get("EventBridgeEnabled")).lower() == "true":
            bucket.set_notification_configuration({"EventBridgeConfiguration": {}})
        return bucket
