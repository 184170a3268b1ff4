"""What the command line submits: jobs by hand, and runs of the deployed stack."""

import functools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import (
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
)
from moto import mock_aws
from moto.stepfunctions.models import stepfunctions_backends

from cloudbuster import cli, cli_aws, legacy
from cloudbuster.aws import client as aws_client
from cloudbuster.aws import jobs, logs, submit
from cloudbuster.aws.calls import call
from cloudbuster.aws.client import service_error
from cloudbuster.aws.deployed import DEFAULT_STACK, START_FUNCTION
from cloudbuster.aws.merging import MergeTask
from cloudbuster.aws.settings import SETTINGS_VARIABLE, StackSettings
from cloudbuster.errors import AccessError, BadInputError, CredentialsError, ExitCode, TryAgainError
from cloudbuster.io import s3
from cloudbuster.io.documents import read_document
from cloudbuster.models import GatherTask
from tests.factories import SceneSpec, area_of, write_scene
from tests.unit.aws.test_runs import REQUEST

REGION = "us-west-2"
ACCOUNT = "123456789012"
QUEUE, ON_DEMAND = "big-queue", "on-demand"
IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/mosaics:1"
Invoke = Callable[..., tuple[int, str, str]]


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An account in this process, with a bucket; its region."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, REGION)
    with mock_aws(config={"batch": {"use_docker": False}}):
        forget()
        region = {"LocationConstraint": REGION}
        s3.client().create_bucket(Bucket="store", CreateBucketConfiguration=region)
        yield REGION
    forget()


def forget() -> None:
    """Let go of clients of another account."""
    aws_client.client.cache_clear()
    s3.client.cache_clear()


@pytest.fixture
def batch(aws: str) -> Any:
    """Batch with two queues, and job definitions of gather and merge."""
    iam, ec2, found = (boto3.client(name, aws) for name in ("iam", "ec2", "batch"))
    boto3.client("ecr", aws).create_repository(repositoryName="mosaics")
    role = iam.create_role(RoleName="batch", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    iam.create_instance_profile(InstanceProfileName="hosts")
    profile = iam.get_instance_profile(InstanceProfileName="hosts")["InstanceProfile"]["Arn"]
    subnet = ec2.describe_subnets()["Subnets"][0]
    group = ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]
    environment = found.create_compute_environment(
        computeEnvironmentName="hosts",
        type="MANAGED",
        state="ENABLED",
        serviceRole=role,
        computeResources={
            "type": "EC2",
            "minvCpus": 0,
            "maxvCpus": 8,
            "instanceTypes": ["m5.2xlarge"],
            "subnets": [subnet["SubnetId"]],
            "securityGroupIds": [group],
            "instanceRole": profile,
        },
    )["computeEnvironmentArn"]
    for name in (QUEUE, ON_DEMAND):
        found.create_job_queue(
            jobQueueName=name,
            state="ENABLED",
            priority=1,
            computeEnvironmentOrder=[{"order": 1, "computeEnvironment": environment}],
        )
    for name in ("gather", "merge"):
        found.register_job_definition(
            jobDefinitionName=f"my-{name}",
            type="container",
            containerProperties={
                "image": IMAGE,
                "vcpus": 2,
                "memory": 2048,
                "command": [name, "--task", "Ref::task_uri"],
            },
        )
    return found


