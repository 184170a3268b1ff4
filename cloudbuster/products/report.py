"""A mosaic explained on one page: what it covers, and which scene gave what.

The page is one HTML file that needs nothing else: the pictures lie in it, there is no script. The
same mosaic gives the same bytes.
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
import rasterio
from rasterio.enums import Resampling

from cloudbuster.core.arrays import Raster
from cloudbuster.core.composite import State
from cloudbuster.errors import redacted
from cloudbuster.models import Assessment
from cloudbuster.products.preview import png_of, preview_shape
from cloudbuster.products.stac_item import QUALITY_BANDS, MosaicDescription, MosaicScene
from cloudbuster.storage.uri import write_bytes

# Colours that people with any colour vision tell apart (Okabe and Ito 2008).
STATES: dict[State, tuple[str, str]] = {
    State.CLEAR: ("seen clear", "#56b4e9"),
    State.BACKSTOP: ("never clear; filled from the backstop", "#e69f00"),
    State.NEVER_CLEAR: ("seen, but never clear, and not filled", "#d55e00"),
    State.NEVER_OBSERVED: ("never observed", "#999999"),
}
# Neighbours among the indices get hues far apart: the golden section of the circle.
HUE_STEP = 0.618034
LIGHTNESS = (0.45, 0.65, 0.55)
SATURATION = 0.6

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class ReportFiles:
    """The products that the page shows.

    Attributes
    ----------
    cloudless, quality, preview : Path
        Rasters of the mosaic, and its picture.
    """

    cloudless: Path
    quality: Path
    preview: Path


def write_report(
    mosaic: MosaicDescription,
    files: ReportFiles,
    uri: str,
    *,
    assessment: Assessment | None = None,
) -> None:
    """Write the page of a mosaic, whole or not at all.

    Parameters
    ----------
    mosaic : MosaicDescription
        What its item says.
    files : ReportFiles
        Its products.
    uri : str
        Where to.
    assessment : Assessment, optional
        What the scenes cover of the area that was asked for.

    Raises
    ------
    OutputError, TryAgainError
        Where the file cannot be written, or the disk is full.
    """
    page = _template().render(
        mosaic=mosaic,
        assessment=assessment,
        pictures=_pictures(files),
        states=_state_rows(mosaic),
        scenes=[_scene_row(scene) for scene in mosaic.scenes],
        period=_period(mosaic),
        request=_request(mosaic),
    )
    write_bytes(uri, page.encode())


@functools.cache
def _template() -> jinja2.Template:
    """Compile the page's template once: most of the time that a page takes went into that."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cloudbuster.products", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["percent"] = percent
    environment.filters["area"] = area
    return environment.get_template("report.html")


def scene_colour(index: int) -> Colour:
    """Colour of a scene on the map and in the table: red, green, blue, 0 to 255."""
    hue = (index * HUE_STEP) % 1
    rgb = colorsys.hls_to_rgb(hue, LIGHTNESS[index % len(LIGHTNESS)], SATURATION)
    red, green, blue = (round(255 * part) for part in rgb)
    return red, green, blue


def area(km2: float) -> str:
    """Write an area: four digits that mean something, and no power of ten."""
    return f"{km2:.4g}" if km2 < 1000 else f"{km2:,.0f}"


def percent(share: float) -> str:
    """Write a share in percent; 0 and 100 only where it is exactly that."""
    value = 100 * share
    if value in (0, 100):
        return f"{value:.0f} %"
    if value < 1:
        return f"{max(value, 0.001):.3g} %"
    return f"{min(value, 99.999):.3f} %" if value > 99 else f"{value:.1f} %"


def _state_rows(mosaic: MosaicDescription) -> list[dict[str, Any]]:
    shares = {
        State.CLEAR: mosaic.clear_fraction,
        State.BACKSTOP: mosaic.backstop_fraction,
        State.NEVER_CLEAR: mosaic.hole_fraction - mosaic.never_observed_fraction,
        State.NEVER_OBSERVED: mosaic.never_observed_fraction,
    }
    return [
        {"what": what, "colour": colour, "share": max(0.0, shares[state])}
        for state, (what, colour) in STATES.items()
    ]


def _scene_row(scene: MosaicScene) -> dict[str, Any]:
    return {
        "index": scene.index,
        "colour": "#{:02x}{:02x}{:02x}".format(*scene_colour(scene.index)),
        "backstop": scene.backstop,
        "share": scene.share,
        "record": scene.record,
    }


def _period(mosaic: MosaicDescription) -> tuple[str, str] | None:
    """First and last day of the scenes; None where no document tells."""
    times = [
        scene.record.acquired for scene in mosaic.scenes if scene.record and scene.record.acquired
    ]
    return (f"{min(times):%Y-%m-%d}", f"{max(times):%Y-%m-%d}") if times else None


def _request(mosaic: MosaicDescription) -> str | None:
    """Give the request as text, without what changes no pixel."""
    if mosaic.request is None:
        return None
    content = mosaic.request.model_dump(
        mode="json", by_alias=True, exclude={"output", "force", "limits"}
    )
    return redacted(orjson.dumps(content, option=orjson.OPT_INDENT_2).decode())


def _pictures(files: ReportFiles) -> dict[str, str]:
    """Pictures as data URIs: the preview, the states, the scenes."""
    state = _reduced(files.quality, list(QUALITY_BANDS).index("state") + 1)
    index = _reduced(files.cloudless, -1)
    known = {int(code): _rgb(colour) for code, (_, colour) in STATES.items()}
    scenes = {int(number): scene_colour(int(number)) for number in np.unique(index) if number}
    return {
        "preview": _data_uri(files.preview.read_bytes()),
        "states": _data_uri(_png(state, known)),
        "scenes": _data_uri(_png(index, scenes)),
    }


def _reduced(path: Path, band: int) -> Raster:
    """Read a band of codes as large as the preview: the nearest ones, none invented."""
    with rasterio.open(path) as dataset:
        number = dataset.count if band < 0 else band
        shape = preview_shape(dataset.height, dataset.width)
        codes: Raster = dataset.read(number, out_shape=shape, resampling=Resampling.nearest)
    return codes


def _rgb(colour: str) -> Colour:
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue


def _png(codes: Raster, colours: Mapping[int, Colour]) -> bytes:
    """Paint codes; those without a colour are transparent."""
    picture = np.zeros((4, *codes.shape), dtype=np.uint8)
    for code, colour in colours.items():
        cells = codes == code
        for channel, value in enumerate((*colour, 255)):
            picture[channel][cells] = value
    return png_of(picture)


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
