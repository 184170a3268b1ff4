"""Items of mosaics are published in a real STAC API, once each."""

import json
from pathlib import Path
from typing import Any

import pytest
import requests

from cloudbuster.errors import BadInputError
from cloudbuster.mosaics.publishing import StacTarget, publish_item
from cloudbuster.runs.pipeline import run
from cloudbuster.storage.addresses.trust import server_trust
from tests.command_line import invoke
from tests.half_tiles import request_of, write_candidates

pytestmark = pytest.mark.pgstac

COLLECTION = "mosaics"


@pytest.fixture(scope="module")
def collection(stac_url: str) -> str:
    """Collection that is made by the transactions extension too."""
    document = {
        "type": "Collection",
        "stac_version": "1.0.0",
        "id": COLLECTION,
        "description": "mosaics",
        "license": "proprietary",
        "links": [],
        "extent": {
            "spatial": {"bbox": [[-180, -90, 180, 90]]},
            "temporal": {"interval": [["2015-06-23T00:00:00Z", None]]},
        },
    }
    answer = requests.post(f"{stac_url}/collections", json=document, timeout=20)
    assert answer.ok, answer.text
    return COLLECTION


@pytest.fixture(scope="module")
def item(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Item of a mosaic."""
    folder = tmp_path_factory.mktemp("published")
    write_candidates(folder)
    return run(request_of(folder)).products.item


def found(stac_url: str) -> list[dict[str, Any]]:
    """Items of the collection."""
    url = f"{stac_url}/collections/{COLLECTION}/items"
    features: list[dict[str, Any]] = requests.get(url, timeout=20).json()["features"]
    return features


def test_an_item_is_made_and_then_replaced(stac_url: str, collection: str, item: str) -> None:
    target = StacTarget(stac_url, collection, server_trust(stac_url))
    url = publish_item(item, target)
    assert requests.get(url, timeout=20).json()["id"] == "halves"
    before = Path(item).read_text()
    document = json.loads(before)
    document["properties"]["title"] = "second"
    Path(item).write_text(json.dumps(document))
    assert publish_item(item, target) == url
    Path(item).write_text(before)
    (published,) = found(stac_url)
    assert published["properties"]["title"] == "second"
    own = json.loads(before)
    for name, asset in own["assets"].items():
        assert published["assets"][name]["href"] == str(Path(item).parent / Path(asset["href"]))
    assert published["properties"]["proj:shape"] == own["properties"]["proj:shape"]


def test_a_run_publishes_its_item(
    stac_url: str, collection: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_candidates(tmp_path)
    request = tmp_path / "request.json"
    request.write_text(request_of(tmp_path, name="by-run").model_dump_json(by_alias=True))
    options = ("--publish", stac_url, "--publish-collection", collection)
    for _ in range(2):
        assert invoke("run", request, "--workers", 1, *options) == 0
        assert f"published {stac_url}/collections/mosaics/items/by-run" in capsys.readouterr().err
    assert [each["id"] for each in found(stac_url)].count("by-run") == 1


def test_a_missing_collection_is_named(stac_url: str, item: str) -> None:
    target = StacTarget(stac_url, "nowhere", server_trust(stac_url))
    with pytest.raises(BadInputError, match="collections/nowhere: there is no such collection"):
        publish_item(item, target)