@pytest.fixture
def invoke(capsys: pytest.CaptureFixture[str]) -> Invoke:
    """Run a command in this process: its exit code, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main([str(argument) for argument in arguments])
        told = capsys.readouterr()
        return int(stop.value.code or 0), told.out, told.err

    return run


@pytest.fixture
def world(tmp_path: Path, invoke: Invoke) -> Path:
    """A selection of two clear looks and a backstop."""
    days = ("10", "15", "20")
    specs = [
        SceneSpec(
            id=f"S2A_33TWL_202305{day}_0_L2A",
            datetime=f"2023-05-{day}T10:00:00Z",
            cloud_cover=int(day),
        )
        for day in days
    ]
    for spec in specs:
        write_scene(tmp_path / "catalog", spec)
    (tmp_path / "area.geojson").write_text(json.dumps(area_of(specs[0])))
    query = ["--geojson", tmp_path / "area.geojson", "--catalog", tmp_path / "catalog"]
    response, selection = tmp_path / "response.json", tmp_path / "selection.json"
    period = ["--mindate", "2023-05-01", "--maxdate", "2023-05-31", "--maxclouds", "100"]
    assert invoke("query", *query, *period, "--response", response)[0] == 0
    filtered = ["--input", response, "--output", selection, "--coverage-count", "2"]
    assert invoke("filter", *filtered)[0] == 0
    return tmp_path


def gather_flags(world: Path, output: str, *more: object) -> list[object]:
    return [
        *("meta-gather", "--jobqueue", QUEUE, "--jobdef", "my-gather:1", "--name", "small"),
        *("--response", world / "selection.json", "--output-path", output),
        *("--bands", "B04,B03,B02", *more),
    ]


def merge_flags(output: str, *more: object) -> list[object]:
    return [
        *("meta-merge", "--jobqueue", QUEUE, "--jobdef", "my-merge", "--name", "small"),
        *("--input-path", "s3://store/in/", "--output-path", output, *more),
    ]


def test_meta_gather_submits_one_job_for_each_scene(
    invoke: Invoke, batch: Any, world: Path
) -> None:
    code, out, err = invoke(*gather_flags(world, "s3://store/scenes/", "--index-start", "7"))
    assert code == 0
    ids = json.loads(out)
    assert "--kind is L2A, as in the response" in err
    found = {job["jobId"]: job for job in batch.describe_jobs(jobs=ids)["jobs"]}
    assert [found[each]["jobName"] for each in ids] == [
        *("small-gather-07", "small-gather-08", "small-gather-09")
    ]
    for number, each in enumerate(ids, start=7):
        uri = f"s3://store/scenes/tasks/small-{number:02d}.json"
        assert found[each]["parameters"] == {"task_uri": uri}
        assert found[each]["jobDefinition"].endswith("/my-gather:1")
        task = read_document(uri, GatherTask)
        assert (task.name, task.output) == ("small", "s3://store/scenes")
        assert number in (task.index, task.backstop_index)


def test_the_flags_of_meta_gather_reach_the_task(invoke: Invoke, batch: Any, world: Path) -> None:
    flags = ["--architecture", "s3://m/arch.py", "--weights", "s3://m/w.pth", "--tmp", "/scratch/a"]
    more = ["--trust-architecture", "--bounds-clip", "False", "--donate-mask", "True"]
    gathered = gather_flags(world, "s3://store/a", *flags, *more, "--kind", "L2A")
    code, out, err = invoke(*gathered, "--gather", "s3://m/gather.py")
    assert (code, err.strip()) == (
        0,
        "meta-gather: --gather s3://m/gather.py is not executed: the image carries the code",
    )
    task = read_document("s3://store/a/tasks/small-01.json", GatherTask)
    assert task.donate_mask
    assert task.detector.type == "pytorch"
    assert task.detector.trust_architecture
    assert (task.detector.architecture, task.detector.weights) == (
        *("s3://m/arch.py", "s3://m/w.pth"),
    )
    job = batch.describe_jobs(jobs=json.loads(out)[:1])["jobs"][0]
    environment = {entry["name"]: entry["value"] for entry in job["container"]["environment"]}
    assert (environment["TMPDIR"], environment["CPL_TMPDIR"]) == ("/scratch/a", "/scratch/a")
    donor = ["--donor-mask", "s3://m/masks/", "--donor-mask-name", "mask-a"]
    assert invoke(*gather_flags(world, "s3://store/b", *donor))[0] == 0
    task = read_document("s3://store/b/tasks/small-01.json", GatherTask)
    assert (task.detector.type, task.detector.donor_mask_name) == ("donor", "mask-a")


@pytest.mark.usefixtures("aws")
def test_a_dry_run_prints_the_submissions_and_writes_nothing(
    invoke: Invoke, world: Path, tmp_path: Path
) -> None:
    output = tmp_path / "scenes"
    code, out, _ = invoke(*gather_flags(world, str(output), "--dryrun", "True"))
    assert code == 0
    expected = [
        {
            "jobName": f"small-gather-{number:02d}",
            "jobQueue": QUEUE,
            "jobDefinition": "my-gather:1",
            "parameters": {"task_uri": f"{output}/tasks/small-{number:02d}.json"},
        }
        for number in (1, 2, 3)
    ]
    assert out == json.dumps(expected, indent=2) + "\n"
    assert not output.exists()
    code, out, _ = invoke(*merge_flags("s3://store/out/", "--dryrun"))
    expected = [
        {
            "jobName": "small-merge",
            "jobQueue": QUEUE,
            "jobDefinition": "my-merge",
            "parameters": {"task_uri": "s3://store/out/tasks/small-merge.json"},
        }
    ]
    assert (code, out) == (0, json.dumps(expected, indent=2) + "\n")
    assert s3.list_names("s3://store/out/tasks") == []


def test_bug_2_meta_merge_keeps_output_path_and_tmp_apart(invoke: Invoke, batch: Any) -> None:
    code, out, err = invoke(*merge_flags("s3://store/out/", "--tmp", "/scratch", "--merge", "m.py"))
    assert (code, err.strip()) == (
        0,
        "meta-merge: --merge m.py is not executed: the image carries the code",
    )
    (job,) = batch.describe_jobs(jobs=json.loads(out))["jobs"]
    task = read_document(job["parameters"]["task_uri"], MergeTask)
    assert (task.scenes, task.output, task.name) == ("s3://store/in", "s3://store/out", "small")
    environment = {entry["name"]: entry["value"] for entry in job["container"]["environment"]}
    assert (environment["TMPDIR"], environment["CPL_TMPDIR"]) == ("/scratch", "/scratch")


@pytest.mark.usefixtures("batch")
def test_what_is_submitted_by_hand_makes_the_mosaic(invoke: Invoke, world: Path) -> None:
    """The jobs' own commands, run here as their containers would."""
    assert invoke(*gather_flags(world, "s3://store/in"))[0] == 0
    for number in (1, 2, 3):
        uri = f"s3://store/in/tasks/small-{number:02d}.json"
        assert invoke("gather", "--task", uri)[0] == 0
    assert invoke(*merge_flags("s3://store/out"))[0] == 0
    code, out, _ = invoke("merge", "--task", "s3://store/out/tasks/small-merge.json")
    assert code == 0
    assert json.loads(out)["cloudless"] == "s3://store/out/small-cloudless.tif"
    made = set(s3.list_names("s3://store/out"))
    assert {"small-cloudless.tif", "small-cloudy.tif", "small-quality.tif"} <= made
    assert s3.exists("s3://store/out/tasks/small-products.json")


