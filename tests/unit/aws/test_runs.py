"""Runs on the stack: ids, places, what may start, what failed."""

import json
from functools import partial
from typing import Any

import pytest

from cloudbuster.aws.costs import disk_usd_per_hour, estimate_run_usd, job_usd_per_hour
from cloudbuster.aws.runs import (
    RunPlaces,
    admit,
    check_success,
    duration_s,
    exit_code_of,
    failure_of,
    outcome_message,
    parse_request,
    run_id,
    slug,
    stored_aoi,
)
from cloudbuster.aws.settings import StackSettings
from cloudbuster.errors import (
    AoiError,
    CloudBusterError,
    ExitCode,
    GridError,
    JobsFailedError,
    JobsTryAgainError,
    NothingUsableError,
    RequestError,
    TryAgainError,
)

SQUARE = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]]}
QUERY = {"mindate": ["2020-05-01"], "maxdate": ["2020-10-01"]}
REQUEST: dict[str, Any] = {"name": "denver-2020", "aoi": SQUARE, "query": QUERY}
STACK = StackSettings(
    root="s3://stack", output_roots=("s3://ours",), default_request={"query": QUERY}
)


def request(**changes: Any) -> Any:
    return admit({**REQUEST, **changes}, source="test", settings=STACK)


def parsed(content: object, source: str = "s3://stack/requests/a.json", **stack: Any) -> Any:
    settings = STACK.model_copy(update=stack)
    return parse_request(json.dumps(content).encode(), source=source, settings=settings)


def test_the_same_request_has_the_same_id_whatever_its_order_and_force() -> None:
    shuffled = dict(reversed(REQUEST.items()))
    assert run_id(request()) == run_id(admit(shuffled, source="test", settings=STACK))
    assert run_id(request()) == run_id(request(force=True))
    assert run_id(request()) != run_id(request(output="s3://ours/elsewhere"))


def test_an_id_names_executions_and_jobs() -> None:
    found = run_id(request(name="a." * 60))
    assert len(f"{found}-a99") <= 80
    assert set(found) <= set("abcdef0123456789-")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("denver 2020", "denver-2020"), ("Zürich/a.b", "Z-rich-a-b"), ("…", "mosaic"), ("_a_", "a")],
)
def test_slug_keeps_letters_digits_dashes(text: str, expected: str) -> None:
    assert slug(text) == expected


def test_places_of_a_run() -> None:
    places = RunPlaces.of(request(), "s3://stack")
    run = places.id
    assert places.document("status.json") == f"s3://stack/runs/{run}/status.json"
    assert places.scenes == f"s3://stack/scratch/{run}/scenes"
    assert places.tasks == f"s3://stack/scratch/{run}/tasks"
    assert places.products == f"s3://stack/mosaics/{run}"
    assert RunPlaces.of_state({**places.state(), "candidate_count": 3}) == places


def test_a_forced_run_shares_no_scenes_with_another() -> None:
    first, second = (
        RunPlaces.of(request(force=True), "s3://stack", execution=name) for name in "ab"
    )
    assert first.documents == second.documents
    assert first.scenes != second.scenes


@pytest.mark.parametrize(
    "output", ["s3://stack/mosaics/x", "s3://stack/mosaics", "s3://ours", "s3://ours/deep/er/"]
)
def test_outputs_in_the_allowed_buckets_are_taken(output: str) -> None:
    assert request(output=output).output == output


@pytest.mark.parametrize(
    "output",
    ["s3://stack/runs/x", "s3://oursnot/x", "s3://theirs/x", "folder/x", "s3://ours/../x"],
)
def test_other_outputs_are_refused(output: str) -> None:
    with pytest.raises(RequestError, match="lies outside of s3://stack/mosaics, s3://ours"):
        request(output=output)


