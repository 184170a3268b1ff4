"""A default stands in the model alone: no command has its own, and help shows the model's."""

import json
from pathlib import Path
from typing import Any, get_args

import click
import pytest
from pydantic import BaseModel

from cloudbuster import filter as filter_stage
from cloudbuster import gather as gather_stage
from cloudbuster import merge as merge_stage
from cloudbuster import query as query_stage
from cloudbuster.cli.main import cli
from cloudbuster.cli.model_defaults import MODELS, model_default
from cloudbuster.cli.parsing import ModelOption
from cloudbuster.errors import ExitCode, RequestError
from cloudbuster.models import (
    Candidates,
    CandidatesInfo,
    DetectorOptions,
    FilterOptions,
    GatherOptions,
    LimitOptions,
    MergeOptions,
    MosaicRequest,
    QueryOptions,
    Selection,
    SelectionInfo,
)
from cloudbuster.runs import tasks
from tests.unit.cli.conftest import SQUARE, Call

PARTS: dict[str, type[BaseModel]] = {
    "": MosaicRequest,
    "query": QueryOptions,
    "filter": FilterOptions,
    "gather": GatherOptions,
    "gather.detector": DetectorOptions,
    "merge": MergeOptions,
    "limits": LimitOptions,
}
# Fields that no option sets by itself: parts, the area, the type that the detector's options name,
# what only the stack heeds, and what `filter` alone has an option for.
WITHOUT_OPTION = {
    "": {"schema_", "aoi", "query", "filter", "gather", "merge", "limits"},
    "filter": {"minclouds"},
    "gather": {"detector"},
    "gather.detector": {"type", "optional", "doubtful_shadow"},
    "limits": {"budget_usd"},
}
MODEL_OPTIONS = [
    pytest.param(command, option, id=f"{name} {option.opts[0]}")
    for name, command in cli.commands.items()
    for option in command.params
    if isinstance(option, ModelOption)
]


class StoppedError(RequestError):
    """The command has said what it would do."""


class Recorder:
    """Stands for a stage: remembers how it was called, and ends the command."""

    def __init__(self) -> None:
        self.given: dict[str, Any] = {}

    def __call__(self, *arguments: object, **named: object) -> Any:
        self.given = named | {str(number): each for number, each in enumerate(arguments)}
        raise StoppedError


@pytest.fixture
def stage() -> Recorder:
    return Recorder()


@pytest.fixture
def candidates(tmp_path: Path) -> Path:
    info = CandidatesInfo(aoi=SQUARE, kind="L2A", catalog="c")
    path = tmp_path / "candidates.json"
    path.write_bytes(Candidates(features=(), cloudbuster=info).to_json())
    return path


@pytest.fixture
def selection(tmp_path: Path) -> Path:
    info = SelectionInfo(
        aoi=SQUARE,
        kind="L2A",
        catalog="c",
        strategy="original",
        entries=(),
        uncovered_by_layer=(),
        uncovered=0,
        covered=True,
    )
    path = tmp_path / "selection.json"
    path.write_bytes(Selection(features=(), cloudbuster=info).to_json())
    return path


def test_query_passes_the_options_of_the_model(
    area: Path, call: Call, stage: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query_stage, "query_scenes", stage)
    call("query", "--geojson", area)
    assert stage.given["1"] == QueryOptions()


def test_filter_passes_the_options_of_the_model(
    candidates: Path, call: Call, stage: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filter_stage, "filter_scenes", stage)
    call("filter", "--input", candidates, "--output", "-")
    assert stage.given["1"] == FilterOptions()
    assert stage.given["bands"] == ()


def test_filter_fills_the_box_of_the_crs_that_it_is_given(
    candidates: Path, call: Call, stage: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filter_stage, "filter_scenes", stage)
    call("filter", "--input", candidates, "--output", "-")
    assert stage.given["look"].crs == GatherOptions().crs
    call("filter", "--input", candidates, "--output", "-", "--crs", "EPSG:4326")
    assert stage.given["look"].crs == "EPSG:4326"
    ended = call("filter", "--input", candidates, "--output", "-", "--crs", "EPSG:1")
    assert ended.code == ExitCode.BAD_INPUT
    assert "EPSG:1" in ended.err


