"""All permissions: each action on each resource of a stack with every option."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.policies import SENTINEL_OBJECTS
from tests.infra.conftest import CONFIGS, Synth
from tests.infra.templates import Template, flat, resources

Line = tuple[str, str]

ACCOUNT = "123456789012"
KEY = f"arn:aws:kms:us-west-2:{ACCOUNT}:key/00000000-0000-0000-0000-000000000000"
CATALOGS_KEY = f"arn:aws:kms:us-west-2:{ACCOUNT}:key/11111111-1111-1111-1111-111111111111"
CATALOGS = f"arn:aws:secretsmanager:us-west-2:{ACCOUNT}:secret:catalogs-AbCd12"
INPUT_KEY = f"arn:aws:kms:us-west-2:{ACCOUNT}:key/22222222-2222-2222-2222-222222222222"
OUTPUT_KEY = f"arn:aws:kms:us-west-2:{ACCOUNT}:key/33333333-3333-3333-3333-333333333333"
REGISTRY = f"{ACCOUNT}.dkr.ecr.us-west-2.amazonaws.com"
EVERYTHING: dict[str, Any] = {
    "torch_image": True,
    "gpu_queue": True,
    "distributed_map": True,
    "input_buckets": ["our-scenes", {"name": "our-areas", "kms_key_arn": INPUT_KEY}],
    "output_buckets": [{"name": "our-mosaics", "kms_key_arn": OUTPUT_KEY}],
    "model_prefixes": ["models/", "s3://our-models/masks/"],
    "monthly_budget_usd": 100,
    "image_uri": f"{REGISTRY}/base@sha256:{'ab' * 32}",
    "torch_image_uri": f"{REGISTRY}/torch@sha256:{'cd' * 32}",
    "kms_key_arn": KEY,
    "catalog_secret": {
        "arn": CATALOGS,
        "variables": ["PC_SDK_SUBSCRIPTION_KEY"],
        "kms_key_arn": CATALOGS_KEY,
    },
}
HERE = "us-west-2:<AWS::AccountId>"
BATCH = f"arn:<AWS::Partition>:batch:{HERE}"
BUCKET = "<StorageBucket.Arn>"
S3 = "arn:<AWS::Partition>:s3::"
RUNS = "arn:<AWS::Partition>:s3:::<StorageBucket>/scratch/*"
RULE = f"arn:<AWS::Partition>:events:{HERE}:rule/StepFunctionsGetEventsForBatchJobsRule"
EXECUTIONS = f"arn:<AWS::Partition>:states:{HERE}:execution:CloudBuster:*"
STORED = ("s3:PutObject", "s3:AbortMultipartUpload")


def on(resource: str, *actions: str) -> set[Line]:
    return {(action, resource) for action in actions}


def behind(prefixes: str, *actions: str) -> set[Line]:
    return {line for name in prefixes.split() for line in on(f"{BUCKET}/{name}/*", *actions)}


def submit_on(resource: str) -> set[Line]:
    """A submission with tags needs both actions, on the queue and on the definition."""
    return on(resource, "batch:SubmitJob", "batch:TagResource")


def logs(group: str) -> set[Line]:
    return on(f"<{group}Logs.Arn>", "logs:CreateLogStream", "logs:PutLogEvents")


def stage(name: str) -> set[Line]:
    return logs(f"Stages{name}") | IN_BUCKET | USE_KEY


IN_BUCKET = on(BUCKET, "s3:ListBucket")
USE_KEY = on(KEY, "kms:Decrypt", "kms:GenerateDataKey")
SCENES = {("s3:GetObject", f"arn:<AWS::Partition>:s3:::{name}") for name in SENTINEL_OBJECTS}
OTHERS = ("our-scenes", "our-areas", "our-mosaics")
READ_OTHERS = {
    line
    for name in OTHERS
    for line in on(f"{S3}:{name}/*", "s3:GetObject") | on(f"{S3}:{name}", "s3:ListBucket")
}
READ_OTHERS |= on(INPUT_KEY, "kms:Decrypt") | on(OUTPUT_KEY, "kms:Decrypt")
WRITE_OTHERS = on(f"{S3}:our-mosaics/*", *STORED) | on(OUTPUT_KEY, "kms:GenerateDataKey")
MODELS = behind("models", "s3:GetObject") | on(f"{S3}:our-models/masks/*", "s3:GetObject")
READ_SECRET = on(CATALOGS, "secretsmanager:GetSecretValue") | on(CATALOGS_KEY, "kms:Decrypt")
RUN = behind("runs scratch", "s3:GetObject", *STORED)
PULL = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
IMAGES = f"arn:<AWS::Partition>:ecr:us-west-2:{ACCOUNT}:repository"

ALLOWED: dict[str, set[Line]] = {
    "JobsRolesJobRole": (
        behind("runs scratch aois", "s3:GetObject")
        | behind("runs scratch mosaics", *STORED)
        | IN_BUCKET
        | SCENES
        | MODELS
        | READ_OTHERS
        | WRITE_OTHERS
        | USE_KEY
    ),
    "JobsRolesExecutionRole": (
        on("*", "ecr:GetAuthorizationToken")
        | on(f"{IMAGES}/base", *PULL)
        | on(f"{IMAGES}/torch", *PULL)
        | logs("JobsRoles")
        | READ_SECRET
    ),
    "StagesQueryRole": (
        stage("Query")
        | behind("runs requests aois", "s3:GetObject")
        | behind("runs", *STORED)
        | on(f"{BUCKET}/mosaics/*/claim.json", "s3:GetObject", "s3:PutObject")
        | on(f"{S3}:our-mosaics/*/claim.json", "s3:GetObject", "s3:PutObject")
        | on(OUTPUT_KEY, "kms:GenerateDataKey")
        | READ_OTHERS
        | READ_SECRET
    ),
    "StagesFilterRole": stage("Filter") | RUN | SCENES | READ_OTHERS | READ_SECRET,
    "StagesAssessRole": stage("Assess") | RUN | SCENES | READ_OTHERS | READ_SECRET,
    "StagesFinishRole": (
        stage("Finish")
        | behind("runs", "s3:GetObject", *STORED)
        | behind("scratch", "s3:GetObject")
        | on("<NotificationsTopic>", "sns:Publish")
    ),
    # Lambda sends an event that the function failed with to the dead-letter queue.
    "EndingsToDeadLetters": on("<TriggerDeadLetters.Arn>", "sqs:SendMessage"),
    "TriggerStartRunRole": (
        logs("TriggerStartRun")
        | behind("requests", "s3:GetObject")
        | behind("rejected aois", *STORED)
        | on(f"{BUCKET}/turns/start-run", "s3:GetObject", "s3:PutObject", "s3:DeleteObject")
        | IN_BUCKET
        | on("<WorkflowMachine>", "states:StartExecution", "states:ListExecutions")
        | on(EXECUTIONS, "states:DescribeExecution")
        | on("<NotificationsTopic>", "sns:Publish")
        | on(
            "<TriggerRequests.Arn>",
            "sqs:ReceiveMessage",
            "sqs:DeleteMessage",
            "sqs:ChangeMessageVisibility",
            "sqs:GetQueueAttributes",
            "sqs:SendMessage",
        )
        | USE_KEY
    ),
    "WorkflowRole": (
        {
            ("lambda:InvokeFunction", f"<Stages{name}Function.Arn>:*")
            for name in ("Query", "Filter", "Assess", "Finish")
        }
        | {line for name in ("", "OnDemand", "Gpu") for line in submit_on(f"<Compute{name}Queue>")}
        | {
            line
            for name in ("Gather", "Merge", "Torch")
            for line in submit_on(f"{BATCH}:job-definition/CloudBuster-{name}Job:*")
        }
        | on(f"{BATCH}:job/*", "batch:TerminateJob", "batch:TagResource")
        | on("*", "batch:DescribeJobs")
        | on(RULE, "events:PutTargets", "events:PutRule", "events:DescribeRule")
        | on(f"{RUNS}/tasks/indices.json", "s3:GetObject")
        | on(f"{RUNS}/results/*", "s3:GetObject", "s3:ListMultipartUploadParts", *STORED)
        | on(
            f"arn:<AWS::Partition>:states:{HERE}:stateMachine:CloudBuster", "states:StartExecution"
        )
        | on(EXECUTIONS, "states:DescribeExecution", "states:StopExecution")
        | USE_KEY
        | on(KEY, "kms:Encrypt")
    ),
    # Added by the CDK for log and traces of the state machine; these actions have no resources.
    "WorkflowRoleDefaultPolicy": on(
        "*",
        "logs:CreateLogDelivery",
        "logs:GetLogDelivery",
        "logs:UpdateLogDelivery",
        "logs:DeleteLogDelivery",
        "logs:ListLogDeliveries",
        "logs:PutResourcePolicy",
        "logs:DescribeResourcePolicies",
        "logs:DescribeLogGroups",
        "xray:PutTraceSegments",
        "xray:PutTelemetryRecords",
        "xray:GetSamplingRules",
        "xray:GetSamplingTargets",
    ),
}
# Services that may use queues and the topic, with the condition; all other statements deny. With a
# configured key the CDK restricts the rule by its account only.
BOTH = "aws:SourceAccount,aws:SourceArn"
SHARED = {
    *(
        ("TriggerRequestsPolicy", "events.amazonaws.com", f"sqs:{action}", "aws:SourceAccount")
        for action in ("SendMessage", "GetQueueAttributes", "GetQueueUrl")
    ),
    ("TriggerDeadLettersPolicy", "events.amazonaws.com", "sqs:SendMessage", "aws:SourceArn"),
    # EventBridge publishes nothing itself: it cannot use a topic whose policy has conditions.
    ("NotificationsTopicPolicy", "cloudwatch.amazonaws.com", "sns:Publish", BOTH),
    ("NotificationsTopicPolicy", "budgets.amazonaws.com", "sns:Publish", BOTH),
}


def several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def plain(text: str) -> str:
    """Remove the hashes of logical ids."""
    return re.sub(r"(?<=[a-z])[0-9A-F]{8}\b", "", text)


def documents(template: Template) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the statements of roles and policies, each with the logical id of its owner."""
    for name, role in resources(template, "IAM::Role").items():
        for policy in role["Properties"].get("Policies", []):
            yield from ((name, entry) for entry in policy["PolicyDocument"]["Statement"])
    for name, policy in resources(template, "IAM::Policy").items():
        document = policy["Properties"]["PolicyDocument"]
        yield from ((name, entry) for entry in document["Statement"])


