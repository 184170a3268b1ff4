"""Explain one pixel of a mosaic: which scene it comes from, and why each other scene lost."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import shapely

from cloudbuster.catalogs.item_properties import acquired_of
from cloudbuster.catalogs.search import footprint_geometry
from cloudbuster.core.grids.grid import Grid
from cloudbuster.core.pixels.cell_reasons import CellLook, LookReason, reasons_of
from cloudbuster.core.pixels.composite import CellState
from cloudbuster.core.pixels.masks import DISTANCE_LIMIT_M, PixelClass
from cloudbuster.core.projections.transformers import transformer
from cloudbuster.errors import BadInputError, RequestError
from cloudbuster.gathered.scene_raster import BACKSTOP_PREFIX, SceneRaster, scene_stem
from cloudbuster.models import Delivery, Explanation, PixelSource, SceneFate, Unpicked
from cloudbuster.models.finished import CellStateName, Fate
from cloudbuster.mosaics.evidence import LookEvidence, composite_evidence
from cloudbuster.mosaics.opened import FinishedMosaic, SceneRow
from cloudbuster.mosaics.places import Cell, cell_at, cell_of
from cloudbuster.mosaics.rasters import MosaicRasters
from cloudbuster.storage.files.uri import is_remote, join
from cloudbuster.storage.rasters.gdal_env import gdal_env

STATE_NAMES: dict[int, CellStateName] = {
    CellState.NEVER_OBSERVED: "never observed",
    CellState.NEVER_CLEAR: "never clear",
    CellState.BACKSTOP: "backstop",
    CellState.CLEAR: "clear",
}

OUTSIDE_UNPICKED = "its footprint does not contain the place, and it was not picked"


@dataclass(frozen=True)
class Pixel:
    """A pixel of the products.

    Attributes
    ----------
    cell : Cell
        Where it is.
    values : mapping of str to int
        DN by band.
    index, cloudy_index : int
        Scene indices of the mosaic and of the backstop; 0 for none.
    quality : mapping of str to int
        Values of the quality raster by band.
    """

    cell: Cell
    values: dict[str, int]
    index: int
    cloudy_index: int
    quality: dict[str, int]

    @property
    def is_backstop(self) -> bool:
        """Whether the pixel is filled from the backstop."""
        return self.quality["state"] == CellState.BACKSTOP


@dataclass(frozen=True)
class _Seen:
    """What a gathered raster shows of the pixel.

    Attributes
    ----------
    pixel_class : PixelClass
        Class of the cell; unobserved beyond the raster.
    distance_m : int
        Metres to the nearest masked cloud.
    """

    pixel_class: PixelClass
    distance_m: int


def explain_place(
    mosaic: FinishedMosaic, x: float, y: float, *, crs: str | None = None
) -> Explanation:
    """Explain the pixel at a place.

    Parameters
    ----------
    mosaic : FinishedMosaic
        The mosaic.
    x, y, crs
        As for `cloudbuster.mosaics.places.cell_of`.

    Returns
    -------
    Explanation

    Raises
    ------
    PlaceError
        If the place is not on the mosaic.
    RasterError, RequestError
        If a raster or the item cannot be used.
    TryAgainError, AccessError
        If the storage fails or refuses access.
    """
    with gdal_env(), MosaicRasters(mosaic) as rasters:
        return _explained(mosaic, rasters, cell_of(rasters.grid, x, y, crs=crs))


def explain_cell(mosaic: FinishedMosaic, row: int, col: int) -> Explanation:
    """Explain the pixel in a row and column, both from 0; otherwise as `explain_place`."""
    with gdal_env(), MosaicRasters(mosaic) as rasters:
        return _explained(mosaic, rasters, cell_at(rasters.grid, row, col))


def _explained(mosaic: FinishedMosaic, rasters: MosaicRasters, cell: Cell) -> Explanation:
    """Explain a pixel of open rasters."""
    pixel = _pixel(rasters, cell)
    state = pixel.quality["state"]
    if state not in STATE_NAMES:
        msg = f"{mosaic.raster('quality')}: state {state} is unknown; merge the mosaic again"
        raise RequestError(msg)
    witness = _Witness(mosaic, rasters.grid, pixel)
    chosen = mosaic.source_row(pixel.index, filled=pixel.is_backstop)
    distance = pixel.quality["cloud_distance_m"]
    return Explanation(
        mosaic=mosaic.name,
        composite=mosaic.composite,
        synthetic=mosaic.is_synthetic and state == CellState.CLEAR,
        row=cell.row,
        col=cell.col,
        longitude=cell.longitude,
        latitude=cell.latitude,
        state=STATE_NAMES[state],
        times_observed=pixel.quality["times_observed"],
        times_clear=pixel.quality["times_clear"],
        cloud_distance_m=distance if state == CellState.CLEAR else None,
        values=pixel.values,
        cloudless=_source(mosaic, pixel.index, chosen),
        cloudy=_source(
            mosaic, pixel.cloudy_index, mosaic.source_row(pixel.cloudy_index, filled=True)
        ),
        scenes=(*witness.merged(), *witness.others()),
        unknown=witness.unknown(),
    )


def _pixel(rasters: MosaicRasters, cell: Cell) -> Pixel:
    """Read a pixel of the products."""
    cloudless = rasters.cloudless(cell.window)[:, 0, 0]
    return Pixel(
        cell=cell,
        values={
            band: int(value) for band, value in zip(rasters.bands, cloudless[:-1], strict=True)
        },
        index=int(cloudless[-1]),
        cloudy_index=int(rasters.cloudy(cell.window)[-1, 0, 0]),
        quality={name: int(band[0, 0]) for name, band in rasters.quality(cell.window).items()},
    )


def _source(mosaic: FinishedMosaic, index: int, row: SceneRow | None) -> PixelSource | None:
    """Return the scene of a pixel; raise RequestError if the scene table does not hold it."""
    if not index:
        return None
    if row is None:
        msg = (
            f"{mosaic.uri}: the scene table has no index {index}, which a raster holds; "
            "merge the mosaic again"
        )
        raise RequestError(msg)
    return PixelSource(index=index, item_id=row.item_id, acquired=_acquired(row))


def _acquired(row: SceneRow) -> datetime | None:
    """Return the acquisition time of a row of the scene table."""
    return acquired_of({"properties": {"datetime": row.fields.get("datetime")}})


class _Witness:
    """Collects what is known of each scene at one pixel.

    Parameters
    ----------
    mosaic, grid, pixel : FinishedMosaic, Grid, Pixel
        The mosaic, its grid, and the pixel to explain.
    """

    def __init__(self, mosaic: FinishedMosaic, grid: Grid, pixel: Pixel) -> None:
        self._mosaic = mosaic
        self._run = mosaic.run
        self._grid = grid
        self._pixel = pixel
        self._items = self._known_items()
        self._seen = [self._look(row) for row in mosaic.rows]

    def _known_items(self) -> dict[str, dict[str, Any]]:
        """Return the STAC items that the documents of the run hold, by id."""
        run = self._run
        documents = [each for each in (run.candidates, run.selection) if each is not None]
        items = [item for document in documents for item in document.features]
        items += [task.item for task in run.tasks]
        return {str(item.get("id")): item for item in items}

    def _look(self, row: SceneRow) -> _Seen | None:
        """Read what the gathered raster of a row shows; None if it is not there or unreadable."""
        if self._run.scenes is None:
            return None
        prefix = BACKSTOP_PREFIX if row.backstop else ""
        stem = scene_stem(self._mosaic.name, row.index, prefix=prefix)
        uri = join(self._run.scenes, f"{stem}.tif")
        try:
            with SceneRaster(uri if is_remote(uri) else Path(uri), self._grid) as raster:
                window = self._pixel.cell.window
                code = PixelClass(int(raster.read_classes(window)[0, 0]))
                return _Seen(code, int(raster.read_cloud_distance(window)[0, 0]))
        except (BadInputError, ValueError):
            return None

    def merged(self) -> Iterator[SceneFate]:
        """Yield the fate of each raster that was merged, the chosen one first."""
        rows, chosen = self._mosaic.rows, self._chosen()
        reasons = self._reasons(chosen)
        order = sorted(range(len(rows)), key=lambda position: position != chosen)
        for position in order:
            row = rows[position]
            fate, reason = self._fate(row, self._seen[position], reasons[position], chosen)
            yield SceneFate(
                item_id=row.item_id,
                index=row.index,
                backstop=row.backstop,
                acquired=_acquired(row),
                fate=fate,
                reason=reason,
            )

    def _chosen(self) -> int | None:
        """Return the position of the row of the pixel's scene; None for a pixel without value.

        A filled pixel names the backstop of its scene. Where the scene's own look is clear, that
        look was refused and fills the place, and its row is returned.
        """
        index, filled = self._pixel.index, self._pixel.is_backstop
        row = self._mosaic.source_row(index, filled=filled) if index else None
        if row is None:
            return None
        for position, (other, seen) in enumerate(zip(self._mosaic.rows, self._seen, strict=True)):
            is_look = row.backstop and not other.backstop and other.item_id == row.item_id
            if is_look and seen is not None and seen.pixel_class >= PixelClass.LOW_RANK:
                return position
        return self._mosaic.rows.index(row)

    def _reasons(self, chosen: int | None) -> list[LookReason | None]:
        """Return the composite's reasons, if it is known what every raster shows; else None each.

        A raster that is gone is left out: the others keep their reasons.
        """
        known = [position for position, seen in enumerate(self._seen) if seen is not None]
        found: list[LookReason | None] = [None] * len(self._seen)
        if not known or (chosen is not None and chosen not in known):
            return found
        rows = self._mosaic.rows
        evidence = composite_evidence(self._mosaic, self._grid, self._pixel.cell.window)
        of = [evidence.get(row, LookEvidence()) for row in rows]
        looks = [
            CellLook(
                seen.pixel_class,
                rows[position].backstop,
                of[position].refused,
                of[position].costs,
            )
            for position, seen in enumerate(self._seen)
            if seen is not None
        ]
        at = None if chosen is None else known.index(chosen)
        for position, reason in zip(
            known, reasons_of(self._mosaic.composite)(looks, at), strict=True
        ):
            found[position] = reason
        return found

    def _fate(
        self, row: SceneRow, seen: _Seen | None, reason: LookReason | None, chosen: int | None
    ) -> tuple[Fate, str]:
        """Return the fate of a merged raster, and its sentence."""
        if self._mosaic.rows.index(row) == chosen:
            return "chosen", self._chosen_text(row, reason)
        elsewhere = self._elsewhere(row)
        if reason is None or seen is None:
            return elsewhere or self._guess(row, chosen)
        if reason.fate == "no-data":
            what = "this backstop" if row.backstop else "it"
            return elsewhere or ("no-data", f"{what} holds no data here")
        text = self._lost_text(row, seen, reason)
        return reason.fate, f"{text} ({reason.why})" if reason.why else text

    def _chosen_text(self, row: SceneRow, reason: LookReason | None) -> str:
        """Describe the chosen scene."""
        if row.backstop:
            return "no scene saw the place clear; it is filled from this one, clouds included"
        if self._pixel.is_backstop:
            return "every clear look was refused; the place is filled from this one, the least hazy"
        words = "the pixel comes from it"
        if self._mosaic.is_synthetic:
            words = "its observation is nearest to the pixel"
        return f"{words} ({reason.why})" if reason is not None and reason.why else words

    def _lost_text(self, row: SceneRow, seen: _Seen, reason: LookReason) -> str:
        """Describe why a raster that observed the place lost."""
        if row.backstop:
            return "it is a backstop, which is used only where no scene saw the place clear"
        if reason.fate == "masked":
            return self._masked_text(row, seen)
        if reason.fate == "low-rank":
            return (
                "probably clear, but classified as snow or dark ground, which counts only where "
                "no scene saw the place clear"
            )
        if reason.fate == "refused":
            return "clear by its mask, but refused beside the other looks"
        if reason.fate == "used":
            return "its value went into the statistic"
        if self._mosaic.composite == "first":
            return "it saw the place clear too, and comes later in the order"
        return "it saw the place clear too, and the composite preferred the chosen scene"

    def _masked_text(self, row: SceneRow, seen: _Seen) -> str:
        """Describe a masked look by the distance to what the detector found."""
        detector, distance = row.detector, seen.distance_m
        if distance == 0:
            return f"masked as cloud or shadow by {detector}"
        request = self._mosaic.request
        dilate_m = None if request is None else request.gather.dilate_m
        if dilate_m is None or distance <= dilate_m:
            return f"masked: {distance} m from cloud or shadow that {detector} found"
        return (
            f"masked by {detector} as defective, or beside a masked pixel ({distance} m from the "
            "nearest cloud)"
        )

    def _elsewhere(self, row: SceneRow) -> tuple[Fate, str] | None:
        """Return that a scene does not reach the place or was not needed there, or None."""
        item = self._items.get(row.item_id or "")
        if item is not None and not self._covers(item):
            return "outside", "its footprint does not contain the place"
        deliveries = self._deliveries(row)
        if deliveries and not any(self._is_delivered(each) for each in deliveries):
            return (
                "not-delivered",
                "this part of it was not read, because others were expected to show it clear",
            )
        return None

    def _covers(self, item: dict[str, Any]) -> bool:
        """Return whether the footprint of an item contains the pixel; True if it has none."""
        footprint = footprint_geometry(item)
        point = shapely.Point(self._pixel.cell.longitude, self._pixel.cell.latitude)
        return footprint is None or bool(shapely.intersects(footprint, point))

    def _deliveries(self, row: SceneRow) -> Sequence[Delivery]:
        """Return the parts that the tasks of a row read; none if all of the scene was read."""
        tasks = [
            task
            for task in self._run.tasks
            if row.index == (task.backstop_index if row.backstop else task.index)
        ]
        if tasks:
            return [each for each in (task.delivery for task in tasks) if each is not None]
        selection = self._run.selection
        entries = [] if selection is None else selection.cloudbuster.entries
        own = [entry.delivery for entry in entries if entry.item_id == row.item_id]
        return [] if None in own else [each for each in own if each is not None]

    def _is_delivered(self, delivery: Delivery) -> bool:
        """Return whether a part that is read holds the centre of the pixel."""
        grid, cell = delivery.grid.grid(), self._pixel.cell
        x = self._grid.west + (cell.col + 0.5) * self._grid.x_size
        y = self._grid.north - (cell.row + 0.5) * self._grid.y_size
        if grid.crs != self._grid.crs:
            x, y = transformer(self._grid.crs, grid.crs).transform(x, y)
        row, col = int((grid.north - y) // grid.y_size), int((x - grid.west) // grid.x_size)
        inside = 0 <= row < grid.height and 0 <= col < grid.width
        return inside and bool(delivery.needed()[row, col])

    def _guess(self, row: SceneRow, chosen: int | None) -> tuple[Fate, str]:
        """Return what can be said of a raster that is gone."""
        if row.backstop:
            return (
                "later",
                "it is a backstop, which is used only where no scene saw the place clear",
            )
        clear = self._pixel.quality["state"] == CellState.CLEAR
        if not clear:
            words = f"it did not see the place clear: masked by {row.detector}, or without data"
            return "unknown", f"{words}; which of the two is gone with its raster"
        if self._mosaic.composite == "first" and chosen is not None:
            place = self._mosaic.rows.index(row)
            if place > chosen:
                return "later", f"it comes later in the order{self._nobody_else()}"
            words = f"it comes earlier, so it was masked by {row.detector}, of low rank, or"
            return "unknown", f"{words} without data; which of these is gone with its raster"
        return "unknown", "why it lost is gone with its raster"

    def _nobody_else(self) -> str:
        """Say that no other scene saw the place clear, if the counts say so."""
        only = self._pixel.quality["times_clear"] == 1
        return ", and only the chosen scene saw the place clear" if only else ""

    def others(self) -> Iterator[SceneFate]:
        """Yield the fate of each scene that was not merged."""
        merged = {row.item_id for row in self._mosaic.rows}
        for item_id, fate, reason in self._left_out():
            if item_id in merged:
                continue
            merged.add(item_id)
            item = self._items.get(item_id)
            acquired = None if item is None else acquired_of(item)
            yield SceneFate(
                item_id=item_id,
                index=None,
                backstop=False,
                acquired=acquired,
                fate=fate,
                reason=reason,
            )

    def _left_out(self) -> Iterator[tuple[str, Fate, str]]:
        """Yield item, fate and reason of the scenes that were found and may not be merged."""
        run = self._run
        for failure in () if run.assessment is None else run.assessment.failures:
            text = f"it could not be gathered: {failure.error}: {failure.message}"
            yield failure.item_id, "failed", text
        if run.selection is not None:
            for unpicked in run.selection.cloudbuster.unpicked:
                yield self._unpicked(unpicked)
            for item_id in sorted(_ids(run.selection.features)):
                yield item_id, "not-delivered", "no part of it was needed"

    def _unpicked(self, scene: Unpicked) -> tuple[str, Fate, str]:
        """Return item, fate and reason of a scene that was left out by query or filter."""
        if scene.stage != "choice":
            return scene.item_id, "rejected", f"the {scene.stage} dropped it: {scene.reason}"
        item = self._items.get(scene.item_id)
        if item is not None and not self._covers(item):
            return scene.item_id, "outside", OUTSIDE_UNPICKED
        return scene.item_id, "not-picked", f"the filter did not pick it: {scene.reason}"

    def unknown(self) -> tuple[str, ...]:
        """Return what cannot be known any more."""
        rows, found = self._mosaic.rows, []
        gone = sum(seen is None for seen in self._seen)
        if gone:
            found.append(
                f"{gone} of {len(rows)} gathered rasters are gone or cannot be read: what their "
                "scenes showed here is known only as far as the item and the quality raster say"
            )
        documents = {"selection": self._run.selection, "candidates": self._run.candidates}
        missing = [name for name, document in documents.items() if document is None]
        if missing:
            found.append(
                f"the run's {' and '.join(missing)} cannot be found: which scenes were rejected "
                "or not picked, and where footprints end, is unknown"
            )
        return tuple(found)


def _ids(items: Sequence[dict[str, Any]]) -> set[str]:
    """Return the ids of items."""
    return {str(item.get("id")) for item in items}


def explanation_text(explanation: Explanation) -> str:
    """Write an explanation in plain sentences.

    Backstops are left out where a scene saw the place clear, and candidates whose footprint does
    not contain it are counted.
    """
    lines = [_headline(explanation), _origin(explanation)]
    if any(explanation.values.values()):
        values = ", ".join(f"{band} {value}" for band, value in explanation.values.items())
        lines.append(f"Its values are {values} (reflectance times 10 000).")
    lines.append(
        f"{_times(explanation.times_observed, 'acquisition')} observed the place, and "
        f"{explanation.times_clear} of them saw it clear."
    )
    lines.append(_cloudy_text(explanation))
    lines += _scene_lines(explanation)
    lines += [f"Unknown: {text}." for text in explanation.unknown]
    return "\n".join(line for line in lines if line)


def _headline(explanation: Explanation) -> str:
    """Return the first line: which pixel, and its state."""
    east = "E" if explanation.longitude >= 0 else "W"
    north = "N" if explanation.latitude >= 0 else "S"
    place = f"{abs(explanation.longitude):.6f} {east}, {abs(explanation.latitude):.6f} {north}"
    states = {
        "clear": "seen clear",
        "backstop": "never seen clear, and filled from the backstop",
        "never clear": "observed, but never clear, and not filled",
        "never observed": "never observed",
    }
    return (
        f"{explanation.mosaic}, row {explanation.row}, column {explanation.col} ({place}): "
        f"{states[explanation.state]}."
    )


def _origin(explanation: Explanation) -> str:
    """Return the line about the scene of the pixel."""
    source = explanation.cloudless
    if source is None:
        return "The mosaic has no value here."
    distance = explanation.cloud_distance_m
    cloud = ""
    if distance is not None and distance >= DISTANCE_LIMIT_M:
        cloud = f", where its nearest masked cloud is {DISTANCE_LIMIT_M} m away or more"
    elif distance:
        cloud = f", where its nearest masked cloud is {distance} m away"
    if explanation.synthetic:
        return (
            f"The pixel is the {explanation.composite} of the clear looks; the nearest of them is "
            f"{_named(source)}{cloud}."
        )
    return f"The pixel comes from {_named(source)}{cloud}."


def _cloudy_text(explanation: Explanation) -> str:
    """Return the line about the scene of the backstop's pixel."""
    if explanation.cloudy is None:
        return "The cloudy mosaic has no value here."
    return f"The cloudy mosaic's pixel comes from {_named(explanation.cloudy)}."