def test_a_merge_task_is_of_a_run_or_of_a_name() -> None:
    places = {"scenes": "in", "output": "out", "result": "out/products.json"}
    for wrong in ({}, {"request": "r.json"}, {"name": "m", "selection": "s.json"}):
        with pytest.raises(ValueError, match="request, selection and assessment"):
            MergeTask.model_validate({**places, **wrong})


@pytest.mark.usefixtures("aws")
def test_another_level_than_asked_for_is_refused(invoke: Invoke, world: Path) -> None:
    code, _, err = invoke(*gather_flags(world, "s3://store/a", "--kind", "L1C", "--dryrun"))
    assert code == ExitCode.BAD_INPUT
    assert "selects L2A scenes, not L1C" in err.splitlines()[-1]


@pytest.mark.usefixtures("aws")
def test_a_response_that_does_not_tell_its_level_is_l1c(
    invoke: Invoke, world: Path, tmp_path: Path
) -> None:
    original = tmp_path / "original.json"
    filtered = ["--input", world / "response.json", "--output", original, "--format", "original"]
    assert invoke("filter", *filtered)[0] == 0
    flags = [*gather_flags(world, "s3://store/a"), "--response", original, "--dryrun"]
    code, out, err = invoke(*flags)
    assert (code, err) == (0, "meta-gather: --kind is L1C, the default\n")
    assert len(json.loads(out)) >= 2
    assert invoke(*flags, "--kind", "L2A")[::2] == (0, "")


@pytest.mark.usefixtures("batch")
def test_jobs_cannot_read_tasks_on_this_machine(
    invoke: Invoke, world: Path, tmp_path: Path
) -> None:
    code, _, err = invoke(*gather_flags(world, str(tmp_path / "scenes")))
    assert code == ExitCode.BAD_INPUT
    assert "lies on this machine; give an s3:// prefix" in err.splitlines()[-1]
    assert not (tmp_path / "scenes").exists()