def lines_of(template: Template) -> dict[str, set[Line]]:
    found: dict[str, set[Line]] = {}
    for name, entry in documents(template):
        assert entry["Effect"] == "Allow"
        assert set(entry) == {"Action", "Effect", "Resource"}
        found.setdefault(plain(name), set()).update(
            (action, plain(resource))
            for action in several(entry["Action"])
            for resource in several(flat(entry["Resource"]))
        )
    return found


def test_each_action_on_each_resource_is_listed_here(synth: Synth) -> None:
    found = lines_of(synth(**EVERYTHING))
    assert {name: lines for name, lines in found.items() if lines != ALLOWED.get(name)} == {}
    assert set(found) == set(ALLOWED)


def test_the_defaults_allow_nothing_that_is_not_listed(template: Template) -> None:
    built = "cdk-hnb659fds-container-assets"  # Repository of the image that the CDK builds.
    for name, lines in lines_of(template).items():
        assert {line for line in lines if built not in line[1]} <= ALLOWED[name], name


def test_each_service_that_may_use_queues_and_topic_is_listed_here(synth: Synth) -> None:
    template = synth(**EVERYTHING)
    shared = set()
    for kind in ("S3::BucketPolicy", "SQS::QueuePolicy", "SNS::TopicPolicy"):
        for name, policy in resources(template, kind).items():
            for entry in policy["Properties"]["PolicyDocument"]["Statement"]:
                condition = ",".join(
                    key for test in entry.get("Condition", {}).values() for key in test
                )
                if entry["Effect"] == "Deny":
                    assert condition == "aws:SecureTransport"
                    continue
                shared |= {
                    (plain(name), entry["Principal"]["Service"], action, condition)
                    for action in several(entry["Action"])
                }
    assert shared == SHARED


