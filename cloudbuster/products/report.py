"""Write the report of a mosaic: an HTML page with its coverage, maps and scenes.

The page embeds its pictures, and has no scripts and no links to other files. The same mosaic gives
the same bytes.
"""

import base64
import colorsys
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import orjson

from cloudbuster.core.arrays import Raster
from cloudbuster.core.pixels.composite import CellState
from cloudbuster.core.projections.crs import parse_crs
from cloudbuster.core.texts.number_texts import format_area, format_percent
from cloudbuster.models import RunEnd
from cloudbuster.products.preview import BACKSTOP_COLOUR, encode_png, read_codes
from cloudbuster.products.stac_item import QUALITY_BANDS, MosaicDescription, MosaicScene
from cloudbuster.redaction import redacted_json
from cloudbuster.storage.files.uri import write_bytes

# Colours that can be distinguished with any colour vision (Okabe and Ito 2008).
STATES: dict[CellState, tuple[str, str]] = {
    CellState.CLEAR: ("seen clear", "#56b4e9"),
    CellState.BACKSTOP: (
        "never clear; filled from the backstop",
        "#" + bytes(BACKSTOP_COLOUR).hex(),
    ),
    CellState.NEVER_CLEAR: ("seen, but never clear, and not filled", "#d55e00"),
    CellState.NEVER_OBSERVED: ("never observed", "#999999"),
}
ENDS: dict[RunEnd | None, str] = {
    "covered": "the area is covered",
    "no-more-candidates": "no other candidate shows the rest clear",
    "rounds-spent": "as many rounds were made as are allowed",
    "over-budget": "further scenes would exceed the budget",
    None: "unknown",
}
# Step of the hue from one scene index to the next: the golden ratio spreads neighbours apart.
HUE_STEP = 0.618034
LIGHTNESS = (0.45, 0.65, 0.55)
SATURATION = 0.6

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class ReportFiles:
    """Products that the report shows.

    Attributes
    ----------
    cloudless, quality : Path
        Rasters of the mosaic.
    preview : Path
        PNG of the mosaic.
    """

    cloudless: Path
    quality: Path
    preview: Path


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
    page = _template().render(
        mosaic=mosaic,
        assessment=mosaic.assessment,
        end=ENDS[mosaic.assessment.end] if mosaic.assessment else None,
        pictures=_pictures(files),
        states=_state_rows(mosaic),
        scenes=_scene_rows(mosaic),
        unit=cell_unit(mosaic.grid.crs),
        period=_days(mosaic),
        request=_request_text(mosaic),
    )
    write_bytes(uri, page.encode())


@functools.cache
def _template() -> jinja2.Template:
    """Template of the page, compiled once: compiling takes most of the time of a page."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cloudbuster.products", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["percent"] = _percent
    environment.filters["area"] = format_area
    return environment.get_template("report.html")


def _percent(share: float) -> str:
    """Format a share as a percentage that no line break divides."""
    return format_percent(share).replace(" ", "\N{NO-BREAK SPACE}")


def scene_colour(index: int) -> Colour:
    """Colour of a scene on the map and in the table: red, green and blue, 0 to 255."""
    hue = (index * HUE_STEP) % 1
    rgb = colorsys.hls_to_rgb(hue, LIGHTNESS[index % len(LIGHTNESS)], SATURATION)
    red, green, blue = (round(255 * part) for part in rgb)
    return red, green, blue


def _state_rows(mosaic: MosaicDescription) -> list[dict[str, Any]]:
    """Rows of the legend: the share and colour of each state of a cell."""
    shares = {
        CellState.CLEAR: mosaic.clear_fraction,
        CellState.BACKSTOP: mosaic.backstop_fraction,
        CellState.NEVER_CLEAR: mosaic.hole_fraction - mosaic.never_observed_fraction,
        CellState.NEVER_OBSERVED: mosaic.never_observed_fraction,
    }
    return [
        {"what": what, "colour": colour, "share": max(0.0, shares[state])}
        for state, (what, colour) in STATES.items()
    ]


def _scene_rows(mosaic: MosaicDescription) -> list[dict[str, Any]]:
    """Rows of the scene table: one for each scene, whatever number of rasters it has."""
    groups: dict[str | int, list[MosaicScene]] = {}
    for each in mosaic.scenes:
        groups.setdefault(each.record.item_id if each.record else each.index, []).append(each)
    return [_scene_row(group) for group in groups.values()]


def _scene_row(rasters: list[MosaicScene]) -> dict[str, Any]:
    """Row of one scene: its indices, what it was expected to add, and what it gives."""
    clear = [each for each in rasters if not each.backstop]
    backstops = [each for each in rasters if each.backstop]
    expected = next((each.expected_share for each in clear), None)
    return {
        "codes": [
            (index, "#{:02x}{:02x}{:02x}".format(*scene_colour(index)))
            for index in sorted({each.index for each in rasters})
        ],
        "expected": expected,
        "clear_share": sum(each.share for each in clear) if clear else None,
        "backstop_share": sum(each.share for each in backstops) if backstops else None,
        "record": (clear or backstops)[0].record,
    }


def cell_unit(crs: str) -> str:
    """Return the unit of the cells of a grid: ``m``, ``°``, or the name of that of its CRS."""
    axes = parse_crs(crs).axis_info
    name = axes[0].unit_name if axes else "unknown"
    return {"metre": "m", "degree": "°"}.get(name, name)


def _days(mosaic: MosaicDescription) -> tuple[str, str] | None:
    """First and last day of the scenes; None if no acquisition time is known."""
    times = mosaic.acquisition_times
    return (f"{times[0]:%Y-%m-%d}", f"{times[-1]:%Y-%m-%d}") if times else None


def _request_text(mosaic: MosaicDescription) -> str | None:
    """Request as JSON text, redacted, without the fields that have no influence on pixels."""
    if mosaic.request is None:
        return None
    content = mosaic.request.model_dump(
        mode="json", by_alias=True, exclude={"output", "force", "limits"}
    )
    return orjson.dumps(redacted_json(content), option=orjson.OPT_INDENT_2).decode()


def _pictures(files: ReportFiles) -> dict[str, str]:
    """Make data URIs of the pictures: the preview, and the maps of states and of scenes."""
    states = read_codes(files.quality, list(QUALITY_BANDS).index("state") + 1)
    indices = read_codes(files.cloudless, -1)
    state_colours = {int(code): _rgb(colour) for code, (_, colour) in STATES.items()}
    scene_colours = {int(code): scene_colour(int(code)) for code in np.unique(indices) if code}
    return {
        "preview": _data_uri(files.preview.read_bytes()),
        "states": _data_uri(_paint(states, state_colours)),
        "scenes": _data_uri(_paint(indices, scene_colours)),
    }


def _rgb(colour: str) -> Colour:
    """Parse a colour such as ``#56b4e9``."""
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue


def _paint(codes: Raster, colours: Mapping[int, Colour]) -> bytes:
    """Make a PNG of codes by their colours; codes without a colour are transparent."""
    picture = np.zeros((4, *codes.shape), dtype=np.uint8)
    for code, colour in colours.items():
        cells = codes == code
        for channel, value in enumerate((*colour, 255)):
            picture[channel][cells] = value
    return encode_png(picture)


def _data_uri(png: bytes) -> str:
    """Make the data URI of a PNG."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