@pytest.mark.usefixtures("batch")
@pytest.mark.parametrize("flag", ["--jobqueue", "--jobdef"])
def test_an_unknown_queue_or_definition_is_bad_input(invoke: Invoke, flag: str) -> None:
    code, _, err = invoke(*merge_flags("s3://store/out", flag, "nowhere"))
    assert code == ExitCode.BAD_INPUT
    assert "check --jobqueue and --jobdef" in err.splitlines()[-1]


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize("missing", ["--jobqueue", "--jobdef", "--name", "--output-path"])
def test_a_missing_flag_is_a_malformed_command_line(
    invoke: Invoke, world: Path, missing: str
) -> None:
    for flags in (gather_flags(world, "s3://store/a"), merge_flags("s3://store/a")):
        place = flags.index(missing)
        code, _, err = invoke(*flags[:place], *flags[place + 2 :])
        assert (code, missing in err) == (ExitCode.USAGE, True)


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize("name", ["backstop-x", "a b", "../x"])
def test_a_name_that_no_file_may_have_is_refused(invoke: Invoke, name: str) -> None:
    flags = merge_flags("s3://store/a")
    flags[flags.index("small")] = name
    code, _, err = invoke(*flags)
    assert code == ExitCode.BAD_INPUT
    assert err.startswith("RequestError: --name")


