"""The configuration of a stack: one JSON file, which ``cdk -c config=FILE`` names.

``{"preset": "prod"}`` starts from other defaults; values beside the preset override it.
"""

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from cloudbuster.aws.published import SCHEMA_KEY
from infra.checks import check
from infra.configuration.config import StackConfig
from infra.configuration.sections import Bucket, CatalogSecret, Disk, Job

CONFIG_KEY = "config"
"""Key of the context with the path of the configuration file."""
ALLOW_KEY = "allow_downgrade"
"""Key of the context that allows a deployment to lower what protects data."""
# Similarity by difflib: `confg` and `configs` are similar to `config`, `cluster` is not.
SIMILAR = 0.8
# Values of a preset: a `dev` stack is cheap and is removed by `cdk destroy` once its bucket is
# empty, a `prod` stack keeps its data.
PRESETS: dict[str, dict[str, Any]] = {
    "dev": {},
    "prod": {
        "disk": {"gib": 500, "iops": 6000, "throughput_mibps": 500},
        "host_vcpus": (8, 32),
        "max_vcpus": 256,
        "map_concurrency": 40,
        "log_days": 90,
        "retain_data": True,
        "versioning": True,
    },
}
_SECTIONS: dict[str, type[BaseModel]] = {
    "disk": Disk,
    "gather": Job,
    "merge": Job,
    "catalog_secret": CatalogSecret,
    "input_buckets": Bucket,
    "output_buckets": Bucket,
}


class ConfigError(Exception):
    """The configuration contains something that cannot be deployed."""


def config_path(context: Mapping[str, object]) -> Path:
    """Path of the configuration file, from the context of the CDK.

    Raises
    ------
    ConfigError
        If the context names no file, or holds a key that was meant to be in it, which nothing
        would read.
    """
    for key, value in context.items():
        _check_key(key, value)
    given = context.get(CONFIG_KEY)
    if not isinstance(given, str) or not given:
        msg = (
            f"no configuration: give -c {CONFIG_KEY}=FILE.json, the file of this stack; {{}} in it "
            "is a stack with all defaults"
        )
        raise ConfigError(msg)
    return Path(given).expanduser()


def allows_downgrade(context: Mapping[str, object]) -> bool:
    """Whether the deployment may lower what protects data.

    Raises
    ------
    ConfigError
        If the value is neither true nor false.
    """
    given = str(context.get(ALLOW_KEY, "false")).lower()
    if given not in ("true", "false"):
        msg = f"{ALLOW_KEY} is {given!r}: give -c {ALLOW_KEY}=true, or leave it out"
        raise ConfigError(msg)
    return given == "true"


def read_config(path: Path) -> dict[str, Any]:
    """Read the content of a configuration file.

    Raises
    ------
    ConfigError
        If it cannot be read, or holds no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: cannot read the configuration: {error}"
        raise ConfigError(msg) from error
    except json.JSONDecodeError as error:
        msg = f"{path} is not JSON: {error}"
        raise ConfigError(msg) from error
    if not isinstance(content, dict):
        msg = f"{path} holds a {type(content).__name__}: give an object, {{}} for all defaults"
        raise ConfigError(msg)
    return content


def parse_config(given: Mapping[str, Any], *, source: str = "configuration") -> StackConfig:
    """Complete and check a configuration.

    Parameters
    ----------
    given : mapping
        Content of the file.
    source : str
        Name of the file, for messages.

    Raises
    ------
    ConfigError
        If something cannot be deployed, or would not work then; names every wrong value, and for
        an unknown key a similar one.
    """
    values = {key: value for key, value in given.items() if key != SCHEMA_KEY}
    preset = PRESETS.get(str(values.get("preset", "dev")), {})
    try:
        config = StackConfig.model_validate(_merged(preset, values))
    except ValidationError as error:
        problems = "; ".join(_problem(detail) for detail in error.errors(include_url=False))
        msg = f"{source}: {problems}"
        raise ConfigError(msg) from error
    try:
        check(config)
    except ValueError as error:
        msg = f"{source}: {error}"
        raise ConfigError(msg) from error
    return config


def _check_key(key: str, value: object) -> None:
    """Refuse a key of the context that was meant for the file, or misspelt."""
    if key in (CONFIG_KEY, ALLOW_KEY) or ":" in key or "@" in key:
        return  # The CDK's own keys have one of these characters.
    if key in StackConfig.model_fields:
        line = json.dumps({key: _parsed(value)})[1:-1]
        msg = f"context {key}: write {line} into the file of -c {CONFIG_KEY}=FILE.json"
        raise ConfigError(msg)
    close = difflib.get_close_matches(key.lower(), [CONFIG_KEY, ALLOW_KEY], n=1, cutoff=SIMILAR)
    if close:
        msg = f"context {key}: unknown key; did you mean {close[0]}?"
        raise ConfigError(msg)


def _parsed(value: object) -> object:
    """Value that ``cdk -c`` passes as text."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except json.JSONDecodeError:
        return value


def _merged(base: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Override ``base`` by ``given`` in each section; a job's missing values are the defaults."""
    defaults = {"gather", "merge"} & set(given)
    for name in defaults:
        default = StackConfig.model_fields[name].get_default(call_default_factory=True)
        base = {name: default.model_dump(), **base}
    merged = {**base, **given}
    for name, value in given.items():
        if isinstance(value, dict) and isinstance(base.get(name), dict):
            merged[name] = {**base[name], **value}
    return merged


def _problem(detail: Mapping[str, Any]) -> str:
    path = [str(part) for part in detail["loc"]]
    text = str(detail["msg"]).removeprefix("Value error, ")
    if detail["type"] == "extra_forbidden":
        known = (_SECTIONS[path[0]] if len(path) > 1 else StackConfig).model_fields
        close = difflib.get_close_matches(path[-1], known, n=1)
        text = f"unknown key; did you mean {close[0]}?" if close else "unknown key"
    return f"{'.'.join(path)}: {text}" if path else text
