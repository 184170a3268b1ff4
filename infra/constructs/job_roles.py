"""What the jobs may do, and where they log."""

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra import policies
from infra.config import StackConfig
from infra.constructs.images import Image
from infra.retention import retention


class JobRoles(Construct):
    """Role of what runs in the container, role of who starts it, and their log group.

    Attributes
    ----------
    job_role, execution_role : iam.Role
        Of the container, and of the ECS agent for it.
    log_group : logs.ILogGroup
        Of all jobs.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: StackConfig,
        bucket: s3.IBucket,
        images: Sequence[Image | None],
    ) -> None:
        super().__init__(scope, construct_id)
        self.log_group: logs.ILogGroup = logs.LogGroup(
            self,
            "Logs",
            retention=retention(config.log_days),
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        self.job_role = self._make_job_role(config, bucket)
        self.execution_role = self._make_execution_role(config, images)

    def _make_job_role(self, config: StackConfig, bucket: s3.IBucket) -> iam.Role:
        arn = bucket.bucket_arn
        return policies.role(
            self,
            "JobRole",
            service="ecs-tasks.amazonaws.com",
            config=config,
            statements=[
                policies.read(arn, "runs/", "scratch/", "models/", "aois/"),
                policies.write(arn, "runs/", "scratch/", "mosaics/"),
                policies.list_bucket(arn),
                policies.read_scenes(),
                *policies.output_buckets(config, writing=True),
                *policies.use_key(config),
            ],
        )

    def _make_execution_role(self, config: StackConfig, images: Sequence[Image | None]) -> iam.Role:
        repositories = [image.repository.repository_arn for image in images if image is not None]
        return policies.role(
            self,
            "ExecutionRole",
            service="ecs-tasks.amazonaws.com",
            config=config,
            statements=[
                policies.allow(
                    "ecr:GetAuthorizationToken", on=["*"], reason="it knows no resources"
                ),
                policies.allow(
                    "ecr:BatchCheckLayerAvailability",
                    "ecr:BatchGetImage",
                    "ecr:GetDownloadUrlForLayer",
                    on=list(dict.fromkeys(repositories)),
                ),
                policies.write_logs(self.log_group.log_group_arn),
                *policies.read_secret(config),
            ],
        )
