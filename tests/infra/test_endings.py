"""Reports of executions that end without their last state; permissions of a distributed map."""

import pytest

from infra.constructs.endings import UNREPORTED
from tests.infra.conftest import Synth
from tests.infra.templates import Template, flat, properties, resources, statements

KEY = "arn:aws:kms:us-west-2:123456789012:key/01234567-89ab-cdef-0123-456789abcdef"
MACHINE = "arn:<AWS::Partition>:states:us-west-2:<AWS::AccountId>"
SCRATCH = "arn:<AWS::Partition>:s3:::<StorageBucket5CB7C8EA>/scratch/*"


def rule(template: Template) -> dict[str, object]:
    found: dict[str, object] = flat(properties(template, "Events::Rule", "EndingsRule"))
    return found


def logical_id(template: Template, kind: str, part: str) -> str:
    (name,) = (name for name in resources(template, kind) if part in name)
    return name


def test_the_rule_matches_the_ends_of_this_machine_that_its_last_state_may_not_report(
    template: Template,
) -> None:
    machine = logical_id(template, "StepFunctions::StateMachine", "Machine")
    assert rule(template)["EventPattern"] == {
        "source": ["aws.states"],
        "detail-type": ["Step Functions Execution Status Change"],
        # Children of a distributed map have another ARN, <machine>/Gather.
        "detail": {"stateMachineArn": [f"<{machine}>"], "status": [*UNREPORTED]},
    }
    assert UNREPORTED == ("ABORTED", "TIMED_OUT", "FAILED")


def test_the_rule_invokes_finish_and_keeps_events_that_cannot_be_delivered(
    template: Template,
) -> None:
    finish = logical_id(template, "Lambda::Function", "StagesFinish")
    dead_letters = f"<{logical_id(template, 'SQS::Queue', 'TriggerDeadLetters')}.Arn>"
    assert rule(template)["Targets"] == [
        {
            "Arn": f"<{finish}.Arn>",
            "DeadLetterConfig": {"Arn": dead_letters},
            "Id": "Target0",
            "RetryPolicy": {"MaximumEventAgeInSeconds": 86_400, "MaximumRetryAttempts": 185},
        }
    ]
    assert flat(properties(template, "Lambda::EventInvokeConfig")) == {
        "DestinationConfig": {"OnFailure": {"Destination": dead_letters}},
        "FunctionName": f"<{finish}>",
        "MaximumEventAgeInSeconds": 21_600,
        "MaximumRetryAttempts": 2,
        "Qualifier": "$LATEST",
    }
    # Lambda refuses a destination if the function's role is not allowed to send to it.
    policy = logical_id(template, "IAM::Policy", "EndingsToDeadLetters")
    (config,) = resources(template, "Lambda::EventInvokeConfig").values()
    assert config["DependsOn"] == [policy]
    content = flat(properties(template, "IAM::Policy", "EndingsToDeadLetters"))
    assert content["PolicyDocument"]["Statement"] == [
        {"Action": "sqs:SendMessage", "Effect": "Allow", "Resource": dead_letters}
    ]
    assert content["Roles"] == [f"<{logical_id(template, 'IAM::Role', 'StagesFinish')}>"]


RULES = ("EndingsRule", "AlarmsQueueBlocked", "TriggerRule")


@pytest.mark.parametrize("name", RULES[:2])
def test_a_rule_may_invoke_finish(template: Template, name: str) -> None:
    finish = logical_id(template, "Lambda::Function", "StagesFinish")
    assert flat(properties(template, "Lambda::Permission", name)) == {
        "Action": "lambda:InvokeFunction",
        "FunctionName": f"<{finish}.Arn>",
        "Principal": "events.amazonaws.com",
        "SourceArn": f"<{logical_id(template, 'Events::Rule', name)}.Arn>",
    }


@pytest.mark.parametrize("name", RULES)
def test_events_that_cannot_be_delivered_are_kept_as_dead_letters(
    template: Template, name: str
) -> None:
    dead_letters = f"<{logical_id(template, 'SQS::Queue', 'TriggerDeadLetters')}.Arn>"
    (target,) = flat(properties(template, "Events::Rule", name))["Targets"]
    assert target["DeadLetterConfig"] == {"Arn": dead_letters}
    assert target["RetryPolicy"] == {
        "MaximumEventAgeInSeconds": 86_400,
        "MaximumRetryAttempts": 185,
    }
    letters = properties(template, "SQS::QueuePolicy", "TriggerDeadLetters")["PolicyDocument"]
    allowed = [flat(entry) for entry in letters["Statement"] if entry["Effect"] == "Allow"]
    arn = f"<{logical_id(template, 'Events::Rule', name)}.Arn>"
    assert {
        "Action": "sqs:SendMessage",
        "Condition": {"ArnEquals": {"aws:SourceArn": arn}},
    } in [{key: entry[key] for key in ("Action", "Condition")} for entry in allowed]
    assert len(allowed) == len(RULES)


def test_a_blocked_queue_is_reported_by_finish(template: Template) -> None:
    rule = flat(properties(template, "Events::Rule", "AlarmsQueueBlocked"))
    finish = logical_id(template, "Lambda::Function", "StagesFinish")
    assert [target["Arn"] for target in rule["Targets"]] == [f"<{finish}.Arn>"]
    assert rule["EventPattern"]["detail-type"] == ["Batch Job Queue Blocked"]
    queues = [f"<{name}>" for name in resources(template, "Batch::JobQueue")]
    assert sorted(rule["EventPattern"]["resources"]) == sorted(queues)


def test_a_distributed_map_has_the_permissions_that_aws_documents(synth: Synth) -> None:
    """See https://docs.aws.amazon.com/step-functions/latest/dg/iam-policies-eg-dist-map.html."""
    plain = statements(synth(), "WorkflowRole")
    granted = statements(synth(distributed_map=True), "WorkflowRole")
    assert granted[: len(plain)] == plain
    assert granted[len(plain) :] == [
        (["s3:GetObject"], [f"{SCRATCH}/tasks/indices.json"]),
        (
            [
                "s3:PutObject",
                "s3:GetObject",
                "s3:ListMultipartUploadParts",
                "s3:AbortMultipartUpload",
            ],
            [f"{SCRATCH}/results/*"],
        ),
        (["states:StartExecution"], [f"{MACHINE}:stateMachine:CloudBuster"]),
        (
            ["states:DescribeExecution", "states:StopExecution"],
            [f"{MACHINE}:execution:CloudBuster:*"],
        ),
    ]


def test_a_distributed_map_may_use_the_configured_key(synth: Synth) -> None:
    granted = statements(synth(distributed_map=True, kms_key_arn=KEY), "WorkflowRole")
    assert granted[-2:] == [
        (["kms:Encrypt"], [KEY]),
        (["kms:Decrypt", "kms:GenerateDataKey"], [KEY]),
    ]
