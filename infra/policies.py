"""Statements of the policies, and roles that hold nothing else.

Every wildcard carries its reason, which cdk-nag keeps: a statement without one is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from constructs import Construct, IConstruct

from infra.config import StackConfig

# Where scenes are read from: the requester-pays originals, and the free COGs.
SENTINEL_OBJECTS = (
    "sentinel-s2-l1c/tiles/*",
    "sentinel-s2-l2a/tiles/*",
    "sentinel-cogs/*",
    "e84-earth-search-sentinel-data/*",
)


@dataclass(frozen=True)
class Statement:
    """What a role may do.

    Attributes
    ----------
    actions, resources : tuple of str
        Written out.
    reason : str or None
        Why a resource ends in a wildcard.
    """

    actions: tuple[str, ...]
    resources: tuple[str, ...]
    reason: str | None


def allow(*actions: str, on: Sequence[str], reason: str | None = None) -> Statement:
    """Allow these actions on these resources.

    Raises
    ------
    ValueError
        For a wildcard without a reason.
    """
    if reason is None and any("*" in resource for resource in on):
        msg = f"{', '.join(actions)} on {', '.join(on)}: say why it needs a wildcard"
        raise ValueError(msg)
    return Statement(actions, tuple(on), reason)


def role(
    scope: Construct,
    name: str,
    *,
    service: str,
    config: StackConfig,
    statements: Sequence[Statement],
) -> iam.Role:
    """Make a role with one inline policy, on the path that the organisation wants.

    The reasons hold for that policy alone: what the CDK adds to the role has its own.
    """
    allowed = [
        iam.PolicyStatement(actions=list(entry.actions), resources=list(entry.resources))
        for entry in statements
    ]
    found = iam.Role(
        scope,
        name,
        assumed_by=iam.ServicePrincipal(service),
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
    """Read the objects behind these prefixes."""
    objects = [f"{bucket_arn}/{prefix}*" for prefix in prefixes]
    return allow("s3:GetObject", on=objects, reason="all objects behind one prefix")


def write(bucket_arn: str, *prefixes: str) -> Statement:
    """Write the objects behind these prefixes, in parts too."""
    objects = [f"{bucket_arn}/{prefix}*" for prefix in prefixes]
    actions = ("s3:PutObject", "s3:AbortMultipartUpload")
    return allow(*actions, on=objects, reason="all objects behind one prefix")


def list_bucket(bucket_arn: str) -> Statement:
    """See what a bucket holds: without it S3 says of a missing object that it is forbidden."""
    return allow("s3:ListBucket", on=[bucket_arn])


def read_scenes() -> Statement:
    """Read Sentinel-2 scenes; the requester pays for some."""
    objects = [f"arn:{cdk.Aws.PARTITION}:s3:::{name}" for name in SENTINEL_OBJECTS]
    return allow("s3:GetObject", on=objects, reason="every public scene may be asked for")


def output_buckets(config: StackConfig, *, writing: bool) -> list[Statement]:
    """Read, and write, what lies in the buckets that outputs may lie in."""
    arns = [f"arn:{cdk.Aws.PARTITION}:s3:::{name}" for name in config.output_buckets]
    if not arns:
        return []
    objects = [f"{arn}/*" for arn in arns]
    reason = "a request chooses its prefix in an output bucket"
    statements = [
        allow("s3:GetObject", on=objects, reason=reason),
        allow("s3:ListBucket", on=arns),
    ]
    if writing:
        put = ("s3:PutObject", "s3:AbortMultipartUpload")
        statements.append(allow(*put, on=objects, reason=reason))
    return statements


def write_logs(log_group_arn: str) -> Statement:
    """Write to one log group; the ARN of a group ends in the wildcard of its streams."""
    return allow("logs:CreateLogStream", "logs:PutLogEvents", on=[log_group_arn])


def read_secret(config: StackConfig) -> list[Statement]:
    """Read the secret that holds what catalogs ask for, where there is one."""
    secret = config.catalog_secret
    if secret is None:
        return []
    statements = [allow("secretsmanager:GetSecretValue", on=[secret.arn])]
    if secret.kms_key_arn is not None:
        statements.append(allow("kms:Decrypt", on=[secret.kms_key_arn]))
    return statements


def use_key(config: StackConfig) -> list[Statement]:
    """Use the organisation's key, where there is one."""
    if config.kms_key_arn is None:
        return []
    return [allow("kms:Decrypt", "kms:GenerateDataKey", on=[config.kms_key_arn])]


def machine_part(stack: cdk.Stack, resource: str, *names: str) -> str:
    """ARN of the machine (``stateMachine``) or of what runs by it (``execution`` and a name)."""
    return stack.format_arn(
        service="states",
        resource=resource,
        resource_name=":".join((stack.stack_name, *names)),
        arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
    )


def let_alarms_publish(topic: sns.ITopic) -> None:
    """Let the account's alarms publish: a policy of one's own replaces the one that allows it."""
    account = cdk.Stack.of(topic).account
    topic.add_to_resource_policy(
        iam.PolicyStatement(
            sid="AllowAlarms",
            principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
            actions=["sns:Publish"],
            resources=[topic.topic_arn],
            conditions={"StringEquals": {"aws:SourceAccount": account}},
        )
    )


def acknowledge_added(role: IConstruct, reason: str) -> None:
    """Write down why what the CDK itself has added to a role is allowed on every resource."""
    acknowledge(role.node.find_child("DefaultPolicy"), _wildcard("*"), reason)


def acknowledge(scope: IConstruct, rule: str, reason: str) -> None:
    """Write down why a rule of cdk-nag does not hold here."""
    cdk.Validations.of(scope).acknowledge(
        cdk.Acknowledgment(id=f"AwsSolutions::AwsSolutions-{rule}", reason=reason)
    )


def _wildcard(resource: str) -> str:
    return f"IAM5[Resource::{resource}]"


def _flat(value: Any) -> str:  # noqa: ANN401 -- an intrinsic function of CloudFormation
    """Write a resolved ARN as cdk-nag does in the id of a finding."""
    if isinstance(value, str):
        return value
    if "Ref" in value:
        return f"<{value['Ref']}>"
    if "Fn::GetAtt" in value:
        return f"<{'.'.join(value['Fn::GetAtt'])}>"
    delimiter, parts = value["Fn::Join"]
    return str(delimiter).join(_flat(part) for part in parts)
