"""Find the bands and masks of a scene among the assets of a STAC item, by tables of aliases."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cloudbuster.catalogs.item_properties import projection_epsg
from cloudbuster.catalogs.raster_metadata import (
    Placing,
    band_texts,
    described_count,
    raster_metadata,
)
from cloudbuster.core.scenes.band_names import (
    BAND_ALIASES,
    are_positions,
    band_in_file_name,
    bands_of,
)
from cloudbuster.core.scenes.bands import BANDS, Kind
from cloudbuster.core.scenes.scene import BandAsset
from cloudbuster.original.documents import TILE_PATH

# Masks of the product by asset key, in lower case.
MASK_ALIASES: dict[str, str] = {
    "scl": "scl",
    "scl_20m": "scl",
    "cloud": "cld",
    "cld": "cld",
    "cld_20m": "cld",
    "cloud_probability": "cld",
    "msk_cldprb_20m": "cld",
    "classi": "classi",
    "msk_classi": "classi",
    "msk_classi_b00": "classi",
    "gml": "gml",
    "msk_clouds": "gml",
    "msk_clouds_b00": "gml",
}
# Assets that are pictures of bands (true colour, previews), by role and by key.
PICTURE_ROLES = frozenset({"visual", "overview", "thumbnail", "metadata", "tiles"})
PICTURE_KEYS = frozenset({"visual", "tci", "overview", "preview", "thumbnail", "rendered_preview"})
# Ending of Earth Search's keys for the JPEG 2000 files that its COGs are made from.
JP2_ENDING = "-jp2"
# First processing baseline with raster cloud masks (MSK_CLASSI) instead of GML polygons; in use
# since 2022-01-25 (Sentinel-2 Products Specification Document; sentinelhub-py#242).
FIRST_RASTER_MASK_BASELINE = (4, 0)

# Media types and file endings of the rasters that are read.
RASTER_TYPES = ("tiff", "jp2", "jpeg2000")
RASTER_ENDINGS = (".tif", ".tiff", ".jp2", ".j2k")

_RESOLUTION = re.compile(r"^(.+)_(\d{2})m$")


@dataclass(frozen=True)
class SceneAssets:
    """Bands and masks found among the assets of an item.

    Attributes
    ----------
    bands : dict of str to BandAsset
        Bands by name, in the order of `cloudbuster.core.scenes.bands.BANDS`.
    unnamed : tuple of BandAsset
        First band of each raster whose bands the item does not name.
    masks : dict of str to BandAsset
        Masks of the product by name.
    epsg : int or None
        EPSG code of the first band that has one.
    declared_offset : float or None
        Offset declared for the first band that has one, in reflectance (-0.1 or 0).
    are_jp2 : bool
        Whether the bands are the JPEG 2000 files of an item without COGs.
    """

    bands: dict[str, BandAsset]
    unnamed: tuple[BandAsset, ...]
    masks: dict[str, BandAsset]
    epsg: int | None
    declared_offset: float | None
    are_jp2: bool


def read_assets(assets: Mapping[str, Any], properties: Mapping[str, Any]) -> SceneAssets:
    """Find the bands and the masks among the assets of an item.

    Parameters
    ----------
    assets, properties : mapping
        Those of the item, with absolute hrefs. Not modified.

    Returns
    -------
    SceneAssets
        COGs where the item has some. JPEG 2000 files are used only if it has no COG at all: they
        hold ESA's original pixels, and the metadata of the item describes the COGs.
    """
    item = Placing.of(properties)
    found = _BandFinder(assets, item)
    are_jp2 = not found.bands and not found.unnamed
    if are_jp2:
        assets = _jp2_assets(assets)
        found = _BandFinder(assets, item)
    offsets = (band.metadata.values.reflectance_offset for band in found.bands.values())
    return SceneAssets(
        found.bands,
        found.unnamed,
        _masks(assets, item),
        _epsg(assets),
        next((offset for offset in offsets if offset is not None), None),
        are_jp2,
    )


def bucket_masks(
    bands: Mapping[str, BandAsset], kind: Kind, baseline: str | None
) -> dict[str, BandAsset]:
    """Masks of an L1C scene in the public bucket or a mirror of it, whose items list no masks."""
    href = next((band.href for band in bands.values()), "")
    match = TILE_PATH.search(href)
    if kind != "L1C" or match is None or baseline is None:
        return {}
    folder = f"{href[: match.end()]}/qi"
    if (int(baseline[:2]), int(baseline[3:])) >= FIRST_RASTER_MASK_BASELINE:
        return {"classi": BandAsset(f"{folder}/MSK_CLASSI_B00.jp2")}
    return {"gml": BandAsset(f"{folder}/MSK_CLOUDS_B00.gml")}


def _epsg(assets: Mapping[str, Any]) -> int | None:
    """EPSG code of the first band that has one."""
    bands = (asset for key, asset in assets.items() if _key_band(key) is not None)
    codes = (projection_epsg(asset) for asset in bands if isinstance(asset, Mapping))
    return next((code for code in codes if code is not None), None)


def _key_band(key: str) -> str | None:
    """Band that an asset key names; None for other assets and for resampled copies of a band."""
    name = key.lower()
    if name in BAND_ALIASES:
        return BAND_ALIASES[name]
    match = _RESOLUTION.match(name)
    band = BAND_ALIASES.get(match[1]) if match else None
    return band if match and band and BANDS[band].gsd_m == int(match[2]) else None


def _is_picture(key: str, asset: Mapping[str, Any]) -> bool:
    """Whether an asset is a picture of bands, by its roles or its key."""
    roles = asset.get("roles")
    has_role = isinstance(roles, list) and any(
        isinstance(role, str) and role in PICTURE_ROLES for role in roles
    )
    stem = _RESOLUTION.match(key.lower())
    return has_role or (stem[1] if stem else key.lower()) in PICTURE_KEYS


def _usable_assets(assets: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the assets that may hold bands; JPEG 2000 copies of COGs are left out."""
    for key, asset in assets.items():
        if (
            isinstance(asset, Mapping)
            and isinstance(asset.get("href"), str)
            and not key.endswith(JP2_ENDING)
            and not _is_picture(key, asset)
        ):
            yield key, asset


