"""What a catalog elsewhere can make a run do: read public files and nothing else; it goes on."""

import copy
import json
import stat
from pathlib import Path
from typing import Any

import pytest
import rasterio

from cloudbuster.cli.main import main
from cloudbuster.filter import filter_scenes
from cloudbuster.gather import gather_scenes
from cloudbuster.models import FilterOptions, MosaicRequest, QueryOptions
from cloudbuster.query import query_scenes
from cloudbuster.runs import pipeline
from cloudbuster.storage.addresses.hosts import ALLOW_HOSTS_VARIABLE
from tests.factories import SceneSpec, area_of, write_scene
from tests.file_server import serving_files
from tests.gathering import task_of
from tests.stac_items import make_item, square
from tests.stac_server import StacServer, serving

AOI = square(14.6, 45.6, 0.3)
OPTIONS = {"mindate": ["2020-05-01"], "maxdate": ["2020-05-31"], "maxclouds": 100}
HOSTILE = [
    "/etc/passwd",
    "etc/B04.tif",
    "../../B04.tif",
    "file:///etc/passwd",
    "<VRTDataset rasterXSize='1' rasterYSize='1'/>",
    "GTIFF_DIR:1:/etc/passwd",
    "/vsicurl/http://169.254.169.254/latest/meta-data/",
    "/vsis3/private-bucket/B04.tif",
    "http://169.254.169.254/latest/meta-data/iam/",
    "http://[fd00:ec2::254]/latest/",
    "http://localhost:9/B04.tif",
    "http://10.0.0.5/B04.tif",
    "http://2130706433/B04.tif",
    "ftp://h/B04.tif",
    "s3://bucket/../other/B04.tif",
]
SECRET = "pl4ntedSecret"  # noqa: S105 -- what must not be shown


def with_href(item: dict[str, Any], href: str, asset: str = "red") -> dict[str, Any]:
    """Copy of an item of which one asset has another href."""
    changed = copy.deepcopy(item)
    changed["assets"][asset]["href"] = href
    return changed


@pytest.fixture(scope="module")
def server():
    with serving(StacServer([], page_size=100)) as running:
        yield running


@pytest.mark.parametrize("asset", ["red", "scl"])
@pytest.mark.parametrize("href", HOSTILE)
def test_an_item_with_a_hostile_href_is_left_out_of_the_candidates(server, href, asset):
    good = make_item(taken="2020-05-11T10:00:31")
    bad = with_href(make_item(), href, asset)
    server.items[:] = [good, bad]
    server.chosen.clear()
    found = query_scenes(AOI, QueryOptions.model_validate({**OPTIONS, "catalog": server.url}))
    assert [item["id"] for item in found.features] == [good["id"]]
    (dropped,) = found.cloudbuster.dropped
    assert dropped.item_id == bad["id"]
    assert href.rpartition("/")[2] in dropped.reason
    assert "\n" not in dropped.reason


@pytest.mark.parametrize("href", ["/etc/B04.tif", "http://10.0.0.5/B04.tif"])
def test_a_raster_whose_bands_are_only_counted_passes_the_same_gate(server, href):
    good, bad = make_item(taken="2020-05-11T10:00:31"), make_item()
    counted = {
        "type": "image/tiff",
        "roles": ["data"],
        "eo:bands": [{"name": "b1"}, {"name": "b2"}],
    }
    good["assets"] = {"image": {"href": "https://public.example/image.tif", **counted}}
    bad["assets"] = {"image": {"href": href, **counted}}
    server.items[:] = [good, bad]
    server.chosen.clear()
    found = query_scenes(AOI, QueryOptions.model_validate({**OPTIONS, "catalog": server.url}))
    assert [item["id"] for item in found.features] == [good["id"]]
    assert href in found.cloudbuster.dropped[0].reason


def test_a_self_link_to_this_machine_makes_no_local_file_of_a_relative_href(server):
    bad = with_href(make_item(), "B04.tif")
    bad["links"] = [{"rel": "self", "href": "/etc/item.json"}]
    server.items[:] = [make_item(taken="2020-05-11T10:00:31"), bad]
    server.chosen.clear()
    found = query_scenes(AOI, QueryOptions.model_validate({**OPTIONS, "catalog": server.url}))
    assert "/etc/B04.tif is a file of this machine" in found.cloudbuster.dropped[0].reason


