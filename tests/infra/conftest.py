"""Templates of several configurations, each synthesized once in this process."""

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


@pytest.fixture(scope="session", autouse=True)
def node_of_the_environment() -> None:
    """The CDK runs on node; the `infra` extra brings one beside Python."""
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


@pytest.fixture(scope="session")
def assemble(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Synthesize a configuration into a folder, each once."""
    from infra.app import make_app
    from infra.config import CONTEXT_KEY, parse_config

    context = json.loads((ROOT / "cdk.json").read_text())["context"]
    del context[CONTEXT_KEY]
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
    """Template of a configuration."""

    def read(**config: Any) -> Template:
        (path,) = assemble(**config).glob("*.template.json")
        content: Template = json.loads(path.read_text())
        return content

    return read


@pytest.fixture(scope="session")
def template(synth: Synth) -> Template:
    """Template of the defaults."""
    return synth()
