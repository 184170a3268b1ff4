"""Products of Sentinel-2 as people download them: SAFE folders, zipped or not, and tile folders.

A product becomes one STAC item for each of its tiles. Its files are found by their names, in the
layouts of ESA before and after December 2016, and of the public buckets.
"""

import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from cloudbuster.catalogs.product_metadata import (
    ProductFacts,
    TileFacts,
    read_product_metadata,
    read_tile_info,
    read_tile_metadata,
)
from cloudbuster.core.scenes.bands import BANDS
from cloudbuster.errors import BadInputError, CatalogError
from cloudbuster.models import Dropped, Item
from cloudbuster.storage.addresses.archives import member_names, member_uri, stays_inside
from cloudbuster.storage.addresses.trust import Trust, admitted
from cloudbuster.storage.files.uri import join
from cloudbuster.storage.rasters.access import read_file

# Metadata of a whole product and of one tile, in the layouts since December 2016 and before.
PRODUCT_METADATA = re.compile(
    r"(?:MTD_MSIL(?:1C|2A)|S2[A-D]_\w+_MTD_(?:SAF|DMP)L(?:1C|2A)_\w+)\.xml", re.IGNORECASE
)
TILE_METADATA = re.compile(r"(?:MTD_TL|S2[A-D]_\w+_MTD_L(?:1C|2A)_TL_\w+)\.xml", re.IGNORECASE)
MANIFEST = "manifest.safe"
# Metadata of a tile's folder in the public buckets.
BUCKET_INFO, BUCKET_METADATA = "tileInfo.json", "metadata.xml"
# A band's file: T33TWL_20230815T100031_B02_10m.jp2, S2A_OPER_..._T33TWL_B02.jp2, R10m/B02.jp2.
BAND_FILE = re.compile(
    r"(?:^|[_/])(?P<band>B\d[\dA])(?:_(?P<gsd>\d\d)m)?\.(?:jp2|tiff?)$", re.IGNORECASE
)
# Folders of masks, previews and auxiliary data, whose files may be named after bands too.
OTHER_FOLDERS = frozenset({"QI_DATA", "qi", "preview", "AUX_DATA", "auxiliary"})
GSD_FOLDER = re.compile(r"(?:^|/)R(\d\d)m/", re.IGNORECASE)
# Masks by asset key: names of files in `IMG_DATA`, `QI_DATA` and `qi`, the preferred ones first.
MASK_FILES = {
    "scl": (
        re.compile(r"(?:^|_)SCL(?:_L2A_\w+)?_20m\.(?:jp2|tiff?)$", re.IGNORECASE),
        re.compile(r"(?:^|/)R20m/SCL\.(?:jp2|tiff?)$", re.IGNORECASE),
        re.compile(r"(?:^|_)SCL(?:_L2A_\w+)?_60m\.(?:jp2|tiff?)$", re.IGNORECASE),
    ),
    "cld": (
        re.compile(r"MSK_CLDPRB_20m\.(?:jp2|tiff?)$", re.IGNORECASE),
        re.compile(r"(?:^|_)CLD(?:_L2A_\w+)?_20m\.(?:jp2|tiff?)$", re.IGNORECASE),
        re.compile(r"(?:^|/)qi/CLD_20m\.(?:jp2|tiff?)$", re.IGNORECASE),
    ),
    "msk_classi": (re.compile(r"MSK_CLASSI_B00\.(?:jp2|tiff?)$", re.IGNORECASE),),
    "msk_clouds": (re.compile(r"MSK_CLOUDS_(?:\w+_)?B00(?:_MSIL1C)?\.gml$", re.IGNORECASE),),
}
# Files of a tile's folder in the public buckets, which are not listed there.
BUCKET_FILES = {
    "L1C": tuple(f"{name}.jp2" for name in BANDS),
    "L2A": (
        *(f"R{band.gsd_m}m/{name}.jp2" for name, band in BANDS.items() if name != "B10"),
        "R20m/SCL.jp2",
        "qi/CLD_20m.jp2",
    ),
}
# Greatest size of a file of metadata; those of a tile have up to 1 MB, those of a product of 15
# tiles 3 MB. An element of XML takes 50 times its text in memory.
MAX_METADATA_BYTES = 8 * 2**20
MEDIA_TYPES = {".jp2": "image/jp2", ".gml": "application/gml+xml"}


@dataclass(frozen=True)
class ProductFiles:
    """Files of one product.

    Attributes
    ----------
    root : str
        Address of the folder, for the members of a zip that of the zip with the folder in it.
    names : tuple of str
        Paths in the folder, with ``/`` between their parts.
    trust : Trust
        What the product's files may refer to.
    """

    root: str
    names: tuple[str, ...]
    trust: Trust

    def address(self, name: str) -> str:
        """Address of a file."""
        return join(self.root, name)

    def read(self, name: str) -> bytes:
        """Read a file of metadata; raise an error of `rasters.access.read_file`."""
        return _read(self.address(name), self.trust)


