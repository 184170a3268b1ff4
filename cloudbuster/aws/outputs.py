"""Names under which the stack publishes what programs and people need to find it."""

from enum import StrEnum


class Output(StrEnum):
    """Outputs of the CloudFormation stack; not every stack has those of PyTorch and of GPUs."""

    BUCKET = "BucketName"
    STATE_MACHINE = "StateMachineArn"
    TOPIC = "TopicArn"
    DEAD_LETTERS = "DeadLettersUrl"
    SETTINGS = "SettingsParameter"
    QUEUE = "QueueArn"
    ON_DEMAND_QUEUE = "OnDemandQueueArn"
    GPU_QUEUE = "GpuQueueArn"
    GATHER_JOB = "GatherJobArn"
    MERGE_JOB = "MergeJobArn"
    TORCH_JOB = "TorchJobArn"


QUEUE_OUTPUTS = (Output.QUEUE, Output.ON_DEMAND_QUEUE, Output.GPU_QUEUE)
JOB_OUTPUTS = (Output.GATHER_JOB, Output.MERGE_JOB, Output.TORCH_JOB)


def settings_parameter(stack_name: str) -> str:
    """Name of the Systems Manager parameter that holds a stack's `StackSettings` as JSON."""
    return f"/cloudbuster/{stack_name}/settings"
