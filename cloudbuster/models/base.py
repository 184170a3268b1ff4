"""What every document of the contract shares: its base, and the values that several hold."""

import hashlib
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, StringConstraints

# `scene_index` is uint16 and 0 means none; 65535 is kept free as Sentinel-2's saturated value.
MAX_SCENE_INDEX = 65_534

Geometry = dict[str, Any]
"""A GeoJSON object: a geometry, a Feature or a FeatureCollection."""
Item = dict[str, Any]
"""A STAC item as a plain dict, as its catalog gave it."""

MosaicName = Annotated[
    str,
    StringConstraints(  # `$` alone lets Python accept a final newline.
        pattern=r"^(?!backstop-|mask-)[A-Za-z0-9_][A-Za-z0-9._-]*$(?!\n)", max_length=128
    ),
]

OnRadiometryConflict = Literal["trust-pixels", "skip", "fail"]


class Document(BaseModel):
    """Base of everything that crosses a process boundary as JSON."""

    # python-re: the pattern of `MosaicName` looks ahead, which the default engine cannot.
    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, regex_engine="python-re"
    )

    def to_json(self) -> bytes:
        """UTF-8 JSON with aliases, indented, keys in the order of the model, final newline."""
        content = self.model_dump(mode="json", by_alias=True)
        return orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    def fingerprint(self) -> str:
        """SHA-256 of the canonical JSON (sorted keys), hexadecimal."""
        content = self.model_dump(mode="json", by_alias=True)
        return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
