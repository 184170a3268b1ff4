"""The functions: one image, five commands, five roles."""

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra import policies
from infra.configuration.config import StackConfig
from infra.configuration.retention import log_group
from infra.constructs.images import Image
from infra.settings import variables


class Function(Construct):
    """One function of the image: ``lambdas.<module>.handler``.

    Attributes
    ----------
    function : lambda_.Function
        The function itself, always in its newest version.
    log_group : logs.ILogGroup
        Log group of the function.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        module: str,
        image: Image,
        config: StackConfig,
        settings: str,
        statements: Sequence[policies.Statement],
        memory_mib: int = 512,
        timeout: cdk.Duration | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        self.log_group = log_group(self, days=config.log_days)
        role = policies.role(
            self,
            "Role",
            service="lambda.amazonaws.com",
            config=config,
            statements=[
                policies.write_logs(self.log_group.log_group_arn),
                *statements,
                *policies.use_key(config),
            ],
        )
        environment = variables(config, settings)
        self.function = self._make(image, module, role, environment, memory_mib, timeout)

    def _make(
        self,
        image: Image,
        module: str,
        role: iam.Role,
        environment: dict[str, str],
        memory_mib: int,
        timeout: cdk.Duration | None,
    ) -> lambda_.Function:
        return lambda_.DockerImageFunction(
            self,
            "Function",
            code=lambda_.DockerImageCode.from_ecr(
                image.repository,
                tag_or_digest=image.version,
                entrypoint=["python", "-m", "awslambdaric"],
                cmd=[f"lambdas.{module}.handler"],
            ),
            role=role,
            log_group=self.log_group,
            memory_size=memory_mib,
            timeout=timeout or cdk.Duration.minutes(1),
            environment=environment,
            # An execution ends with the versions that it started with, so updates keep them. An
            # update that is rolled back removes its version, since the next update could not
            # publish the same content again.
            current_version_options=lambda_.VersionOptions(
                removal_policy=cdk.RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE
            ),
        )

    @property
    def version_arn(self) -> str:
        """ARN of the current version, whose code and settings never change."""
        return self.function.current_version.function_arn


class Stages(Construct):
    """Functions of the states.

    Attributes
    ----------
    query, filter, assess, finish : Function
        One function for each state.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        image: Image,
        config: StackConfig,
        bucket_arn: str,
        topic_arn: str,
        settings: str,
    ) -> None:
        super().__init__(scope, construct_id)

        def stage(name: str, *statements: policies.Statement, heavy: bool = True) -> Function:
            # Each 1769 MiB add a processor. New accounts allow 3008 MiB; 15 minutes are the limit.
            return Function(
                self,
                name,
                config=config,
                image=image,
                module=name.lower(),
                settings=settings,
                statements=[*statements, policies.list_bucket(bucket_arn)],
                memory_mib=3008 if heavy else 1024,
                timeout=cdk.Duration.minutes(15 if heavy else 2),
            )

        outside = policies.other_buckets(config, writing=False)
        # Query searches catalogs with the credentials of the secret. Filter and Assess read scenes
        # with them, and keep their thumbnails in runs/.
        secret = policies.read_secret(config)
        scenes = (
            policies.read(bucket_arn, "runs/", "scratch/"),
            policies.write(bucket_arn, "runs/", "scratch/"),
            policies.read_scenes(),
            *outside,
            *secret,
        )
        self.query = stage(
            "Query",
            policies.read(bucket_arn, "runs/", "requests/", "aois/"),
            policies.write(bucket_arn, "runs/"),
            *policies.claim_outputs(bucket_arn, config),
            *outside,
            *secret,
        )
        self.filter = stage("Filter", *scenes)
        self.assess = stage("Assess", *scenes)
        self.finish = stage(
            "Finish",
            # The errors of jobs lie beside their tasks, in scratch/.
            policies.read(bucket_arn, "runs/", "scratch/"),
            policies.write(bucket_arn, "runs/"),
            policies.allow("sns:Publish", on=[topic_arn]),
            *policies.publish_items(config, bucket_arn),
            heavy=False,
        )