@pytest.mark.parametrize("href", HOSTILE)
def test_a_twin_with_a_hostile_href_is_not_attached(server, href):
    l1c = make_item(kind="L1C")
    server.items[:] = [make_item(), with_href(l1c, href)]
    server.chosen.clear()
    options = QueryOptions.model_validate({**OPTIONS, "catalog": server.url})
    (item,) = query_scenes(AOI, options, with_twins=True).features
    assert "cloudbuster:l1c_twin" not in item["properties"]


@pytest.mark.parametrize("href", HOSTILE)
def test_filter_leaves_out_what_a_document_of_candidates_was_given(server, href):
    good = make_item(taken="2020-05-11T10:00:31")
    server.items[:] = [good, make_item()]
    server.chosen.clear()
    found = query_scenes(AOI, QueryOptions.model_validate({**OPTIONS, "catalog": server.url}))
    features = tuple(with_href(item, href) if item != good else item for item in found.features)
    candidates = found.model_copy(update={"features": features})
    selection = filter_scenes(candidates, FilterOptions(strategy="original"))
    assert {entry.item_id for entry in selection.cloudbuster.entries} == {good["id"]}
    assert any(good["id"] != entry.item_id for entry in selection.cloudbuster.dropped)


@pytest.mark.parametrize(
    ("href", "asset"),
    [("/etc/passwd", "B04"), ("http://169.254.169.254/x", "scl"), ("/vsimem/x", "scl")],
)
def test_gather_opens_no_hostile_file_of_a_task_and_goes_on(tmp_path, href, asset):
    good = task_of(tmp_path, SceneSpec())
    mirror = (f"s3://x={tmp_path}",)
    tasks = [
        good.model_copy(update={"catalog": "earth-search", "asset_mirror": mirror}),
        task_of(
            tmp_path, SceneSpec(id="S2B_33TWL_20230515_0_L2A"), index=3, backstop_index=4
        ).model_copy(update={"catalog": "earth-search", "asset_mirror": mirror}),
    ]
    hostile = with_href(tasks[1].item, href, asset)
    report = gather_scenes([tasks[0], tasks[1].model_copy(update={"item": hostile})])
    assert [record.index for record in report.records] == [1, 2]
    (failure,) = report.failures
    assert failure.error == "UntrustedAddressError"
    assert failure.message.startswith(href)


@pytest.mark.parametrize("name", ["B04.tif", "SCL.tif"])
def test_a_virtual_raster_in_the_place_of_a_file_fails_its_scene_alone(tmp_path, name):
    good = task_of(tmp_path, SceneSpec())
    spec = SceneSpec(id="S2B_33TWL_20230515_0_L2A")
    bad = task_of(tmp_path, spec, index=3, backstop_index=4)
    secret = tmp_path / "secret.tif"
    (tmp_path / spec.id / name).rename(secret)
    (tmp_path / spec.id / name).write_text(
        '<VRTDataset rasterXSize="60" rasterYSize="60"><VRTRasterBand dataType="UInt16" band="1">'
        f"<SimpleSource><SourceFilename>{secret}</SourceFilename></SimpleSource></VRTRasterBand>"
        "</VRTDataset>"
    )
    report = gather_scenes([good, bad])
    assert [record.index for record in report.records] == [1, 2]
    assert "a virtual raster (VRT)" in report.failures[0].message


def world(folder: Path) -> list[dict[str, Any]]:
    """Scenes of three dates whose files are named relative to their server."""
    items = []
    for day in (10, 11, 12):
        spec = SceneSpec(
            id=f"S2A_33TWL_202305{day}_0_L2A",
            datetime=f"2023-05-{day}T10:00:00Z",
            cloud_cover=day,
            scl=[(slice(0, 10), slice(0, 10), 9)],
        )
        items.append(write_scene(folder, spec))
    return items


