"""A new parameter of a stage is a new field of its document and needs no change of the stack."""

import json
from pathlib import Path

import pytest

from cloudbuster import gather, models
from cloudbuster.cli.main import main
from cloudbuster.events import OnEvent
from cloudbuster.models import DetectorOptions, GatherTask, GridDocument
from tests.infra.templates import Template, flat, resources, state_machine


class WiderTask(GatherTask):
    """A gather task with a parameter that the stack does not know."""

    sharpen: float = 0.0


TASK = WiderTask(
    name="m",
    kind="L2A",
    catalog="c",
    item={"id": "scene"},
    index=1,
    backstop_index=None,
    bands=("B02",),
    grid=GridDocument(crs="EPSG:32633", west=0, north=0, x_size=10, y_size=10, width=1, height=1),
    detector=DetectorOptions(),
    dilate_m=50,
    output="scenes",
    sharpen=0.25,
)


def job_command(template: Template, **parameters: str) -> list[str]:
    """Words of the command with which Batch starts the gather job."""
    for job in template["Resources"].values():
        words = flat(job.get("Properties", {}).get("ContainerProperties", {}).get("Command", []))
        if words and words[0] == "gather":
            return [parameters.get(word.removeprefix("Ref::"), word) for word in words]
    raise AssertionError


def test_a_new_parameter_reaches_the_stage_through_the_unchanged_stack(
    template: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_uri = tmp_path / "task.json"
    task_uri.write_bytes(TASK.to_json())
    received: list[WiderTask] = []

    def stage(task: WiderTask, *, on_event: OnEvent | None) -> tuple[()]:
        assert on_event is not None
        received.append(task)
        return ()

    # Only the document and the stage get the new parameter.
    monkeypatch.setattr(models, "GatherTask", WiderTask)
    monkeypatch.setattr(gather, "gather_scene", stage)
    with pytest.raises(SystemExit) as stop:
        main(job_command(template, task_uri=str(task_uri)))
    assert stop.value.code == 0
    assert received == [TASK]
    assert received[0].sharpen == 0.25


def test_the_stack_names_no_parameter_of_a_stage(template: Template) -> None:
    jobs = flat(resources(template, "Batch::JobDefinition"))
    text = json.dumps([state_machine(template), jobs])
    parameters = {"bands", "detector", "dilate_m", "donate_mask", "grid", "radiometry"}
    assert not [name for name in parameters if f'"{name}' in text or f".{name}" in text]