def test_pytorch_needs_a_stack_that_has_it() -> None:
    gather = {"detector": {"type": "pytorch", "weights": "s3://stack/models/m.pt"}}
    with pytest.raises(RequestError, match="torch_image"):
        request(gather=gather)
    told = STACK.model_copy(update={"torch": True})
    found = admit({**REQUEST, "gather": gather}, source="test", settings=told)
    assert found.gather.detector.type == "pytorch"


@pytest.mark.parametrize(
    ("document", "kind"),
    [([], "list"), ("text", "str"), (5, "int"), (None, "null"), (True, "bool")],
)
def test_what_is_no_object_is_told_what_a_request_is(document: object, kind: str) -> None:
    with pytest.raises(RequestError, match=f"^x: {kind}, no request: give a JSON object with name"):
        admit(document, source="x", settings=STACK)


def box(west: float, south: float, east: float, north: float) -> dict[str, Any]:
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


@pytest.mark.parametrize(
    ("changes", "error", "told"),
    [
        ({"aoi": box(0, 40, 20, 41)}, GridError, "20.00 degrees of longitude wide, a UTM zone 6"),
        ({"gather": {"crs": "utm-each"}}, GridError, "one mosaic per zone"),
        ({"gather": {"crs": "EPSG:1"}}, GridError, "no CRS 'EPSG:1' exists"),
        ({"aoi": box(10, -89, 11, -88)}, AoiError, "aoi: "),
        ({"aoi": {"type": "Point", "coordinates": [0, 0]}}, AoiError, "aoi: "),
    ],
)
def test_an_area_that_no_mosaic_can_hold_is_refused_before_a_run_starts(
    changes: dict[str, Any], error: type[CloudBusterError], told: str
) -> None:
    with pytest.raises(error, match=f"^test: .*{told}"):
        request(**changes)


def test_an_area_in_a_file_is_left_to_who_may_read_it() -> None:
    assert request(aoi={"uri": "s3://theirs/a.geojson"}).aoi == {"uri": "s3://theirs/a.geojson"}


def test_a_malformed_request_is_named_with_what_is_meant() -> None:
    with pytest.raises(RequestError, match=r"requests/a\.json: .*did you mean filter"):
        parsed({**REQUEST, "filtre": {}})


def test_a_bare_geojson_takes_its_name_and_the_defaults() -> None:
    found = parsed(SQUARE, "s3://stack/requests/my area (é).json")
    assert found.name == "my-area"
    assert found.aoi == SQUARE
    assert found.query.mindate[0].isoformat() == "2020-05-01"


def test_a_bare_geojson_without_defaults_is_refused() -> None:
    with pytest.raises(RequestError, match="default_request"):
        parsed(SQUARE, default_request=None)


def test_a_large_geojson_is_referred_to_by_its_content() -> None:
    ring = [[x / 10_000, 0.123456789] for x in range(4000)]
    area = {"type": "Polygon", "coordinates": [[*ring, [0.2, 1], ring[0]]]}
    content = json.dumps(area).encode()
    found = parse_request(content, source="s3://stack/requests/a.json", settings=STACK)
    assert found.aoi == {"uri": stored_aoi(content, "s3://stack")}
    assert stored_aoi(content, "s3://stack") != stored_aoi(content + b" ", "s3://stack")


def test_too_few_scenes_say_how_many() -> None:
    check_success("run", failed={2: "EXIT_3"}, selected=5, least=0.8)
    with pytest.raises(NothingUsableError, match="3 of 5 scenes of run were gathered"):
        check_success("run", failed={2: "EXIT_3", 3: "EXIT_5"}, selected=5, least=0.8)
    with pytest.raises(NothingUsableError, match="0 of 0"):
        check_success("run", failed={}, selected=0, least=0)