@pytest.fixture(scope="module")
def secret_run(tmp_path_factory: pytest.TempPathFactory):
    """Run of which the catalog's address and every href hold a secret; what it wrote and said."""
    folder = tmp_path_factory.mktemp("secrets")
    items = world(folder / "files")
    forms = ("?sig={}", "?se=1&X-Amz-Signature={}", "?token={}")
    with (
        serving_files(folder / "files") as (files, asked),
        serving(StacServer(items, page_size=100)) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv(ALLOW_HOSTS_VARIABLE, files)
        for item, form in zip(items, forms, strict=True):
            for asset in item["assets"].values():
                place = f"http://user:{SECRET}@{files}/{item['id']}/{asset['href']}"
                asset["href"] = place + form.format(SECRET)
            item["properties"]["auth"] = {"refresh_token": SECRET, "note": f"Bearer {SECRET}"}
            item["links"] = [{"rel": "self", "href": f"http://u:{SECRET}@h/{item['id']}"}]
        bad = with_href(items[0], f"file:///etc/x?sig={SECRET}", "B04")
        server.items.append({**bad, "id": "S2A_33TWL_20230509_0_L2A"})
        request = MosaicRequest.model_validate(
            {
                "name": "m",
                "aoi": area_of(SceneSpec()),
                "query": {
                    "catalog": server.url.replace("//", f"//user:{SECRET}@"),
                    "mindate": ["2023-05-01"],
                    "maxdate": ["2023-05-31"],
                    "maxclouds": 100,
                    "asset_mirror": [f"s3://none=http://h/x?AWSAccessKeyId={SECRET}"],
                },
                "filter": {"coverage_count": 2},
                "gather": {
                    "bands": ["B02", "B04"],
                    "detector": {"type": "stock", "weights": f"https://h/w.pt?key={SECRET}"},
                },
                "output": str(folder / "run"),
            }
        )
        area = {"uri": f"http://user:{SECRET}@{files}/area.json?X-Amz-Security-Token={SECRET}"}
        (folder / "files" / "area.json").write_text(json.dumps(request.aoi))
        request = request.model_copy(update={"aoi": area})
        path = folder / "request.json"
        path.write_bytes(request.to_json())
        result = pipeline.run(request)
        yield folder / "run", result, asked, path


def test_a_run_from_servers_gives_its_mosaic(secret_run):
    _, result, asked, _ = secret_run
    with rasterio.open(result.products.cloudless) as mosaic:
        assert set(mosaic.read(1).ravel()) <= {0, 500}
    for start in (
        "/S2A_33TWL_20230510_0_L2A/SCL.tif?sig=",
        "/S2A_33TWL_20230512_0_L2A/B04.tif?token=",
    ):
        assert any(path.startswith(start) for path in asked)


def test_what_a_run_passes_on_holds_no_secret(secret_run):
    folder, _, _, _ = secret_run
    holders = {
        path.relative_to(folder).parts[0]
        for path in folder.rglob("*")
        if path.is_file() and SECRET.encode() in path.read_bytes()
    }
    assert holders <= {"request.json", "candidates.json", "selection.json", "tasks"}


def test_what_needs_whole_addresses_is_for_its_owner_alone(secret_run):
    folder, _, _, _ = secret_run
    names = ("request.json", "candidates.json", "selection.json", "tasks/0001.json")
    assert {stat.S_IMODE((folder / name).stat().st_mode) for name in names} == {0o600}


def test_sources_of_the_published_item_are_named_without_their_secrets(secret_run):
    folder, _, _, _ = secret_run
    item = json.loads((folder / "m.json").read_text())
    sources = [link["href"] for link in item["links"] if link["rel"] == "derived_from"]
    assert "http://***@h/S2A_33TWL_20230512_0_L2A" in sources


@pytest.mark.parametrize("flags", [(), ("--log-json", "--log-level", "DEBUG")])
def test_what_a_run_says_holds_no_secret(secret_run, flags, capfd, monkeypatch):
    _, _, _, path = secret_run
    monkeypatch.setattr("sys.excepthook", None)
    with pytest.raises(SystemExit):
        main(["run", str(path), "--force", "--output", str(path.parent / "again"), *flags])
    out, err = capfd.readouterr()
    assert SECRET not in out + err
    assert "S2A_33TWL_20230509_0_L2A" in err
