"""Properties of the default template that would break the stack in production."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from cloudbuster.aws.outputs import JOB_OUTPUTS, QUEUE_OUTPUTS
from cloudbuster.aws.published import PublishedConfig
from cloudbuster.aws.stack.turns import LEASE_S
from infra.configuration.config import StackConfig
from infra.policies import SENTINEL_OBJECTS
from tests.infra.asl import nested
from tests.infra.conftest import Synth
from tests.infra.templates import (
    Template,
    flat,
    properties,
    resources,
    settings,
    state_machine,
    statements,
)

BUCKET = "<StorageBucket5CB7C8EA.Arn>"
TURN = [f"{BUCKET}/turns/start-run"]
CLAIMS = [f"{BUCKET}/mosaics/*/claim.json"]
SCENES = [f"arn:<AWS::Partition>:s3:::{name}" for name in SENTINEL_OBJECTS]


def behind(*prefixes: str) -> list[str]:
    return [f"{BUCKET}/{prefix}/*" for prefix in prefixes]


def test_hosts_have_one_large_encrypted_disk(template: Template) -> None:
    content = properties(template, "EC2::LaunchTemplate")["LaunchTemplateData"]
    assert content["BlockDeviceMappings"] == [
        {
            "DeviceName": "/dev/xvda",
            "Ebs": {
                "DeleteOnTermination": True,
                "Encrypted": True,
                "Iops": 3000,
                "Throughput": 250,
                "VolumeSize": 200,
                "VolumeType": "gp3",
            },
        }
    ]


def test_hosts_answer_no_container_that_asks_for_their_credentials(template: Template) -> None:
    content = properties(template, "EC2::LaunchTemplate")["LaunchTemplateData"]
    assert content["MetadataOptions"] == {"HttpPutResponseHopLimit": 1, "HttpTokens": "required"}
    for job in resources(template, "Batch::JobDefinition").values():
        container = job["Properties"]["ContainerProperties"]
        assert container["JobRoleArn"]["Fn::GetAtt"][0].startswith("JobsRolesJobRole")
        variables = {entry["Name"]: entry["Value"] for entry in container["Environment"]}
        assert variables["AWS_EC2_METADATA_DISABLED"] == "true"


def test_each_deployment_takes_the_newest_image_of_aws_for_hosts(synth: Synth) -> None:
    template = synth(torch_image=True, gpu_queue=True)
    ssm = "/aws/service/ecs/optimized-ami/amazon-linux-2023"
    wanted = {
        "HostImage": f"{ssm}/recommended/image_id",
        "GpuHostImage": f"{ssm}/gpu/recommended/image_id",
    }
    for name, parameter in wanted.items():
        assert template["Parameters"][name]["Type"] == (
            "AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>"
        )
        assert template["Parameters"][name]["Default"] == parameter
    images = {
        name: flat(entry["Properties"]["LaunchTemplateData"]["ImageId"])
        for name, entry in resources(template, "EC2::LaunchTemplate").items()
    }
    assert set(images.values()) == {"<HostImage>", "<GpuHostImage>"}
    for name, environment in resources(template, "Batch::ComputeEnvironment").items():
        content = environment["Properties"]["ComputeResources"]
        used = images[content["LaunchTemplate"]["LaunchTemplateId"]["Ref"]]
        assert (used == "<GpuHostImage>") is ("Gpu" in name)
        # Batch takes the image of a new version of the template with this only, and never one that
        # is given in another way after one of a template.
        assert content["UpdateToLatestImageVersion"] is True
        assert all("ImageIdOverride" not in entry for entry in content["Ec2Configuration"])
    assert template["Outputs"]["HostImageId"]["Value"] == {"Ref": "HostImage"}
    assert template["Outputs"]["GpuHostImageId"]["Value"] == {"Ref": "GpuHostImage"}


def test_spot_hosts_come_from_all_zones_of_the_region(synth: Synth, template: Template) -> None:
    def zones(content: Template) -> list[int]:
        subnets = resources(content, "EC2::Subnet").values()
        return [entry["Properties"]["AvailabilityZone"]["Fn::Select"][0] for entry in subnets]

    assert zones(template) == [0, 1, 2, 3]
    assert zones(synth(home="l1c")) == [0, 1, 2]
    assert zones(synth(availability_zones=2)) == [0, 1]
    for environment in resources(template, "Batch::ComputeEnvironment").values():
        assert len(environment["Properties"]["ComputeResources"]["Subnets"]) == 4


def test_user_data_is_mime_and_opens_scratch(template: Template) -> None:
    content = properties(template, "EC2::LaunchTemplate")["LaunchTemplateData"]
    text = flat(content["UserData"]["Fn::Base64"])
    assert "multipart/mixed" in text
    assert "chmod 1777 /scratch" in text


def test_environments_pin_the_version_of_the_launch_template(template: Template) -> None:
    for environment in resources(template, "Batch::ComputeEnvironment").values():
        launch = environment["Properties"]["ComputeResources"]["LaunchTemplate"]
        assert launch["Version"]["Fn::GetAtt"][1] == "LatestVersionNumber"


def test_environments_use_al2023_and_are_updated_in_place(template: Template) -> None:
    environments = resources(template, "Batch::ComputeEnvironment")
    assert {name.rstrip("0123456789ABCDEF") for name in environments} >= {"ComputeSpot"}
    for environment in environments.values():
        content = environment["Properties"]
        assert content["ComputeResources"]["Ec2Configuration"] == [{"ImageType": "ECS_AL2023"}]
        assert content["ReplaceComputeEnvironment"] is False
        assert content["UpdatePolicy"]["TerminateJobsOnUpdate"] is False
        assert "ServiceRole" not in content
        assert content["ComputeResources"]["MinvCpus"] == 0


def test_only_the_first_queue_tries_spot_hosts(template: Template) -> None:
    strategies = {
        name: entry["Properties"]["ComputeResources"]["AllocationStrategy"]
        for name, entry in resources(template, "Batch::ComputeEnvironment").items()
    }
    order = {}
    for name, queue in resources(template, "Batch::JobQueue").items():
        environments = queue["Properties"]["ComputeEnvironmentOrder"]
        order[name[:14]] = [
            strategies[entry["ComputeEnvironment"]["Ref"]]
            for entry in sorted(environments, key=lambda entry: entry["Order"])
        ]
    assert order == {
        "ComputeQueueE0": ["SPOT_PRICE_CAPACITY_OPTIMIZED", "BEST_FIT_PROGRESSIVE"],
        "ComputeOnDeman": ["BEST_FIT_PROGRESSIVE"],
    }


def test_each_queue_cancels_jobs_that_no_host_can_run(template: Template) -> None:
    for queue in resources(template, "Batch::JobQueue").values():
        limits = queue["Properties"]["JobStateTimeLimitActions"]
        assert {limit["Action"] for limit in limits} == {"CANCEL"}
        assert {limit["Reason"]: limit["MaxTimeSeconds"] for limit in limits} == {
            "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY": 7200,
            "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE": 600,
            "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT": 600,
            "MISCONFIGURATION:EC2_INSTANCE_CONFIGURATION_UNSUPPORTED": 600,
        }


@pytest.mark.parametrize("job", ["Gather", "Merge"])
def test_jobs_are_retried_by_the_first_rule_that_matches(template: Template, job: str) -> None:
    content = properties(template, "Batch::JobDefinition", job)
    assert content["RetryStrategy"]["EvaluateOnExit"] == [
        {"Action": "RETRY", "OnStatusReason": "Host EC2*"},
        {"Action": "RETRY", "OnReason": "CannotPull*"},
        {"Action": "RETRY", "OnReason": "DockerTimeoutError*"},
        {"Action": "RETRY", "OnExitCode": "75"},
        {"Action": "EXIT", "OnReason": "*"},
    ]


@pytest.mark.parametrize("job", ["Gather", "Merge"])
def test_jobs_have_one_fixed_command_and_a_read_only_root(template: Template, job: str) -> None:
    content = properties(template, "Batch::JobDefinition", job)
    container = content["ContainerProperties"]
    assert container["Command"] == [job.lower(), "--task", "Ref::task_uri"]
    assert container["ReadonlyRootFilesystem"] is True
    assert container["MountPoints"] == [
        {"ContainerPath": "/scratch", "ReadOnly": False, "SourceVolume": "scratch"}
    ]
    variables = {entry["Name"]: entry["Value"] for entry in container["Environment"]}
    assert variables["TMPDIR"] == variables["CPL_TMPDIR"] == "/scratch"
    assert variables["NUMBA_CACHE_DIR"].startswith("/scratch/")
    assert (variables["CLOUDBUSTER_LOG_LEVEL"], variables["CLOUDBUSTER_LOG_JSON"]) == (
        "INFO",
        "true",
    )
    # The job offers to pay to known requester-pays buckets only.
    assert "AWS_REQUEST_PAYER" not in variables
    assert content["ResourceRetentionPolicy"] == {"SkipDeregisterOnUpdate": True}
    assert content["Timeout"]["AttemptDurationSeconds"] >= 3600


def test_jobs_and_functions_share_one_image(template: Template) -> None:
    jobs = [
        flat(entry["Properties"]["ContainerProperties"]["Image"])
        for entry in resources(template, "Batch::JobDefinition").values()
    ]
    functions = [entry["Properties"] for entry in resources(template, "Lambda::Function").values()]
    tags = {re.findall(r"[0-9a-f]{64}", str(text))[0] for text in jobs}
    tags |= {re.findall(r"[0-9a-f]{64}", str(entry["Code"]))[0] for entry in functions}
    assert len(tags) == 1
    assert {entry["ImageConfig"]["Command"][0] for entry in functions} == {
        f"lambdas.{module}.handler"
        for module in ("start_run", "query", "filter", "assess", "finish")
    }
    for entry in functions:
        assert entry["ImageConfig"]["EntryPoint"] == ["python", "-m", "awslambdaric"]


def test_the_bucket_is_private_encrypted_and_tls_only(template: Template) -> None:
    content = properties(template, "S3::Bucket")
    assert set(content["PublicAccessBlockConfiguration"].values()) == {True}
    rules = content["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rules == [{"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
    assert content["NotificationConfiguration"] == {
        "EventBridgeConfiguration": {"EventBridgeEnabled": True}
    }
    (statement,) = properties(template, "S3::BucketPolicy")["PolicyDocument"]["Statement"]
    assert statement["Effect"] == "Deny"
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_scratch_expires_and_parts_of_uploads_too(template: Template) -> None:
    rules = properties(template, "S3::Bucket")["LifecycleConfiguration"]["Rules"]
    assert rules == [
        {
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
            "Id": "AbortUploads",
            "Status": "Enabled",
        },
        {"ExpirationInDays": 30, "Id": "ExpireScratch", "Prefix": "scratch/", "Status": "Enabled"},
    ]


def test_functions_and_jobs_log_to_groups_with_a_retention(template: Template) -> None:
    groups = resources(template, "Logs::LogGroup").values()
    assert {entry["Properties"]["RetentionInDays"] for entry in groups} == {30}
    for function in resources(template, "Lambda::Function").values():
        assert "LogGroup" in function["Properties"]["LoggingConfig"]
    for job in resources(template, "Batch::JobDefinition").values():
        options = job["Properties"]["ContainerProperties"]["LogConfiguration"]["Options"]
        assert options["awslogs-group"]["Ref"].startswith("JobsRolesLogs")


def test_there_is_no_nat_and_a_gateway_to_s3(template: Template) -> None:
    assert resources(template, "EC2::NatGateway") == {}
    assert flat(properties(template, "EC2::VPCEndpoint")["ServiceName"]).endswith(".s3")
    for subnet in resources(template, "EC2::Subnet").values():
        assert subnet["Properties"]["MapPublicIpOnLaunch"] is True
    assert "SecurityGroupIngress" not in properties(template, "EC2::SecurityGroup")


def test_the_cdk_adds_no_function_of_its_own(template: Template) -> None:
    assert not [kind for kind in template["Resources"].values() if "Custom" in kind["Type"]]


def test_the_workflow_may_call_its_functions_and_submit_and_stop_its_jobs(
    template: Template,
) -> None:
    functions = [
        name for name in resources(template, "Lambda::Function") if name.startswith("Stages")
    ]
    arn = "arn:<AWS::Partition>:batch:us-west-2:<AWS::AccountId>"
    granted = statements(template, "WorkflowRole")
    logs, granted = granted[5:], granted[:5]
    assert logs == []
    assert sorted(granted[0][1]) == sorted(f"<{name}.Arn>:*" for name in functions)
    queues = [f"<{name}>" for name in resources(template, "Batch::JobQueue")]
    assert granted[1] == (
        ["batch:SubmitJob", "batch:TagResource"],
        [
            *queues,
            f"{arn}:job-definition/CloudBuster-GatherJob:*",
            f"{arn}:job-definition/CloudBuster-MergeJob:*",
        ],
    )
    assert granted[2] == (["batch:TerminateJob", "batch:TagResource"], [f"{arn}:job/*"])
    assert granted[3] == (["batch:DescribeJobs"], ["*"])
    assert granted[4] == (
        ["events:PutTargets", "events:PutRule", "events:DescribeRule"],
        [
            "arn:<AWS::Partition>:events:us-west-2:<AWS::AccountId>:rule/"
            "StepFunctionsGetEventsForBatchJobsRule"
        ],
    )


@pytest.mark.parametrize(
    ("role", "readable", "writable"),
    [
        ("JobsRolesJobRole", ["runs", "scratch", "aois"], ["runs", "scratch", "mosaics"]),
        ("StagesQueryRole", ["runs", "requests", "aois"], ["runs"]),
        ("StagesFilterRole", ["runs", "scratch"], ["runs", "scratch"]),
        ("StagesAssessRole", ["runs", "scratch"], ["runs", "scratch"]),
        ("StagesFinishRole", ["runs", "scratch"], ["runs"]),
        ("TriggerStartRunRole", ["requests"], ["rejected", "aois"]),
    ],
)
def test_roles_read_and_write_only_their_prefixes(
    template: Template, role: str, readable: list[str], writable: list[str]
) -> None:
    granted = statements(template, role)
    reads = [on for actions, on in granted if actions == ["s3:GetObject"]]
    writes = [on for actions, on in granted if "s3:PutObject" in actions]
    assert [on for on in reads if on not in (SCENES, behind("models"))] == [behind(*readable)]
    assert [on for on in writes if on not in (TURN, CLAIMS)] == [behind(*writable)]
    assert (["s3:ListBucket"], [BUCKET]) in granted
    others = [name for actions, _ in granted for name in actions if not name.startswith("s3:")]
    assert not [name for name in others if name.endswith("*")]


def test_functions_that_read_catalogs_and_pixels_have_the_most_memory_and_time(
    template: Template,
) -> None:
    functions = resources(template, "Lambda::Function").items()
    sizes = {
        name.removeprefix("Stages").split("Function")[0]: (
            entry["Properties"]["MemorySize"],
            entry["Properties"]["Timeout"],
        )
        for name, entry in functions
        if name.startswith("Stages")
    }
    # New accounts allow 3008 MiB; no function may run for more than 900 s.
    heavy = dict.fromkeys(("Query", "Filter", "Assess"), (3008, 900))
    assert sizes == {**heavy, "Finish": (1024, 120)}


def test_jobs_and_functions_that_read_pixels_may_read_scenes(template: Template) -> None:
    roles = [name for name in resources(template, "IAM::Role") if "Instance" not in name]
    found = [name for name in roles if (["s3:GetObject"], SCENES) in statements(template, name)]
    assert sorted(name[:12] for name in found) == ["JobsRolesJob", "StagesAssess", "StagesFilter"]


def test_only_the_role_of_the_hosts_has_managed_policies(template: Template) -> None:
    for name, role in resources(template, "IAM::Role").items():
        assert ("ManagedPolicyArns" in role["Properties"]) is name.startswith(
            "ComputeHostsInstance"
        )


def test_start_run_may_start_and_describe_executions(template: Template) -> None:
    granted = {
        action: on for actions, on in statements(template, "StartRunRole") for action in actions
    }
    assert granted["states:DescribeExecution"] == [
        "arn:<AWS::Partition>:states:us-west-2:<AWS::AccountId>:execution:CloudBuster:*"
    ]
    assert granted["states:StartExecution"] == granted["states:ListExecutions"]
    assert {action.split(":")[0] for action in granted} == {"logs", "s3", "states", "sns", "sqs"}


def test_requests_reach_the_starter_through_a_queue_with_dead_letters(template: Template) -> None:
    pattern = properties(template, "Events::Rule", "TriggerRule")["EventPattern"]
    assert pattern["detail"]["object"] == {"key": [{"wildcard": "requests/*.json"}]}
    queue = properties(template, "SQS::Queue", "TriggerRequests")
    assert queue["RedrivePolicy"]["maxReceiveCount"] == 3
    mapping = properties(template, "Lambda::EventSourceMapping")
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    function = properties(template, "Lambda::Function", "StartRun")
    assert queue["VisibilityTimeout"] >= 6 * function["Timeout"]
    assert mapping["BatchSize"] == 1
    # A function that has its turn for longer was killed.
    assert function["Timeout"] < LEASE_S
    # New accounts cannot reserve a concurrency.
    assert "ReservedConcurrentExecutions" not in function


def test_outputs_name_the_queues_and_definitions_that_exist(
    template: Template, synth: Synth
) -> None:
    def named(outputs: dict[str, object]) -> tuple[set[str], set[str]]:
        found = [{name for name in outputs if name.endswith(end)} for end in ("QueueArn", "JobArn")]
        return found[0], found[1]

    assert named(template["Outputs"]) == (
        set(QUEUE_OUTPUTS) - {"GpuQueueArn"},
        set(JOB_OUTPUTS) - {"TorchJobArn"},
    )
    everything = synth(torch_image=True, gpu_queue=True)
    assert named(everything["Outputs"]) == (set(QUEUE_OUTPUTS), set(JOB_OUTPUTS))
    assert len(resources(everything, "Batch::JobQueue")) == len(QUEUE_OUTPUTS)
    assert len(resources(everything, "Batch::JobDefinition")) == len(JOB_OUTPUTS)


def test_alarms_are_for_failures_of_the_stack(template: Template) -> None:
    names = [
        entry["Properties"].get("MetricName")
        for entry in resources(template, "CloudWatch::Alarm").values()
    ]
    assert sorted(names) == [
        "ApproximateNumberOfMessagesVisible",
        "Errors",
        "Errors",
        "ExecutionsTimedOut",
        "InfrastructureFailures",
    ]
    pattern = properties(template, "Logs::MetricFilter", "Alarms")["FilterPattern"]
    assert pattern == '{ $.event = "run_failed" && $.infrastructure IS TRUE }'
    blocked = properties(template, "Events::Rule", "QueueBlocked")["EventPattern"]
    assert blocked["detail-type"] == ["Batch Job Queue Blocked"]


def test_the_account_has_a_budget_only_if_one_is_given(synth: Synth, template: Template) -> None:
    assert resources(template, "Budgets::Budget") == {}
    with_budget = synth(monthly_budget_usd=250)
    content = flat(properties(with_budget, "Budgets::Budget"))
    assert content["Budget"] == {
        "BudgetLimit": {"Amount": 250, "Unit": "USD"},
        "BudgetType": "COST",
        "TimeUnit": "MONTHLY",
    }
    alarms = content["NotificationsWithSubscribers"]
    assert [
        (alarm["Notification"]["NotificationType"], alarm["Notification"]["Threshold"])
        for alarm in alarms
    ] == [("ACTUAL", 80), ("ACTUAL", 100), ("FORECASTED", 100)]
    (topic,) = resources(with_budget, "SNS::Topic")
    subscribers = [{"Address": f"<{topic}>", "SubscriptionType": "SNS"}]
    assert [alarm["Subscribers"] for alarm in alarms] == 3 * [subscribers]
    (budget,) = resources(with_budget, "Budgets::Budget").values()
    (policy,) = resources(with_budget, "SNS::TopicPolicy")
    assert policy in budget["DependsOn"]


def test_a_stack_that_keeps_its_data_is_protected_and_keeps_old_versions(
    synth: Synth, assemble: Callable[..., Path], template: Template
) -> None:
    def protected(**config: object) -> bool:
        manifest = json.loads((assemble(**config) / "manifest.json").read_text())
        return bool(manifest["artifacts"]["CloudBuster"]["properties"].get("terminationProtection"))

    assert (protected(), protected(preset="prod")) == (False, True)
    assert protected(retain_data=True)
    assert "VersioningConfiguration" not in properties(template, "S3::Bucket")
    content = properties(synth(preset="prod"), "S3::Bucket")
    assert content["VersioningConfiguration"] == {"Status": "Enabled"}
    rules = {rule["Id"]: rule for rule in content["LifecycleConfiguration"]["Rules"]}
    assert rules["ExpireOldVersions"]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
    # S3 refuses both in one rule.
    assert rules["ExpireMarkers"]["ExpiredObjectDeleteMarker"] is True
    assert "ExpirationInDays" not in rules["ExpireMarkers"]


def test_a_submission_waits_longer_than_its_queue_and_all_attempts_together(synth: Synth) -> None:
    """Otherwise a run would give up jobs that Batch would still cancel, or run."""
    template = synth(wait_hours=3, gather={"attempts": 2, "timeout_minutes": 30})
    jobs = {
        name: properties(template, "Batch::JobDefinition", part)
        for name, part in (("GatherScene", "Gather"), ("Merge", "Merge"), ("MergePart", "Merge"))
    }
    states = dict(nested(state_machine(template)))
    limits = [
        action["MaxTimeSeconds"]
        for queue in resources(template, "Batch::JobQueue").values()
        for action in queue["Properties"]["JobStateTimeLimitActions"]
    ]
    for name, job in jobs.items():
        attempts = job["RetryStrategy"]["Attempts"] * job["Timeout"]["AttemptDurationSeconds"]
        assert states[name]["TimeoutSeconds"] == 3 * 3600 + attempts
        assert states[name]["TimeoutSeconds"] > max(limits) + attempts
    assert states["GatherScene"]["TimeoutSeconds"] == 3 * 3600 + 2 * 1800


def test_functions_know_their_stack(template: Template) -> None:
    query = settings(template, "StagesQuery")
    assert query["root"] == "s3://<StorageBucket5CB7C8EA>"
    assert query["topic_arn"].startswith("<NotificationsTopic")
    assert "state_machine_arn" not in query
    assert 0.1 < query["gather_usd_per_hour"] < 0.11
    assert query["model_roots"] == ["s3://<StorageBucket5CB7C8EA>/models"]
    assert (query["input_roots"], query["output_roots"]) == ([], [])
    starter = settings(template, "StartRun")
    assert starter["state_machine_arn"].startswith("<WorkflowMachine")
    assert starter["queue_url"].startswith("<TriggerRequests")


def test_the_stack_publishes_the_settings_of_start_run_under_its_own_name(synth: Synth) -> None:
    template = synth(stack_name="Ours")
    parameter = properties(template, "SSM::Parameter", "Settings")
    assert (parameter["Name"], parameter["Type"]) == ("/cloudbuster/Ours/settings", "String")
    assert json.loads(flat(parameter["Value"])) == settings(template, "StartRun")
    assert template["Outputs"]["SettingsParameter"] == {"Value": "/cloudbuster/Ours/settings"}


def test_the_stack_publishes_its_configuration_beside_the_settings(synth: Synth) -> None:
    given = {"stack_name": "Ours", "log_days": 60}
    template = synth(**given)
    parameter = properties(template, "SSM::Parameter", "Configuration")
    assert parameter["Name"] == "/cloudbuster/Ours/config"
    assert template["Outputs"]["ConfigParameter"] == {"Value": "/cloudbuster/Ours/config"}
    published = PublishedConfig.model_validate_json(parameter["Value"])
    assert published.effective["log_days"] == 60
    assert {*published.effective} == {*StackConfig.model_fields}


def test_no_part_of_the_stack_reads_the_published_settings(template: Template) -> None:
    roles = [name for name in resources(template, "IAM::Role") if "Instance" not in name]
    granted = [
        action for name in roles for actions, _ in statements(template, name) for action in actions
    ]
    assert not [action for action in granted if action.startswith("ssm:")]


def test_the_machine_is_standard_traced_and_logged(template: Template) -> None:
    content = properties(template, "StepFunctions::StateMachine")
    assert content["StateMachineType"] == "STANDARD"
    assert content["TracingConfiguration"] == {"Enabled": True}
    assert content["LoggingConfiguration"]["Level"] == "ALL"
    assert content["LoggingConfiguration"]["IncludeExecutionData"] is False
    job = state_machine(template)["States"]["BaseImage"]["Result"]
    assert job["definition"].startswith("<JobsGatherJob")


def test_states_call_versions_of_functions_that_an_update_keeps(template: Template) -> None:
    versions = resources(template, "Lambda::Version")
    states = state_machine(template)["States"].values()
    called = [
        state["Parameters"]["FunctionName"]
        for state in states
        if state["Type"] == "Task" and "lambda" in state["Resource"]
    ]
    assert {*called} == {f"<{name}>" for name in versions}
    assert len(versions) == 4
    for version in versions.values():
        assert version["Properties"]["FunctionName"]["Ref"].startswith("Stages")
        # Later updates keep the version. An update that is rolled back removes its own: the next
        # one could not publish the same content again.
        assert version["DeletionPolicy"] == "RetainExceptOnCreate"
        assert version["UpdateReplacePolicy"] == "Retain"


@pytest.mark.parametrize("change", [{"max_running_executions": 9}, {"base_image": "python:3"}])
def test_an_update_of_settings_or_code_makes_new_versions(
    template: Template, synth: Synth, change: dict[str, object]
) -> None:
    before = resources(template, "Lambda::Version").keys()
    assert not before & resources(synth(**change), "Lambda::Version").keys()