@pytest.mark.parametrize(
    ("ends", "least", "error", "told"),
    [
        # Enough would have been gathered, had those that may succeed later.
        ("75 75 0 0 0", 0.8, JobsTryAgainError, "others: 2 EXIT_75; submit it again; .* --scene 1"),
        ("3 75 0 0 0", 0.8, JobsTryAgainError, "others: 1 EXIT_3, 1 EXIT_75; .* --scene 2 "),
        ("75 75", 0, JobsTryAgainError, "0 of 2"),
        ("- 75 0 0 0", 0.8, JobsTryAgainError, "--scene 2 "),
        # No host, a bug, no memory, a signal: the stack's, where it is these that count.
        ("- - - - -", 0.8, JobsFailedError, "0 of 5 .* others: 5 FAILED; .* doctor .* --scene 1 "),
        ("1 1 0 0 0", 0.8, JobsFailedError, "2 EXIT_1"),
        ("137 137 0 0 0", 0.8, JobsFailedError, "2 EXIT_137"),
        ("143 139 0 0 0", 0.8, JobsFailedError, "1 EXIT_143, 1 EXIT_139"),
        ("75 - - - 0", 0.8, JobsFailedError, "3 FAILED, 1 EXIT_75; .* --scene 2 "),
        # The scenes' own, whatever befell the others.
        ("3 5 - 0 0", 0.8, NothingUsableError, "--scene 1 "),
        ("3 3 75 75 -", 0.8, NothingUsableError, "2 EXIT_3, 2 EXIT_75, 1 FAILED"),
        ("75 3 3 0 0", 0.8, NothingUsableError, "--scene 2 "),
        ("3 3", 0, NothingUsableError, "0 of 2"),
    ],
)
def test_too_few_scenes_are_told_by_what_kept_them_back(
    ends: str, least: float, error: type[CloudBusterError], told: str
) -> None:
    statuses = ["FAILED" if end == "-" else f"EXIT_{end}" for end in ends.split()]
    failed = {n: status for n, status in enumerate(statuses, start=1) if status != "EXIT_0"}
    with pytest.raises(error, match=told) as caught:
        check_success("run", failed=failed, selected=len(statuses), least=least)
    assert type(caught.value) is error
    # What is not the scenes' own raises the alarm, and the machine does not ask for it again.
    cause = json.dumps({"errorMessage": str(caught.value)})
    failure = failure_of({"Error": error.__name__, "Cause": cause})
    assert failure.is_infrastructure is (error is not NothingUsableError)
    assert failure.exit_code is error.exit_code
    assert error is not TryAgainError


JOB = {"JobName": "x-merge", "StatusReason": "Essential container in task exited"}


@pytest.mark.parametrize(
    ("error", "name", "code", "infrastructure"),
    [
        (
            {"Error": "NothingUsableError", "Cause": '{"errorMessage": "no scene"}'},
            "NothingUsableError",
            ExitCode.NOTHING_USABLE,
            False,
        ),
        (
            {"Error": "OverBudgetError", "Cause": "12 USD"},
            "OverBudgetError",
            ExitCode.OVER_BUDGET,
            False,
        ),
        ({"Error": "ValueError", "Cause": "{}"}, "ValueError", ExitCode.BUG, True),
        (
            {"Error": "States.Timeout", "Cause": ""},
            "WorkflowTimeout",
            ExitCode.TRY_AGAIN,
            True,
        ),
        (
            {
                "Error": "States.TaskFailed",
                "Cause": json.dumps({**JOB, "Container": {"ExitCode": 5}}),
            },
            "JobBAD_INPUT",
            ExitCode.BAD_INPUT,
            False,
        ),
        (
            {"Error": "States.TaskFailed", "Cause": json.dumps(JOB)},
            "JobFailed",
            ExitCode.BUG,
            True,
        ),
        (
            {"Error": "Batch.AWSBatchException", "Cause": "Too Many Requests"},
            "Batch.AWSBatchException",
            ExitCode.BUG,
            True,
        ),
    ],
)
def test_what_failed_is_understood(
    error: dict[str, str], name: str, code: ExitCode, *, infrastructure: bool
) -> None:
    failure = failure_of(error)
    assert (failure.error, failure.exit_code) == (name, code)
    assert failure.is_infrastructure is infrastructure
    assert failure.message
    assert not failure.error.startswith("States.")


