"""Roles and log group of the jobs."""

from collections.abc import Sequence

from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra import policies
from infra.configuration.config import StackConfig
from infra.configuration.retention import log_group
from infra.constructs.images import Image


class JobRoles(Construct):
    """Role of the container, role of the agent that starts it, and log group of all jobs.

    Attributes
    ----------
    job_role, execution_role : iam.Role
        Role of the container, and role of the ECS agent.
    log_group : logs.ILogGroup
        Log group of all jobs.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        bucket: s3.IBucket,
        config: StackConfig,
        images: Sequence[Image | None],
    ) -> None:
        super().__init__(scope, construct_id)
        self.log_group = log_group(self, days=config.log_days)
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
                policies.read(arn, "runs/", "scratch/", "aois/"),
                policies.write(arn, "runs/", "scratch/", "mosaics/"),
                policies.list_bucket(arn),
                policies.read_scenes(),
                *policies.read_models(config, arn),
                *policies.other_buckets(config, writing=True),
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
                    "ecr:GetAuthorizationToken", on=["*"], reason="the action has no resources"
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
