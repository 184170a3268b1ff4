"""Job definitions: gather and merge, with the base image and with the one that has PyTorch."""

import aws_cdk as cdk
from aws_cdk import aws_batch as batch
from aws_cdk import aws_s3 as s3
from constructs import Construct

from cloudbuster.errors import ExitCode
from infra.configuration.config import StackConfig
from infra.configuration.scratch import scratch_mount
from infra.configuration.sections import Job
from infra.constructs.images import Image
from infra.constructs.job_roles import JobRoles
from infra.settings import trust_variables


def job_name(scope: Construct, name: str) -> str:
    """Name of a job definition, as ``CloudBuster-GatherJob``."""
    return f"{cdk.Stack.of(scope).stack_name}-{name}"


Properties = batch.CfnJobDefinition.ContainerPropertiesProperty
# Failures that Batch retries, by the first rule that matches: a reclaimed host, an image that could
# not be pulled, a slow agent, and the exit code for "try again". Others would only fail again.
RETRIES: tuple[dict[str, str], ...] = (
    {"action": "RETRY", "on_status_reason": "Host EC2*"},
    {"action": "RETRY", "on_reason": "CannotPull*"},
    {"action": "RETRY", "on_reason": "DockerTimeoutError*"},
    {"action": "RETRY", "on_exit_code": str(int(ExitCode.TRY_AGAIN))},
    {"action": "EXIT", "on_reason": "*"},
)


class Jobs(Construct):
    """Job definitions with one fixed command each; parameters are fields of the task document.

    Attributes
    ----------
    gather, merge : str
        ARNs with the revision.
    torch : str or None
        ARN of the gather job with PyTorch, if there is one.
    log_group : logs.ILogGroup
        Log group of all jobs.
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
        self.log_group = self._roles.log_group
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
            # With a name of its own, so that policies can name all revisions.
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
            # An execution ends with the definitions that it started with: if an update
            # deregistered them, the rest of a running map would fail.
            resource_retention_policy=batch.CfnJobDefinition.ResourceRetentionPolicyProperty(
                skip_deregister_on_update=True
            ),
        )
        return definition.ref

    def _container(self, command: str, image_uri: str, job: Job, *, gpu: bool) -> Properties:
        region = cdk.Stack.of(self).region
        sizes = {"VCPU": job.vcpus, "MEMORY": job.memory_mib, **({"GPU": 1} if gpu else {})}
        # No AWS_REQUEST_PAYER here: the library offers to pay to known requester-pays buckets only.
        environment = {
            "AWS_REGION": region,
            # The credentials are those of the job's role; the metadata service has the host's.
            "AWS_EC2_METADATA_DISABLED": "true",
            "TMPDIR": "/scratch",
            "CPL_TMPDIR": "/scratch",
            "NUMBA_CACHE_DIR": "/scratch/.numba",
            # JSON lines, like those of the functions.
            "CLOUDBUSTER_LOG_LEVEL": "INFO",
            "CLOUDBUSTER_LOG_JSON": "true",
            **trust_variables(self._config),
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
        """Name the members of the secret of catalogs, which the ECS agent passes to the job."""
        secret = self._config.catalog_secret
        if secret is None:
            return None
        return [
            batch.CfnJobDefinition.SecretProperty(name=name, value_from=f"{secret.arn}:{name}::")
            for name in dict.fromkeys(secret.variables)
        ]