def _read(address: str, trust: Trust) -> bytes:
    """Read a file of metadata within its bound."""
    return read_file(address, trust=trust, max_bytes=MAX_METADATA_BYTES)


def is_product_file(path: Path) -> bool:
    """Whether a local file stands for a product: its metadata, its manifest, or a zip."""
    return path.is_file() and (
        PRODUCT_METADATA.fullmatch(path.name) is not None
        or path.name.lower() == MANIFEST
        or path.name == BUCKET_INFO
        or zipfile.is_zipfile(path)
    )


def remote_products(uri: str, trust: Trust) -> list[ProductFiles]:
    """Name the files of a product on another machine, without listing anything there.

    Parameters
    ----------
    uri, trust : str, Trust
        Address of a SAFE folder or a tile's folder, and what it may refer to.

    Raises
    ------
    CatalogError
        If a SAFE folder has no readable manifest, or a tile's folder no readable metadata.
    UntrustedAddressError, TooLargeError
        If it may not be opened, or a file of metadata is over its bound.
    TryAgainError
        If its place fails in a way that may pass.
    """
    root = uri.rstrip("/")
    if root.upper().endswith(".SAFE"):
        manifest = join(root, MANIFEST)
        hrefs = re.findall(rb'href="\./?([^"]+)"', _read(manifest, trust))
        listed = (href.decode("utf-8", "replace") for href in hrefs)
        names = tuple(dict.fromkeys(name for name in listed if stays_inside(unquote(name))))
        if not names:
            msg = f"{manifest} lists no files; give the folder of a product"
            raise CatalogError(msg)
        return [ProductFiles(root, names, trust)]
    info = read_tile_info(_read(join(root, BUCKET_INFO), trust), join(root, BUCKET_INFO))
    kind = "L2A" if "MSIL2A" in str(info.properties.get("s2:product_uri")) else "L1C"
    return [ProductFiles(root, (BUCKET_INFO, BUCKET_METADATA, *BUCKET_FILES[kind]), trust)]


def local_products(path: Path, unreadable: list[Dropped], trust: Trust) -> list[ProductFiles]:
    """Find the products in a folder and its subfolders, in a zip, or of a file of metadata.

    Parameters
    ----------
    path : Path
        Folder or file.
    unreadable : list of Dropped
        Zips that cannot be read, or must not be, are added.
    trust : Trust
        What the products may refer to.
    """
    if path.is_file() and not zipfile.is_zipfile(path):
        path = path.parent
    if path.is_file():
        return _in_zip(path, unreadable, trust)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    names = [file.relative_to(path).as_posix() for file in files]
    products = list(_products(str(path.absolute()), names, trust))
    for file in files:
        if file.suffix.lower() == ".zip":
            products += _in_zip(file, unreadable, trust)
    return products


def _in_zip(path: Path, unreadable: list[Dropped], trust: Trust) -> list[ProductFiles]:
    """Find the products in a zip."""
    try:
        archive = Path(admitted(str(path.absolute()), trust))
        names = member_names(archive)
    except BadInputError as error:
        unreadable.append(Dropped(item_id=path.name, reason=str(error)))
        return []
    return list(_products(member_uri(archive), names, trust))


def _products(root: str, names: Iterable[str], trust: Trust) -> Iterator[ProductFiles]:
    """Group files by the products whose metadata are among them."""
    paths = [PurePosixPath(name) for name in names]
    roots = {
        path.parent
        for path in paths
        if PRODUCT_METADATA.fullmatch(path.name) or path.name == BUCKET_INFO
    }
    members: dict[PurePosixPath, list[str]] = {folder: [] for folder in sorted(roots)}
    for path in paths:
        home = next((parent for parent in path.parents if parent in members), None)
        if home is not None:
            members[home].append(path.relative_to(home).as_posix())
    for home, files in members.items():
        address = root if home == PurePosixPath() else join(root, home.as_posix())
        yield ProductFiles(address, tuple(files), trust)


def product_items(files: ProductFiles, unreadable: list[Dropped]) -> Iterator[Item]:
    """Make a STAC item of each tile of a product.

    Parameters
    ----------
    files : ProductFiles
        The product.
    unreadable : list of Dropped
        The product is added, with the reason, if its metadata cannot be read.

    Yields
    ------
    dict
        Item with absolute hrefs.

    Raises
    ------
    TryAgainError
        If a remote place fails in a way that may pass.
    """
    name = PurePosixPath(files.root.removesuffix("!/")).name
    try:
        yield from _items(files)
    except BadInputError as error:
        unreadable.append(Dropped(item_id=name, reason=str(error)))


