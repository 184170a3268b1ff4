"""Names under which the stack publishes what programs and people need to find it."""

from enum import StrEnum


class Output(StrEnum):
    """Outputs of the CloudFormation stack; not every stack has those of PyTorch and of GPUs."""

    BUCKET = "BucketName"
    STATE_MACHINE = "StateMachineArn"
    TOPIC = "TopicArn"
    DEAD_LETTERS = "DeadLettersUrl"
    SETTINGS = "SettingsParameter"
    CONFIG = "ConfigParameter"
    HOST_IMAGE = "HostImageId"
    GPU_HOST_IMAGE = "GpuHostImageId"
    QUEUE = "QueueArn"
    ON_DEMAND_QUEUE = "OnDemandQueueArn"
    GPU_QUEUE = "GpuQueueArn"
    GATHER_JOB = "GatherJobArn"
    MERGE_JOB = "MergeJobArn"
    TORCH_JOB = "TorchJobArn"


PARAMETERS = "/cloudbuster/"
"""Path of the parameters of all stacks in Systems Manager."""
QUEUE_OUTPUTS = (Output.QUEUE, Output.ON_DEMAND_QUEUE, Output.GPU_QUEUE)
HOST_IMAGE_OUTPUTS = (Output.HOST_IMAGE, Output.GPU_HOST_IMAGE)
JOB_OUTPUTS = (Output.GATHER_JOB, Output.MERGE_JOB, Output.TORCH_JOB)


def settings_parameter(stack_name: str) -> str:
    """Name of the Systems Manager parameter that holds a stack's `StackSettings` as JSON."""
    return f"{PARAMETERS}{stack_name}/settings"


def config_parameter(stack_name: str) -> str:
    """Name of the Systems Manager parameter that holds a stack's `PublishedConfig` as JSON."""
    return f"{PARAMETERS}{stack_name}/config"


def host_image_parameter(*, gpu: bool, detail: str = "image_id") -> str:
    """Name of AWS's public parameter on its newest AL2023 image for ECS.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/retrieve-ecs-optimized_AMI.html

    Parameters
    ----------
    gpu : bool
        The image with the driver of a GPU.
    detail : str
        What the parameter holds: ``image_id`` or ``image_name``.
    """
    kind = "amazon-linux-2023/gpu" if gpu else "amazon-linux-2023"
    return f"/aws/service/ecs/optimized-ami/{kind}/recommended/{detail}"
