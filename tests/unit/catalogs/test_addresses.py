"""Addresses of local files in every form that catalogs write, and files as Windows writes them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cloudbuster.catalogs import open_catalog
from cloudbuster.catalogs.local import LocalCatalog
from cloudbuster.catalogs.schema import parse_scene
from cloudbuster.errors import BadInputError
from cloudbuster.storage.files.uri import exists, local_path, read_bytes, resolve
from cloudbuster.storage.rasters.local_files import file_stamps
from cloudbuster.storage.rasters.raster_file import RasterFile
from tests.factories import SceneSpec, write_raster, write_scene

# A folder and a file whose names need escapes in a URI.
FOLDER, FILE = "tile 33 #1", "B04 é%.tif"
ESCAPED = "tile%2033%20%231/B04%20%C3%A9%25.tif"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("addresses")
    write_raster(
        folder / FOLDER / FILE, np.full((4, 4), 7, np.uint16), west=500_040, north=5_000_040, gsd=10
    )
    write_raster(
        folder / "a%20b.tif", np.full((4, 4), 8, np.uint16), west=500_040, north=5_000_040, gsd=10
    )
    return folder


def item_with(href: str) -> dict[str, Any]:
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": "S2A_33TWL_20230510_0_L2A",
        "geometry": None,
        "bbox": [15, 46, 15.1, 46.1],
        "properties": {"datetime": "2023-05-10T10:00:00Z", "platform": "sentinel-2a"},
        "links": [],
        "assets": {"red": {"href": href}},
    }


HREFS = {
    "file://{home}/" + ESCAPED: 7,
    "FILE://{home}/" + ESCAPED: 7,
    "file:{home}/" + ESCAPED: 7,
    "file://localhost{home}/" + ESCAPED: 7,
    "file:///{home}/" + ESCAPED: 7,
    "{home}/" + f"{FOLDER}/{FILE}": 7,
    "{home}/" + ESCAPED: 7,
    f"./{FOLDER}/{FILE}": 7,
    f"{FOLDER}/{FILE}": 7,
    f"./{ESCAPED}": 7,
    ESCAPED: 7,
    f".\\{FOLDER}\\{FILE}": 7,
    "tile%2033%20%231\\B04%20%C3%A9%25.tif": 7,
    # A name that looks escaped, and is not.
    "a%20b.tif": 8,
    "a%2520b.tif": 8,
    "file://{home}/a%2520b.tif": 8,
}


@pytest.mark.parametrize(("href", "value"), HREFS.items())
def test_the_raster_of_an_href_in_any_form_is_read(home: Path, href: str, value: int) -> None:
    (home / "item.json").write_text(json.dumps(item_with(href.replace("{home}", str(home)))))
    catalog = open_catalog(str(home / "item.json"))
    assert isinstance(catalog, LocalCatalog)
    scene = parse_scene(catalog._items[0], catalog="test")
    with RasterFile(scene.bands["B04"].href) as raster:
        assert raster.read(1)[0, 0] == value
    assert file_stamps(scene.hrefs) is not None


@pytest.mark.parametrize("form", ["file://{}", "file:{}", "file://localhost{}"])
def test_documents_rasters_and_stamps_take_file_uris(home: Path, form: str) -> None:
    uri = form.format(home / ESCAPED)
    assert local_path(uri) == home / FOLDER / FILE
    assert exists(uri)
    assert read_bytes(uri)[:2] == b"II"
    assert resolve(uri, "/elsewhere") == uri
    with RasterFile(uri) as raster:
        assert raster.read(1)[0, 0] == 7
    assert file_stamps([uri]) == file_stamps([str(home / FOLDER / FILE)])


@pytest.mark.parametrize("uri", ["file://server/share/B04.tif", "file://C:/data/B04.tif"])
def test_a_file_of_another_host_is_refused(uri: str) -> None:
    with pytest.raises(BadInputError, match="is not on this machine; give a local path"):
        local_path(uri)
    with pytest.raises(BadInputError, match="names another machine"):
        RasterFile(uri)
    assert file_stamps([uri]) is None


def test_a_missing_file_is_named_as_its_item_names_it(tmp_path: Path) -> None:
    (tmp_path / "item.json").write_text(json.dumps(item_with("no%20such.tif")))
    catalog = open_catalog(str(tmp_path / "item.json"))
    assert isinstance(catalog, LocalCatalog)
    assert catalog._items[0]["assets"]["red"]["href"] == str(tmp_path / "no%20such.tif")


ENCODINGS = {
    "UTF-8 with a mark": "utf-8-sig",
    "UTF-16 little-endian": "utf-16-le",
    "UTF-16 big-endian": "utf-16-be",
}
MARKS = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}


def as_windows(document: object, encoding: str) -> bytes:
    text = json.dumps(document, indent=1, ensure_ascii=False).replace("\n", "\r\n")
    return MARKS.get(encoding, b"") + text.encode(encoding)


@pytest.mark.parametrize("encoding", ENCODINGS.values(), ids=ENCODINGS)
@pytest.mark.parametrize("form", ["item", "collection", "catalog"])
def test_a_catalog_that_windows_wrote_is_read(tmp_path: Path, form: str, encoding: str) -> None:
    item = write_scene(tmp_path, SceneSpec(id="S2A_33TWL_20230510_0_L2A")) | {"title": "Küste"}
    folder = tmp_path / item["id"]
    for path in folder.glob("*.json"):
        path.unlink()
    target = folder / "item.json"
    documents: dict[Path, object] = {target: item}
    if form == "collection":
        target = folder / "items.json"
        documents = {target: {"type": "FeatureCollection", "features": [item]}}
    elif form == "catalog":
        target = tmp_path / "catalog.json"
        link = {"rel": "item", "href": f".\\{item['id']}\\item.json"}
        documents[target] = {"type": "Catalog", "id": "c", "links": [link]}
    for path, document in documents.items():
        path.write_bytes(as_windows(document, encoding))
    catalog = open_catalog(str(target))
    assert isinstance(catalog, LocalCatalog)
    assert [found["id"] for found in catalog._items] == [item["id"]]
    assert catalog.unreadable == ()
