"""The stack: its parts, and the names that it publishes."""

from collections.abc import Mapping

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from cloudbuster.aws.outputs import Output, config_parameter, settings_parameter
from cloudbuster.aws.published import PublishedConfig
from cloudbuster.aws.settings import StackSettings
from infra.configuration.config import StackConfig
from infra.constructs.compute import Compute
from infra.constructs.dashboard import Dashboard
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

# Types that CloudFormation replaces when their tags change, which would end all running jobs. The
# instances of a compute environment have the tags, by its `ComputeResources`.
UNTAGGED = ("AWS::Batch::ComputeEnvironment",)


class CloudBusterStack(cdk.Stack):
    """Query and filter in functions, gather and merge in Batch, on hosts with one large disk."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: StackConfig,
        published: PublishedConfig,
        env: cdk.Environment,
    ) -> None:
        # Read by the Vpc, through `availability_zones`.
        self._zones = config.zones
        super().__init__(
            scope,
            construct_id,
            env=env,
            synthesizer=_synthesizer(config),
            # A stack that keeps its data is not removed by mistake.
            termination_protection=config.retain_data,
            description="cloudbuster: cloud-free mosaics from Sentinel-2 imagery",
        )
        self._config = config
        self._apply_rules_of_the_organisation()
        bucket = Storage(self, "Storage", config=config).bucket
        topic = Notifications(self, "Notifications", config=config).topic
        image = Image(self, "Image", config=config, target="batch", uri=config.image_uri)
        torch = self._torch_image()
        network = Network(self, "Network", config=config)
        compute = Compute(self, "Compute", config=config, network=network)
        jobs = Jobs(self, "Jobs", config=config, bucket=bucket, image=image, torch_image=torch)
        settings = stack_settings(config, bucket_name=bucket.bucket_name, topic_arn=topic.topic_arn)
        stages = self._stages(image, bucket, topic, settings)
        workflow = Workflow(
            self,
            "Workflow",
            config=config,
            bucket_name=bucket.bucket_name,
            stages=stages,
            compute=compute,
            jobs=jobs,
        )
        trigger = Trigger(
            self,
            "Trigger",
            config=config,
            image=image,
            bucket=bucket,
            machine=workflow.machine,
            settings=settings,
        )
        self._watch(topic, compute, workflow, stages, trigger)
        self._dashboard(workflow, trigger, jobs, stages)
        outputs: dict[str, str] = {
            Output.BUCKET: bucket.bucket_name,
            Output.STATE_MACHINE: workflow.machine.state_machine_arn,
            Output.TOPIC: topic.topic_arn,
            Output.DEAD_LETTERS: trigger.dead_letters.queue_url,
            Output.SETTINGS: self._settings_parameter(trigger.settings),
            Output.CONFIG: self._config_parameter(published),
        }
        self._publish({**outputs, **_job_outputs(compute, jobs)})

    @property
    def availability_zones(self) -> list[str]:
        """All zones that are used; without an account, the CDK would take two of any region."""
        zones = cdk.Fn.get_azs()
        return [cdk.Fn.select(number, zones) for number in range(self._zones)]

    def _apply_rules_of_the_organisation(self) -> None:
        """Tag all resources and bound all roles as configured."""
        for key, value in self._config.tags.items():
            cdk.Tags.of(self).add(key, value, exclude_resource_types=list(UNTAGGED))
        if self._config.permissions_boundary is not None:
            boundary = iam.ManagedPolicy.from_managed_policy_arn(
                self, "Boundary", self._config.permissions_boundary
            )
            iam.PermissionsBoundary.of(self).apply(boundary)

    def _dashboard(self, workflow: Workflow, trigger: Trigger, jobs: Jobs, stages: Stages) -> None:
        """Show executions, requests, jobs and runs on a dashboard."""
        Dashboard(
            self,
            "Dashboard",
            machine=workflow.machine,
            requests=trigger.requests,
            dead_letters=trigger.dead_letters,
            jobs_log=jobs.log_group,
            filter_log=stages.filter.log_group,
            finish_log=stages.finish.log_group,
        )

    def _stages(
        self, image: Image, bucket: s3.IBucket, topic: sns.ITopic, settings: StackSettings
    ) -> Stages:
        """Make the functions of the stages."""
        return Stages(
            self,
            "Stages",
            config=self._config,
            image=image,
            bucket_arn=bucket.bucket_arn,
            topic_arn=topic.topic_arn,
            settings=self.to_json_string(settings.model_dump(mode="json")),
        )

    def _watch(
        self,
        topic: sns.ITopic,
        compute: Compute,
        workflow: Workflow,
        stages: Stages,
        trigger: Trigger,
    ) -> None:
        """Report executions that end without their last state, and raise alarms."""
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

    def _settings_parameter(self, settings: str) -> str:
        """Publish the settings in Parameter Store; return the name of the parameter."""
        name = settings_parameter(self._config.stack_name)
        ssm.CfnParameter(
            self,
            "Settings",
            name=name,
            type="String",
            value=settings,
            description="Settings of the stack, which cloudbuster submit reads",
        )
        return name

    def _config_parameter(self, published: PublishedConfig) -> str:
        """Publish the configuration, with which the next deployment is compared."""
        name = config_parameter(self._config.stack_name)
        ssm.CfnParameter(
            self,
            "Configuration",
            name=name,
            type="String",
            # A standard parameter holds 4 kB, an advanced one 8 kB for 0.05 USD a month.
            tier="Intelligent-Tiering",
            value=published.model_dump_json(),
            description="Configuration of the stack, which cloudbuster doctor compares with a file",
        )
        return name

    def _publish(self, outputs: Mapping[str, str]) -> None:
        """Add the outputs by which people and programs find the parts of the stack."""
        for name, value in outputs.items():
            cdk.CfnOutput(self, str(name), value=value)


def _synthesizer(config: StackConfig) -> cdk.DefaultStackSynthesizer | None:
    return cdk.DefaultStackSynthesizer(qualifier=config.qualifier) if config.qualifier else None


def _job_outputs(compute: Compute, jobs: Jobs) -> dict[str, str]:
    """ARNs of queues and job definitions, those that exist, and the images of hosts."""
    arns = {
        Output.QUEUE: compute.queue_arn,
        Output.ON_DEMAND_QUEUE: compute.fallback_arn,
        Output.GPU_QUEUE: compute.gpu_queue_arn,
        Output.GATHER_JOB: jobs.gather,
        Output.MERGE_JOB: jobs.merge,
        Output.TORCH_JOB: jobs.torch,
    }
    images = {str(name): image for name, image in compute.host_images.items()}
    return {name: arn for name, arn in arns.items() if arn is not None} | images
