"""Sections of the report below its map: a table of what each shows, and when.

A new section takes three steps: a template ``templates/sections/NAME.html``, a function that
returns its values (or None where a mosaic has nothing to show), and a line in `SECTIONS`.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import orjson

from cloudbuster.core.pixels.composite import CellState
from cloudbuster.models import RunEnd, Unpicked
from cloudbuster.products.report.places import never_clear_places
from cloudbuster.products.report.rasters import MapRasters
from cloudbuster.products.report.scene_rows import SceneRow, listed_scenes, without_places
from cloudbuster.products.report.timeline import acquired_day, make_timeline
from cloudbuster.products.stac_item import MosaicDescription
from cloudbuster.redaction import redacted_json

# Scenes that were not picked and are listed; the timeline and selection.json have all.
MOST_LISTED = 200
MOST_REQUEST_BYTES = 50_000
ENDS: dict[RunEnd | None, str] = {
    "covered": "the area is covered",
    "no-more-candidates": "no other candidate shows the rest clear",
    "rounds-spent": "as many rounds were made as are allowed",
    "over-budget": "further scenes would exceed the budget",
    None: "unknown",
}
# Colours that can be distinguished with any colour vision (Okabe and Ito 2008).
STATES: dict[CellState, tuple[str, str]] = {
    CellState.CLEAR: ("seen clear", "#56b4e9"),
    CellState.BACKSTOP: ("never clear; filled from the backstop", "#e69f00"),
    CellState.NEVER_CLEAR: ("seen, but never clear, and not filled", "#d55e00"),
    CellState.NEVER_OBSERVED: ("never observed", "#999999"),
}
# Band of the quality raster with the percentage of detectors that agree on a pixel.
AGREEMENT_BAND = "confidence"
FULL_AGREEMENT = 100
STAGES = {
    "query": "left out by the query",
    "filter": "left out by the filter",
    "choice": "usable, and not needed",
}


@dataclass(frozen=True)
class Facts:
    """What the sections show.

    Attributes
    ----------
    mosaic : MosaicDescription
        Description of the mosaic.
    scenes : list of SceneRow
        Its scenes.
    rasters : MapRasters
        Its rasters at the size of the map.
    folder : Path
        Folder of its products while the page is made.
    """

    mosaic: MosaicDescription
    scenes: list[SceneRow]
    rasters: MapRasters
    folder: Path


Make = Callable[[Facts], Mapping[str, Any] | None]
"""Function that returns the values of a section's template, or None to leave the section out."""


@dataclass(frozen=True)
class Section:
    """One section.

    Attributes
    ----------
    name : str
        Name of its template, and its id in the page.
    title : str
        Heading.
    make : callable
        Makes the values of the template.
    is_wide : bool
        Whether it takes the whole width of the page.
    """

    name: str
    title: str
    make: Make
    is_wide: bool = False


def make_sections(facts: Facts) -> list[dict[str, Any]]:
    """Make the values of all sections that have something to show."""
    found = []
    for section in SECTIONS:
        values = section.make(facts)
        if values is not None:
            found.append({"section": section, "values": values})
    return found


def _timeline(facts: Facts) -> Mapping[str, Any] | None:
    """Return the timeline of the scenes."""
    timeline = make_timeline(facts.scenes, facts.mosaic.unpicked)
    return None if timeline is None else {"timeline": timeline, "stages": STAGES}


def _scenes(facts: Facts) -> Mapping[str, Any]:
    """Return the scenes, and the greatest share that one of them gives."""
    most = max((scene.given_share for scene in facts.scenes), default=0.0) or 1.0
    listed = listed_scenes(facts.scenes)
    return {"scenes": listed, "most": most, "more": len(facts.scenes) - len(listed)}


def _area(facts: Facts) -> Mapping[str, Any] | None:
    """Return the assessment, and the end of the run in words."""
    assessment = facts.mosaic.assessment
    if assessment is None:
        return None
    return {"assessment": assessment, "end": ENDS[assessment.end]}


def _places(facts: Facts) -> Mapping[str, Any] | None:
    """Return the largest places that were never seen clear."""
    places = never_clear_places(facts.rasters)
    return {"places": places, "holes": facts.mosaic.holes} if places else None


def _radiometry(facts: Facts) -> Mapping[str, Any] | None:
    """Return the scenes with a verdict on their offset, and how many have each."""
    records = [scene.record for scene in facts.scenes if scene.record]
    if not records:
        return None
    verdicts = Counter(record.radiometry.verdict for record in records)
    scenes = [scene for _, scene in listed_scenes(facts.scenes) if scene.record]
    return {"scenes": scenes, "verdicts": verdicts, "more": len(records) - len(scenes)}


def _agreement(facts: Facts) -> Mapping[str, Any] | None:
    """Count how far the detectors of the chosen scenes agree; None if there was one for each."""
    band = next((each for each in facts.rasters.bands if each.name == AGREEMENT_BAND), None)
    if band is None:
        return None
    known = band.codes[facts.rasters.inside & (band.codes > 0)]
    values, counts = np.unique(known, return_counts=True)
    if set(values.tolist()) <= {FULL_AGREEMENT}:
        return None
    shares = zip(values.tolist(), (counts / known.size).tolist(), strict=True)
    return {"rows": sorted(shares, reverse=True), "most": float(counts.max() / known.size)}


