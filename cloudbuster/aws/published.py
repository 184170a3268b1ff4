"""The configuration that a stack publishes, so that it can be compared with a file."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field

from cloudbuster.models import Document

# Key of a configuration file that names its JSON Schema to an editor.
SCHEMA_KEY = "$schema"


class PublishedConfig(Document):
    """The configuration with which a stack was deployed."""

    version: str = Field(description="Version of cloudbuster that deployed the stack.")
    file: str = Field(description="Path of the configuration file, its last two parts.")
    given: dict[str, Any] = Field(description="Content of that file.")
    effective: dict[str, Any] = Field(description="Every value, with presets and defaults.")


def flattened(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of a configuration by their paths, as ``disk.gib``."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def differences(file: Mapping[str, Any], deployed: Mapping[str, Any]) -> list[str]:
    """Describe each value in which a configuration file and the deployed one differ.

    Parameters
    ----------
    file, deployed : mapping
        Content of the file, and `PublishedConfig.given`.
    """
    ours, theirs = dict(flattened(file)), dict(flattened(deployed))
    paths = sorted({*ours, *theirs} - {SCHEMA_KEY})
    return [
        f"{path} is {_shown(ours, path)} in the file and {_shown(theirs, path)} in the stack"
        for path in paths
        if _shown(ours, path) != _shown(theirs, path)
    ]


def _shown(values: Mapping[str, Any], path: str) -> str:
    return json.dumps(values[path]) if path in values else "not given"
