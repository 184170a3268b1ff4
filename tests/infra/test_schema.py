"""The JSON Schema of the configuration file is that of the model."""

import json

import jsonschema
import pytest
from click.testing import CliRunner

from cloudbuster.cli.commands.schema import STACK_SCHEMA
from cloudbuster.cli.main import cli
from infra.context import PRESETS
from infra.schema import config_schema


def test_the_packaged_schema_is_that_of_the_configuration() -> None:
    """Golden: ``json.dumps(config_schema(), indent=2)`` writes it anew."""
    assert json.loads(STACK_SCHEMA.read_text()) == json.loads(json.dumps(config_schema()))


def test_the_command_line_prints_it() -> None:
    printed = CliRunner().invoke(cli, ["schema", "StackConfig"], catch_exceptions=False).output
    assert json.loads(printed) == config_schema()


@pytest.mark.parametrize(
    "config",
    [
        *({"preset": name, **values} for name, values in PRESETS.items()),
        {"$schema": "stack.schema.json", "gather": {"memory_mib": 8000}},
        {"input_buckets": ["ours", {"name": "theirs", "kms_key_arn": None}]},
    ],
)
def test_a_configuration_fits_the_schema(config: dict[str, object]) -> None:
    jsonschema.validate(json.loads(json.dumps(config)), config_schema())


def test_a_misspelt_key_does_not_fit_the_schema() -> None:
    with pytest.raises(jsonschema.ValidationError, match="dsk"):
        jsonschema.validate({"dsk": {}}, config_schema())
