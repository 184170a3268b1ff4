"""A look at every scene of a selection: its radiometric offset, in doubt settled by the others."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import shapely

from cloudbuster.core.footprint import read_footprint
from cloudbuster.core.offset_neighbours import SceneThumbnail, choose_references
from cloudbuster.core.radiometry import OffsetDecision, settle_by_neighbours
from cloudbuster.core.scene import Scene
from cloudbuster.errors import CloudBusterError
from cloudbuster.source.scene_source import RasterSceneSource
from cloudbuster.storage.gdal_env import gdal_env

# Scenes that are looked at side by side: a thumbnail waits for its place more than it computes.
THUMBNAIL_THREADS = 8


def decide_radiometry(
    scenes: Sequence[Scene],
    bands: tuple[str, ...],
    *,
    known: Mapping[str, OffsetDecision] | None = None,
) -> dict[str, OffsetDecision]:
    """Decide the radiometric offset of each scene of a selection.

    Parameters
    ----------
    scenes : sequence of Scene
        Their order does not matter.
    bands : tuple of str
        Bands of the mosaic.
    known : mapping of str to OffsetDecision, optional
        Decisions of an earlier call with the same scenes, by item id; these are not looked at
        again.

    Returns
    -------
    dict of str to OffsetDecision
        By item id. A scene that cannot be read is missing: it fails in its own gather.
    """
    known = known or {}
    todo = [scene for scene in scenes if scene.id not in known]
    with ThreadPoolExecutor(THUMBNAIL_THREADS) as pool:
        alone = list(pool.map(lambda scene: _decide_alone(scene, bands), todo))
    decisions = {**known}
    decisions.update(
        (scene.id, decision)
        for scene, decision in zip(todo, alone, strict=True)
        if decision is not None
    )
    by_id = {scene.id: scene for scene in scenes}
    sure = [name for name in by_id if name in decisions and decisions[name].confident]
    # Only what each scene's own pixels told is a reference: the outcome knows no order.
    settled = {
        scene.id: _settle(scene, [by_id[name] for name in sure], decisions, bands)
        for scene in todo
        if scene.id in decisions and not decisions[scene.id].confident
    }
    return {name: settled.get(name) or decision for name, decision in decisions.items()}


def _decide_alone(scene: Scene, bands: tuple[str, ...]) -> OffsetDecision | None:
    try:
        with gdal_env(), RasterSceneSource(scene, bands) as source:
            return source.radiometry
    except CloudBusterError:
        return None


def _settle(
    scene: Scene,
    sure: Sequence[Scene],
    decisions: Mapping[str, OffsetDecision],
    bands: tuple[str, ...],
) -> OffsetDecision | None:
    """Decide a scene in doubt by those that overlap it; None where nothing can be compared."""
    near = {other.id: other for other in sure if _may_overlap(scene, other)}
    place_of = {
        each.id: (each.mgrs_tile, each.acquired.timestamp() if each.acquired else 0.0)
        for each in (scene, *near.values())
    }
    chosen = choose_references(place_of, scene.id, tuple(near))
    references = [
        (thumbnail, decisions[name].offset_dn)
        for name in chosen
        if (thumbnail := _thumbnail_of(near[name], bands)) is not None
    ]
    if not references:
        return None
    try:
        with gdal_env(), RasterSceneSource(scene, bands) as source:
            return settle_by_neighbours(
                source.metadata, source.pixels, source.thumbnail(), references
            )
    except CloudBusterError:
        return None


def _thumbnail_of(scene: Scene, bands: tuple[str, ...]) -> SceneThumbnail | None:
    try:
        with gdal_env(), RasterSceneSource(scene, bands) as source:
            return source.thumbnail()
    except CloudBusterError:
        return None


def _may_overlap(scene: Scene, other: Scene) -> bool:
    """Whether two scenes of one level and zone share ground, as far as their items tell."""
    if scene.kind != other.kind or scene.epsg != other.epsg:
        return False
    if scene.mgrs_tile is not None and scene.mgrs_tile == other.mgrs_tile:
        return True
    areas = [read_footprint(each.footprint, tile=each.mgrs_tile) for each in (scene, other)]
    if any(area is None for area in areas):
        return True
    return bool(shapely.intersects(*areas))