def test_jobs_that_were_submitted_before_a_failure_are_told(
    batch: Any, world: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Throttled:
        """Batch that takes one job."""

        taken = 0

        def submit_job(self, **_arguments: Any) -> dict[str, str]:
            self.taken += 1
            if self.taken > 1:
                raise batch.exceptions.ClientException(
                    {"Error": {"Code": "TooManyRequestsException", "Message": "slow down"}},
                    "Submit",
                )
            return {"jobId": "first-id"}

    throttled = Throttled()
    monkeypatch.setattr(jobs, "client", lambda _service: throttled)
    code, _, err = invoke(*gather_flags(world, "s3://store/a"))
    assert code == ExitCode.TRY_AGAIN
    assert "slow down; try again; 1 of 3 were submitted: first-id" in err.splitlines()[-1]


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("AccessDeniedException", 400, AccessError),
        ("UnrecognizedClientException", 400, CredentialsError),
        ("ExpiredTokenException", 403, CredentialsError),
        ("ThrottlingException", 400, TryAgainError),
        ("Throttling", 400, TryAgainError),
        ("TooManyRequestsException", 429, TryAgainError),
        ("ServerException", 500, TryAgainError),
        ("ClientException", 400, BadInputError),
    ],
)
def test_what_aws_answers_has_an_error_of_ours(code: str, status: int, kind: type) -> None:
    answer = {
        "Error": {"Code": code, "Message": "told."},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    error = service_error(answer, "do it", "mend it")
    assert type(error) is kind
    assert str(error).startswith(f"cannot do it: {code}: told")


@pytest.mark.parametrize(
    ("cause", "kind", "words"),
    [
        (NoCredentialsError(), CredentialsError, "set AWS credentials"),
        (NoRegionError(), BadInputError, "no region; set AWS_REGION"),
        (ParamValidationError(report="name"), BadInputError, "mend it"),
        (EndpointConnectionError(endpoint_url="https://states"), TryAgainError, "https://states"),
    ],
)
@pytest.mark.parametrize("in_a_function", [False, True])
def test_a_call_that_got_no_answer_has_an_error_of_ours(
    cause: Exception, kind: type[Exception], words: str, *, in_a_function: bool
) -> None:
    def ask(*_words: str) -> Any:
        raise cause

    asked = functools.partial(call, ask) if in_a_function else ask
    with pytest.raises(kind) as caught, aws_client.told("do it", hint="mend it"):
        asked("states", "start")
    assert type(caught.value) is kind
    assert str(caught.value).startswith("cannot do it: ")
    assert words in str(caught.value)


def test_without_credentials_the_error_says_so(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_REGION", REGION)
    forget()
    code, _, err = invoke("submit", "request.json")
    forget()
    assert code == ExitCode.BAD_INPUT
    assert err.startswith("CredentialsError: cannot find stack CloudBuster")


def test_the_original_names_are_aliases(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for command, flag in (
        (legacy.meta_gather, "--donor-mask-name"),
        (legacy.meta_merge, "--merge"),
    ):
        monkeypatch.setattr("sys.argv", ["alias", "--help"])
        with pytest.raises(SystemExit) as stop:
            command()
        assert (stop.value.code, flag in capsys.readouterr().out) == (0, True)


# Runs of the deployed stack


def template(*, more: dict[str, str] | None = None, **settings: Any) -> str:
    """As much of the stack's template as submitting needs, with ``more`` outputs."""
    told = StackSettings(root="s3://store", **{"home": "L2A", **settings})
    arn = {"Fn::GetAtt": ["Role", "Arn"]}
    start = {
        "Role": arn,
        "Handler": "index.handler",
        "Runtime": "python3.12",
        "Code": {"ZipFile": "pass"},
        "Environment": {"Variables": {SETTINGS_VARIABLE: told.model_dump_json()}},
    }
    machine = {
        "StateMachineName": "CloudBuster",
        "RoleArn": arn,
        "DefinitionString": '{"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}}',
    }
    resources = {
        "Role": {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": {}}},
        f"{START_FUNCTION}3C01A044": {"Type": "AWS::Lambda::Function", "Properties": start},
        "Machine": {"Type": "AWS::StepFunctions::StateMachine", "Properties": machine},
    }
    place = f"arn:aws:batch:{REGION}:{ACCOUNT}"
    told_of = {
        "BucketName": "store",
        "QueueArn": f"{place}:job-queue/{QUEUE}",
        "OnDemandQueueArn": f"{place}:job-queue/{ON_DEMAND}",
        "GatherJobArn": f"{place}:job-definition/my-gather:1",
        "MergeJobArn": f"{place}:job-definition/my-merge:1",
        **{name: f"{place}:{value}" for name, value in (more or {}).items()},
    }
    outputs = {
        "StateMachineArn": {"Value": {"Ref": "Machine"}},
        **{name: {"Value": value} for name, value in told_of.items()},
    }
    return json.dumps({"Resources": resources, "Outputs": outputs})


@pytest.fixture
def stack(aws: str) -> Any:
    """The deployed stack; its Step Functions."""
    deploy(template())
    return boto3.client("stepfunctions", aws)


def deploy(body: str) -> None:
    cloudformation = boto3.client("cloudformation", REGION)
    if cloudformation.list_stacks()["StackSummaries"]:
        cloudformation.update_stack(StackName=DEFAULT_STACK, TemplateBody=body)
    else:
        cloudformation.create_stack(StackName=DEFAULT_STACK, TemplateBody=body)


def machine() -> str:
    return f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:CloudBuster"


def end(arn: str, status: str, **values: Any) -> None:
    """End an execution; moto's own would never."""
    execution = stepfunctions_backends[ACCOUNT][REGION].describe_execution(arn)
    execution.status = status
    for name, value in values.items():
        setattr(execution, name, value)


@pytest.fixture
def request_file(tmp_path: Path) -> Path:
    path = tmp_path / "request.json"
    path.write_text(json.dumps(REQUEST))
    return path


def test_the_stack_has_what_is_looked_for() -> None:
    golden = Path(__file__).parents[2] / "infra" / "golden" / "template.json"
    found = json.loads(golden.read_text())
    functions = [
        name
        for name, resource in found["Resources"].items()
        if name.startswith(START_FUNCTION) and resource["Type"] == "AWS::Lambda::Function"
    ]
    assert len(functions) == 1
    variables = found["Resources"][functions[0]]["Properties"]["Environment"]["Variables"]
    assert SETTINGS_VARIABLE in variables
    assert "StateMachineArn" in found["Outputs"]


def test_the_same_request_submitted_twice_is_one_execution(
    invoke: Invoke, stack: Any, request_file: Path
) -> None:
    first = invoke("submit", request_file)
    second = invoke("submit", request_file)
    assert (first[0], second[0]) == (0, 0)
    told = json.loads(first[1])
    assert told["state"] == "started"
    assert json.loads(second[1]) == {**told, "state": "running"}
    assert told["status_uri"] == f"s3://store/runs/{told['run_id']}/status.json"
    (execution,) = stack.list_executions(stateMachineArn=machine())["executions"]
    assert execution["executionArn"] == told["execution"]
    assert execution["name"] == told["run_id"]
    end(told["execution"], "FAILED", error="JobBUG", cause="x")
    again = json.loads(invoke("submit", request_file)[1])
    assert again["execution"] == f"{told['execution']}-a2"


def test_force_starts_at_every_submission(invoke: Invoke, stack: Any, request_file: Path) -> None:
    request_file.write_text(json.dumps({**REQUEST, "force": True}))
    first = json.loads(invoke("submit", request_file)[1])
    code, _, err = invoke("submit", request_file)
    assert code == ExitCode.TRY_AGAIN
    assert "is at work as" in err
    end(first["execution"], "SUCCEEDED")
    assert invoke("submit", request_file)[0] == 0
    assert len(stack.list_executions(stateMachineArn=machine())["executions"]) == 2


def test_an_area_in_a_file_is_taken_along(
    invoke: Invoke, stack: Any, request_file: Path, tmp_path: Path
) -> None:
    area = tmp_path / "area.geojson"
    area.write_text(json.dumps(REQUEST["aoi"]))
    plain = json.loads(invoke("submit", request_file)[1])
    request_file.write_text(json.dumps({**REQUEST, "aoi": {"uri": "area.geojson"}}))
    # The same area is the same run, wherever it stood.
    assert json.loads(invoke("submit", request_file)[1])["run_id"] == plain["run_id"]
    ring = [[0.001 * step, 0.0] for step in range(8000)] + [[4.0, 5.0], [0.0, 0.0]]
    area.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    told = json.loads(invoke("submit", request_file)[1])
    execution = stack.describe_execution(executionArn=told["execution"])
    uri = json.loads(execution["input"])["aoi"]["uri"]
    assert uri.startswith("s3://store/aois/")
    assert s3.read_bytes(uri) == area.read_bytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"output": "s3://elsewhere/x"}, "lies outside of s3://store/mosaics"),
        ({"output": "folder"}, "lies outside of"),
        (
            {"query": {**REQUEST["query"], "catalog": "my-catalog"}},
            "query.catalog: my-catalog lies",
        ),
        ({"quer": {}}, "did you mean query?"),
        ({"gather": {"detector": {"type": "pytorch", "weights": "s3://w"}}}, "torch_image"),
        ({"aoi": {"uri": "none.geojson"}}, "none.geojson"),
    ],
)
def test_what_the_stack_would_refuse_is_not_started(
    invoke: Invoke, stack: Any, request_file: Path, changes: dict[str, Any], message: str
) -> None:
    request_file.write_text(json.dumps({**REQUEST, **changes}))
    code, _, err = invoke("submit", request_file)
    assert code == ExitCode.BAD_INPUT
    assert message in err.splitlines()[-1]
    assert stack.list_executions(stateMachineArn=machine())["executions"] == []


