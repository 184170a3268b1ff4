"""STAC items of every dialect as a `Scene`. Nothing here opens a file.

What an item says of the scene stands in `item_properties`, which of its assets hold what in
`item_assets`, where these lie in `item_hrefs`.
"""

import re
from collections.abc import Iterable

from cloudbuster.catalogs.item_assets import bucket_masks, read_assets
from cloudbuster.catalogs.item_hrefs import absolute_item, mended_item
from cloudbuster.catalogs.item_properties import (
    acquired_of,
    baseline_of,
    cloud_cover_of,
    datatake_of,
    epsg_of,
    footprint_of,
    kind_of,
    mgrs_tile_of,
    nodata_percent_of,
    offset_removed_flag_of,
    platform_of,
    relative_orbit_of,
    sun_azimuth_of,
    sun_elevation_of,
)
from cloudbuster.core.bands import Kind
from cloudbuster.core.scene import Scene
from cloudbuster.core.utm import utm_epsg
from cloudbuster.errors import CatalogError
from cloudbuster.models import Item

TWIN_PROPERTY = "cloudbuster:l1c_twin"
"""Property that holds the L1C item of the same datatake and tile."""

_SENTINEL_2 = re.compile(r"^S2[A-D]_|sentinel[-_ ]?(?:s)?2", re.IGNORECASE)


def parse_scene(item: Item, *, catalog: str, base: str | None = None) -> Scene:
    """Make a scene of a STAC item.

    Parameters
    ----------
    item : dict
        STAC item, version 1.0 or 1.1. Not modified.
    catalog : str
        Where it came from, for the error.
    base : str or None
        Folder or prefix of the item, for its relative hrefs; None takes that of its self link.

    Returns
    -------
    Scene
        With the bands and masks that the item has; see `missing_bands`.

    Raises
    ------
    CatalogError
        Where it is no item, not of Sentinel-2, or of unknown product level; says which.
    """
    kind = _kind_of_scene(item, catalog)
    assets = read_assets(mended_item(absolute_item(item, base))["assets"])
    collection = item.get("collection")
    baseline = baseline_of(item)
    return Scene(
        id=str(item["id"]),
        kind=kind,
        collection=collection if isinstance(collection, str) else None,
        acquired=acquired_of(item),
        platform=platform_of(item),
        mgrs_tile=mgrs_tile_of(item),
        datatake=datatake_of(item),
        relative_orbit=relative_orbit_of(item),
        baseline=baseline,
        cloud_cover=cloud_cover_of(item),
        nodata_percent=nodata_percent_of(item),
        sun_azimuth_deg=sun_azimuth_of(item),
        sun_elevation_deg=sun_elevation_of(item),
        epsg=_epsg(item, assets.epsg),
        footprint=footprint_of(item),
        bands=assets.bands,
        masks=bucket_masks(assets.bands, kind, baseline) | assets.masks,
        offset_removed_flag=None if assets.are_jp2 else offset_removed_flag_of(item),
        declared_offset=assets.declared_offset,
        twin=_twin(item, catalog),
    )


def missing_bands(scene: Scene, bands: Iterable[str]) -> tuple[str, ...]:
    """Those of ``bands`` that ``scene`` does not have, in the order given."""
    return tuple(name for name in bands if name not in scene.bands)


def is_item(document: object) -> bool:
    """Whether a JSON document is a STAC item (a GeoJSON Feature with assets)."""
    return (
        isinstance(document, dict)
        and document.get("type") == "Feature"
        and isinstance(document.get("id"), str)
        and isinstance(document.get("properties"), dict)
        and isinstance(document.get("assets"), dict)
    )


def _kind_of_scene(item: Item, catalog: str) -> Kind:
    """Product level of an item; CatalogError where it is no scene of Sentinel-2."""
    reason = _unusable(item)
    kind = kind_of(item) if reason is None else None
    if kind is None:
        told = reason or "tells neither L1C nor L2A, in no property, collection or id"
        msg = f"{catalog}: item {item.get('id', '(without id)')} {told}"
        raise CatalogError(msg)
    return kind


def _unusable(item: Item) -> str | None:
    """Say why ``item`` is no scene of Sentinel-2; None where it is one."""
    if not is_item(item):
        return "is no STAC item (a Feature with id, properties and assets)"
    properties = item["properties"]
    told = (properties.get("platform"), properties.get("constellation"), item.get("collection"))
    texts = [text for text in told if isinstance(text, str)]
    if not any(_SENTINEL_2.search(text) for text in (*texts, item["id"])):
        return f"is not of Sentinel-2 ({', '.join(texts) or 'no platform'})"
    return None


def _epsg(item: Item, of_bands: int | None) -> int | None:
    """EPSG code of the item, of its bands, else of the UTM zone of its tile."""
    told = epsg_of(item)
    if told is not None or of_bands is not None:
        return told if told is not None else of_bands
    tile = mgrs_tile_of(item)
    if tile is None:
        return None
    # Latitude bands N to X lie north of the equator.
    return utm_epsg(int(tile[:2]), north=tile[2] >= "N")


def _twin(item: Item, catalog: str) -> Scene | None:
    """Make a scene of the attached twin; an unusable one is as good as none."""
    twin = item["properties"].get(TWIN_PROPERTY)
    if not isinstance(twin, dict):
        return None
    try:
        return parse_scene(twin, catalog=catalog)
    except CatalogError:
        return None
