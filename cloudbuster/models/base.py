"""The base of every document of the contract, and types that several documents share."""

import hashlib
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, StringConstraints

# Greatest index of a scene: `scene_index` is uint16, 0 means none, and 65535 is not used because it
# is Sentinel-2's value of saturated pixels.
MAX_SCENE_INDEX = 65_534

SCHEMA_DESCRIPTION = "Name and version of this document's schema."

Geometry = dict[str, Any]
"""A GeoJSON object: a geometry, a Feature or a FeatureCollection."""
Item = dict[str, Any]
"""A STAC item as a plain dict, as returned by its catalog."""

MosaicName = Annotated[
    str,
    StringConstraints(  # `$` alone matches before a final newline in Python.
        pattern=r"^(?!backstop-|mask-)[A-Za-z0-9_][A-Za-z0-9._-]*$(?!\n)", max_length=128
    ),
]

OnRadiometryConflict = Literal["trust-pixels", "skip", "fail"]


class Document(BaseModel):
    """Base of everything that crosses a process boundary as JSON: frozen, no unknown fields."""

    # The pattern of `MosaicName` has a look-ahead, which pydantic's default engine lacks.
    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, regex_engine="python-re"
    )

    def to_json(self) -> bytes:
        """Return UTF-8 JSON: by alias, indented, in the order of the fields, with a newline."""
        content = self.model_dump(mode="json", by_alias=True)
        return orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    def fingerprint(self) -> str:
        """Return the SHA-256 of the canonical JSON (sorted keys), hexadecimal."""
        content = self.model_dump(mode="json", by_alias=True)
        return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
