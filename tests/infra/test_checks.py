"""Checks of whole templates: cdk-nag, cfn-lint, a golden copy, and the app itself."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cfnlint.api import lint_all

from tests.infra.conftest import CONFIGS, ROOT, Synth, Template

GOLDEN = Path(__file__).parent / "golden" / "template.json"
UPDATE_VARIABLE = "CLOUDBUSTER_UPDATE_GOLDEN"


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_cdk_nag_and_the_cdk_accept_the_template(
    assemble: Callable[..., Path], config: dict[str, object]
) -> None:
    report = json.loads((assemble(**config) / "validation-report.json").read_text())
    for plugin in report["pluginReports"]:
        assert plugin.get("violations", []) == [], plugin["pluginName"]


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_cfn_lint_accepts_the_template(synth: Synth, config: dict[str, object]) -> None:
    found = [match for match in lint_all(json.dumps(synth(**config))) if match.rule.id[0] in "EW"]
    # W3005: the CDK writes a DependsOn although a GetAtt is enough.
    assert [str(match) for match in found if match.rule.id != "W3005"] == []


def test_the_template_is_the_golden_one(template: Template) -> None:
    text = json.dumps(template, indent=1, sort_keys=True) + "\n"
    scrubbed = re.sub(r"\b[0-9a-f]{64}\b", "HASH", text)
    # The logical id of a function's version contains a hash of its image.
    scrubbed = re.sub(r"(CurrentVersion[0-9A-F]{8})[0-9a-f]{32}", r"\1HASH", scrubbed)
    if os.environ.get(UPDATE_VARIABLE):
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(scrubbed)
    assert scrubbed == GOLDEN.read_text(), f"look at the change, then set {UPDATE_VARIABLE}=1"


def run_app(
    context: dict[str, object], folder: Path, **beside: object
) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "CDK_CONTEXT_JSON": json.dumps({"cloudbuster": context, **beside}),
        "CDK_OUTDIR": str(folder),
    }
    return subprocess.run(
        [sys.executable, "-m", "infra.app"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_app_refuses_a_configuration_with_one_line(tmp_path: Path) -> None:
    done = run_app({"disk": {"gib": 50}}, tmp_path / "cdk.out")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("ConfigError: context cloudbuster: disk.gib 50 cannot hold")
    assert not list(tmp_path.glob("**/*.template.json"))


def test_the_app_refuses_a_misplaced_key_with_one_line(tmp_path: Path) -> None:
    done = run_app({}, tmp_path / "cdk.out", preset="prod")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("ConfigError: context preset belongs into cloudbuster")
    assert not list(tmp_path.glob("**/*.template.json"))


def test_the_app_synthesizes_and_prints_the_cost_of_disks_and_what_destroy_leaves(
    tmp_path: Path,
) -> None:
    done = run_app({"preset": "prod"}, tmp_path / "cdk.out")
    assert done.returncode == 0, done.stderr
    assert "USD per gather job-hour" in done.stderr
    assert "cdk destroy leaves the bucket" in done.stderr
    assert (tmp_path / "cdk.out" / "CloudBuster.template.json").is_file()


def test_the_asset_of_the_image_has_everything_that_the_dockerfile_copies(
    assemble: Callable[..., Path],
) -> None:
    (asset,) = assemble().glob("asset.*")
    dockerfile = (asset / "containers" / "Dockerfile").read_text()
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE)
    for name in " ".join(copied).split():
        assert (asset / name).exists(), name
    kept = {path.name for path in asset.iterdir()}
    assert {"cloudbuster", "lambdas", "containers"} <= kept
    assert kept.isdisjoint({"tests", "infra", ".git", ".venv", "shared"})
