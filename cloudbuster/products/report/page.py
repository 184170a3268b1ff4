"""Write the report of a mosaic: one HTML page to explore it with.

The page contains its pictures, values, script and style; it asks for no other file, and its content
security policy forbids it to. The same mosaic gives the same bytes.
"""

import base64
import functools
import hashlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import orjson

from cloudbuster.core.texts.number_texts import format_area, format_percent
from cloudbuster.products.report.explorer import cell_unit, crs_name, explorer_data
from cloudbuster.products.report.leaflet import leaflet
from cloudbuster.products.report.rasters import read_rasters
from cloudbuster.products.report.scene_rows import scene_rows, without_places
from cloudbuster.products.report.sections import Facts, make_sections, states_of
from cloudbuster.products.stac_item import MosaicDescription
from cloudbuster.storage.files.uri import write_bytes


@dataclass(frozen=True)
class ReportFiles:
    """Products that the report shows.

    Attributes
    ----------
    cloudless, quality : Path
        Rasters of the mosaic.
    folder : Path
        Folder of all products: the report lists their sizes.
    """

    cloudless: Path
    quality: Path
    folder: Path


def write_report(
    mosaic: MosaicDescription,
    files: ReportFiles,
    uri: str,
) -> None:
    """Write the report of a mosaic, whole or not at all.

    Parameters
    ----------
    mosaic : MosaicDescription
        Description of the mosaic, as in its STAC item.
    files : ReportFiles
        Products of the mosaic.
    uri : str
        Path or URI of the report.

    Raises
    ------
    OutputError, TryAgainError
        If the file cannot be written, or the disk is full.
    """
    facts = Facts(
        mosaic,
        scene_rows(mosaic),
        read_rasters(files.cloudless, files.quality, mosaic.grid, mosaic.area),
        files.folder,
    )
    page = _template().render(
        mosaic=mosaic,
        assessment=mosaic.assessment,
        sections=make_sections(facts),
        states=states_of(mosaic),
        picture=facts.rasters.picture,
        period=_days(mosaic),
        unit=cell_unit(mosaic.grid.crs),
        crs=crs_name(mosaic.grid.crs),
        data=_json(explorer_data(facts)),
        **_assets(),
    )
    write_bytes(uri, page.encode())


def _days(mosaic: MosaicDescription) -> tuple[str, str] | None:
    """First and last day of the scenes; None if no acquisition time is known."""
    times = mosaic.acquisition_times
    return (f"{times[0]:%Y-%m-%d}", f"{times[-1]:%Y-%m-%d}") if times else None


@functools.cache
def _template() -> jinja2.Template:
    """Template of the page, compiled once: compiling takes most of the time of a page."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cloudbuster.products.report", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["percent"] = _percent
    environment.filters["area"] = format_area
    environment.filters["bytes"] = _bytes
    environment.filters["without_places"] = without_places
    return environment.get_template("page.html")


@functools.cache
def _assets() -> dict[str, str]:
    """Script and style of the page, and the policy that allows these alone."""
    folder = resources.files("cloudbuster.products.report") / "templates"
    library = leaflet()
    scripts = [library.script, (folder / "report.js").read_text(encoding="utf-8")]
    style = f"{library.style}\n{(folder / 'report.css').read_text(encoding='utf-8')}"
    policy = {
        "default-src": "'none'",
        "script-src": " ".join(_digest(script) for script in scripts),
        "style-src": _digest(style),
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return {
        "policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        # Texts of this package and of Leaflet, whose digests are in the policy.
        "library": scripts[0],
        "script": scripts[1],
        "style": style,
    }


def _digest(text: str) -> str:
    """Return the source expression that allows one inline text (CSP level 3, section 2.3.1)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _json(content: dict[str, Any]) -> str:
    """Write JSON that can stand inside of a ``script`` element."""
    text = orjson.dumps(content).decode()
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _percent(share: float) -> str:
    """Format a share as a percentage that no line break divides."""
    return format_percent(share).replace(" ", "\N{NO-BREAK SPACE}")


def _bytes(size: int) -> str:
    """Format a size in bytes, kB, MB or GB."""
    value, unit = float(size), "bytes"
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            break
        value /= 1000
    text = f"{value:.0f}" if unit == "bytes" or value >= 100 else f"{value:.3g}"
    return f"{text}\N{NO-BREAK SPACE}{unit}"
