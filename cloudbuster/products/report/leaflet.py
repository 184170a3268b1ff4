"""Leaflet, the library of the map, as text that a page can contain."""

import functools
import re
from dataclasses import dataclass
from importlib import resources

PACKAGE = "js_lib_leaflet"
"""Package of the distribution django-js-lib-leaflet, which carries Leaflet's files."""

# Pictures of controls and markers that the map does not use, and a behaviour of Internet Explorer:
# a page must not ask for them.
_ADDRESSES = re.compile(r"[^;{}]*url\([^)]*\)[^;}]*;?")
# Developer tools would ask for the source map.
_SOURCE_MAP = re.compile(r"//# sourceMappingURL=.*")


@dataclass(frozen=True)
class Leaflet:
    """Leaflet's script and style sheet.

    Attributes
    ----------
    script, style : str
        Their text, without addresses of other files.
    """

    script: str
    style: str


@functools.cache
def leaflet() -> Leaflet:
    """Read Leaflet from its package."""
    folder = resources.files(PACKAGE) / "static" / PACKAGE
    script = (folder / "leaflet.js").read_text(encoding="utf-8")
    style = (folder / "leaflet.css").read_text(encoding="utf-8")
    return Leaflet(_SOURCE_MAP.sub("", script), _ADDRESSES.sub("", style))
