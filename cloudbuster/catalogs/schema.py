"""STAC items of every dialect as a `Scene`, through tables of aliases.

The dialects: Earth Search v0, v1 and c1, Planetary Computer, the Copernicus Data Space, stactools,
the original's responses, and any other that names its bands. Nothing here opens a file.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from cloudbuster.core.asset_mirror import Mirror, mirrored_href
from cloudbuster.core.bands import BANDS, Kind
from cloudbuster.core.scene import BandAsset, Scene
from cloudbuster.errors import CatalogError
from cloudbuster.io.original import L1C_BUCKET, L2A_BUCKET, TILE_PATH
from cloudbuster.io.uri import is_remote, join, resolve
from cloudbuster.models import Item

TWIN_PROPERTY = "cloudbuster:l1c_twin"
"""Property that holds the L1C item of the same datatake and tile."""

Properties = Mapping[str, Any]

# Band names as they occur in asset keys and in `eo:bands` or `bands`, in lower case: ESA's names
# (Planetary Computer, Earth Search v0, Data Space), those without the zero, and the names of
# Earth Search v1 and of the EO extension 2.0. `rededge` alone is three bands, so it is none.
BAND_ALIASES: dict[str, str] = {
    **{name.lower(): name for name in BANDS},
    **{name.lower().replace("b0", "b"): name for name in BANDS},
    **{band.common_name: name for name, band in BANDS.items() if band.common_name != "rededge"},
    **{"rededge1": "B05", "rededge2": "B06", "rededge3": "B07"},
    **{"rededge071": "B05", "rededge075": "B06", "rededge078": "B07"},
}
# Masks that come with the product, by asset key in lower case.
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
# Assets that show bands without being them (true colour, previews), by role and by key.
PICTURE_ROLES = frozenset({"visual", "overview", "thumbnail", "metadata", "tiles"})
PICTURE_KEYS = frozenset({"visual", "tci", "overview", "preview", "thumbnail", "rendered_preview"})
# Where each property is told, the most trustworthy first. A value of another shape is passed over.
KIND_KEYS = ("s2:product_type", "sentinel2:product_type", "product:type")
PRODUCT_KEYS = ("s2:product_uri", "sentinel:product_id", "sentinel2:product_title")
DATATAKE_KEYS = ("s2:datatake_id", "eopf:datatake_id", *PRODUCT_KEYS)
TILE_KEYS = ("grid:code", "s2:mgrs_tile")
TILE_PART_KEYS = (
    ("mgrs:utm_zone", "mgrs:latitude_band", "mgrs:grid_square"),
    ("sentinel:utm_zone", "sentinel:latitude_band", "sentinel:grid_square"),
)
DATASTRIP_KEYS = ("s2:datastrip_id", "eopf:datastrip_id", "sentinel2:datastrip_id")
BASELINE_KEYS = (
    "s2:processing_baseline",
    "sentinel:processing_baseline",
    "sentinel2:processing_baseline",
    "processing:version",
)
ORBIT_KEYS = ("sat:relative_orbit", "sentinel2:relative_orbit_number")
NODATA_KEYS = ("s2:nodata_pixel_percentage", "sentinel2:nodata_pixel_percentage")
COVERAGE_KEYS = ("sentinel:data_coverage", "data_coverage")
OFFSET_FLAG_KEYS = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")
GENERATED_KEYS = (
    "s2:generation_time",
    "sentinel2:generation_time",
    "processing:datetime",
    "created",
)

_KIND = re.compile(r"(?:MSI|MSIL|L)(1C|2A)", re.IGNORECASE)
_SENTINEL_2 = re.compile(r"^S2[A-D]_|sentinel[-_ ]?(?:s)?2", re.IGNORECASE)
_PLATFORM = re.compile(r"(?:sentinel[-_ ]?2|^G?S2)([A-D])(?![a-z0-9])", re.IGNORECASE)
_DATATAKE = re.compile(r"^G?(S2[A-D])_(?:(?:MSI)?L?(?:1C|2A)_)?(\d{8}T\d{6})(?!\d)")
_DATASTRIP = re.compile(r"_DS_.*_S(\d{8}T\d{6})(?!\d)")
_TILE = re.compile(r"(?:^|[_-])T?(\d{1,2})([C-HJ-NP-X])([A-HJ-NP-Z]{2})(?=_|$)")
_BASELINE = re.compile(r"^(\d{1,2})\.(\d{1,2})$")
_BASELINE_IN_NAME = re.compile(r"_N(\d{2})\.?(\d{2})(?=_|\.|$)")
_ORBIT_IN_NAME = re.compile(r"_R(\d{3})(?=_|\.|$)")
_RESOLUTION = re.compile(r"^(.+)_(\d{2})m$")
# First baseline whose cloud masks are rasters (MSK_CLASSI) instead of GML polygons; operational
# from 2022-01-25 (Sentinel-2 Products Specification Document; sentinelhub-py#242).
FIRST_RASTER_MASK_BASELINE = (4, 0)
# Ending of the keys of Earth Search's second assets: the JPEG 2000 files that its COGs are made of.
JP2_ENDING = "-jp2"
# Files of the L2A bucket right under the folder of their tile, where none is: each lies in the
# folder of its resolution (R10m, ...; layout of the bucket, cirrus-earth-search#33).
_UNFOLDED_L2A = re.compile(
    rf"({re.escape(L2A_BUCKET)}/{TILE_PATH.pattern})/(B\d[\dA]|SCL|AOT|WVP)\.jp2"
)
# Finest resolution at which the bucket has what is no band, metres.
OTHER_GSD_M = {"SCL": 20, "AOT": 10, "WVP": 10}


# Bands right under the folder of their tile: so they lie in the bucket of L1C.
_L1C_BAND = re.compile(
    rf"{re.escape(L2A_BUCKET)}/(?P<key>{TILE_PATH.pattern}/(?:B\d[\dA]|TCI)\.jp2)"
)


def _l1c_bucket(href: str) -> str:
    """Put an L1C band where it is: items before July 2023 name the L2A bucket (earth-search#72)."""
    match = _L1C_BAND.fullmatch(href)
    return f"{L1C_BUCKET}/{match['key']}" if match else href


def _l2a_folder(href: str) -> str:
    """Put a file of the L2A bucket into the folder of its resolution."""
    match = _UNFOLDED_L2A.fullmatch(href)
    if match is None:
        return href
    folder, name = match[1], match.groups()[-1]
    gsd_m = BANDS[name].gsd_m if name in BANDS else OTHER_GSD_M[name]
    return f"{folder}/R{gsd_m:g}m/{name}.jp2"


# What is known to be wrong with hrefs, by product level.
MENDED_HREFS: dict[Kind, Callable[[str], str]] = {"L1C": _l1c_bucket, "L2A": _l2a_folder}


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
    reason = _unusable(item)
    kind = kind_of(item) if reason is None else None
    if kind is None:
        told = reason or "tells neither L1C nor L2A, in no property, collection or id"
        msg = f"{catalog}: item {item.get('id', '(without id)')} {told}"
        raise CatalogError(msg)
    properties: Properties = item["properties"]
    names = list(_names(item))
    tile = mgrs_tile_of(item)
    baseline = _baseline(properties, names)
    collection = item.get("collection")
    assets = mended_item(absolute_item(item, base))["assets"]
    bands, from_jp2 = _bands(assets), False
    if not bands:
        # Only where there is nothing else: these pixels are ESA's own, whatever the item says of
        # the offset of its COGs, so the two are never mixed.
        assets = _jp2_assets(assets)
        bands, from_jp2 = _bands(assets), True
    return Scene(
        id=str(item["id"]),
        kind=kind,
        collection=collection if isinstance(collection, str) else None,
        acquired=acquired_of(item),
        platform=_platform(properties, names),
        mgrs_tile=tile,
        datatake=datatake_of(item),
        relative_orbit=_relative_orbit(properties, names),
        baseline=baseline,
        cloud_cover=cloud_cover_of(item),
        nodata_percent=_nodata_percent(properties),
        sun_azimuth_deg=_first_number(properties, ("view:sun_azimuth", "s2:mean_solar_azimuth")),
        sun_elevation_deg=_sun_elevation(properties),
        epsg=_epsg(properties, assets, tile),
        footprint=footprint_of(item),
        bands=bands,
        masks=_bucket_masks(bands, kind, baseline) | _masks(assets),
        offset_removed_flag=None if from_jp2 else _flag(properties, OFFSET_FLAG_KEYS),
        declared_offset=_declared_offset(assets),
        twin=_twin(properties, catalog),
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


def kind_of(item: Item) -> Kind | None:
    """Product level of an item; None where it does not tell."""
    properties = item["properties"]
    told = [properties.get(key) for key in KIND_KEYS]
    for text in (*told, item.get("collection"), *_names(item)):
        match = _KIND.search(text) if isinstance(text, str) else None
        if match:
            return "L1C" if match[1].upper() == "1C" else "L2A"
    return None


def acquired_of(item: Item) -> datetime | None:
    """Acquisition time of an item, UTC; None where it tells none."""
    properties = item["properties"]
    return parse_time(properties.get("datetime")) or parse_time(properties.get("start_datetime"))


def cloud_cover_of(item: Item) -> float | None:
    """Cloud cover of an item, percent; None where it does not tell."""
    return _first_number(item["properties"], ("eo:cloud_cover",))


def generated_of(item: Item) -> datetime | None:
    """When the product was made, UTC; None where the item does not tell."""
    times = (parse_time(item["properties"].get(key)) for key in GENERATED_KEYS)
    return next((time for time in times if time is not None), None)


def mgrs_tile_of(item: Item) -> str | None:
    """MGRS tile of an item, as ``01WCR``; None where it does not tell."""
    properties = item["properties"]
    texts = [properties.get(key) for key in TILE_KEYS]
    texts += ["".join(str(properties.get(key, "")) for key in keys) for keys in TILE_PART_KEYS]
    for text in (*texts, *_names(item)):
        match = _TILE.search(text) if isinstance(text, str) else None
        if match:
            return f"{int(match[1]):02d}{match[2]}{match[3]}"
    return None


def datatake_of(item: Item) -> str | None:
    """Platform and start of sensing of the datatake, ``S2A_20230818T100031``; None if untold."""
    texts = [item["properties"].get(key) for key in DATATAKE_KEYS]
    for text in (*texts, item["id"]):
        match = _DATATAKE.match(text) if isinstance(text, str) else None
        if match:
            return f"{match[1]}_{match[2]}"
    return None


def datastrip_start_of(item: Item) -> datetime | None:
    """Start of sensing of the datastrip, UTC: the part of a datatake that one station received."""
    for key in DATASTRIP_KEYS:
        text = item["properties"].get(key)
        match = _DATASTRIP.search(text) if isinstance(text, str) else None
        if match:
            return parse_time(match[1])
    return None


def footprint_of(item: Item) -> dict[str, Any] | None:
    """GeoJSON geometry of an item, else its bounding box; None where it has neither."""
    geometry = item.get("geometry")
    if isinstance(geometry, dict) and geometry.get("coordinates"):
        return geometry
    box = item.get("bbox")
    if not isinstance(box, list) or len(box) not in (4, 6):
        return None
    (west, south), (east, north) = box[:2], box[len(box) // 2 :][:2]
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def parse_time(value: object) -> datetime | None:
    """ISO 8601 text (or a datetime or a date) as UTC; None where it is not one."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            return None
    if isinstance(value, datetime):
        return value.replace(tzinfo=value.tzinfo or UTC).astimezone(UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return None


def absolute_item(item: Item, base: str | None = None) -> Item:
    """Copy of an item whose asset and link hrefs are absolute.

    Parameters
    ----------
    item : dict
        STAC item. Not modified.
    base : str or None
        Folder or prefix of the item; None takes that of its self link, where it is absolute.

    Returns
    -------
    dict
        Equal to ``item`` but for the hrefs; without a base they stay as they are.
    """
    folder = base if base is not None else self_folder(item)
    if folder is None:
        return dict(item)

    def absolute(entry: object) -> object:
        if not isinstance(entry, dict) or not isinstance(entry.get("href"), str):
            return entry
        return {**entry, "href": _resolved(entry["href"], folder)}

    copy = {**item, "assets": {key: absolute(asset) for key, asset in item["assets"].items()}}
    if isinstance(item.get("links"), list):
        copy["links"] = [absolute(link) for link in item["links"]]
    return copy


def mended_item(item: Item) -> Item:
    """Copy of an item with what is known to be wrong with its assets' hrefs put right.

    Parameters
    ----------
    item : dict
        STAC item, hrefs absolute. Not modified.

    Returns
    -------
    dict
        Equal to ``item`` but for the hrefs of `MENDED_HREFS`; mending it again changes nothing.
    """
    kind = kind_of(item)
    return item if kind is None else _with_hrefs(item, MENDED_HREFS[kind])


def mirrored_item(item: Item, mirrors: Sequence[Mirror]) -> Item:
    """Copy of an item whose asset hrefs lead to mirrors.

    Parameters
    ----------
    item : dict
        STAC item, hrefs absolute. Not modified.
    mirrors : sequence of (str, str)
        As `cloudbuster.core.asset_mirror.mirrored_href` takes them.

    Returns
    -------
    dict
    """
    return _with_hrefs(item, lambda href: mirrored_href(href, mirrors)) if mirrors else item


def _with_hrefs(item: Item, change: Callable[[str], str]) -> Item:
    def changed(asset: object) -> object:
        if not isinstance(asset, dict) or not isinstance(asset.get("href"), str):
            return asset
        return {**asset, "href": change(asset["href"])}

    return {**item, "assets": {key: changed(asset) for key, asset in item["assets"].items()}}


def self_folder(item: Item) -> str | None:
    """Folder of the item's self link (or the canonical one), where that is absolute."""
    links = item.get("links")
    for rel in ("self", "canonical"):
        for link in links if isinstance(links, list) else []:
            href = link.get("href") if isinstance(link, dict) and link.get("rel") == rel else None
            if isinstance(href, str) and (is_remote(href) or href.startswith("/")):
                return href.rpartition("/")[0]
    return None


def _resolved(href: str, folder: str) -> str:
    """Make ``href`` absolute; any scheme (``gs://`` too) and a path from the root already are."""
    if "://" in href or href.startswith("/"):
        return href
    return join(folder, href.removeprefix("./")) if is_remote(folder) else resolve(href, folder)


def _twin(properties: Properties, catalog: str) -> Scene | None:
    """Make a scene of the attached twin; an unusable one is as good as none."""
    item = properties.get(TWIN_PROPERTY)
    if not isinstance(item, dict):
        return None
    try:
        return parse_scene(item, catalog=catalog)
    except CatalogError:
        return None


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


def _names(item: Item) -> Iterator[str]:
    """Yield the product names of an item, then its id."""
    for key in PRODUCT_KEYS:
        if isinstance(item["properties"].get(key), str):
            yield item["properties"][key]
    yield item["id"]


def _first_number(properties: Properties, keys: Iterable[str]) -> float | None:
    for key in keys:
        value = properties.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    return None


def _flag(properties: Properties, keys: Iterable[str]) -> bool | None:
    for key in keys:
        value = properties.get(key)
        if isinstance(value, bool):
            return value
    return None


def _platform(properties: Properties, names: Iterable[str]) -> str | None:
    for text in (properties.get("platform"), *names):
        match = _PLATFORM.search(text) if isinstance(text, str) else None
        if match:
            return f"sentinel-2{match[1].lower()}"
    return None


def _baseline(properties: Properties, names: Iterable[str]) -> str | None:
    for key in BASELINE_KEYS:
        match = _BASELINE.match(str(properties.get(key, "")))
        if match:
            return f"{int(match[1]):02d}.{int(match[2]):02d}"
    datatakes = (properties.get(key) for key in DATATAKE_KEYS)
    for text in (*names, *datatakes):
        match = _BASELINE_IN_NAME.search(text) if isinstance(text, str) else None
        if match:
            return f"{match[1]}.{match[2]}"
    return None


def _relative_orbit(properties: Properties, names: Iterable[str]) -> int | None:
    told = _first_number(properties, ORBIT_KEYS)
    if told is not None:
        return int(told)
    matches = (_ORBIT_IN_NAME.search(name) for name in names)
    return next((int(match[1]) for match in matches if match), None)


def _nodata_percent(properties: Properties) -> float | None:
    told = _first_number(properties, NODATA_KEYS)
    statistics = properties.get("statistics")
    if told is None and isinstance(statistics, dict):
        told = _first_number(statistics, ("nodata",))
    covered = _first_number(properties, COVERAGE_KEYS)
    return 100 - covered if told is None and covered is not None else told


def _sun_elevation(properties: Properties) -> float | None:
    zenith = _first_number(properties, ("s2:mean_solar_zenith",))
    elevation = _first_number(properties, ("view:sun_elevation",))
    return 90 - zenith if elevation is None and zenith is not None else elevation


def _epsg(properties: Properties, assets: Mapping[str, Any], tile: str | None) -> int | None:
    """EPSG code of the item, of one of its bands, else of the UTM zone of its tile."""
    bands = (asset for key, asset in assets.items() if _key_band(key) is not None)
    for holder in (properties, *bands):
        code = holder.get("proj:epsg") if isinstance(holder, Mapping) else None
        text = holder.get("proj:code") if isinstance(holder, Mapping) else None
        if isinstance(code, int):
            return code
        if isinstance(text, str) and text.upper().startswith("EPSG:") and text[5:].isdigit():
            return int(text[5:])
    if tile is None:
        return None
    # Latitude bands N to X lie north of the equator; EPSG 326zz is UTM north, 327zz south.
    return (32600 if tile[2] >= "N" else 32700) + int(tile[:2])


def _key_band(key: str) -> str | None:
    """Band of an asset key; None for another asset, and for a band not at its native resolution."""
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
    """Members of a list, each in its place; empty ones for those that are no objects."""
    members = value if isinstance(value, list) else []
    return [member if isinstance(member, Mapping) else {} for member in members]


def _described_band(band: Mapping[str, Any]) -> str | None:
    for key in ("name", "eo:common_name", "common_name"):
        known = BAND_ALIASES.get(str(band.get(key, "")).lower())
        if known:
            return known
    return None


def _is_picture(key: str, asset: Mapping[str, Any]) -> bool:
    roles = asset.get("roles")
    shown = isinstance(roles, list) and any(role in PICTURE_ROLES for role in roles)
    stem = _RESOLUTION.match(key.lower())
    return shown or (stem[1] if stem else key.lower()) in PICTURE_KEYS


def _usable_assets(assets: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the assets that may hold bands; not ``-jp2``, of which a COG stands beside."""
    for key, asset in assets.items():
        if (
            isinstance(asset, Mapping)
            and isinstance(asset.get("href"), str)
            and not key.endswith(JP2_ENDING)
            and not _is_picture(key, asset)
        ):
            yield key, asset


def _jp2_assets(assets: Mapping[str, Any]) -> dict[str, Any]:
    """Assets with the JPEG 2000 ones by the keys of the COGs that are not there."""
    second = {
        key.removesuffix(JP2_ENDING): asset
        for key, asset in assets.items()
        if key.endswith(JP2_ENDING)
    }
    return {**second, **{key: asset for key, asset in assets.items() if key not in second}}


def _bands(assets: Mapping[str, Any]) -> dict[str, BandAsset]:
    """Find each band: by asset key, else by the description of the asset's bands."""
    found: dict[str, BandAsset] = {}
    described: dict[str, BandAsset] = {}
    for key, asset in _usable_assets(assets):
        stem = _RESOLUTION.match(key.lower())
        named = _key_band(key)
        if named is not None:
            # A key without resolution is the native one; it goes before `B04_10m`.
            if named not in found or stem is None:
                found[named] = BandAsset(asset["href"])
        elif not (stem and stem[1] in BAND_ALIASES) and key.lower() not in MASK_ALIASES:
            for index, band in enumerate(_asset_bands(asset), start=1):
                name = _described_band(band)
                if name is not None:
                    described.setdefault(name, BandAsset(asset["href"], index))
    every = {**described, **found}
    return {name: every[name] for name in BANDS if name in every}


def _masks(assets: Mapping[str, Any]) -> dict[str, BandAsset]:
    """Find the product's own masks by asset key, in the order of `MASK_ALIASES`."""
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


def _bucket_masks(
    bands: Mapping[str, BandAsset], kind: Kind, baseline: str | None
) -> dict[str, BandAsset]:
    """Masks of an L1C scene in the public bucket, whose items list none (facts of its layout).

    A mirror of the bucket has its layout too.
    """
    href = next((band.href for band in bands.values()), "")
    match = TILE_PATH.search(href)
    if kind != "L1C" or match is None or baseline is None:
        return {}
    folder = f"{href[: match.end()]}/qi"
    if (int(baseline[:2]), int(baseline[3:])) >= FIRST_RASTER_MASK_BASELINE:
        return {"classi": BandAsset(f"{folder}/MSK_CLASSI_B00.jp2")}
    return {"gml": BandAsset(f"{folder}/MSK_CLOUDS_B00.gml")}


def _declared_offset(assets: Mapping[str, Any]) -> float | None:
    """Offset that the first reflectance band declares, in reflectance (-0.1 or 0)."""
    for key, asset in _usable_assets(assets):
        described = _asset_bands(asset)
        if _key_band(key) is None and not any(_described_band(band) for band in described):
            continue
        for holder in (*_mappings(asset.get("raster:bands")), *described, asset):
            offset = _first_number(holder, ("offset", "raster:offset"))
            if offset is not None:
                return offset
    return None