def _named(source: PixelSource) -> str:
    """Name a scene, its date and its index."""
    name = source.item_id or "a scene without a record"
    return f"{name}{_taken(source.acquired)} (index {source.index})"


def _taken(acquired: datetime | None) -> str:
    """Describe when a scene was taken."""
    return f" of {acquired:%Y-%m-%d %H:%M} UTC" if acquired else ""


def _times(count: int, what: str) -> str:
    """Write a count with its noun."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def _scene_lines(explanation: Explanation) -> list[str]:
    """Return the lines about the scenes that were not chosen."""
    chosen = [each for each in explanation.scenes if each.fate == "chosen" and each.reason]
    is_clear = explanation.state == "clear"
    others = [
        each
        for each in explanation.scenes
        if each.fate != "chosen" and not (is_clear and each.backstop)
    ]
    near = [each for each in others if each.fate != "outside" or each.index is not None]
    lost = bool(chosen) and not explanation.synthetic
    lines = ["Why the other scenes lost:" if lost else "What became of the scenes:"]
    for each in near:
        name = each.item_id or "a scene without a record"
        role = "" if each.index is None else f" ({'backstop ' if each.backstop else ''}index "
        role += "" if each.index is None else f"{each.index})"
        lines.append(f"  {name}{_taken(each.acquired)}{role}: {each.reason}.")
    outside = len(others) - len(near)
    if outside:
        lines.append(f"  {_times(outside, 'candidate')} not picked lie elsewhere.")
    return lines if len(lines) > 1 else []
