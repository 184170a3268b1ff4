"""Candidates whose footprint is a whole tile, and whose data are half of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cloudbuster.models import MosaicRequest
from tests.factories import SceneSpec, area_of, write_scene

SIZE = 120
WHOLE = SceneSpec(size=SIZE)
WEST_HALF = np.s_[:, : SIZE // 2]
EAST_HALF = np.s_[:, SIZE // 2 :]


def half(number: int, part: tuple[slice, slice], **changes: Any) -> SceneSpec:
    """A scene whose footprint is the whole tile, and whose data are half of it."""
    pixels = np.zeros((SIZE, SIZE), np.uint16)
    pixels[part] = 500 + number
    empty = np.s_[:, SIZE // 4 :] if part == WEST_HALF else np.s_[:, : SIZE // 4]
    return replace(
        WHOLE,
        id=f"S2A_33TWL_202305{number:02d}_0_L2A",
        datetime=f"2023-05-{number:02d}T10:00:00Z",
        pixels=pixels,
        scl=[(*empty, 0), *changes.pop("scl", [])],
        **changes,
    )


def cloudy(columns: slice) -> list[tuple[slice, slice, int]]:
    """Cloud of high probability (class 9) in columns of 20 m."""
    return [(slice(None), columns, 9)]


# Four scenes of the west, each with clouds over a half of its data, then two clear ones of the
# east. By their metadata the first four are as good as the last two.
CANDIDATES = (
    half(10, WEST_HALF, cloud_cover=1.0, scl=cloudy(slice(0, 15))),
    half(11, WEST_HALF, cloud_cover=1.0, scl=cloudy(slice(15, 30))),
    half(12, WEST_HALF, cloud_cover=1.0, scl=cloudy(slice(0, 15))),
    half(13, WEST_HALF, cloud_cover=1.0, scl=cloudy(slice(15, 30))),
    half(14, EAST_HALF, cloud_cover=1.0),
    half(15, EAST_HALF, cloud_cover=1.0),
)


def request_of(folder: Path, **changes: Any) -> MosaicRequest:
    document = {
        "name": "halves",
        "aoi": area_of(WHOLE),
        "query": {"catalog": str(folder / "catalog"), "maxclouds": 100},
        "gather": {"bands": ["B02", "B04"], "dilate_m": 0},
        # Each place is delivered once, so that a scene that fails leaves a hole.
        "merge": {"composite": "first"},
        "output": str(folder / "run"),
    }
    return MosaicRequest.model_validate(document | changes)


def write_candidates(folder: Path, specs: tuple[SceneSpec, ...] = CANDIDATES) -> None:
    for spec in specs:
        write_scene(folder / "catalog", spec)