@pytest.mark.usefixtures("stack")
@pytest.mark.parametrize(
    ("query", "gather", "warning"),
    [
        ({}, {}, ""),
        (
            {"kind": "L1C"},
            {},
            "warning: L1C scenes lie in eu-central-1, the stack in us-west-2: reading them adds "
            "up to 0.016 USD a scene, and time\n",
        ),
        ({"kind": "L1C", "catalog": "cdse"}, {}, ""),
        ({"kind": "L1C", "asset_mirror": ["s3://sentinel-s2-l1c=s3://ours"]}, {}, ""),
        (
            {"catalog": "rasterfoundry"},
            {},
            "warning: L2A scenes lie in eu-central-1, the stack in us-west-2: reading them adds "
            "up to 0.020 USD a scene, and time\n",
        ),
        (
            {},
            {"detector": {"type": "s2cloudless"}},
            "warning: L1C scenes lie in eu-central-1, the stack in us-west-2: reading them adds "
            "up to 0.016 USD a scene, and time\n",
        ),
    ],
)
def test_scenes_that_lie_in_another_region_are_told_with_their_price(
    invoke: Invoke,
    request_file: Path,
    query: dict[str, Any],
    gather: dict[str, Any],
    warning: str,
) -> None:
    document = {**REQUEST, "query": {**REQUEST["query"], **query}, "gather": gather}
    request_file.write_text(json.dumps(document))
    code, out, err = invoke("submit", request_file)
    assert (code, err) == (0, warning)
    assert json.loads(out)["state"] == "started"


@pytest.mark.usefixtures("stack")
def test_a_stack_that_is_not_there_is_named(invoke: Invoke, request_file: Path) -> None:
    code, _, err = invoke("submit", request_file, "--stack", "Nowhere")
    assert code == ExitCode.BAD_INPUT
    assert "Nowhere" in err.splitlines()[-1]
    assert "--stack" in err.splitlines()[-1]


def test_the_stack_is_called_as_the_configuration_calls_it() -> None:
    (stack,) = (flag for flag in cli_aws.submit.params if flag.name == "stack")
    assert stack.default == DEFAULT_STACK


