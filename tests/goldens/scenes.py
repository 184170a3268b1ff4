"""What is read from each real STAC item: the table that `scenes.json` holds.

Made anew, after a change of the parser that is meant, by

    CLOUDBUSTER_TEST_DATA=FOLDER python -m tests.goldens.scenes

and then read line by line: the table is only worth as much as the eyes that looked at it. It holds
facts of the items and no item: of each href the end of its key.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cloudbuster.catalogs.schema import parse_scene
from cloudbuster.core.offsets.offset_metadata import offset_metadata
from cloudbuster.core.scenes.scene import BandAsset, Scene
from cloudbuster.errors import CatalogError
from tests.conftest import DATA_VARIABLE, DEFAULT_DATA

TABLE = Path(__file__).with_name("scenes.json")
# What every product of one item has in common, and the table would repeat for each band.
_PRODUCT = re.compile(r"^T\d\d[A-Z]{3}_\d{8}T\d{6}_")


def documents(folder: Path) -> Iterator[tuple[str, Any]]:
    """Every JSON document under ``stac-items``, whatever its ending, by its path."""
    root = folder / "stac-items"
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        if path.suffix != ".xml":
            yield path.relative_to(root).as_posix(), json.loads(path.read_bytes())


def items(document: Any) -> Iterator[dict[str, Any]]:
    """Items of a document: itself, or those at any depth of it."""
    if isinstance(document, dict):
        if document.get("type") == "Feature":
            yield document
            return
        document = list(document.values())
    if isinstance(document, list):
        for member in document:
            yield from items(member)


def table(folder: Path) -> dict[str, Any]:
    """The whole table: document, then item id, then what was read or why it was refused."""
    return {
        name: {str(item.get("id")): row(item) for item in items(document)}
        for name, document in documents(folder)
    }


def row(item: dict[str, Any]) -> dict[str, Any]:
    """What was read from one item, or the reason why it was refused."""
    try:
        return facts(parse_scene(item, catalog="golden"))
    except CatalogError as error:
        return {"refused": str(error)}


def facts(scene: Scene) -> dict[str, Any]:
    """A scene as JSON."""
    return {
        "kind": scene.kind,
        "collection": scene.collection,
        "acquired": scene.acquired.isoformat() if scene.acquired else None,
        "platform": scene.platform,
        "tile": scene.mgrs_tile,
        "datatake": scene.datatake,
        "orbit": scene.relative_orbit,
        "baseline": scene.baseline,
        "epsg": scene.epsg,
        "cloud_cover": rounded(scene.cloud_cover),
        "nodata_percent": rounded(scene.nodata_percent),
        "sun": [rounded(scene.sun_azimuth_deg), rounded(scene.sun_elevation_deg)],
        "bands": {name: tail(asset) for name, asset in scene.bands.items()},
        "masks": {name: tail(asset) for name, asset in scene.masks.items()},
        "offset_removed_flag": scene.offset_removed_flag,
        "declared_offset": scene.declared_offset,
        "treatment": offset_metadata(scene).treatment,
    }


def rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def tail(asset: BandAsset) -> str:
    """Scheme or host, and the end of the key."""
    head, _, name = asset.href.rpartition("/")
    place = re.match(r"[a-z0-9]+://[^/]+", head)
    name = _PRODUCT.sub("", name)
    return f"{place[0].split('.')[0] if place else ''} {name}#{asset.band_index}".strip()


def written(content: dict[str, Any]) -> str:
    """The table as text, an item a paragraph."""
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    TABLE.write_text(written(table(Path(os.environ.get(DATA_VARIABLE) or DEFAULT_DATA))))