def test_only_the_rules_of_endings_and_blocked_queues_may_invoke_a_function(
    template: Template,
) -> None:
    sources = set()
    for entry in resources(template, "Lambda::Permission").values():
        content = flat(entry["Properties"])
        assert (content["Action"], content["Principal"]) == (
            *("lambda:InvokeFunction", "events.amazonaws.com"),
        )
        assert plain(content["FunctionName"]) == "<StagesFinishFunction.Arn>"
        sources.add(plain(content["SourceArn"]))
    assert sources == {"<EndingsRule.Arn>", "<AlarmsQueueBlocked.Arn>"}


# ARNs of the resources for which a service assumes roles, as the documentation of each service
# gives them. EC2 sends neither account nor ARN, and takes roles of its own account only.
TRUSTED = {
    "lambda.amazonaws.com": f"arn:<AWS::Partition>:lambda:{HERE}:*",
    "ecs-tasks.amazonaws.com": f"arn:<AWS::Partition>:ecs:{HERE}:*",
    "states.amazonaws.com": f"arn:<AWS::Partition>:states:{HERE}:stateMachine:*",
    "ec2.amazonaws.com": None,
}


def test_no_service_assumes_a_role_for_another_account(synth: Synth) -> None:
    seen = set()
    for name, role in resources(synth(**EVERYTHING), "IAM::Role").items():
        for entry in role["Properties"]["AssumeRolePolicyDocument"]["Statement"]:
            service = entry["Principal"]["Service"]
            arn = TRUSTED[service]
            seen.add(service)
            wanted = {
                "StringEquals": {"aws:SourceAccount": "<AWS::AccountId>"},
                "ArnLike": {"aws:SourceArn": arn},
            }
            assert flat(entry.get("Condition")) == (wanted if arn else None), name
    assert seen == set(TRUSTED)


