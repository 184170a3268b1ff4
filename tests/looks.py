"""Gathered scenes of given classes, values and times, for composites of several looks."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cloudbuster.core.grids.grid import Grid
from cloudbuster.gathered.scene_writer import open_scene_writer
from cloudbuster.models import GridDocument
from tests.hand_made import BANDS, make_record

FIRST_DAY = datetime(2020, 6, 1, 10, tzinfo=UTC)


@dataclass(frozen=True)
class Look:
    """A scene: its classes and the DN of its first band; those of the others are higher."""

    classes: npt.ArrayLike
    dn: npt.ArrayLike
    day: int = 0
    minutes: float = 0
    item_id: str | None = None
    datatake: str | None = None
    backstop: bool = False
    distance: int | None = None


def write_look(folder: Path, index: int, look: Look, grid: Grid) -> None:
    """Write a gathered scene, band k of which holds its DN plus 10 * k."""
    classes = np.broadcast_to(np.asarray(look.classes), grid.shape)
    dn = np.broadcast_to(np.asarray(look.dn), grid.shape)
    kept = classes >= (1 if look.backstop else 2)
    pixels = np.stack([np.where(kept, dn + 10 * band, 0) for band in range(len(BANDS))])
    stem = f"{'backstop-' if look.backstop else ''}m-{index:02d}"
    path = folder / f"{stem}.tif"
    with open_scene_writer(path, grid, BANDS, index=index) as writer:
        distance = np.full(classes.shape, look.distance or 1000 * index)
        writer.write(grid.window, pixels.astype(np.uint16), classes, distance)
    item_id = look.item_id or f"ITEM_{index}"
    properties = {"s2:datatake_id": look.datatake} if look.datatake else {}
    record = make_record(
        index,
        item_id,
        backstop=look.backstop,
        acquired=FIRST_DAY + timedelta(days=look.day, minutes=look.minutes),
        grid=GridDocument.of(grid),
        raster=path.name,
        item={"id": item_id, "properties": properties, "links": []},
    )
    path.with_suffix(".json").write_bytes(record.to_json())