def test_a_failed_job_names_its_log() -> None:
    container = {"ExitCode": 137, "Reason": "OutOfMemoryError", "LogStreamName": "merge/default/1"}
    cause = json.dumps({**JOB, "Container": container})
    message = failure_of({"Error": "States.TaskFailed", "Cause": cause}).message
    assert message.startswith("job x-merge exited with 137: OutOfMemoryError")
    assert message.endswith("log stream merge/default/1")


def test_exit_codes_of_items() -> None:
    assert exit_code_of("EXIT_3") is ExitCode.NOTHING_USABLE
    assert exit_code_of("EXIT_9") is None
    assert exit_code_of("FAILED") is None


def test_duration_counts_between_the_times_of_step_functions() -> None:
    assert duration_s("2026-01-01T00:00:00.000Z", "2026-01-01T00:01:30.500Z") == 90.5


def test_subjects_fit_sns() -> None:
    subject, text = outcome_message({"state": "failed", "run_id": "é" * 200})
    assert len(subject) == 100
    assert subject.isascii()
    assert json.loads(text)["state"] == "failed"


def test_prices() -> None:
    # 500 GiB x 0.08 + 3000 IOPS x 0.005 + 375 MiB/s x 0.04 = 70 USD a month.
    assert disk_usd_per_hour(gib=500, iops=6000, throughput_mibps=500) == pytest.approx(70 / 730)
    assert job_usd_per_hour(vcpus=2, disk_usd_per_host_hour=0.08, jobs_per_host=8) == pytest.approx(
        0.106
    )


def test_scenes_of_another_region_cost_their_way() -> None:
    estimate = partial(
        estimate_run_usd, kind="L2A", scenes=10, gather_usd_per_hour=0.1, merge_usd_per_hour=0.2
    )
    at_home = estimate(home="L2A")
    assert at_home == 0.09
    assert estimate(home="L1C") == pytest.approx(at_home + 0.2)
    # 10 twins: 0.1 hours of a job each, and 0.8 GB from the other region.
    assert estimate(home="L2A", with_twins=True) == pytest.approx(at_home + 0.1 + 0.16)
    # A stack in a third region has no scenes near.
    assert estimate(home=None) == estimate(home="L1C")


def test_a_mosaic_in_parts_costs_a_start_of_each_job() -> None:
    estimate = partial(
        estimate_run_usd,
        kind="L2A",
        home="L2A",
        scenes=10,
        gather_usd_per_hour=0.0,
        merge_usd_per_hour=1.0,
    )
    # 0.08 hours for each job that starts, 0.005 for each scene.
    assert estimate() == 0.13
    assert estimate(merge_jobs=4) == 0.37


def test_settings_are_those_of_the_environment() -> None:
    text = STACK.model_dump_json()
    assert StackSettings.of_environment({"CLOUDBUSTER_STACK": text}) == STACK
    with pytest.raises(RequestError, match="CLOUDBUSTER_STACK is not set"):
        StackSettings.of_environment({})


def test_a_request_too_large_to_start_with_is_refused_where_it_is_admitted() -> None:
    settings = StackSettings(
        root="s3://b", topic_arn="arn:t", gather_usd_per_hour=0.1, merge_usd_per_hour=0.1
    )
    square = [[15, 45], [16, 45], [16, 46], [15, 46], [15, 45]]
    document = {
        "name": "m",
        "aoi": {"type": "Polygon", "coordinates": [square]},
        "query": {
            "mindate": ["2023-01-01"] * 12_000,
            "maxdate": ["2023-02-01"] * 12_000,
        },
    }
    with pytest.raises(RequestError, match="over 220000 bytes"):
        admit(document, source="requests/m.json", settings=settings)