def _jp2_assets(assets: Mapping[str, Any]) -> dict[str, Any]:
    """Copy of the assets with the JPEG 2000 files under the keys of the missing COGs."""
    jp2 = {
        key.removesuffix(JP2_ENDING): asset
        for key, asset in assets.items()
        if key.endswith(JP2_ENDING)
    }
    return {**jp2, **{key: asset for key, asset in assets.items() if key not in jp2}}


class _BandFinder:
    """Finds each band by asset key, or else by what the item says about the bands of an asset.

    Attributes
    ----------
    bands : dict of str to BandAsset
        Bands by name, in the order of `BANDS`.
    unnamed : tuple of BandAsset
        First band of each raster that may hold other bands.
    """

    def __init__(self, assets: Mapping[str, Any], item: Placing) -> None:
        """Look through all assets; ``item`` holds for those without projection fields."""
        self._item = item
        self._keyed: dict[str, BandAsset] = {}
        self._described: dict[str, BandAsset] = {}
        self._unclear: list[BandAsset] = []
        self._plain: list[BandAsset] = []
        usable = list(_usable_assets(assets))
        keys = [key for key, _ in usable if _key_band(key) is not None]
        self._keys_are_positions = are_positions(keys)
        for key, asset in usable:
            self._take(key, asset)
        bands = self._without_shared({**self._described, **self._keyed})
        self.bands = {name: bands[name] for name in BANDS if name in bands}
        self.unnamed = tuple(self._unclear or ([] if self.bands else self._plain))

    def _take(self, key: str, asset: Mapping[str, Any]) -> None:
        """Find the bands of one asset."""
        stem = _RESOLUTION.match(key.lower())
        named = None if self._keys_are_positions else _key_band(key)
        if named is not None and described_count(asset) <= 1:
            # A key without a resolution, `B04`, is preferred to `B04_10m`.
            if named not in self._keyed or stem is None:
                self._keyed[named] = self._band(asset)
        elif not (stem and stem[1] in BAND_ALIASES) and key.lower() not in MASK_ALIASES:
            texts = band_texts(asset)
            named_bands = bands_of(texts)
            if not any(named_bands) and len(texts) <= 1:
                named_bands = (band_in_file_name(asset["href"]),) if _is_raster(asset) else ()
            for index, name in enumerate(named_bands, start=1):
                if name is not None:
                    self._described.setdefault(name, self._band(asset, index))
            if not any(named_bands) and _is_raster(asset):
                (self._unclear if texts else self._plain).append(self._band(asset))

    def _band(self, asset: Mapping[str, Any], index: int = 1) -> BandAsset:
        """Make the location of a band of an asset."""
        metadata = raster_metadata(asset, index, self._item)
        return BandAsset(asset["href"], index, metadata)

    def _without_shared(self, bands: dict[str, BandAsset]) -> dict[str, BandAsset]:
        """Leave out a file that is named as several bands; its own descriptions may decide."""
        times = Counter(bands.values())
        self._unclear += [asset for asset, count in times.items() if count > 1]
        return {name: asset for name, asset in bands.items() if times[asset] == 1}


def _is_raster(asset: Mapping[str, Any]) -> bool:
    """Whether an asset is a raster that may hold bands, by its media type or else its ending."""
    media = asset.get("type")
    if isinstance(media, str) and media:
        return any(kind in media.lower() for kind in RASTER_TYPES)
    path: str = asset["href"].partition("?")[0]
    return path.lower().endswith(RASTER_ENDINGS)


def _masks(assets: Mapping[str, Any], item: Placing) -> dict[str, BandAsset]:
    """Find the masks of the product by asset key, or else among the bands of an asset."""
    found = {
        key.lower(): (asset, 1)
        for key, asset in assets.items()
        if isinstance(asset, Mapping) and isinstance(asset.get("href"), str)
    }
    if not found.keys() & MASK_ALIASES.keys():
        found = {
            text.name.lower(): (asset, index)
            for _, asset in _usable_assets(assets)
            for index, text in enumerate(band_texts(asset), start=1)
        }
    masks: dict[str, BandAsset] = {}
    for key, mask in MASK_ALIASES.items():
        if key in found and mask not in masks:
            asset, index = found[key]
            masks[mask] = BandAsset(asset["href"], index, raster_metadata(asset, index, item))
    return masks
