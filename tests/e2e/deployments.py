"""Resources of deployed stacks in the loopback AWS."""

from typing import Any

from tests.e2e.cloud import Cloud


def resources(cloud: Cloud, stack: str) -> dict[str, str]:
    """Physical ids of the resources of a stack, by their logical ids."""
    pages = cloud.client("cloudformation").get_paginator("list_stack_resources")
    return {
        entry["LogicalResourceId"]: entry["PhysicalResourceId"]
        for page in pages.paginate(StackName=stack)
        for entry in page["StackResourceSummaries"]
        if entry["PhysicalResourceId"]
    }


def left_of(cloud: Cloud, stack: str) -> list[str]:
    """Names of the resources of a stack that still exist."""
    batch, states = cloud.client("batch"), cloud.client("stepfunctions")
    definitions = batch.describe_job_definitions(status="ACTIVE")["jobDefinitions"]
    queues = batch.describe_job_queues()["jobQueues"]
    hosts = batch.describe_compute_environments()["computeEnvironments"]
    names = [
        *(bucket["Name"] for bucket in cloud.client("s3").list_buckets()["Buckets"]),
        *(f["FunctionName"] for f in cloud.client("lambda").list_functions()["Functions"]),
        *(definition["jobDefinitionName"] for definition in definitions),
        *(queue["jobQueueName"] for queue in queues),
        *(environment["computeEnvironmentName"] for environment in hosts),
        *(machine["name"] for machine in states.list_state_machines()["stateMachines"]),
        *(role["RoleName"] for role in cloud.client("iam").list_roles()["Roles"]),
        *(url.rsplit("/")[-1] for url in cloud.client("sqs").list_queues().get("QueueUrls", [])),
        *(topic["TopicArn"] for topic in cloud.client("sns").list_topics()["Topics"]),
        *(rule["Name"] for rule in cloud.client("events").list_rules()["Rules"]),
        *(entry["Name"].split("/")[2] for entry in parameters(cloud)),
    ]
    prefix = stack.lower()
    return sorted(name for name in names if name.rsplit(":", 1)[-1].lower().startswith(prefix))


def parameters(cloud: Cloud) -> list[dict[str, Any]]:
    """Parameters in which stacks publish their settings and their configurations."""
    path = {"Path": "/cloudbuster", "Recursive": True}
    found: list[dict[str, Any]] = cloud.client("ssm").get_parameters_by_path(**path)["Parameters"]
    return found


def definitions_since(cloud: Cloud, place: int) -> set[str]:
    """Job definitions of the jobs that have run since a place in the journal."""
    return {entry["definition"] for entry in cloud.journal.entries("attempt", since=place)}