@pytest.mark.usefixtures("stack")
@pytest.mark.parametrize(
    ("status", "values", "code", "last"),
    [
        ("SUCCEEDED", {"output": {"exit_code": 0}}, 0, None),
        ("SUCCEEDED", {"output": {"exit_code": 4}}, 4, "NotCoveredError: "),
        ("FAILED", {"error": "NothingUsableError", "cause": "no scene"}, 3, "NothingUsableError: "),
        ("FAILED", {"error": "OverBudgetError", "cause": "9 USD"}, 6, "OverBudgetError: "),
        ("FAILED", {"error": "JobTRY_AGAIN", "cause": "job m"}, 75, "RunFailedError: "),
        ("FAILED", {"error": "JobFailed", "cause": "job m"}, 1, "RunFailedError: "),
        ("ABORTED", {}, 143, "RunFailedError: "),
        ("TIMED_OUT", {}, 75, "RunFailedError: "),
    ],
)
def test_waiting_exits_as_the_run_does(
    invoke: Invoke,
    request_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    status: str,
    values: dict[str, Any],
    code: int,
    last: str | None,
) -> None:
    arn = json.loads(invoke("submit", request_file)[1])["execution"]
    slept: list[float] = []
    if "output" in values:
        values = {"output": json.dumps(values["output"])}

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        end(arn, status, **values)

    monkeypatch.setattr("cloudbuster.aws.submit.time.sleep", sleep)
    found, out, err = invoke("submit", request_file, "--wait")
    assert (found, slept) == (code, [submit.POLL_S])
    assert json.loads(out)["exit_code"] == code
    assert err == "" if last is None else err.splitlines()[-1].startswith(last)


# Where a run is, and whether the stack is well


@pytest.mark.usefixtures("stack")
def test_status_tells_of_the_last_attempt(invoke: Invoke, request_file: Path) -> None:
    first = json.loads(invoke("submit", request_file)[1])
    name = first["run_id"]
    told = json.loads(invoke("status", name)[1])
    assert (told["state"], told["run_id"], told["status"]) == ("running", name, None)
    end(first["execution"], "FAILED", error="NothingUsableError", cause="no scene")
    told = json.loads(invoke("status", first["execution"])[1])
    assert (told["state"], told["error"], told["exit_code"]) == ("failed", "NothingUsableError", 3)
    invoke("submit", request_file)
    document = {"name": "denver-2020", "state": "running", "stage": "query"}
    content = json.dumps({**document, "request_fingerprint": "f"}).encode()
    s3.write_bytes(first["status_uri"], content)
    told = json.loads(invoke("status", name)[1])
    assert told["execution"] == f"{first['execution']}-a2"
    assert (told["run_id"], told["state"]) == (name, "running")
    assert told["status"]["stage"] == "query"
    code, _, err = invoke("status", "no-such-run")
    assert code == ExitCode.BAD_INPUT
    assert "give the run_id or the execution" in err.splitlines()[-1]


@pytest.mark.usefixtures("stack")
def test_doctor_finds_what_is_wrong(invoke: Invoke, batch: Any) -> None:
    code, out, err = invoke("doctor")
    assert code == ExitCode.BAD_INPUT
    assert [line for line in out.splitlines() if line.startswith("[ ]")] == [
        line for line in out.splitlines() if line.startswith(f"[ ] image {IMAGE}: ")
    ]
    assert f"1 of 9 are not as they should be: image {IMAGE}" in err.splitlines()[-1]
    media = "application/vnd.docker.distribution.manifest.v2+json"
    content = {"schemaVersion": 2, "mediaType": media, "config": {"digest": "a"}, "layers": []}
    manifest = json.dumps(content)
    boto3.client("ecr", REGION).put_image(
        repositoryName="mosaics", imageManifest=manifest, imageTag="1"
    )
    code, out, err = invoke("doctor")
    assert (code, err) == (0, "")
    assert f"[x] queue {QUEUE}: ENABLED, VALID" in out
    assert "[x] region: us-west-2; L2A scenes lie in us-west-2" in out
    batch.update_job_queue(jobQueue=QUEUE, state="DISABLED")
    code, out, _ = invoke("doctor")
    assert code == ExitCode.BAD_INPUT
    assert f"[ ] queue {QUEUE}: DISABLED, VALID" in out


