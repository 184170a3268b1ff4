"""Statements of policies, and roles with no other statements.

Each wildcard needs a reason, which is recorded for cdk-nag.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from constructs import Construct, IConstruct

from cloudbuster.aws.admission import MOSAICS
from cloudbuster.aws.stack.claims import CLAIM
from infra.configuration.config import StackConfig

# Objects of the scenes: the requester-pays originals, and the free COGs.
SENTINEL_OBJECTS = (
    "sentinel-s2-l1c/tiles/*",
    "sentinel-s2-l2a/tiles/*",
    "sentinel-cogs/*",
    "e84-earth-search-sentinel-data/*",
)


@dataclass(frozen=True)
class Statement:
    """Actions that a role is allowed on some resources.

    Attributes
    ----------
    actions, resources : tuple of str
        Actions and ARNs.
    reason : str or None
        Why a resource has a wildcard.
    """

    actions: tuple[str, ...]
    resources: tuple[str, ...]
    reason: str | None


def allow(*actions: str, on: Sequence[str], reason: str | None = None) -> Statement:
    """Allow these actions on these resources.

    Raises
    ------
    ValueError
        If a resource has a wildcard and there is no reason.
    """
    if reason is None and any("*" in resource for resource in on):
        msg = f"{', '.join(actions)} on {', '.join(on)}: give the reason of the wildcard"
        raise ValueError(msg)
    return Statement(actions, tuple(on), reason)


# Resources for which a service assumes a role; no service may do it for those of another account.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html; for each service:
# https://docs.aws.amazon.com/lambda/latest/dg/lambda-intro-execution-role.html,
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html and
# https://docs.aws.amazon.com/step-functions/latest/dg/procedure-create-iam-role.html
SOURCES = {
    "lambda.amazonaws.com": ("lambda", "*"),
    "ecs-tasks.amazonaws.com": ("ecs", "*"),
    "states.amazonaws.com": ("states", "stateMachine:*"),
}


def role(
    scope: Construct,
    name: str,
    *,
    service: str,
    config: StackConfig,
    statements: Sequence[Statement],
) -> iam.Role:
    """Make a role with one inline policy, on the path of the configuration.

    The service may assume it for resources of this account and region only.

    The reasons of the statements excuse the wildcards of that policy; a statement that the CDK adds
    to the role needs a reason of its own (`acknowledge_added`).

    Parameters
    ----------
    scope : Construct
        Parent of the role.
    name : str
        Id of the role.
    service : str
        Service that assumes the role, one of `SOURCES`.
    config : StackConfig
        Configuration of the stack.
    statements : sequence of Statement
        Statements of the policy.
    """
    allowed = [
        iam.PolicyStatement(actions=list(entry.actions), resources=list(entry.resources))
        for entry in statements
    ]
    found = iam.Role(
        scope,
        name,
        assumed_by=iam.ServicePrincipal(
            service, conditions=from_this_account(scope, *SOURCES[service])
        ),
        path=config.role_path,
        inline_policies={"Exact": iam.PolicyDocument(statements=allowed)},
    )
    stack = cdk.Stack.of(scope)
    for entry in statements:
        for resource in entry.resources:
            if "*" in resource and entry.reason is not None:
                finding = _flat(stack.resolve(resource))
                acknowledge(found.node.find_child("Resource"), _wildcard(finding), entry.reason)
    return found


def read(bucket_arn: str, *prefixes: str) -> Statement:
    """Allow reading the objects under these prefixes."""
    objects = [f"{bucket_arn}/{prefix}*" for prefix in prefixes]
    return allow("s3:GetObject", on=objects, reason="all objects under one prefix")


def write(bucket_arn: str, *prefixes: str) -> Statement:
    """Allow writing the objects under these prefixes, in one request or in parts."""
    objects = [f"{bucket_arn}/{prefix}*" for prefix in prefixes]
    actions = ("s3:PutObject", "s3:AbortMultipartUpload")
    return allow(*actions, on=objects, reason="all objects under one prefix")


def list_bucket(bucket_arn: str) -> Statement:
    """Allow listing a bucket; without this S3 answers 403 instead of 404 for a missing object."""
    return allow("s3:ListBucket", on=[bucket_arn])


def read_scenes() -> Statement:
    """Allow reading Sentinel-2 scenes, some of which are requester pays."""
    objects = [_bucket_arn(name) for name in SENTINEL_OBJECTS]
    return allow("s3:GetObject", on=objects, reason="a request may select any public scene")


def other_buckets(config: StackConfig, *, writing: bool) -> list[Statement]:
    """Allow reading the input and output buckets, and with ``writing`` writing to the latter."""
    arns = [_bucket_arn(name) for name in config.bucket_names]
    if not arns:
        return []
    reason = "a request chooses its prefix in a bucket"
    statements = [
        allow("s3:GetObject", on=[f"{arn}/*" for arn in arns], reason=reason),
        allow("s3:ListBucket", on=arns),
    ]
    outputs = [f"{_bucket_arn(entry.name)}/*" for entry in config.output_buckets]
    if writing and outputs:
        put = ("s3:PutObject", "s3:AbortMultipartUpload")
        statements.append(allow(*put, on=outputs, reason=reason))
    if config.bucket_keys:
        statements.append(allow("kms:Decrypt", on=config.bucket_keys))
    # Decrypt is needed for an upload in parts too.
    return [*statements, *(_encrypt_outputs(config) if writing else [])]


def claim_outputs(bucket_arn: str, config: StackConfig) -> list[Statement]:
    """Allow reading and writing the claims beside the products, in all buckets of outputs."""
    places = [f"{bucket_arn}/{MOSAICS}"]
    places += [_bucket_arn(entry.name) for entry in config.output_buckets]
    claims = [f"{place}/*/{CLAIM}" for place in places]
    reason = "a request chooses the prefix of its output"
    return [
        allow("s3:GetObject", "s3:PutObject", on=claims, reason=reason),
        *_encrypt_outputs(config),
    ]


def _encrypt_outputs(config: StackConfig) -> list[Statement]:
    """Allow encrypting what is written to the output buckets, if they have keys."""
    keys = [entry.kms_key_arn for entry in config.output_buckets if entry.kms_key_arn]
    return [allow("kms:GenerateDataKey", on=list(dict.fromkeys(keys)))] if keys else []


def read_models(config: StackConfig, bucket_arn: str) -> list[Statement]:
    """Allow reading the models that a request may run."""
    if not config.model_prefixes:
        return []
    objects = [_model_objects(prefix, bucket_arn) for prefix in config.model_prefixes]
    return [allow("s3:GetObject", on=objects, reason="all models under one prefix")]


def _model_objects(prefix: str, bucket_arn: str) -> str:
    """ARN of the objects under a prefix of models."""
    if not prefix.startswith("s3://"):
        return f"{bucket_arn}/{prefix}*"
    return f"{_bucket_arn(prefix.removeprefix('s3://'))}*"


def _bucket_arn(name: str) -> str:
    return f"arn:{cdk.Aws.PARTITION}:s3:::{name}"


def write_logs(log_group_arn: str) -> Statement:
    """Allow writing to one log group; its ARN ends in a wildcard for the streams."""
    return allow("logs:CreateLogStream", "logs:PutLogEvents", on=[log_group_arn])


def read_secret(config: StackConfig) -> list[Statement]:
    """Allow reading the secret with the credentials of catalogs, if there is one."""
    secret = config.catalog_secret
    if secret is None:
        return []
    statements = [allow("secretsmanager:GetSecretValue", on=[secret.arn])]
    if secret.kms_key_arn is not None:
        statements.append(allow("kms:Decrypt", on=[secret.kms_key_arn]))
    return statements


def publish_items(config: StackConfig, bucket_arn: str) -> list[Statement]:
    """Allow reading the items of mosaics and the token of the STAC API, if they are published."""
    publish = config.publish
    if publish is None:
        return []
    statements = [read(bucket_arn, f"{MOSAICS}/"), *other_buckets(config, writing=False)]
    if publish.secret_arn is not None:
        statements.append(allow("secretsmanager:GetSecretValue", on=[publish.secret_arn]))
    if publish.kms_key_arn is not None:
        statements.append(allow("kms:Decrypt", on=[publish.kms_key_arn]))
    return statements


def use_key(config: StackConfig) -> list[Statement]:
    """Allow using the configured key, if there is one."""
    if config.kms_key_arn is None:
        return []
    return [allow("kms:Decrypt", "kms:GenerateDataKey", on=[config.kms_key_arn])]


def machine_part(stack: cdk.Stack, resource: str, *names: str) -> str:
    """ARN of the state machine (``stateMachine``) or of an execution (``execution``, a name)."""
    return stack.format_arn(
        service="states",
        resource=resource,
        resource_name=":".join((stack.stack_name, *names)),
        arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
    )


def from_this_account(scope: Construct, service: str, resource: str) -> dict[str, Any]:
    """Make the conditions that a service acts for a resource of this account and region.

    Parameters
    ----------
    scope : Construct
        Construct in the stack.
    service, resource : str
        Service and resource of an ARN, with wildcards.
    """
    stack = cdk.Stack.of(scope)
    # Budgets have no region.
    region = "" if service == "budgets" else stack.region
    arn = f"arn:{stack.partition}:{service}:{region}:{stack.account}:{resource}"
    return {
        "StringEquals": {"aws:SourceAccount": stack.account},
        "ArnLike": {"aws:SourceArn": arn},
    }


def let_publish(topic: sns.Topic, sid: str, service: str, resource: str) -> None:
    """Allow a service to publish for a resource of this account and region.

    Parameters
    ----------
    topic : sns.Topic
        Topic of the stack. Its own policy replaces the default one of SNS, which allows alarms of
        the account to publish.
    sid, service, resource : str
        Name of the statement; service and resource of the ARN, with wildcards.
    """
    topic.add_to_resource_policy(
        iam.PolicyStatement(
            sid=sid,
            principals=[iam.ServicePrincipal(f"{service}.amazonaws.com")],
            actions=["sns:Publish"],
            resources=[topic.topic_arn],
            conditions=from_this_account(topic, service, resource),
        )
    )


def acknowledge_added(role: IConstruct, reason: str) -> None:
    """Record why the statements that the CDK added to a role apply to all resources."""
    acknowledge(role.node.find_child("DefaultPolicy"), _wildcard("*"), reason)


def acknowledge(scope: IConstruct, rule: str, reason: str) -> None:
    """Record why a rule of cdk-nag does not apply to a construct."""
    cdk.Validations.of(scope).acknowledge(
        cdk.Acknowledgment(id=f"AwsSolutions::AwsSolutions-{rule}", reason=reason)
    )


def _wildcard(resource: str) -> str:
    return f"IAM5[Resource::{resource}]"


def _flat(value: Any) -> str:  # noqa: ANN401 -- an intrinsic function of CloudFormation
    """Format a resolved ARN as cdk-nag does in the id of a finding."""
    if isinstance(value, str):
        return value
    if "Ref" in value:
        return f"<{value['Ref']}>"
    if "Fn::GetAtt" in value:
        return f"<{'.'.join(value['Fn::GetAtt'])}>"
    delimiter, parts = value["Fn::Join"]
    return str(delimiter).join(_flat(part) for part in parts)
