"""Make a `Scene` from a STAC item of any dialect, without opening a file.

`item_properties` reads the properties of an item, `item_assets` finds bands and masks among its
assets, and `item_hrefs` resolves their addresses.
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
from cloudbuster.core.projections.utm import utm_epsg
from cloudbuster.core.scenes.bands import Kind
from cloudbuster.core.scenes.scene import Scene
from cloudbuster.core.texts.json_values import MAX_DEPTH, is_json
from cloudbuster.errors import CatalogError, UntrustedAddressError
from cloudbuster.models import MAX_ID_CHARS, Item
from cloudbuster.storage.addresses.trust import admitted, catalog_trust

TWIN_PROPERTIES: dict[Kind, str] = {"L2A": "cloudbuster:l1c_twin", "L1C": "cloudbuster:l2a_twin"}
"""Item property, by the item's level, that holds the item of the other level of the same datatake
and tile. That of an L2A item has its bands; that of an L1C item the scene classification alone."""

MAX_ITEM_DEPTH = MAX_DEPTH // 2 - 4
"""Greatest number of levels of an item: with its twin, and within a document, it has no more than
a document may have."""

_SENTINEL_2 = re.compile(r"^S2[A-D]_|sentinel[-_ ]?(?:s)?2", re.IGNORECASE)


def parse_scene(item: Item, *, catalog: str, asset_mirror: tuple[str, ...] = ()) -> Scene:
    """Make a scene from a STAC item.

    Parameters
    ----------
    item : dict
        STAC item, version 1.0 or 1.1. Relative hrefs are resolved against its self link. Not
        modified.
    catalog : str
        Name, URL or path of the catalog, which decides what the hrefs may refer to.
    asset_mirror : tuple of str
        ``FROM=TO`` of each asset mirror that the hrefs were rewritten by.

    Returns
    -------
    Scene
        With the bands and masks that the item has; see `missing_bands`.

    Raises
    ------
    CatalogError
        If it is not a STAC item, not of Sentinel-2, or of unknown product level.
    """
    kind = _kind_of_scene(item, catalog)
    assets = read_assets(mended_item(absolute_item(item))["assets"], item["properties"])
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
        epsg=_scene_epsg(item, assets.epsg),
        footprint=footprint_of(item),
        bands=assets.bands,
        masks=bucket_masks(assets.bands, kind, baseline) | assets.masks,
        offset_removed_flag=None if assets.are_jp2 else offset_removed_flag_of(item),
        declared_offset=assets.declared_offset,
        unnamed=assets.unnamed,
        twin=_twin(item, kind, catalog, asset_mirror),
        catalog=catalog,
        asset_mirror=asset_mirror,
    )


def refused_href(scene: Scene) -> str | None:
    """Return why one of the files of a scene, or of its twin, must not be opened; None if all may.

    Nothing is opened and no name is resolved; see `cloudbuster.storage.addresses.trust.admitted`.
    """
    trust = catalog_trust(scene.catalog, scene.asset_mirror)
    try:
        for href in scene.hrefs:
            admitted(href, trust)
    except UntrustedAddressError as error:
        return str(error)
    return None


def missing_bands(scene: Scene, bands: Iterable[str]) -> tuple[str, ...]:
    """Bands that the scene lacks, in the order given.

    A scene with rasters whose bands only the files can name lacks none until they are opened.
    """
    if scene.unnamed:
        return ()
    return tuple(name for name in bands if name not in scene.bands)


def is_item(document: object) -> bool:
    """Whether a JSON document is a STAC item: a GeoJSON Feature with id, properties and assets.

    One that cannot be written again, or whose id is too long, counts as none.
    """
    return (
        isinstance(document, dict)
        and document.get("type") == "Feature"
        and isinstance(document.get("id"), str)
        and 0 < len(document["id"]) <= MAX_ID_CHARS
        and isinstance(document.get("properties"), dict)
        and isinstance(document.get("assets"), dict)
        and is_json(document, levels=MAX_ITEM_DEPTH)
    )


def _kind_of_scene(item: Item, catalog: str) -> Kind:
    """Product level of an item; raise CatalogError if it is not a Sentinel-2 scene."""
    reason = _reason_unusable(item)
    kind = kind_of(item) if reason is None else None
    if kind is None:
        problem = reason or "names neither L1C nor L2A in its properties, collection or id"
        msg = f"{catalog}: item {item.get('id', '(without id)')} {problem}"
        raise CatalogError(msg)
    return kind


def _reason_unusable(item: Item) -> str | None:
    """Reason why an item is not a Sentinel-2 scene; None if it is one."""
    if not is_item(item):
        return "is not a STAC item (a Feature with id, properties and assets)"
    properties = item["properties"]
    names = (properties.get("platform"), properties.get("constellation"), item.get("collection"))
    texts = [name for name in names if isinstance(name, str)]
    if not any(_SENTINEL_2.search(text) for text in (*texts, item["id"])):
        return f"is not of Sentinel-2 ({', '.join(texts) or 'no platform'})"
    return None


def _scene_epsg(item: Item, bands_epsg: int | None) -> int | None:
    """EPSG code of the item, else of its bands, else of the UTM zone of its MGRS tile."""
    epsg = epsg_of(item)
    if epsg is not None or bands_epsg is not None:
        return epsg if epsg is not None else bands_epsg
    tile = mgrs_tile_of(item)
    if tile is None:
        return None
    # Latitude bands N to X lie north of the equator.
    return utm_epsg(int(tile[:2]), north=tile[2] >= "N")


def _twin(item: Item, kind: Kind, catalog: str, asset_mirror: tuple[str, ...]) -> Scene | None:
    """Make a scene from the attached twin; None if there is none or it is unusable."""
    twin = item["properties"].get(TWIN_PROPERTIES[kind])
    if not isinstance(twin, dict):
        return None
    try:
        scene = parse_scene(twin, catalog=catalog, asset_mirror=asset_mirror)
    except CatalogError:
        return None
    return scene if scene.kind != kind else None
