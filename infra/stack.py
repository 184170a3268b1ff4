"""The stack: its parts, and what it says of itself."""

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from constructs import Construct

from infra.config import StackConfig
from infra.constructs.compute import Compute
from infra.constructs.endings import Endings
from infra.constructs.functions import Stages
from infra.constructs.images import Image
from infra.constructs.jobs import Jobs
from infra.constructs.network import Network
from infra.constructs.observability import Alarms, Notifications
from infra.constructs.storage import Storage
from infra.constructs.trigger import Trigger
from infra.constructs.workflow import Workflow
from infra.settings import stack_settings


class CloudBusterStack(cdk.Stack):
    """Query and filter in functions, gather and merge in Batch, on hosts with one large disk."""

    def __init__(
        self, scope: Construct, construct_id: str, *, config: StackConfig, env: cdk.Environment
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            env=env,
            synthesizer=_synthesizer(config),
            description="cloudbuster: cloud-free mosaics from Sentinel-2 imagery",
        )
        self._config = config
        self._follow_the_organisation()
        storage = Storage(self, "Storage", config=config)
        topic = Notifications(self, "Notifications", config=config).topic
        image = Image(self, "Image", config=config, target="batch", uri=config.image_uri)
        torch = self._torch_image()
        network = Network(self, "Network", config=config)
        compute = Compute(self, "Compute", config=config, network=network)
        bucket = storage.bucket
        jobs = Jobs(self, "Jobs", config=config, bucket=bucket, image=image, torch_image=torch)
        settings = stack_settings(
            config, bucket_name=storage.bucket.bucket_name, topic_arn=topic.topic_arn
        )
        stages = Stages(
            self,
            "Stages",
            config=config,
            image=image,
            bucket_arn=storage.bucket.bucket_arn,
            topic_arn=topic.topic_arn,
            settings=self.to_json_string(settings.model_dump(mode="json")),
        )
        workflow = Workflow(
            self,
            "Workflow",
            config=config,
            bucket_name=storage.bucket.bucket_name,
            stages=stages,
            compute=compute,
            jobs=jobs,
        )
        trigger = Trigger(
            self,
            "Trigger",
            config=config,
            image=image,
            bucket=storage.bucket,
            machine=workflow.machine,
            settings=settings,
        )
        self._watch(topic, compute, workflow, stages, trigger)
        self._tell(
            BucketName=storage.bucket.bucket_name,
            StateMachineArn=workflow.machine.state_machine_arn,
            TopicArn=topic.topic_arn,
            DeadLettersUrl=trigger.dead_letters.queue_url,
            **_job_outputs(compute, jobs),
        )

    def _follow_the_organisation(self) -> None:
        """Tag everything, and bound every role, as the account's owners ask."""
        for key, value in self._config.tags.items():
            cdk.Tags.of(self).add(key, value)
        if self._config.permissions_boundary is not None:
            boundary = iam.ManagedPolicy.from_managed_policy_arn(
                self, "Boundary", self._config.permissions_boundary
            )
            iam.PermissionsBoundary.of(self).apply(boundary)

    def _watch(
        self,
        topic: sns.ITopic,
        compute: Compute,
        workflow: Workflow,
        stages: Stages,
        trigger: Trigger,
    ) -> None:
        """Tell of ends that nothing else tells of; alarm of failures of the stack itself."""
        Endings(
            self,
            "Endings",
            machine=workflow.machine,
            finish=stages.finish.function,
            dead_letters=trigger.dead_letters,
        )
        queues = (compute.queue_arn, compute.fallback_arn, compute.gpu_queue_arn)
        Alarms(
            self,
            "Alarms",
            topic=topic,
            machine=workflow.machine,
            finish=stages.finish,
            functions=[trigger.starter],
            dead_letters=trigger.dead_letters,
            queue_arns=[arn for arn in queues if arn],
        )

    def _torch_image(self) -> Image | None:
        config = self._config
        if not config.torch_image:
            return None
        uri = config.torch_image_uri
        return Image(self, "TorchImage", config=config, target="batch-torch", uri=uri)

    def _tell(self, **outputs: str) -> None:
        """Name what people and programs look for."""
        for name, value in outputs.items():
            cdk.CfnOutput(self, name, value=value)


def _synthesizer(config: StackConfig) -> cdk.DefaultStackSynthesizer | None:
    return cdk.DefaultStackSynthesizer(qualifier=config.qualifier) if config.qualifier else None


def _job_outputs(compute: Compute, jobs: Jobs) -> dict[str, str]:
    """Where jobs are submitted by hand; those of PyTorch and of GPU hosts where there are such."""
    arns = {
        "QueueArn": compute.queue_arn,
        "OnDemandQueueArn": compute.fallback_arn,
        "GpuQueueArn": compute.gpu_queue_arn,
        "GatherJobArn": jobs.gather,
        "MergeJobArn": jobs.merge,
        "TorchJobArn": jobs.torch,
    }
    return {name: arn for name, arn in arns.items() if arn is not None}
