"""Find the bands and masks of a scene among the assets of a STAC item, by tables of aliases."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cloudbuster.catalogs.item_properties import first_number, projection_epsg
from cloudbuster.core.bands import BANDS, Kind
from cloudbuster.core.scene import BandAsset
from cloudbuster.original.documents import TILE_PATH

# Band names in asset keys, `eo:bands` and `bands`, in lower case: ESA's names (Planetary Computer,
# Earth Search v0, Data Space), the same without the zero, and the common names of Earth Search v1
# and of the EO extension 2.0. `rededge` is left out: it may be any of three bands.
BAND_ALIASES: dict[str, str] = {
    **{name.lower(): name for name in BANDS},
    **{name.lower().replace("b0", "b"): name for name in BANDS},
    **{band.common_name: name for name, band in BANDS.items() if band.common_name != "rededge"},
    **{"rededge1": "B05", "rededge2": "B06", "rededge3": "B07"},
    **{"rededge071": "B05", "rededge075": "B06", "rededge078": "B07"},
}
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

_RESOLUTION = re.compile(r"^(.+)_(\d{2})m$")


@dataclass(frozen=True)
class SceneAssets:
    """Bands and masks found among the assets of an item.

    Attributes
    ----------
    bands : dict of str to BandAsset
        Bands by name, in the order of `cloudbuster.core.bands.BANDS`.
    masks : dict of str to BandAsset
        Masks of the product by name.
    epsg : int or None
        EPSG code of the first band that has one.
    declared_offset : float or None
        Offset declared for the first reflectance band, in reflectance (-0.1 or 0).
    are_jp2 : bool
        Whether the bands are the JPEG 2000 files of an item without COGs.
    """

    bands: dict[str, BandAsset]
    masks: dict[str, BandAsset]
    epsg: int | None
    declared_offset: float | None
    are_jp2: bool


def read_assets(assets: Mapping[str, Any]) -> SceneAssets:
    """Find the bands and the masks among the assets of an item.

    Parameters
    ----------
    assets : mapping
        Assets of the item, with absolute hrefs. Not modified.

    Returns
    -------
    SceneAssets
        COGs where the item has some. JPEG 2000 files are used only if it has no COG at all: they
        hold ESA's original pixels, and the metadata of the item describes the COGs.
    """
    bands = _bands(assets)
    are_jp2 = not bands
    if are_jp2:
        assets = _jp2_assets(assets)
        bands = _bands(assets)
    return SceneAssets(bands, _masks(assets), _epsg(assets), _declared_offset(assets), are_jp2)


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


def _asset_bands(asset: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Descriptions of an asset's bands: ``eo:bands``, or ``bands`` of STAC 1.1."""
    return _mappings(asset.get("eo:bands")) or _mappings(asset.get("bands"))


def _mappings(value: object) -> list[Mapping[str, Any]]:
    """Members of a list; those that are not JSON objects are replaced by empty ones."""
    members = value if isinstance(value, list) else []
    return [member if isinstance(member, Mapping) else {} for member in members]


def _described_band(band: Mapping[str, Any]) -> str | None:
    """Band that a description of ``eo:bands`` or ``bands`` names; None if it is not known."""
    for key in ("name", "eo:common_name", "common_name"):
        known = BAND_ALIASES.get(str(band.get(key, "")).lower())
        if known:
            return known
    return None


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


def _bands(assets: Mapping[str, Any]) -> dict[str, BandAsset]:
    """Find each band by asset key, or else by the descriptions of the asset's bands."""
    found: dict[str, BandAsset] = {}
    described: dict[str, BandAsset] = {}
    for key, asset in _usable_assets(assets):
        stem = _RESOLUTION.match(key.lower())
        named = _key_band(key)
        if named is not None:
            # A key without a resolution, `B04`, is preferred to `B04_10m`.
            if named not in found or stem is None:
                found[named] = BandAsset(asset["href"])
        elif not (stem and stem[1] in BAND_ALIASES) and key.lower() not in MASK_ALIASES:
            for index, band in enumerate(_asset_bands(asset), start=1):
                name = _described_band(band)
                if name is not None:
                    described.setdefault(name, BandAsset(asset["href"], index))
    bands = {**described, **found}
    return {name: bands[name] for name in BANDS if name in bands}


def _masks(assets: Mapping[str, Any]) -> dict[str, BandAsset]:
    """Find the masks of the product by asset key, in the order of `MASK_ALIASES`."""
    by_key = {
        key.lower(): asset["href"]
        for key, asset in assets.items()
        if isinstance(asset, Mapping) and isinstance(asset.get("href"), str)
    }
    masks: dict[str, BandAsset] = {}
    for key, mask in MASK_ALIASES.items():
        if key in by_key:
            masks.setdefault(mask, BandAsset(by_key[key]))
    return masks


def _declared_offset(assets: Mapping[str, Any]) -> float | None:
    """Offset declared for the first reflectance band, in reflectance (-0.1 or 0)."""
    for key, asset in _usable_assets(assets):
        described = _asset_bands(asset)
        if _key_band(key) is None and not any(_described_band(band) for band in described):
            continue
        for holder in (*_mappings(asset.get("raster:bands")), *described, asset):
            offset = first_number(holder, ("offset", "raster:offset"))
            if offset is not None:
                return offset
    return None
