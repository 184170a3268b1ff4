"""The job definitions: gather and merge, of the base image and of the one with PyTorch."""

from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_batch as batch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from constructs import Construct

from cloudbuster.errors import ExitCode
from infra import policies
from infra.config import Job, StackConfig
from infra.constructs.images import Image
from infra.retention import retention


def job_name(scope: Construct, name: str) -> str:
    """Name of a job definition, as ``CloudBuster-GatherJob``."""
    return f"{cdk.Stack.of(scope).stack_name}-{name}"


Properties = batch.CfnJobDefinition.ContainerPropertiesProperty
# What Batch retries, the first match wins: the host went, the image could not be had, the agent was
# slow, the job itself says "try again". Anything else would fail in the same way once more.
RETRIES: tuple[dict[str, str], ...] = (
    {"action": "RETRY", "on_status_reason": "Host EC2*"},
    {"action": "RETRY", "on_reason": "CannotPull*"},
    {"action": "RETRY", "on_reason": "DockerTimeoutError*"},
    {"action": "RETRY", "on_exit_code": str(int(ExitCode.TRY_AGAIN))},
    {"action": "EXIT", "on_reason": "*"},
)


class Jobs(Construct):
    """Job definitions with one fixed command each: a new parameter is a field of the task.

    Attributes
    ----------
    gather, merge : str
        ARNs, revision included.
    torch : str or None
        Gather with PyTorch.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: StackConfig,
        bucket: s3.IBucket,
        image: Image,
        torch_image: Image | None,
    ) -> None:
        super().__init__(scope, construct_id)
        self._config = config
        self._logs = logs.LogGroup(
            self,
            "Logs",
            retention=retention(config.log_days),
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        self._job_role = self._make_job_role(bucket)
        self._execution_role = self._make_execution_role(image, torch_image)
        self.gather = self._definition("GatherJob", "gather", image.uri, config.gather)
        self.merge = self._definition("MergeJob", "merge", image.uri, config.merge)
        self.torch: str | None = None
        if torch_image is not None:
            self.torch = self._definition(
                "TorchJob", "gather", torch_image.uri, config.gather, gpu=config.gpu_queue
            )

    def _make_job_role(self, bucket: s3.IBucket) -> iam.Role:
        arn = bucket.bucket_arn
        return policies.role(
            self,
            "JobRole",
            service="ecs-tasks.amazonaws.com",
            config=self._config,
            statements=[
                policies.read(arn, "runs/", "scratch/", "models/", "aois/"),
                policies.write(arn, "runs/", "scratch/", "mosaics/"),
                policies.list_bucket(arn),
                policies.read_scenes(),
                *policies.output_buckets(self._config, writing=True),
                *policies.use_key(self._config),
            ],
        )

    def _make_execution_role(self, *images: Image | None) -> iam.Role:
        repositories = [image.repository.repository_arn for image in images if image is not None]
        return policies.role(
            self,
            "ExecutionRole",
            service="ecs-tasks.amazonaws.com",
            config=self._config,
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
                policies.write_logs(self._logs.log_group_arn),
            ],
        )

    def _definition(
        self, name: str, command: str, image_uri: str, job: Job, *, gpu: bool = False
    ) -> str:
        definition = batch.CfnJobDefinition(
            self,
            name,
            # Named, so that the policy of who submits it can name every revision.
            job_definition_name=job_name(self, name),
            type="container",
            platform_capabilities=["EC2"],
            propagate_tags=True,
            container_properties=self._container(command, image_uri, job, gpu=gpu),
            retry_strategy=batch.CfnJobDefinition.RetryStrategyProperty(
                attempts=job.attempts,
                evaluate_on_exit=[
                    batch.CfnJobDefinition.EvaluateOnExitProperty(**rule) for rule in RETRIES
                ],
            ),
            timeout=batch.CfnJobDefinition.TimeoutProperty(
                attempt_duration_seconds=job.timeout_minutes * 60
            ),
            # An execution ends with the definitions that it started with: an update that
            # deregistered them would fail the rest of a running map.
            resource_retention_policy=batch.CfnJobDefinition.ResourceRetentionPolicyProperty(
                skip_deregister_on_update=True
            ),
        )
        return definition.ref

    def _container(self, command: str, image_uri: str, job: Job, *, gpu: bool) -> Properties:
        region = cdk.Stack.of(self).region
        sizes = {"VCPU": job.vcpus, "MEMORY": job.memory_mib, **({"GPU": 1} if gpu else {})}
        environment = {
            "AWS_REGION": region,
            "AWS_REQUEST_PAYER": "requester",
            "TMPDIR": "/scratch",
            "CPL_TMPDIR": "/scratch",
            "NUMBA_CACHE_DIR": "/scratch/.numba",
        }
        return Properties(
            image=image_uri,
            command=[command, "--task", "Ref::task_uri"],
            job_role_arn=self._job_role.role_arn,
            execution_role_arn=self._execution_role.role_arn,
            readonly_root_filesystem=True,
            privileged=False,
            resource_requirements=[
                batch.CfnJobDefinition.ResourceRequirementProperty(type=kind, value=str(value))
                for kind, value in sizes.items()
            ],
            environment=[
                batch.CfnJobDefinition.EnvironmentProperty(name=key, value=value)
                for key, value in environment.items()
            ],
            log_configuration=batch.CfnJobDefinition.LogConfigurationProperty(
                log_driver="awslogs",
                options={
                    "awslogs-group": self._logs.log_group_name,
                    "awslogs-region": region,
                    "awslogs-stream-prefix": command,
                },
            ),
            **self._scratch(job),
        )

    def _scratch(self, job: Job) -> dict[str, Any]:
        """``/scratch``: the host's, or memory that counts as the job's."""
        linux: dict[str, Any] = {"init_process_enabled": True}
        if self._config.scratch == "shm":
            linux["tmpfs"] = [
                batch.CfnJobDefinition.TmpfsProperty(
                    container_path="/scratch",
                    size=job.scratch_gib * 1024,
                    mount_options=["mode=1777"],
                )
            ]
            mounts: dict[str, Any] = {}
        else:
            mounts = {
                "volumes": [
                    batch.CfnJobDefinition.VolumesProperty(
                        name="scratch",
                        host=batch.CfnJobDefinition.VolumesHostProperty(source_path="/scratch"),
                    )
                ],
                "mount_points": [
                    batch.CfnJobDefinition.MountPointsProperty(
                        container_path="/scratch", source_volume="scratch", read_only=False
                    )
                ],
            }
        parameters = batch.CfnJobDefinition.LinuxParametersProperty(**linux)
        return {"linux_parameters": parameters, **mounts}
