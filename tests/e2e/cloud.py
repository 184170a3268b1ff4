"""The loopback AWS for tests: a server, the CDK's command line, and deployed stacks."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import boto3

from tests.e2e.aws.images import Store
from tests.e2e.aws.journal import Faults, Journal
from tests.e2e.aws.settings import ACCOUNT, REGION, Settings

ROOT = Path(__file__).resolve().parents[2]
START_S = 60
COMMAND_S = 240
# Greatest size of the state of Step Functions.
# https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
MAX_PAYLOAD_BYTES = 256 * 1024
PAYLOADS = ("input", "output", "parameters", "cause")

T = TypeVar("T")


class Cloud:
    """A running loopback AWS.

    Attributes
    ----------
    settings : Settings
        Settings of the server.
    journal : Journal
        Record of what it did.
    faults : Faults
        Failures to order.
    images : Store
        Images that ``cdk deploy`` built and pushed.
    """

    def __init__(self, settings: Settings, cdk: Path) -> None:
        self.settings = settings
        self._cdk = cdk
        self.journal = Journal(Path(settings.folder))
        self.faults = Faults(settings.path("faults"))
        self.images = Store(settings.images)

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.settings.url,
            region_name=REGION,
            aws_access_key_id="loopback",
            aws_secret_access_key="loopback",  # noqa: S106 -- no secret
        )

    def cdk(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``cdk`` as an operator does, with only the loopback in reach."""
        programs = os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"])
        environment = {
            **self.settings.environment(),
            "PATH": programs,
            "TMPDIR": str(self.settings.path("tmp")),
            "CDK_DOCKER": str(self._docker),
            "CDK_HOME": str(self.settings.path("home", "cdk")),
            "CDK_DISABLE_CLI_TELEMETRY": "true",
            "CDK_DISABLE_VERSION_CHECK": "1",
            "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "1",
        }
        return subprocess.run(
            [str(self._cdk), "--no-notices", "--no-color", *arguments],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )

    def do_cdk(self, *arguments: str) -> str:
        """Run a ``cdk`` command that must succeed; return its output."""
        done = self.cdk(*arguments)
        assert done.returncode == 0, f"cdk {shlex.join(arguments)}:\n{done.stdout}"
        return done.stdout

    def synth(self, label: str, config: dict[str, Any]) -> Path:
        """Synthesize a stack; return the folder of the assembly."""
        folder = self.settings.path("assemblies") / label
        self.do_cdk("synth", "--quiet", "-o", str(folder), *self.configured(label, config))
        return folder

    def configured(self, label: str, config: dict[str, Any]) -> tuple[str, str]:
        """Write a configuration file; return the options by which ``cdk`` takes it."""
        path = self.settings.path("configurations") / f"{label}.json"
        path.write_text(json.dumps(config))
        return "-c", f"config={path}"

    def deploy(self, assembly: Path) -> str:
        """Deploy an assembly; return the output of ``cdk``."""
        return self.do_cdk("deploy", "--app", str(assembly), "--require-approval", "never")

    @cached_property
    def _docker(self) -> Path:
        """Program that ``cdk`` calls as docker."""
        program = self.settings.path() / "docker"
        words = [sys.executable, "-m", "tests.e2e.aws.docker", str(self.settings.images)]
        home = f"PYTHONPATH={shlex.quote(str(ROOT))}"
        program.write_text(f'#!/bin/sh\n{home} exec {shlex.join(words)} "$@"\n')
        program.chmod(0o755)
        return program

    def docker_calls(self) -> list[list[str]]:
        """Arguments of the calls of docker by ``cdk``."""
        lines = (self.settings.images / "calls.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]


@contextmanager
def running_cloud(folder: Path, cdk: Path, *, python: str = sys.executable) -> Iterator[Cloud]:
    """Serve on a free port of the loopback until the body ends.

    Parameters
    ----------
    folder : Path
        Folder for all files that are written.
    cdk : Path
        The CDK's command line.
    python : str
        Interpreter that replaces that of the image; jobs run the ``cloudbuster`` beside it.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    settings = Settings(port=port, folder=str(folder), python=python)
    log = folder / "server.log"
    command = [sys.executable, "-m", "tests.e2e.aws", settings.to_json()]
    with log.open("wb") as file:
        server = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT)
        try:
            until(lambda: b"ready" in log.read_bytes() or server.poll() is not None, START_S)
            assert server.poll() is None, log.read_text()
            yield Cloud(settings, cdk)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=20)


@dataclass(frozen=True)
class FinishedExecution:
    """An execution that has ended."""

    status: str
    output: dict[str, Any]
    error: str | None
    cause: str | None
    history: Sequence[dict[str, Any]]

    def entered(self, state: str) -> int:
        """Number of times that a state was entered."""
        details = [event.get("stateEnteredEventDetails", {}) for event in self.history]
        return sum(detail.get("name") == state for detail in details)

    def entered_with(self, state: str) -> str:
        """Input of a state as JSON, the longest if it was entered in several rounds."""
        details = [event.get("stateEnteredEventDetails", {}) for event in self.history]
        inputs = (detail["input"] for detail in details if detail.get("name") == state)
        text = max(inputs, key=len)
        return str(text)

    def failures(self) -> list[str]:
        """Names of the errors of the tasks."""
        details = [event.get("taskFailedEventDetails") for event in self.history]
        return [detail["error"] for detail in details if detail]


class DeployedStack:
    """A deployed stack, by its outputs.

    Parameters
    ----------
    cloud : Cloud
        The loopback AWS.
    name : str
        Name of the stack.
    """

    def __init__(self, cloud: Cloud, name: str) -> None:
        self.cloud, self.name = cloud, name
        self.states = cloud.client("stepfunctions")
        self.s3 = cloud.client("s3")

    @property
    def outputs(self) -> dict[str, str]:
        stacks = self.cloud.client("cloudformation").describe_stacks(StackName=self.name)
        return {
            output["OutputKey"]: output["OutputValue"] for output in stacks["Stacks"][0]["Outputs"]
        }

    @cached_property
    def bucket(self) -> str:
        return self.outputs["BucketName"]

    @cached_property
    def machine(self) -> str:
        return self.outputs["StateMachineArn"]

    def start(self, request: dict[str, Any], *, name: str) -> str:
        """Start an execution; return its ARN."""
        started = self.states.start_execution(
            stateMachineArn=self.machine, name=name, input=json.dumps(request)
        )
        arn: str = started["executionArn"]
        return arn

    def execution(self, name: str) -> str:
        """ARN of an execution by its name."""
        return f"{self.machine.replace(':stateMachine:', ':execution:')}:{name}"

    def executions(self) -> list[str]:
        """Names of all executions, oldest first."""
        listed = self.states.list_executions(stateMachineArn=self.machine)["executions"]
        return [entry["name"] for entry in sorted(listed, key=lambda entry: entry["startDate"])]

    def end(self, arn: str, *, within_s: float = 240) -> FinishedExecution:
        """Wait for the end of an execution; no event may be too large for Step Functions."""

        def ended() -> dict[str, Any] | None:
            found: dict[str, Any] = self.states.describe_execution(executionArn=arn)
            return None if found["status"] == "RUNNING" else found

        found = until(ended, within_s)
        pages = self.states.get_paginator("get_execution_history").paginate(executionArn=arn)
        history = [event for page in pages for event in page["events"]]
        assert largest_payload(history) < MAX_PAYLOAD_BYTES
        output = json.loads(found.get("output") or "{}")
        reasons = (found.get("error"), found.get("cause"))
        return FinishedExecution(found["status"], output, *reasons, history)

    def run(self, request: dict[str, Any], *, name: str) -> FinishedExecution:
        """Start an execution and wait for its end."""
        return self.end(self.start(request, name=name))

    def function_names(self) -> list[str]:
        """Names of the functions of the stages."""
        listed = self.cloud.client("lambda").list_functions()["Functions"]
        names = [entry["FunctionName"] for entry in listed]
        return [name for name in names if name.startswith(f"{self.name}-Stages")]

    def invoke(self, function: str, event: dict[str, Any]) -> dict[str, Any]:
        """Invoke a function; return its answer, or its error."""
        payload = json.dumps(event).encode()
        done = self.cloud.client("lambda").invoke(FunctionName=function, Payload=payload)
        answer: dict[str, Any] = json.loads(done["Payload"].read())
        return answer

    def put(self, key: str, content: bytes) -> None:
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=content)

    def get(self, uri: str) -> bytes:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        content: bytes = self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        return content

    def keys(self, prefix: str = "") -> list[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


@dataclass(frozen=True)
class Subscriber:
    """A queue that receives the messages of the stack's topic."""

    sqs: Any
    url: str

    def receive(self) -> dict[str, Any] | None:
        """Return the next message, or None."""
        found = self.sqs.receive_message(QueueUrl=self.url).get("Messages", [])
        if not found:
            return None
        self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=found[0]["ReceiptHandle"])
        message: dict[str, Any] = json.loads(json.loads(found[0]["Body"])["Message"])
        return message


