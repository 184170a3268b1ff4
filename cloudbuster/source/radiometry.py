"""Decide the radiometric offset of every scene of a selection, from thumbnails of the scenes.

A scene whose own pixels leave it in doubt is compared with scenes that overlap it.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import shapely

from cloudbuster.core.areas.footprint import read_footprint
from cloudbuster.core.offsets.offset_neighbours import SceneThumbnail, choose_references
from cloudbuster.core.offsets.radiometry import OffsetDecision, settle_by_neighbours
from cloudbuster.core.scenes.scene import Scene
from cloudbuster.errors import CloudBusterError
from cloudbuster.source.scene_source import RasterSceneSource
from cloudbuster.storage.rasters.gdal_env import gdal_env

# Scenes read at the same time: reading a thumbnail is mostly waiting for storage.
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
        Scenes in any order; the result does not depend on it.
    bands : tuple of str
        Bands of the mosaic.
    known : mapping of str to OffsetDecision, optional
        Decisions of an earlier call with the same scenes, by item id; they are kept.

    Returns
    -------
    dict of str to OffsetDecision
        Decisions by item id. Scenes that cannot be read are left out: their gather will fail.
    """
    known = known or {}
    undecided = [scene for scene in scenes if scene.id not in known]
    decisions = {**known, **_decide_alone(undecided, bands)}
    readable = [scene for scene in scenes if scene.id in decisions]
    # Only decisions from a scene's own pixels are references, so that the order has no influence.
    confident = [scene for scene in readable if decisions[scene.id].confident]
    settled = {
        scene.id: _settle_by_overlaps(scene, confident, decisions, bands)
        for scene in readable
        if scene.id not in known and not decisions[scene.id].confident
    }
    return {name: settled.get(name) or decision for name, decision in decisions.items()}


def _decide_alone(scenes: Sequence[Scene], bands: tuple[str, ...]) -> dict[str, OffsetDecision]:
    """Decide the offset of each scene from its own metadata and pixels, by item id."""
    with ThreadPoolExecutor(THUMBNAIL_THREADS) as pool:
        decided = pool.map(lambda scene: _decide_scene(scene, bands), scenes)
        return {
            scene.id: decision
            for scene, decision in zip(scenes, decided, strict=True)
            if decision is not None
        }


def _decide_scene(scene: Scene, bands: tuple[str, ...]) -> OffsetDecision | None:
    """Decide the offset of one scene from its own metadata and pixels; None if unreadable."""
    try:
        with gdal_env(), RasterSceneSource(scene, bands) as source:
            return source.radiometry
    except CloudBusterError:
        return None


def _settle_by_overlaps(
    scene: Scene,
    confident: Sequence[Scene],
    decisions: Mapping[str, OffsetDecision],
    bands: tuple[str, ...],
) -> OffsetDecision | None:
    """Decide the offset of a scene in doubt by comparing it with confident scenes that overlap it.

    None if no such scene can be read and compared.
    """
    near = {other.id: other for other in confident if _may_overlap(scene, other)}
    place_of = {
        each.id: (each.mgrs_tile, each.acquired.timestamp() if each.acquired else 0.0)
        for each in (scene, *near.values())
    }
    chosen = choose_references(place_of, scene.id, tuple(near))
    references = [
        (thumbnail, decisions[name].offset_dn)
        for name in chosen
        if (thumbnail := _read_thumbnail(near[name], bands)) is not None
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


def _read_thumbnail(scene: Scene, bands: tuple[str, ...]) -> SceneThumbnail | None:
    """Read the thumbnail of a scene; None if it cannot be read."""
    try:
        with gdal_env(), RasterSceneSource(scene, bands) as source:
            return source.thumbnail()
    except CloudBusterError:
        return None


def _may_overlap(scene: Scene, other: Scene) -> bool:
    """Whether two scenes of the same level and CRS may overlap, by their tiles and footprints."""
    if scene.kind != other.kind or scene.epsg != other.epsg:
        return False
    if scene.mgrs_tile is not None and scene.mgrs_tile == other.mgrs_tile:
        return True
    areas = [read_footprint(each.footprint, tile=each.mgrs_tile) for each in (scene, other)]
    if any(area is None for area in areas):
        return True
    return bool(shapely.intersects(*areas))
