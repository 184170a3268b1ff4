"""Buckets of the scenes that a catalog returned, checked before any job is submitted."""

from collections.abc import Iterator, Sequence

from cloudbuster.aws.places import refusal
from cloudbuster.aws.settings import StackSettings
from cloudbuster.catalogs.schema import parse_scene
from cloudbuster.core.scenes.scene import Scene
from cloudbuster.errors import RequestError
from cloudbuster.models import Candidates


def check_scenes(candidates: Candidates, bands: Sequence[str], settings: StackSettings) -> None:
    """Check that the stack may read the files of the scenes that a catalog returned.

    Parameters
    ----------
    candidates, settings : Candidates, StackSettings
        Result of the query, and settings of the stack.
    bands : sequence of str
        Bands that are gathered; others are not read.

    Raises
    ------
    RequestError
        If it may not; names the first scene, its file and the bucket, and counts the scenes.
    """
    catalog = candidates.cloudbuster.catalog
    refused = []
    for item in candidates.features:
        scene = parse_scene(item, catalog=catalog)
        reasons = (refusal("asset", uri, settings) for uri in _read(scene, bands))
        first = next((reason for reason in reasons if reason is not None), None)
        if first is not None:
            refused.append((scene.id, first))
    if refused:
        item_id, reason = refused[0]
        msg = (
            f"{len(refused)} of {len(candidates.features)} scenes of {catalog} cannot be read: "
            f"asset of {item_id} {reason}"
        )
        raise RequestError(msg)


def _read(scene: Scene, bands: Sequence[str]) -> Iterator[str]:
    """Yield the files of a scene that may be read: its bands, its masks, and all of an L1C twin.

    Without an L2A twin, a scene is judged by other means.
    """
    yield from (asset.href for name, asset in scene.bands.items() if name in bands)
    yield from (asset.href for asset in scene.masks.values())
    if scene.twin is not None and scene.twin.kind == "L1C":
        yield from scene.twin.hrefs
