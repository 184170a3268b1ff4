"""The stack's bucket."""

import aws_cdk as cdk
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.configuration.config import StackConfig
from infra.policies import acknowledge

OLD_VERSION_DAYS = 30


class Storage(Construct):
    """One private, encrypted bucket, and the retention of its prefixes and versions.

    ``requests/`` and ``rejected/``, ``runs/<id>/`` (documents; kept unless ``runs_days``),
    ``scratch/<id>/`` (scenes and tasks; ``scratch_days``), ``mosaics/<id>/`` (products; kept),
    ``aois/`` (areas too large for a request; kept), ``turns/`` (see `cloudbuster.aws.stack.turns`),
    ``models/`` (the operator's).

    Attributes
    ----------
    bucket : s3.IBucket
        The bucket, which sends an event to EventBridge for each object.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: StackConfig) -> None:
        super().__init__(scope, construct_id)
        keep = cdk.RemovalPolicy.RETAIN if config.retain_data else cdk.RemovalPolicy.DESTROY
        key = config.kms_key_arn and kms.Key.from_key_arn(self, "Key", config.kms_key_arn)
        bucket = s3.Bucket(
            self,
            "Bucket",
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            enforce_ssl=True,
            encryption=s3.BucketEncryption.KMS if key else s3.BucketEncryption.S3_MANAGED,
            encryption_key=key or None,
            bucket_key_enabled=True if key else None,
            removal_policy=keep,
            versioned=config.versioning or None,
            lifecycle_rules=self._lifecycle(config),
        )
        self._send_events(bucket)
        acknowledge(bucket, "S1", "CloudTrail records reads, for all buckets of an account alike")
        self.bucket: s3.IBucket = bucket

    @staticmethod
    def _lifecycle(config: StackConfig) -> list[s3.LifecycleRule]:
        expired = {"scratch/": config.scratch_days, "runs/": config.runs_days}
        return [
            s3.LifecycleRule(
                id="AbortUploads", abort_incomplete_multipart_upload_after=cdk.Duration.days(1)
            ),
            *(
                s3.LifecycleRule(
                    id=f"Expire{prefix.rstrip('/').capitalize()}",
                    prefix=prefix,
                    expiration=cdk.Duration.days(days),
                )
                for prefix, days in expired.items()
                if days is not None
            ),
            *_expire_old_versions(config),
        ]

    @staticmethod
    def _send_events(bucket: s3.Bucket) -> None:
        """Switch EventBridge on in the bucket itself; the CDK would add a function for it."""
        resource = bucket.node.default_child
        if isinstance(resource, s3.CfnBucket):
            resource.notification_configuration = s3.CfnBucket.NotificationConfigurationProperty(
                event_bridge_configuration=s3.CfnBucket.EventBridgeConfigurationProperty(
                    event_bridge_enabled=True
                )
            )


def _expire_old_versions(config: StackConfig) -> list[s3.LifecycleRule]:
    """Expire what is left of overwritten and removed objects.

    S3 refuses a rule for the markers of removed objects that also expires objects by their age.
    """
    if not config.versioning:
        return []
    return [
        s3.LifecycleRule(
            id="ExpireOldVersions",
            noncurrent_version_expiration=cdk.Duration.days(OLD_VERSION_DAYS),
        ),
        s3.LifecycleRule(id="ExpireMarkers", expired_object_delete_marker=True),
    ]