def _self_check(facts: Facts) -> Mapping[str, Any] | None:
    """Return what the mosaic measured of its own error; None if it was not asked to."""
    check = facts.mosaic.self_check
    if check is None:
        return None
    bands = check.grounds[0].bands if check.grounds else ()
    return {"check": check, "most": max((band.difference_dn or 0 for band in bands), default=0)}


def _amounts(facts: Facts) -> Mapping[str, Any]:
    """Count cells, observations and bytes, which depend on no machine and no earlier run."""
    grid = facts.mosaic.grid
    cells = grid.width * grid.height
    delivered = sum(
        scene.record.observed_fraction
        for scene in facts.mosaic.scenes
        if scene.record and not scene.backstop
    )
    return {
        "cells": cells,
        "numbers": cells * len(facts.mosaic.bands),
        "delivered": delivered,
        "bytes": sum(size for _, _, size in _files(facts) if size),
    }


def _file_list(facts: Facts) -> Mapping[str, Any]:
    """Return links to the other products."""
    rows = [
        {"name": name, "href": f"./{quote(name)}", "what": what, "size": size}
        for name, what, size in _files(facts)
    ]
    return {"files": rows}


def _files(facts: Facts) -> list[tuple[str, str, int | None]]:
    """Return name, content and size of the products; a size of None is not known yet."""
    mosaic = facts.mosaic
    named = [
        (mosaic.cloudless, "the mosaic"),
        *((name, f"band {band} of the mosaic") for band, name in mosaic.band_files.items()),
        (mosaic.cloudy, "the backstop alone"),
        (mosaic.quality, "quality of each cell"),
        (mosaic.preview, "picture in true colour"),
        (f"{mosaic.name}.json", "STAC item: scenes, coverage, request"),
        *([(mosaic.holes, "places that were never seen clear")] if mosaic.holes else []),
    ]
    return [(name, what, _size(facts.folder / name)) for name, what in named]


def _size(path: Path) -> int | None:
    """Return the size of a file in bytes; None if it is not there."""
    return path.stat().st_size if path.is_file() else None


def _unpicked(facts: Facts) -> Mapping[str, Any] | None:
    """Return the scenes that were found and not used, and those that failed."""
    failures = facts.mosaic.assessment.failures if facts.mosaic.assessment else ()
    unpicked = facts.mosaic.unpicked
    if not failures and not unpicked:
        return None
    return {
        "failures": [
            (each.item_id, f"{each.error}: {without_places(each.message)}")
            for each in failures[:MOST_LISTED]
        ],
        "rows": [
            {
                "day": acquired_day(each),
                "name": each.item_id,
                "cover": each.cloud_cover,
                "stage": STAGES[each.stage],
                "reason": without_places(each.reason),
            }
            for each in sorted(unpicked, key=_by_day)[:MOST_LISTED]
        ],
        "more": max(0, len(unpicked) - MOST_LISTED),
        "more_failures": max(0, len(failures) - MOST_LISTED),
    }


def _by_day(scene: Unpicked) -> tuple[bool, date, str]:
    """Order scenes by their day, those of an unknown day last."""
    day = acquired_day(scene)
    return day is None, day or date.max, scene.item_id


def _request(facts: Facts) -> Mapping[str, Any] | None:
    """Return the request as redacted JSON, without fields that have no influence on pixels."""
    if facts.mosaic.request is None:
        return None
    content = facts.mosaic.request.model_dump(
        mode="json", by_alias=True, exclude={"output", "force", "limits"}
    )
    shown = redacted_json(content)
    text = orjson.dumps(shown, option=orjson.OPT_INDENT_2)
    # An area of thousands of vertices takes five times the bytes with one number on each line.
    return {"text": (text if len(text) <= MOST_REQUEST_BYTES else orjson.dumps(shown)).decode()}


SECTIONS = (
    Section("timeline", "Timeline", _timeline, is_wide=True),
    Section("scenes", "What each scene gives", _scenes, is_wide=True),
    Section("area", "The area", _area),
    Section("places", "Never seen clear", _places),
    Section("agreement", "Agreement of masks", _agreement),
    Section("self_check", "Self-check", _self_check, is_wide=True),
    Section("amounts", "Cells and bytes", _amounts),
    Section("files", "Files", _file_list),
    Section("unpicked", "Scenes that are not used", _unpicked, is_wide=True),
    Section("radiometry", "Radiometry", _radiometry, is_wide=True),
    Section("request", "Request", _request, is_wide=True),
)
"""Sections in the order of the page."""


def states_of(mosaic: MosaicDescription) -> list[dict[str, Any]]:
    """Return the share, colour and meaning of each state of a cell."""
    shares = {
        CellState.CLEAR: mosaic.clear_fraction,
        CellState.BACKSTOP: mosaic.backstop_fraction,
        CellState.NEVER_CLEAR: mosaic.hole_fraction - mosaic.never_observed_fraction,
        CellState.NEVER_OBSERVED: mosaic.never_observed_fraction,
    }
    return [
        {"code": int(state), "what": what, "colour": colour, "share": max(0.0, shares[state])}
        for state, (what, colour) in STATES.items()
    ]
