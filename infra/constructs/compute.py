"""Compute environments and queues."""

from collections.abc import Sequence
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_batch as batch
from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from cloudbuster.aws.outputs import Output, host_image_parameter
from infra.configuration.config import StackConfig
from infra.configuration.instances import GPU_VCPUS, sizes
from infra.constructs.hosts import Hosts
from infra.constructs.network import Network
from infra.job_states import NO_CAPACITY

# Seconds that a job may wait for a host before its queue cancels it, by the reason: capacity comes
# back, a misconfiguration does not. ECS queues can only CANCEL, after at least 600.
STUCK_LIMITS_S = {
    NO_CAPACITY: 7200,
    "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE": 600,
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT": 600,
    "MISCONFIGURATION:EC2_INSTANCE_CONFIGURATION_UNSUPPORTED": 600,
}
# Public parameters in which AWS names its newest images of AL2023 for ECS.
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/retrieve-ecs-optimized_AMI.html
IMAGES = {
    "ECS_AL2023": host_image_parameter(gpu=False),
    "ECS_AL2023_NVIDIA": host_image_parameter(gpu=True),
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
    host_images : dict of str to str
        Ids of the images of the hosts, by the output that publishes them.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, config: StackConfig, network: Network
    ) -> None:
        super().__init__(scope, construct_id)
        self._config = config
        self._network = network
        self._hosts = Hosts(self, "Hosts", config=config)
        image_id = config.ami_id or self._newest_image("HostImage", "ECS_AL2023")
        self.host_images = {Output.HOST_IMAGE: image_id}
        template = self._hosts.launch_template("LaunchTemplate", image_id=image_id)
        on_demand = self._environment("OnDemand", template, types=config.host_types)
        spot = (
            [self._environment("Spot", template, types=config.host_types, spot=True)]
            if config.spot
            else []
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
            # The configured image is for CPU hosts; it has no GPU driver.
            image_type = "ECS_AL2023_NVIDIA"
            image_id = self._newest_image("GpuHostImage", image_type)
            self.host_images[Output.GPU_HOST_IMAGE] = image_id
            template = self._hosts.launch_template("GpuLaunchTemplate", image_id=image_id)
            hosts = self._environment("Gpu", template, types=gpu, image_type=image_type)
            self.gpu_queue_arn = self._queue("GpuQueue", [hosts])

    def _newest_image(self, name: str, image_type: str) -> str:
        """Add a parameter that CloudFormation resolves to an image at each deployment.

        So each deployment gives new hosts the image that is patched best at that time; Batch itself
        never changes the image of a compute environment.
        """
        parameter = cdk.CfnParameter(
            cdk.Stack.of(self),
            name,
            type="AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>",
            default=IMAGES[image_type],
            description=f"Newest image {image_type} of AWS",
        )
        return parameter.value_as_string

    def _environment(
        self,
        name: str,
        template: ec2.LaunchTemplate,
        *,
        types: Sequence[str],
        spot: bool = False,
        image_type: str = "ECS_AL2023",
    ) -> str:
        config = self._config
        image = batch.CfnComputeEnvironment.Ec2ConfigurationObjectProperty(image_type=image_type)
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
            # The image of a new version of the template is taken with this only.
            "update_to_latest_image_version": True,
            # Without a version Batch uses the first version of the template for ever.
            "launch_template": batch.CfnComputeEnvironment.LaunchTemplateSpecificationProperty(
                launch_template_id=template.launch_template_id,
                version=template.latest_version_number,
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