@contextmanager
def subscriber(stack: DeployedStack) -> Iterator[Subscriber]:
    """Subscribe to the topic of a stack, as a person does by mail."""
    sqs, sns = stack.cloud.client("sqs"), stack.cloud.client("sns")
    url = sqs.create_queue(QueueName="mail")["QueueUrl"]
    asked = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    topic = stack.outputs["TopicArn"]
    subscription = sns.subscribe(
        TopicArn=topic, Protocol="sqs", Endpoint=asked["Attributes"]["QueueArn"]
    )
    try:
        yield Subscriber(sqs, url)
    finally:
        sns.unsubscribe(SubscriptionArn=subscription["SubscriptionArn"])
        sqs.delete_queue(QueueUrl=url)


def largest_payload(history: Sequence[dict[str, Any]]) -> int:
    """Bytes of the largest input or output in a history."""
    details = (
        value for event in history for key, value in event.items() if key.endswith("EventDetails")
    )
    return max(len(str(detail.get(key, "")).encode()) for detail in details for key in PAYLOADS)


def until(question: Callable[[], T | None], within_s: float = 60) -> T:
    """Repeat a question until the answer is true; return the answer."""
    end = time.monotonic() + within_s
    while True:
        answer = question()
        if answer:
            return answer
        assert time.monotonic() < end, f"not within {within_s} s"
        time.sleep(0.1)


def bootstrap(cloud: Cloud, assembly: Path) -> str:
    """Prepare the account for the CDK."""
    return cloud.do_cdk("bootstrap", "--app", str(assembly), f"aws://{ACCOUNT}/{REGION}")
