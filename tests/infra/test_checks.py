"""Checks of whole templates: cdk-nag, cfn-lint, a golden copy, and the app itself."""

import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from cfnlint.api import lint_all
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER as REGISTRY

from cloudbuster.aws.published import PublishedConfig
from infra.checks import BUDGET_REGIONS
from infra.context import ConfigError, parse_config
from tests.infra.conftest import CONFIGS, ROOT, Synth, Template
from tests.infra.templates import properties

GOLDEN = Path(__file__).parent / "golden" / "template.json"
# CloudFormation allows 500 resources, and a synthesis is a step of every deployment.
MAX_RESOURCES, MAX_SYNTH_CPU_S = 400, 30
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
    # W3005: the CDK writes a DependsOn although a GetAtt is enough. A budget is refused for regions
    # that have none.
    budget = "'AWS::Budgets::Budget' does not exist in"
    found = [match for match in found if match.rule.id != "W3005" and budget not in match.message]
    assert [str(match) for match in found] == []


def test_budgets_are_for_regions_whose_registry_has_them() -> None:
    for region in BUDGET_REGIONS:
        assert REGISTRY.get_resource_schema(region, "AWS::Budgets::Budget")
    with pytest.raises(ConfigError, match="makes no budget in eu-north-1"):
        parse_config({"region": "eu-north-1", "monthly_budget_usd": 100})


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
    given: Mapping[str, object], folder: Path, **beside: object
) -> subprocess.CompletedProcess[str]:
    file = folder / "prod.json"
    file.write_text(json.dumps(given))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
        # No credentials, and no host to ask for some.
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "CDK_CONTEXT_JSON": json.dumps({"config": str(file), **beside}),
        "CDK_OUTDIR": str(folder / "cdk.out"),
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
    done = run_app({"disk": {"gib": 50}}, tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("ConfigError: prod.json: disk.gib 50 cannot hold")
    assert not list(tmp_path.glob("**/*.template.json"))


def test_the_app_refuses_a_misplaced_key_with_one_line(tmp_path: Path) -> None:
    done = run_app({}, tmp_path, preset="prod")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith('ConfigError: context preset: write "preset": "prod" into the file')
    assert not list(tmp_path.glob("**/*.template.json"))


def test_a_plain_deployment_is_refused_since_no_file_says_what_it_is(tmp_path: Path) -> None:
    done = run_app({}, tmp_path, config="")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("ConfigError: no configuration: give -c config=FILE.json")


def test_the_app_prints_what_it_synthesizes_and_takes_half_a_minute_of_cpu_at_most(
    tmp_path: Path,
) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    given = {"preset": "prod", "tags": {"team": "gis"}}
    done = run_app(given, tmp_path)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert seconds <= MAX_SYNTH_CPU_S
    assert "USD per gather job-hour" in done.stderr
    assert "cdk destroy is refused until" in done.stderr
    lines = [line.removeprefix("CloudBuster: ") for line in done.stderr.splitlines()]
    file = f"{tmp_path.name}/prod.json"
    (printed,) = (line for line in lines if line.startswith(f"configuration of {file}: "))
    effective = json.loads(printed.partition(": ")[2])
    assert (effective["log_days"], effective["max_vcpus"]) == (90, 256)
    (compared,) = (line for line in lines if line.startswith("not compared with"))
    assert "CredentialsError" not in compared
    assert "credentials" in compared
    template = json.loads((tmp_path / "cdk.out" / "CloudBuster.template.json").read_text())
    parameter = properties(template, "SSM::Parameter", "Configuration")
    published = PublishedConfig.model_validate_json(parameter["Value"])
    assert (published.file, published.given) == (file, given)
    assert published.effective == effective


def test_the_template_has_room_below_the_limit_of_resources(synth: Synth) -> None:
    for config in CONFIGS.values():
        assert len(synth(**config)["Resources"]) <= MAX_RESOURCES


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
