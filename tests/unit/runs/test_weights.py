"""A run whose weights do not fit ends before anything is searched or read."""

import json
from pathlib import Path

import pytest
import torch

from cloudbuster.errors import BadInputError, ExitCode
from cloudbuster.models import MosaicRequest
from cloudbuster.runs import pipeline
from tests.command_line import invoke, last_line

ARCHITECTURE = """
import torch

def make_model(num_channels, class_count, **kwargs):
    return torch.nn.Conv2d(num_channels, class_count, 1)
"""
AREA = {"type": "Polygon", "coordinates": [[[15, 46], [15.1, 46], [15.1, 46.1], [15, 46]]]}


def write_model(folder: Path, state: dict[str, torch.Tensor]) -> dict[str, str]:
    (folder / "net.py").write_text(ARCHITECTURE)
    torch.save(state, folder / "net.pth")
    return {"architecture": str(folder / "net.py"), "weights": str(folder / "net.pth")}


def test_weights_that_do_not_fit_end_a_run_before_its_catalog_is_searched(tmp_path: Path) -> None:
    detector = write_model(tmp_path, {"encoder.weight": torch.zeros(3)})
    request = MosaicRequest.model_validate(
        {
            "name": "m",
            "aoi": AREA,
            "query": {"catalog": str(tmp_path / "no such catalog")},
            "gather": {"detector": {"type": "pytorch", "trust_architecture": True, **detector}},
            "output": str(tmp_path / "run"),
        }
    )
    with pytest.raises(BadInputError, match=r"2 missing \(weight, bias\), 1 unexpected \(encod"):
        pipeline.run(request)


def test_gather_names_the_keys_once_before_it_plans(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    detector = write_model(tmp_path, {"weight": torch.zeros(2, 13, 1, 1), "bias": torch.zeros(2)})
    selection = tmp_path / "selection.json"
    selection.write_text('{"bounds": [15, 46, 15.1, 46.1], "selections": []}')
    code = invoke(
        *("gather", "--response", selection, "--name", "m", "--output-path", tmp_path / "scenes"),
        *("--kind", "L1C", "--architecture", detector["architecture"]),
        *("--weights", detector["weights"], "--trust-architecture"),
    )
    assert code == ExitCode.BAD_INPUT
    assert last_line(capsys.readouterr().err) == (
        f"BadInputError: {detector['weights']} does not fit the model of "
        f"{detector['architecture']}: 2 of another shape (weight: 2 x 13 x 1 x 1 in the file, "
        "1 x 13 x 1 x 1 in the model, bias: 2 in the file, 1 in the model); they may be of 2 "
        "classes: say which are cloud with --cloud-classes"
    )


def test_cloud_classes_are_given_as_a_list(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    area = tmp_path / "area.geojson"
    area.write_text(json.dumps(AREA))
    for words in (["--cloud-classes", "1,2"], ["--cloud-classes", "1", "2"]):
        arguments = ["run", "--geojson", str(area), "--name", "m", "--weights", "w.pt2"]
        assert invoke(*arguments, *words, "--dryrun") == 0
        request = MosaicRequest.model_validate_json(capsys.readouterr().out)
        assert request.gather.detector.cloud_classes == (1, 2)
