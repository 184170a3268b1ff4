"""The base of every document of the contract, and types that several documents share."""

import hashlib
import re
from functools import partial
from typing import Annotated, Any, Literal

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from cloudbuster.core.texts.json_values import check_json
from cloudbuster.core.texts.names import (
    MAX_FILE_NAME_BYTES,
    MAX_NAME_BYTES,
    check_name_part,
    shown,
)

# Greatest index of a scene: `scene_index` is uint16, 0 means none, and 65535 is not used because it
# is Sentinel-2's value of saturated pixels.
MAX_SCENE_INDEX = 65_534

MAX_ID_CHARS = 256
"""Greatest length of the id of an item; those of Sentinel-2 products have 60 characters."""

SCHEMA_DESCRIPTION = "Name and version of this document's schema."

Geometry = dict[str, Any]
"""A GeoJSON object: a geometry, a Feature or a FeatureCollection."""
Item = dict[str, Any]
"""A STAC item as a plain dict, as returned by its catalog."""

JsonObject = Annotated[dict[str, Any], AfterValidator(check_json)]
"""A JSON object of any content that can be written again."""

# What names files, objects and jobs, and is no prefix of the scenes' own files.
NAME_PATTERN = r"^(?!backstop-|mask-)[A-Za-z0-9_][A-Za-z0-9._-]*$"
RESERVED_NAMES = frozenset(
    {"assessment", "candidates", "claim", "products", "request", "selection", "status"}
)
"""Names of a run's documents: the item of a mosaic is ``{name}.json`` and would replace one."""


def check_name(name: str) -> str:
    """Return ``name`` if it can name a mosaic.

    Raises
    ------
    ValueError
        If it cannot; lists the characters that are allowed.
    """
    # `$` alone lets Python accept a final newline.
    fits = re.match(NAME_PATTERN, name) and not name.endswith("\n")
    if len(name) > MAX_NAME_BYTES or not fits:
        msg = (
            f"{shown(name)} cannot name a mosaic: give up to {MAX_NAME_BYTES} letters (A-Z, a-z), "
            "digits, '.', '_' and '-', beginning with a letter, a digit or '_', and not with "
            "'backstop-' or 'mask-'"
        )
        raise ValueError(msg)
    if name.casefold() in RESERVED_NAMES:
        msg = f"{name!r} cannot name a mosaic: {name.lower()}.json is a document of its run"
        raise ValueError(msg)
    return check_name_part(name)


MosaicName = Annotated[
    str,
    AfterValidator(check_name),
    WithJsonSchema({"type": "string", "pattern": NAME_PATTERN, "maxLength": MAX_NAME_BYTES}),
]
FileName = Annotated[
    str,
    AfterValidator(partial(check_name_part, max_bytes=MAX_FILE_NAME_BYTES)),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MAX_FILE_NAME_BYTES}),
]
"""Name of a file in a folder that is known."""

# S3 allows keys of 1024 bytes; addresses with a signature are a few hundred characters longer.
MAX_ADDRESS_CHARS = 4096


def check_address(text: str) -> str:
    """Return ``text`` if it can be an address or a path: it is not empty and has no controls.

    Raises
    ------
    ValueError
        If it is empty, or holds a control character or half of a character.
    """
    unusable = next((c for c in text if c < " " or c == "\x7f" or "\ud800" <= c <= "\udfff"), None)
    if unusable is not None or not text.strip():
        problem = "is empty" if unusable is None else f"holds the character U+{ord(unusable):04X}"
        msg = f"{shown(text)} {problem}: give a path or a URI"
        raise ValueError(msg)
    return text


Address = Annotated[str, Field(max_length=MAX_ADDRESS_CHARS), AfterValidator(check_address)]
"""Path or URI."""

OnRadiometryConflict = Literal["trust-pixels", "skip", "fail"]


class Document(BaseModel):
    """Base of everything that crosses a process boundary as JSON: frozen, no unknown fields."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False
    )

    def to_json(self) -> bytes:
        """Return UTF-8 JSON: by alias, indented, in the order of the fields, with a newline."""
        content = self.model_dump(mode="json", by_alias=True)
        return orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    def fingerprint(self) -> str:
        """Return the SHA-256 of the canonical JSON (sorted keys), hexadecimal."""
        content = self.model_dump(mode="json", by_alias=True)
        return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