def _items(files: ProductFiles) -> Iterator[Item]:
    """Make the items of a product; raise CatalogError if its metadata cannot be read."""
    if BUCKET_INFO in files.names:
        info = read_tile_info(files.read(BUCKET_INFO), files.address(BUCKET_INFO))
        tile = _tile(files, BUCKET_METADATA)
        place = PurePosixPath(files.root).as_posix().strip("/").replace("/", "_")
        name = str(info.properties.get("s2:product_uri", place))
        yield _item(files, info, tile, files.names, name=name)
        return
    metadata = next(
        name for name in files.names if "/" not in name and PRODUCT_METADATA.fullmatch(name)
    )
    product = read_product_metadata(files.read(metadata), files.address(metadata))
    granules = [name for name in files.names if TILE_METADATA.fullmatch(PurePosixPath(name).name)]
    if not granules:
        msg = f"{files.root} has no metadata of a tile (MTD_TL.xml); fetch the product again"
        raise CatalogError(msg)
    name = str(product.properties.get("s2:product_uri", PurePosixPath(files.root).name))
    for granule in granules:
        folder = f"{PurePosixPath(granule).parent}/"
        tile = _tile(files, granule)
        inside = tuple(member for member in files.names if member.startswith(folder))
        if len(granules) == 1:
            yield _item(files, product, tile, inside, name=name)
        else:
            # The footprint and the cloud cover of the product are those of all its tiles.
            own = str(tile.properties.get("s2:tile_id", PurePosixPath(folder).name))
            alone = ProductFacts(
                product.properties, None, product.quantification, product.offsets_dn
            )
            yield _item(files, alone, tile, inside, name=own)


def _tile(files: ProductFiles, name: str) -> TileFacts:
    """Read the metadata of a tile."""
    return read_tile_metadata(files.read(name), files.address(name))


def _item(
    files: ProductFiles,
    product: ProductFacts,
    tile: TileFacts,
    names: Iterable[str],
    *,
    name: str,
) -> Item:
    """Make the item of one tile."""
    geometry = product.footprint or tile.outline
    properties = {"constellation": "sentinel-2", **product.properties, **tile.properties}
    if tile.epsg is not None:
        properties["proj:epsg"] = tile.epsg
    grid = _tile_name(tile, name)
    if grid is not None:
        properties["grid:code"] = f"MGRS-{grid}"
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name.removesuffix(".SAFE"),
        "geometry": geometry,
        "properties": properties,
        "links": [],
        "assets": {**_band_assets(files, product, tile, names), **_mask_assets(files, names)},
    }


def _tile_name(tile: TileFacts, name: str) -> str | None:
    """MGRS tile of the id of a granule or the name of a product."""
    texts = (str(tile.properties.get("s2:tile_id", "")), name)
    matches = (re.search(r"_T(\d{2}[C-X][A-Z]{2})(?=_|\.|$)", text) for text in texts)
    return next((match[1] for match in matches if match), None)


def _band_assets(
    files: ProductFiles, product: ProductFacts, tile: TileFacts, names: Iterable[str]
) -> dict[str, Any]:
    """Make the assets of the bands, each at its own resolution, or else the finest there is."""
    found: dict[str, tuple[int, str]] = {}
    for name in names:
        match = BAND_FILE.search(name)
        band = match["band"].upper() if match else ""
        if match is None or band not in BANDS or not OTHER_FOLDERS.isdisjoint(name.split("/")):
            continue
        folder = GSD_FOLDER.search(name)
        native = BANDS[band].gsd_m
        gsd = int(match["gsd"] or (folder[1] if folder else native))
        if band not in found or _preference(gsd, native) < _preference(found[band][0], native):
            found[band] = (gsd, name)
    return {
        band: _band_asset(files.address(found[band][1]), band, found[band][0], product, tile)
        for band in BANDS
        if band in found
    }


def _preference(gsd_m: int, native_m: int) -> tuple[bool, int]:
    """Key of a file of a band: its own resolution first, then the finest."""
    return (gsd_m != native_m, gsd_m)


def _band_asset(
    href: str, band: str, gsd_m: int, product: ProductFacts, tile: TileFacts
) -> dict[str, Any]:
    """Make the asset of a band."""
    scale = 1 / product.quantification
    asset: dict[str, Any] = {
        "href": href,
        "type": _media_type(href),
        "roles": ["data", "reflectance"],
        "gsd": gsd_m,
        "eo:bands": [{"name": band, "common_name": BANDS[band].common_name}],
    }
    if band in product.offsets_dn:
        offset = product.offsets_dn[band] * scale
        asset["raster:bands"] = [{"nodata": 0, "scale": scale, "offset": offset}]
    if tile.corner is not None:
        west, north = tile.corner
        asset["proj:transform"] = [gsd_m, 0, west, 0, -gsd_m, north]
    return asset


def _mask_assets(files: ProductFiles, names: Iterable[str]) -> dict[str, Any]:
    """Make the assets of the masks."""
    members = list(names)
    assets: dict[str, Any] = {}
    for key, patterns in MASK_FILES.items():
        matches = (name for pattern in patterns for name in members if pattern.search(name))
        name = next(matches, None)
        if name is not None:
            href = files.address(name)
            assets[key] = {"href": href, "type": _media_type(href), "roles": ["data"]}
    return assets


def _media_type(href: str) -> str:
    """Media type of a file by its ending."""
    types: Mapping[str, str] = MEDIA_TYPES
    return types.get(PurePosixPath(href).suffix.lower(), "image/tiff; application=geotiff")
