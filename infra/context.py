"""The configuration in the context of the CDK: key ``cloudbuster`` of cdk.json, or ``cdk -c``.

``{"preset": "prod"}`` starts from other defaults; values beside the preset override it.
"""

import difflib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from infra.checks import check
from infra.config import StackConfig
from infra.sections import CatalogSecret, Disk, Job

CONTEXT_KEY = "cloudbuster"
# Similarity by difflib: `cloudbustr` and `cloud_buster` are similar to `cloudbuster`, `cloud` and
# `cluster` are not.
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
    },
}
_SECTIONS: dict[str, type[BaseModel]] = {
    "disk": Disk,
    "gather": Job,
    "merge": Job,
    "catalog_secret": CatalogSecret,
}


class ConfigError(Exception):
    """The configuration contains something that cannot be deployed."""


def parse_config(context: object) -> StackConfig:
    """Read and check the configuration.

    Parameters
    ----------
    context : dict, str or None
        Value of the context key: an object, as in cdk.json; its JSON text, as ``cdk -c`` passes
        it; None for the defaults.

    Raises
    ------
    ConfigError
        If something cannot be deployed, or would not work then; names every wrong value, and for
        an unknown key a similar one.
    """
    given = _object(context)
    preset = PRESETS.get(str(given.get("preset", "dev")), {})
    try:
        config = StackConfig.model_validate(_merged(preset, given))
    except ValidationError as error:
        problems = "; ".join(_problem(detail) for detail in error.errors(include_url=False))
        msg = f"context {CONTEXT_KEY}: {problems}"
        raise ConfigError(msg) from error
    try:
        check(config)
    except ValueError as error:
        msg = f"context {CONTEXT_KEY}: {error}"
        raise ConfigError(msg) from error
    return config


def check_context(context: Mapping[str, object]) -> None:
    """Refuse keys beside ``cloudbuster`` that were meant to be in it, since nothing reads them.

    Raises
    ------
    ConfigError
        If there is such a key; shows how to give it.
    """
    for key, value in context.items():
        if key == CONTEXT_KEY or ":" in key or "@" in key:  # The CDK's own keys have one of these.
            continue
        if key in StackConfig.model_fields:
            form = json.dumps({key: _parsed(value)})
            msg = f"context {key} belongs into {CONTEXT_KEY}: give -c {CONTEXT_KEY}='{form}'"
            raise ConfigError(msg)
        if difflib.get_close_matches(key.lower(), [CONTEXT_KEY], n=1, cutoff=SIMILAR):
            msg = f"context {key}: unknown key; did you mean {CONTEXT_KEY}?"
            raise ConfigError(msg)


def _parsed(value: object) -> object:
    """Value that ``cdk -c`` passes as text."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except json.JSONDecodeError:
        return value


def _object(context: object) -> dict[str, Any]:
    if isinstance(context, str):
        try:
            context = json.loads(context)
        except json.JSONDecodeError as error:
            msg = f"context {CONTEXT_KEY} is not JSON: {error}; give -c '{CONTEXT_KEY}={{...}}'"
            raise ConfigError(msg) from error
    if context is None:
        return {}
    if not isinstance(context, dict):
        msg = f"context {CONTEXT_KEY} is a {type(context).__name__}; give an object"
        raise ConfigError(msg)
    return context


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
