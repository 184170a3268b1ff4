"""The state machine."""

import aws_cdk as cdk
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra import policies
from infra.configuration.config import StackConfig
from infra.configuration.retention import log_group
from infra.constructs.compute import Compute
from infra.constructs.functions import Stages
from infra.constructs.jobs import Jobs, job_name
from infra.definition import JobTarget, Targets, definition

# Rule by which Step Functions notice the end of .sync jobs.
EVENTS_RULE = "StepFunctionsGetEventsForBatchJobsRule"


class Workflow(Construct):
    """A standard state machine, its log group, and a role with the permissions of its states.

    Attributes
    ----------
    machine : sfn.StateMachine
        The state machine.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: StackConfig,
        bucket_name: str,
        stages: Stages,
        compute: Compute,
        jobs: Jobs,
    ) -> None:
        super().__init__(scope, construct_id)
        stack = cdk.Stack.of(self)
        # Groups with other names are added one by one to a policy of the account, until it is full.
        name = f"/aws/vendedlogs/states/{stack.stack_name}"
        logs = log_group(self, days=config.log_days, name=name)
        content = definition(
            self._targets(config, bucket_name, stages, compute, jobs),
            concurrency=config.map_concurrency,
            distributed=config.distributed_map,
        )
        role = policies.role(
            self,
            "Role",
            service="states.amazonaws.com",
            config=config,
            statements=self._statements(config, bucket_name, stages, compute, jobs),
        )
        self.machine = sfn.StateMachine(
            self,
            "Machine",
            # With a name of its own, so that policies can name its executions.
            state_machine_name=stack.stack_name,
            state_machine_type=sfn.StateMachineType.STANDARD,
            definition_body=sfn.DefinitionBody.from_string(stack.to_json_string(content)),
            role=role,
            tracing_enabled=True,
            logs=sfn.LogOptions(
                destination=logs, level=sfn.LogLevel.ALL, include_execution_data=False
            ),
        )
        # The statements that the CDK adds are those of https://docs.aws.amazon.com/step-functions/
        # latest/dg/cw-logs.html and xray-iam.html
        policies.acknowledge_added(role, "actions for log delivery and tracing have no resources")

    @staticmethod
    def _targets(
        config: StackConfig, bucket_name: str, stages: Stages, compute: Compute, jobs: Jobs
    ) -> Targets:
        size = (config.gather.memory_mib, config.timeout_s(config.gather))
        queues = (compute.queue_arn, compute.fallback_arn)
        gather = {"base": JobTarget(jobs.gather, *queues, *size)}
        if jobs.torch is not None:
            gpu = (compute.gpu_queue_arn,) * 2 if compute.gpu_queue_arn else queues
            gather["torch"] = JobTarget(jobs.torch, *gpu, *size)
        return Targets(
            query=stages.query.version_arn,
            filter=stages.filter.version_arn,
            assess=stages.assess.version_arn,
            finish=stages.finish.version_arn,
            gather=gather,
            merge=JobTarget(
                jobs.merge, *queues, config.merge.memory_mib, config.timeout_s(config.merge)
            ),
            bucket=bucket_name,
        )

    def _statements(
        self,
        config: StackConfig,
        bucket_name: str,
        stages: Stages,
        compute: Compute,
        jobs: Jobs,
    ) -> list[policies.Statement]:
        """Allow what the states do; the CDK would allow any job definition, and no termination."""
        stack = cdk.Stack.of(self)
        functions = (stages.query, stages.filter, stages.assess, stages.finish)
        queues = [compute.queue_arn, compute.fallback_arn, compute.gpu_queue_arn]
        # All revisions: a running execution submits with the one that it started with.
        definitions = [
            stack.format_arn(
                service="batch",
                resource="job-definition",
                resource_name=f"{job_name(self, name)}:*",
            )
            for name in ("GatherJob", "MergeJob", *(["TorchJob"] if jobs.torch else []))
        ]
        submit_on = [*(arn for arn in queues if arn), *definitions]
        job_arn = stack.format_arn(service="batch", resource="job", resource_name="*")
        rule_arn = stack.format_arn(service="events", resource="rule", resource_name=EVENTS_RULE)
        statements = [
            policies.allow(
                "lambda:InvokeFunction",
                on=[f"{stage.function.function_arn}:*" for stage in functions],
                reason="a running execution calls the versions that it started with",
            ),
            # A submission with tags needs both actions on queue and definition: the job has no ARN
            # yet.
            policies.allow(
                "batch:SubmitJob",
                "batch:TagResource",
                on=submit_on,
                reason="any revision of a definition",
            ),
            policies.allow(
                "batch:TerminateJob",
                "batch:TagResource",
                on=[job_arn],
                reason="the id of a job is not known before it is submitted",
            ),
            policies.allow("batch:DescribeJobs", on=["*"], reason="the action has no resources"),
            policies.allow(
                "events:PutTargets", "events:PutRule", "events:DescribeRule", on=[rule_arn]
            ),
        ]
        if config.distributed_map:
            statements += _run_children(stack, bucket_name, config)
        return [*statements, *policies.use_key(config)]


def _run_children(
    stack: cdk.Stack, bucket_name: str, config: StackConfig
) -> list[policies.Statement]:
    """Allow a distributed map to read its items, run its children and write their results.

    https://docs.aws.amazon.com/step-functions/latest/dg/iam-policies-eg-dist-map.html
    """
    runs = f"arn:{stack.partition}:s3:::{bucket_name}/scratch/*"
    statements = [
        policies.allow(
            "s3:GetObject", on=[f"{runs}/tasks/indices.json"], reason="one document in each run"
        ),
        policies.allow(
            "s3:PutObject",
            "s3:GetObject",
            "s3:ListMultipartUploadParts",
            "s3:AbortMultipartUpload",
            on=[f"{runs}/results/*"],
            reason="the files are named after the map run",
        ),
        policies.allow("states:StartExecution", on=[policies.machine_part(stack, "stateMachine")]),
        policies.allow(
            "states:DescribeExecution",
            "states:StopExecution",
            on=[policies.machine_part(stack, "execution", "*")],
            reason="the children of a distributed map are named when they start",
        ),
    ]
    if config.kms_key_arn is not None:
        # Step Functions read the parts of the results again to put them together.
        statements.append(policies.allow("kms:Encrypt", on=[config.kms_key_arn]))
    return statements