@pytest.mark.usefixtures("stack")
def test_doctor_looks_at_the_gpu_queue_and_at_pytorch(invoke: Invoke, batch: Any) -> None:
    deploy(template(more={"GpuQueueArn": "job-queue/gpu", "TorchJobArn": "job-definition/torch:1"}))
    _, out, _ = invoke("doctor")
    assert "[ ] queues: 2 of 3 exist" in out
    assert "[ ] job definitions: 2 of 3 exist" in out
    batch.create_job_queue(
        jobQueueName="gpu",
        state="DISABLED",
        priority=1,
        computeEnvironmentOrder=[{"order": 1, "computeEnvironment": "hosts"}],
    )
    properties = {"image": f"{IMAGE}-torch", "vcpus": 2, "memory": 2048}
    batch.register_job_definition(
        jobDefinitionName="torch", type="container", containerProperties=properties
    )
    _, out, _ = invoke("doctor")
    assert "[ ] queue gpu: DISABLED, VALID" in out
    assert "[x] job definition torch:1: ACTIVE" in out
    assert f"[ ] image {IMAGE}-torch: " in out


@pytest.mark.usefixtures("batch")
@pytest.mark.parametrize(
    ("home", "line"),
    [
        ("L1C", "[ ] region: us-west-2; L1C scenes lie in eu-central-1"),
        (
            None,
            "[x] region: us-west-2; L2A scenes lie in us-west-2, L1C scenes lie in eu-central-1",
        ),
    ],
)
def test_doctor_says_which_scenes_are_far(
    invoke: Invoke, aws: str, home: str | None, line: str
) -> None:
    assert aws == REGION
    deploy(template(home=home))
    assert line in invoke("doctor")[1].splitlines()


class Finished:
    """Batch with one job that was tried on both queues."""

    def list_jobs(self, *, jobQueue: str, filters: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803 -- boto3's
        (wanted,) = filters
        if wanted == {"name": "JOB_NAME", "values": [f"{RUN}-gather-8"]} and jobQueue == GPU:
            return {"jobSummaryList": [{"jobId": "first", "createdAt": 3}]}
        if wanted != {"name": "JOB_NAME", "values": [f"{RUN}-gather-7"]} or jobQueue == GPU:
            return {"jobSummaryList": []}
        second = jobQueue.endswith(ON_DEMAND)
        job = {"jobId": "second" if second else "first", "createdAt": 2 if second else 1}
        return {"jobSummaryList": [job]}

    def describe_jobs(self, *, jobs: list[str]) -> dict[str, Any]:
        options = {"awslogs-group": "jobs"}
        container = {"logStreamName": jobs[0], "logConfiguration": {"options": options}}
        return {"jobs": [{"container": container}]}


RUN = "denver-2020-0123456789abcdef"
GPU = f"arn:aws:batch:{REGION}:{ACCOUNT}:job-queue/gpu"


@pytest.mark.usefixtures("stack")
def test_logs_are_those_of_the_last_try(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    cloudwatch = boto3.client("logs", REGION)
    cloudwatch.create_log_group(logGroupName="jobs")
    for stream in ("first", "second"):
        cloudwatch.create_log_stream(logGroupName="jobs", logStreamName=stream)
        now = int(time.time() * 1000)
        told = [{"timestamp": now + number, "message": f"{stream} {number}"} for number in (1, 2)]
        cloudwatch.put_log_events(logGroupName="jobs", logStreamName=stream, logEvents=told)
    real = aws_client.client
    monkeypatch.setattr(logs, "client", lambda name: Finished() if name == "batch" else real(name))
    assert invoke("logs", f"{RUN}-a2", "--scene", "7") == (0, "second 1\nsecond 2\n", "")
    code, _, err = invoke("logs", RUN)
    assert code == ExitCode.BAD_INPUT
    assert f"no job {RUN}-merge" in err.splitlines()[-1]
    # A scene with a model of PyTorch is gathered on the GPU queue, where there is one.
    assert invoke("logs", RUN, "--scene", "8")[0] == ExitCode.BAD_INPUT
    deploy(template(more={"GpuQueueArn": "job-queue/gpu"}))
    assert invoke("logs", RUN, "--scene", "8") == (0, "first 1\nfirst 2\n", "")
    for flags, job in ((("--part", "2"), "part-2"), (("--survey",), "survey")):
        assert f"no job {RUN}-{job};" in invoke("logs", RUN, *flags)[2]
    code, _, err = invoke("logs", RUN, "--part", "2", "--scene", "1")
    assert code == ExitCode.BAD_INPUT
    assert "give one of them" in err