def test_no_service_uses_a_queue_or_the_topic_for_another_account(synth: Synth) -> None:
    for config in CONFIGS.values():
        template = synth(**config)
        for kind in ("SQS::QueuePolicy", "SNS::TopicPolicy"):
            for policy in resources(template, kind).values():
                for entry in policy["Properties"]["PolicyDocument"]["Statement"]:
                    tests = entry["Condition"].values()
                    keys = {key for test in tests for key in test}
                    assert keys & {"aws:SourceArn", "aws:SourceAccount", "aws:SecureTransport"}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_each_wildcard_has_its_own_reason(
    assemble: Callable[..., Path], synth: Synth, config: dict[str, Any]
) -> None:
    """The reason of a policy does not excuse what the CDK adds to its role."""
    wildcards = {
        (name, resource)
        for name, entry in documents(synth(**config))
        for resource in several(flat(entry["Resource"]))
        if "*" in resource
    }
    report = json.loads((assemble(**config) / "validation-report.json").read_text())
    excused = Counter[str]()
    for plugin in report["pluginReports"]:
        for finding in plugin.get("suppressedViolations", []):
            found = re.search(r"IAM5\[Resource::(.*)\]$", finding["ruleName"])
            paths = [entry["constructPath"] for entry in finding["violatingConstructs"]]
            at = finding["acknowledgedAt"]
            assert len(finding["reason"].split()) >= 4
            assert [path for path in paths if path not in (at, f"{at}/Resource")] == []
            excused.update({found[1]: len(paths)} if found else {})
    assert excused == Counter(resource for _, resource in wildcards)


def test_no_resource_names_a_partition(synth: Synth) -> None:
    given = (KEY, CATALOGS, CATALOGS_KEY, INPUT_KEY, OUTPUT_KEY)
    text = json.dumps([entry for _, entry in documents(synth(**EVERYTHING))])
    for arn in given:
        text = text.replace(arn, "")
    assert "arn:aws:" not in text
