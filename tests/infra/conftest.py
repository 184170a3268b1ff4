"""Templates of several configurations, each synthesized once in a session."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
Template = dict[str, Any]

Synth = Callable[..., Template]
VALIDATOR_VARIABLE = "CLOUDBUSTER_ASL_VALIDATOR"
# Configurations whose whole templates are checked.
CONFIGS: dict[str, dict[str, Any]] = {
    "dev": {},
    "prod": {"preset": "prod"},
    "everything": {
        "torch_image": True,
        "gpu_queue": True,
        "distributed_map": True,
        "input_buckets": ["our-scenes"],
        "output_buckets": ["our-mosaics"],
        "model_prefixes": ["models/", "s3://our-models/masks/"],
        "notify_emails": ["ops@example.org"],
        "monthly_budget_usd": 100,
        "max_budget_usd": 50,
        "versioning": True,
        "tags": {"project": "mosaics"},
        "runs_days": 400,
    },
}


@pytest.fixture(scope="session", autouse=True)
def node_of_the_environment() -> None:
    """Put the node of the `infra` extra, which lies beside Python, on the PATH for the CDK."""
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


@pytest.fixture(scope="session")
def asl_validator() -> Path:
    """Path of asl-validator, which ``make test`` installs; the test fails without it."""
    given = os.environ.get(VALIDATOR_VARIABLE)
    pattern = "build/asl-validator-*/node_modules/.bin/asl-validator"
    found = [Path(given)] if given else sorted(ROOT.glob(pattern))
    if not found or not found[-1].is_file():
        pytest.fail(f"no {given or pattern}: `make test` installs asl-validator", pytrace=False)
    return found[-1]


@pytest.fixture(scope="session")
def assemble(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that synthesizes a configuration into a folder, each one once."""
    from infra.app import make_app
    from infra.context import parse_config

    context = json.loads((ROOT / "cdk.json").read_text())["context"]
    known: dict[str, Path] = {}

    def assemble_once(**config: Any) -> Path:
        key = json.dumps(config, sort_keys=True)
        if key not in known:
            folder = tmp_path_factory.mktemp("assembly") / "cdk.out"
            app, _ = make_app(parse_config(config), outdir=str(folder), context=context)
            app.synth()
            known[key] = folder
        return known[key]

    return assemble_once


@pytest.fixture(scope="session")
def synth(assemble: Callable[..., Path]) -> Synth:
    """Return a function that reads the template of a configuration."""

    def read(**config: Any) -> Template:
        (path,) = assemble(**config).glob("*.template.json")
        content: Template = json.loads(path.read_text())
        return content

    return read


@pytest.fixture(scope="session")
def template(synth: Synth) -> Template:
    """Template of the defaults."""
    return synth()
