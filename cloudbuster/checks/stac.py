"""Checks of the STAC item: against the schemas, against the rasters' outline, and its files."""

import hashlib
import importlib
import json
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import rasterio
import shapely
from rasterio.errors import NotGeoreferencedWarning
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from cloudbuster.checks.results import Count, not_checked
from cloudbuster.core.grids.grid import Grid
from cloudbuster.errors import MissingExtraError
from cloudbuster.models import Check
from cloudbuster.products.preview import preview_shape
from cloudbuster.products.stac_item import EXTENSIONS, lonlat_footprint
from cloudbuster.storage.rasters.gdal_env import RASTER_ERRORS

SCHEMAS = Path(__file__).resolve().parents[1] / "schemas" / "stac"
# Schema of a field that the items of this package do not have, to which an extension refers.
PROJJSON = "https://proj.org/schemas/v0.5/projjson.schema.json"
# Share of the area of a footprint by which it may differ from the outline of the raster.
AREA_TOLERANCE = 1e-3
DEGREE_TOLERANCE = 1e-5
# Codes of a multihash: SHA-256 with its length of 32 bytes (multiformats table).
SHA256_PREFIX = "1220"
READ_BYTES = 2**20

# What pystac raises for an item that it cannot read.
UNREADABLE = (
    pystac.STACError,
    pystac.STACTypeError,
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
)


def check_schemas(item: dict[str, Any]) -> Check:
    """Validate an item by the schemas of STAC and of its extensions, without a network."""
    name = "stac"
    try:
        errors_of = _validator()
    except MissingExtraError as error:
        return not_checked(name, str(error))
    count = Count(name, "schemas")
    stated = item.get("stac_extensions")
    count.expect(
        stated == list(EXTENSIONS), f"the item states the extensions {stated}, not {EXTENSIONS}"
    )
    for uri in (_core_schema(), *EXTENSIONS):
        errors = errors_of(uri, item)
        label = "/".join(uri.split("/")[-3:-1])
        count.expect(not errors, f"{label}: {errors[0] if errors else ''}")
    try:
        pystac.Item.from_dict(item)
    except UNREADABLE as error:
        count.expect(False, f"pystac cannot read the item: {error}")
    else:
        count.expect(True, "")
    return count.check


def _core_schema() -> str:
    """Return the address of the schema of items."""
    cached = importlib.import_module("pystac.validation.local_validator").get_local_schema_cache()
    return next(str(uri) for uri in cached if uri.endswith("item-spec/json-schema/item.json"))


@cache
def _validator() -> Any:  # noqa: ANN401 -- a function that returns messages
    """Make the function that lists what of an item a schema refuses.

    Raises MissingExtraError without the package jsonschema.
    """
    try:
        jsonschema = importlib.import_module("jsonschema")
        referencing = importlib.import_module("referencing")
        draft7 = importlib.import_module("referencing.jsonschema").DRAFT7
    except ImportError as error:
        msg = "the schemas need jsonschema: pip install 'cloudbuster[verify]'"
        raise MissingExtraError(msg) from error
    local = importlib.import_module("pystac.validation.local_validator")
    schemas: dict[str, Any] = {**local.get_local_schema_cache(), PROJJSON: {"not": {}}}
    for uri in EXTENSIONS:
        schemas[uri] = json.loads((SCHEMAS / uri.split(".io/")[1]).read_bytes())
    registry = referencing.Registry().with_resources(
        (uri, referencing.Resource.from_contents(schema, default_specification=draft7))
        for uri, schema in schemas.items()
    )

    def errors_of(uri: str, item: dict[str, Any]) -> list[str]:
        """Return the messages of what a schema refuses, each with its place."""
        validator = jsonschema.Draft7Validator(schemas[uri], registry=registry)
        return [
            f"{'/'.join(map(str, error.absolute_path)) or 'item'}: {error.message[:120]}"
            for error in validator.iter_errors(item)
        ]

    return errors_of


def check_footprint(item: dict[str, Any], grid: Grid) -> Check:
    """Check that geometry and bounding box of an item are the outline of its rasters."""
    count = Count("footprint", "outlines")
    geometry, bbox = lonlat_footprint(grid)
    stated = item.get("bbox")
    same = (
        isinstance(stated, list)
        and len(stated) == len(bbox)
        and all(isinstance(value, int | float) for value in stated)
        and bool(np.allclose(stated, bbox, rtol=0, atol=DEGREE_TOLERANCE))
    )
    count.expect(same, f"bbox is {stated}, that of the rasters {bbox}")
    wanted, found = shape(geometry), _geometry(item.get("geometry"))
    apart = None if found is None else shapely.symmetric_difference(wanted, found).area
    same = apart is not None and apart <= AREA_TOLERANCE * wanted.area
    count.expect(same, "the geometry is not the outline of the rasters")
    return count.check


def _geometry(document: object) -> BaseGeometry | None:
    """Read a GeoJSON geometry; None if it is none, or not valid."""
    try:
        found = shape(document)
    except (AttributeError, KeyError, TypeError, ValueError, shapely.errors.ShapelyError):
        return None
    return found if found.is_valid and not found.is_empty else None


def check_files(item: dict[str, Any], folder: Path, grid: Grid) -> Check:
    """Check that the files of all assets are there, with the size and checksum that are recorded.

    Parameters
    ----------
    item : mapping
        The STAC item.
    folder : Path
        Folder of the item and its files.
    grid : Grid
        Grid of the mosaic, which decides the size of the preview.
    """
    count = Count("files", "files of assets")
    for key, asset in (item.get("assets") or {}).items():
        href = str(asset.get("href") if isinstance(asset, dict) else None)
        path = folder / href.removeprefix("./")
        is_there = path.is_file() and path.stat().st_size > 0
        count.expect(is_there, f"{href} of asset {key} is missing or empty")
        if is_there:
            _check_recorded(count, path, asset)
        if is_there and key == "preview":
            _check_preview(count, path, asset, grid)
    return count.check


def _check_recorded(count: Count, path: Path, asset: dict[str, Any]) -> None:
    """Compare a file with the size and checksum that its asset records, if any."""
    size, checksum = asset.get("file:size"), asset.get("file:checksum")
    if size is not None:
        found = path.stat().st_size
        count.expect(found == size, f"{path.name} has {found} bytes, the item states {size}")
    if isinstance(checksum, str) and checksum.startswith(SHA256_PREFIX):
        same = _sha256(path) == checksum.removeprefix(SHA256_PREFIX)
        count.expect(same, f"{path.name} has another SHA-256 than the item states")


def _sha256(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(READ_BYTES):
            digest.update(part)
    return digest.hexdigest()


def _check_preview(count: Count, path: Path, asset: dict[str, Any], grid: Grid) -> None:
    """Check the size of the preview against the mosaic and the item."""
    wanted = list(preview_shape(grid.height, grid.width))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path, driver="PNG") as picture:
                found = list(picture.shape)
                picture.read()
    except RASTER_ERRORS as error:
        count.expect(False, f"{path.name} is damaged ({error})")
        return
    count.expect(found == wanted, f"{path.name} is {found} pixels, {wanted} fit the mosaic")
    stated = asset.get("proj:shape")
    count.expect(stated == found, f"{path.name} is {found} pixels, the item states {stated}")
