"""The base of every document of the contract, and types that several documents share."""

import hashlib
import re
from typing import Annotated, Any, Literal

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, WithJsonSchema

# Greatest index of a scene: `scene_index` is uint16, 0 means none, and 65535 is not used because it
# is Sentinel-2's value of saturated pixels.
MAX_SCENE_INDEX = 65_534

SCHEMA_DESCRIPTION = "Name and version of this document's schema."

Geometry = dict[str, Any]
"""A GeoJSON object: a geometry, a Feature or a FeatureCollection."""
Item = dict[str, Any]
"""A STAC item as a plain dict, as returned by its catalog."""

# What names files, objects and jobs, and is no prefix of the scenes' own files.
NAME_PATTERN = r"^(?!backstop-|mask-)[A-Za-z0-9_][A-Za-z0-9._-]*$"
MAX_NAME_LENGTH = 128


def check_name(name: str) -> str:
    """Return ``name`` if it can name a mosaic.

    Raises
    ------
    ValueError
        If it cannot; lists the characters that are allowed.
    """
    # `$` alone lets Python accept a final newline.
    if len(name) <= MAX_NAME_LENGTH and re.match(NAME_PATTERN, name) and not name.endswith("\n"):
        return name
    msg = (
        f"{name!r} cannot name a mosaic: give up to {MAX_NAME_LENGTH} letters (A-Z, a-z), digits, "
        "'.', '_' and '-', beginning with a letter, a digit or '_', and not with 'backstop-' or "
        "'mask-'"
    )
    raise ValueError(msg)


MosaicName = Annotated[
    str,
    AfterValidator(check_name),
    WithJsonSchema({"type": "string", "pattern": NAME_PATTERN, "maxLength": MAX_NAME_LENGTH}),
]

OnRadiometryConflict = Literal["trust-pixels", "skip", "fail"]


class Document(BaseModel):
    """Base of everything that crosses a process boundary as JSON: frozen, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    def to_json(self) -> bytes:
        """Return UTF-8 JSON: by alias, indented, in the order of the fields, with a newline."""
        content = self.model_dump(mode="json", by_alias=True)
        return orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    def fingerprint(self) -> str:
        """Return the SHA-256 of the canonical JSON (sorted keys), hexadecimal."""
        content = self.model_dump(mode="json", by_alias=True)
        return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
