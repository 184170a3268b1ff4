"""Compute environments and queues."""

from collections.abc import Sequence
from typing import Any

from aws_cdk import aws_batch as batch
from constructs import Construct

from infra.config import StackConfig
from infra.constructs.hosts import Hosts
from infra.constructs.network import Network
from infra.instances import GPU_VCPUS, sizes
from infra.job_states import NO_CAPACITY

# Seconds that a job may wait for a host before its queue cancels it, by the reason: capacity comes
# back, a misconfiguration does not. ECS queues can only CANCEL, after at least 600.
STUCK_LIMITS_S = {
    NO_CAPACITY: 7200,
    "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE": 600,
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT": 600,
}
Resources = batch.CfnComputeEnvironment.ComputeResourcesProperty


class Compute(Construct):
    """Hosts with one large disk, and their queues.

    Attributes
    ----------
    queue_arn, fallback_arn : str
        ARNs of the queue that tries spot hosts first, and of the queue with on-demand hosts only.
    gpu_queue_arn : str or None
        ARN of the queue of GPU hosts, if there is one.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, config: StackConfig, network: Network
    ) -> None:
        super().__init__(scope, construct_id)
        self._config = config
        self._network = network
        self._hosts = Hosts(self, "Hosts", config=config)
        on_demand = self._environment("OnDemand", types=config.host_types)
        spot = (
            [self._environment("Spot", types=config.host_types, spot=True)] if config.spot else []
        )
        self.queue_arn = self._queue("Queue", [*spot, on_demand])
        self.fallback_arn = self._queue("OnDemandQueue", [on_demand])
        self.gpu_queue_arn: str | None = None
        if config.gpu_queue:
            gpu = [
                f"{name}.{size}"
                for name in config.gpu_instance_classes
                for size in sizes(*GPU_VCPUS)
            ]
            hosts = self._environment("Gpu", types=gpu, image_type="ECS_AL2023_NVIDIA")
            self.gpu_queue_arn = self._queue("GpuQueue", [hosts])

    def _environment(
        self,
        name: str,
        *,
        types: Sequence[str],
        spot: bool = False,
        image_type: str = "ECS_AL2023",
    ) -> str:
        config = self._config
        # The configured image is for CPU hosts; it has no GPU driver.
        ami_id = None if image_type.endswith("NVIDIA") else config.ami_id
        image = batch.CfnComputeEnvironment.Ec2ConfigurationObjectProperty(
            image_type=image_type, image_id_override=ami_id
        )
        strategy = "SPOT_PRICE_CAPACITY_OPTIMIZED" if spot else "BEST_FIT_PROGRESSIVE"
        resources: dict[str, Any] = {
            "type": "SPOT" if spot else "EC2",
            "allocation_strategy": strategy,
            "minv_cpus": 0,
            "maxv_cpus": config.max_vcpus,
            "instance_types": list(types),
            "instance_role": self._hosts.profile_arn,
            "subnets": list(self._network.subnet_ids),
            "security_group_ids": list(self._network.security_group_ids),
            "ec2_configuration": [image],
            "tags": {"Name": f"{config.stack_name}-{name}", **config.tags},
            "update_to_latest_image_version": ami_id is None,
            # Without a version Batch uses the first version of the template for ever.
            "launch_template": batch.CfnComputeEnvironment.LaunchTemplateSpecificationProperty(
                launch_template_id=self._hosts.template.launch_template_id,
                version=self._hosts.template.latest_version_number,
            ),
        }
        # An update waits at most 360 minutes for jobs before it replaces their hosts.
        longest = min(360, max(config.gather.timeout_minutes, config.merge.timeout_minutes))
        environment = batch.CfnComputeEnvironment(
            self,
            name,
            type="MANAGED",
            state="ENABLED",
            replace_compute_environment=False,
            compute_resources=Resources(**resources),
            update_policy=batch.CfnComputeEnvironment.UpdatePolicyProperty(
                terminate_jobs_on_update=False, job_execution_timeout_minutes=longest
            ),
        )
        return environment.ref

    def _queue(self, name: str, environments: Sequence[str]) -> str:
        order = batch.CfnJobQueue.ComputeEnvironmentOrderProperty
        limit = batch.CfnJobQueue.JobStateTimeLimitActionProperty
        queue = batch.CfnJobQueue(
            self,
            name,
            priority=1,
            state="ENABLED",
            compute_environment_order=[
                order(compute_environment=environment, order=number)
                for number, environment in enumerate(environments, start=1)
            ],
            job_state_time_limit_actions=[
                limit(action="CANCEL", state="RUNNABLE", reason=reason, max_time_seconds=seconds)
                for reason, seconds in STUCK_LIMITS_S.items()
            ],
        )
        return queue.ref