def test_gather_passes_the_options_of_the_model(
    selection: Path, call: Call, stage: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "plan_tasks", stage)
    call("gather", "--response", selection, "--name", "m", "--output-path", "scenes")
    assert stage.given["options"] == GatherOptions()


def test_gather_succeeds_with_as_many_scenes_as_the_model_says(
    selection: Path, call: Call, stage: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "plan_tasks", lambda *_, **__: [])
    monkeypatch.setattr(gather_stage, "gather_or_raise", stage)
    call("gather", "--response", selection, "--name", "m", "--output-path", "scenes")
    assert stage.given["min_success_fraction"] == LimitOptions().min_success_fraction


def test_meta_gather_passes_the_options_of_the_model(
    selection: Path, call: Call, stage: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "plan_tasks", stage)
    place = ["--jobqueue", "q", "--jobdef", "d", "--name", "m", "--output-path", "s3://b/scenes"]
    call("meta-gather", "--response", selection, *place)
    assert stage.given["options"] == GatherOptions()


def test_merge_passes_the_options_of_the_model(
    call: Call, stage: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge_stage, "merge_scenes", stage)
    call("merge", "--input-path", "in", "--output-path", "out", "--name", "m")
    assert stage.given["2"] == merge_stage.MosaicRecipe("m", MergeOptions().composite)


def test_run_makes_the_request_of_the_model(area: Path, call: Call) -> None:
    made = json.loads(call("run", "--geojson", area, "--name", "m", "--dryrun").out)
    expected = MosaicRequest(name="m", aoi=SQUARE)
    assert made == expected.model_dump(mode="json", by_alias=True)


@pytest.mark.parametrize("name", cli.commands)
def test_what_is_not_given_is_left_to_the_model(name: str) -> None:
    command = cli.commands[name]
    required = [word for option in command.params if option.required for word in _words(option)]
    with command.make_context(name, required) as context:
        for option in command.params:
            if isinstance(option, ModelOption):
                assert context.params[str(option.name)] in (None, ()), option.name


def _words(parameter: click.Parameter) -> list[str]:
    """Words that give a parameter some value; a day is a text, and a time as well."""
    choices = parameter.type.choices if isinstance(parameter.type, click.Choice) else ["2020-06-20"]
    value = str(choices[0])
    return [value] if isinstance(parameter, click.Argument) else [parameter.opts[0], value]


@pytest.mark.parametrize(("command", "option"), MODEL_OPTIONS)
def test_an_option_sets_a_field_of_the_model(command: click.Command, option: ModelOption) -> None:
    assert option in command.params
    assert str(option.name) in PARTS[option.part].model_fields


@pytest.mark.parametrize(("command", "option"), MODEL_OPTIONS)
def test_help_shows_the_default_of_the_model(command: click.Command, option: ModelOption) -> None:
    default = PARTS[option.part].model_fields[str(option.name)].default
    with click.Context(command) as context:
        record = option.get_help_record(context)
    assert record is not None
    if default is True:
        assert record[1].endswith(f"[default: {option.opts[0].removeprefix('--')}]")
    elif isinstance(default, str | int | float) and default is not False:
        assert record[1].endswith(f"[default: {default}]")


@pytest.mark.parametrize("part", PARTS)
def test_what_is_read_from_the_source_of_the_model_is_its_defaults(part: str) -> None:
    model = PARTS[part]
    assert MODELS[part] == model.__name__
    for name, field in model.model_fields.items():
        default = None if field.is_required() or field.default_factory else field.default
        assert model_default(part, name) == default, name


@pytest.mark.parametrize("part", PARTS)
def test_run_has_an_option_for_every_field(part: str) -> None:
    options = [option for option in cli.commands["run"].params if isinstance(option, ModelOption)]
    named = {str(option.name) for option in options if option.part == part}
    assert named == set(PARTS[part].model_fields) - WITHOUT_OPTION.get(part, set())


@pytest.mark.parametrize(("command", "option"), MODEL_OPTIONS)
def test_the_choices_of_an_option_are_those_of_the_model(
    command: click.Command, option: ModelOption
) -> None:
    assert command.params
    choices = get_args(PARTS[option.part].model_fields[str(option.name)].annotation)
    if isinstance(option.type, click.Choice):
        assert set(option.type.choices) == set(choices)
