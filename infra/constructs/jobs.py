"""The job definitions: gather and merge, of the base image and of the one with PyTorch."""

import aws_cdk as cdk
from aws_cdk import aws_batch as batch
from aws_cdk import aws_s3 as s3
from constructs import Construct

from cloudbuster.errors import ExitCode
from infra.config import StackConfig
from infra.constructs.images import Image
from infra.constructs.job_roles import JobRoles
from infra.scratch import scratch_mount
from infra.sections import Job


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
        self._roles = JobRoles(
            self, "Roles", config=config, bucket=bucket, images=[image, torch_image]
        )
        self.gather = self._definition("GatherJob", "gather", image.uri, config.gather)
        self.merge = self._definition("MergeJob", "merge", image.uri, config.merge)
        self.torch: str | None = None
        if torch_image is not None:
            self.torch = self._definition(
                "TorchJob", "gather", torch_image.uri, config.gather, gpu=config.gpu_queue
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
        # Nothing here agrees to pay: the library does for the buckets that it knows to ask for it.
        environment = {
            "AWS_REGION": region,
            "TMPDIR": "/scratch",
            "CPL_TMPDIR": "/scratch",
            "NUMBA_CACHE_DIR": "/scratch/.numba",
            # As the functions do: what was decided, and how long it took, a JSON object a line.
            "CLOUDBUSTER_LOG_LEVEL": "INFO",
            "CLOUDBUSTER_LOG_JSON": "true",
        }
        return Properties(
            image=image_uri,
            command=[command, "--task", "Ref::task_uri"],
            job_role_arn=self._roles.job_role.role_arn,
            execution_role_arn=self._roles.execution_role.role_arn,
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
            secrets=self._secrets(),
            log_configuration=batch.CfnJobDefinition.LogConfigurationProperty(
                log_driver="awslogs",
                options={
                    "awslogs-group": self._roles.log_group.log_group_name,
                    "awslogs-region": region,
                    "awslogs-stream-prefix": command,
                },
            ),
            **scratch_mount(self._config.scratch, job),
        )

    def _secrets(self) -> list[batch.CfnJobDefinition.SecretProperty] | None:
        """Name the members of the secret that holds what catalogs ask for; the agent reads them."""
        secret = self._config.catalog_secret
        if secret is None:
            return None
        return [
            batch.CfnJobDefinition.SecretProperty(name=name, value_from=f"{secret.arn}:{name}::")
            for name in dict.fromkeys(secret.variables)
        ]
