"""Reading of the report: its text, its pictures and the values of its map."""

import base64
import re
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import orjson

# Elements without an end tag.
VOID = {"img", "input", "link", "meta"}
# Elements that begin a new word.
APART = {"dd", "dt", "h1", "h2", "h3", "li", "p", "td", "text", "th"}


class ReportPage(HTMLParser):
    """The report, parsed without a browser.

    Attributes
    ----------
    content : str
        The whole page.
    text : str
        What a reader sees.
    elements : list of tuple of str and dict
        Name and attributes of each element.
    data : dict
        Data of the map.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.content = path.read_text(encoding="utf-8")
        self.text = ""
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.inline: dict[str, list[str]] = {"script": [], "style": []}
        self.feed(self.content)
        assert self.open == []
        (text,) = re.findall(
            r'<script type="application/json" id="data">(.*?)</script>', self.content
        )
        self.data: dict[str, Any] = orjson.loads(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag in self.inline:
            self.inline[tag].append("")
        self.text += " " if tag in APART else ""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in self.inline:
            self.inline[self.open[-1]][-1] += data
        else:
            self.text += data

    @property
    def words(self) -> str:
        """Text of the page with single spaces."""
        return re.sub(r"\s+", " ", self.text)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of all elements of a name."""
        return [attributes for name, attributes in self.elements if name == tag]

    def codes(self, name: str) -> np.ndarray:
        """Values of a band of the map."""
        (band,) = (band for band in self.data["bands"] if band["name"] == name)
        planes = zlib.decompress(base64.b64decode(band["data"]))
        cells = np.frombuffer(planes, dtype=np.uint8).reshape(band["bytes"], *self.data["codes"])
        values: np.ndarray = sum(
            plane.astype(np.uint16) << (8 * number) for number, plane in enumerate(cells)
        )
        return values
