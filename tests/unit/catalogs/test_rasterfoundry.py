import json
import logging
from datetime import date

import boto3
import pytest
from moto import mock_aws
from pydantic import SecretStr
from shapely.geometry import shape

from cloudbuster.catalogs import open_catalog, rasterfoundry
from cloudbuster.catalogs.rasterfoundry import RasterFoundryCatalog, read_refresh_token
from cloudbuster.catalogs.schema import parse_scene
from cloudbuster.catalogs.search import SceneSearch
from cloudbuster.errors import (
    CatalogError,
    CredentialsError,
    ExitCode,
    NotFoundError,
    TryAgainError,
)
from cloudbuster.models import QueryOptions
from cloudbuster.query import query_scenes
from tests.command_line import invoke, last_line
from tests.rasterfoundry_server import (
    REFRESH_TOKEN,
    RasterFoundryServer,
    serving_rasterfoundry,
)
from tests.stac_items import square

AREA = square(133.6, -71.0, 0.2)
TOKEN_VARIABLE = "CLOUDBUSTER_RF_REFRESH_TOKEN"  # noqa: S105 -- a variable's name


def make_scene(day=1, *, cloud_cover=10.0, metadata=None, **changes):
    """Make a scene as the service sends it, in the form of its specification."""
    taken = f"2022-01-{day:02d}T00:06:41.566Z"
    path = f"tiles/53/D/MB/2022/1/{day}/0"
    known = {
        "path": path,
        "timestamp": taken,
        "cloudyPixelPercentage": cloud_cover,
        "productName": f"S2B_MSIL2A_202201{day:02d}T000459_N0301_R130_T53DMB_20220101T012649",
    }
    return {
        "id": f"00000000-0000-4000-8000-0000000000{day:02d}",
        "createdAt": "2022-02-01T04:00:00Z",
        "name": f"S2 {path}",
        "sceneMetadata": {**known, **(metadata or {})},
        "dataFootprint": square(133.4, -71.3),
        "tileFootprint": square(133.4, -71.3),
        "filterFields": {"cloudCover": cloud_cover, "acquisitionDate": taken},
        **changes,
    }


@pytest.fixture(autouse=True)
def no_token(monkeypatch):
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)


@pytest.fixture
def server(monkeypatch):
    scenes = [make_scene(day) for day in (1, 3, 5, 7, 9)]
    with serving_rasterfoundry(RasterFoundryServer(scenes)) as running:
        monkeypatch.setenv("CLOUDBUSTER_RF_URL", running.url)
        yield running


def options(**changes):
    known = {"mindate": [date(2022, 1, 1)], "maxdate": [date(2022, 1, 31)], "maxclouds": 100}
    return QueryOptions(**{**known, "catalog": "rasterfoundry", **changes})


def search(token=REFRESH_TOKEN, **changes):
    catalog = RasterFoundryCatalog(SecretStr(token), backoff_s=0)
    return catalog.search(SceneSearch.from_options(shape(AREA), options(**changes)))


def test_every_page_is_read(server):
    found = search()
    assert [item["properties"]["datetime"][8:10] for item in found.items] == [
        "01",
        "03",
        "05",
        "07",
        "09",
    ]
    assert [query["page"] for query in server.queries] == [["0"], ["1"], ["2"]]
    assert server.tokens == 1
    assert shape(server.shapes[0]["features"][0]["geometry"]).equals(shape(AREA))


def test_several_periods_share_one_shape(server):
    found = search(
        mindate=[date(2022, 1, 1), date(2022, 1, 7)], maxdate=[date(2022, 1, 3), date(2022, 1, 9)]
    )
    assert len(found.items) == 4
    assert len(server.shapes) == 1


def test_a_scene_lists_the_files_of_its_level_in_the_public_buckets(server):
    server.scenes = [make_scene()]
    (item,) = search().items
    scene = parse_scene(item, catalog="rasterfoundry")
    assert (scene.kind, scene.mgrs_tile) == ("L2A", "53DMB")
    assert scene.datatake == "S2B_20220101T000459"
    assert scene.bands["B04"].href == "s3://sentinel-s2-l2a/tiles/53/D/MB/2022/1/1/0/R10m/B04.jp2"
    (item,) = search(kind="L1C").items
    scene = parse_scene(item, catalog="rasterfoundry")
    assert scene.bands["B04"].href == "s3://sentinel-s2-l1c/tiles/53/D/MB/2022/1/1/0/B04.jp2"


def test_missing_metadata_are_read_from_other_fields(server):
    server.scenes = [
        make_scene(metadata={"cloudyPixelPercentage": None, "timestamp": None}, tileFootprint=None)
    ]
    (item,) = search().items
    assert item["properties"]["eo:cloud_cover"] == 10.0
    assert item["properties"]["datetime"] == "2022-01-01T00:06:41.566Z"


def test_an_invalid_record_is_dropped_with_its_reason(server):
    server.scenes.append(make_scene(11, name=None))
    found = search()
    assert len(found.items) == 5
    (dropped,) = found.unreadable
    assert dropped.item_id.endswith("11")
    assert "must be an object with a name" in dropped.reason


def test_the_answer_is_filtered_again_on_this_side(server):
    server.scenes = [make_scene(metadata={"cloudyPixelPercentage": "35.5"})]
    assert search(maxclouds=20).items == ()
    assert search(maxclouds=40).items[0]["properties"]["eo:cloud_cover"] == 35.5


def test_an_id_token_that_runs_out_is_renewed(server):
    server.calls_per_token = 2
    assert len(search().items) == 5
    assert server.tokens == 2


def test_slow_requests_are_retried(server):
    server.failures = [503, 504, 429]
    assert len(search().items) == 5
    server.failures = [503] * 9
    with pytest.raises(TryAgainError, match=r"/scenes/: HTTP status 503; try again later"):
        search()


def test_a_repeated_page_raises_try_again_error(server):
    server.repeat = True
    with pytest.raises(TryAgainError, match="sent a page for the second time"):
        search()


def test_an_unreachable_service_raises_try_again_error(monkeypatch):
    monkeypatch.setenv("CLOUDBUSTER_RF_URL", "http://127.0.0.1:1/api")
    with pytest.raises(TryAgainError, match="/tokens/: ConnectionError: Connection refused; check"):
        search()


def test_another_service_at_the_address_is_refused(server, monkeypatch):
    monkeypatch.setenv("CLOUDBUSTER_RF_URL", f"{server.url}/other")
    with pytest.raises(CredentialsError, match="HTTP status 401"):
        search()


def test_a_search_without_a_token_says_how_to_give_one():
    with pytest.raises(CredentialsError, match=f"--refresh-token, or set {TOKEN_VARIABLE}"):
        open_catalog("rasterfoundry")


def test_the_token_comes_from_the_environment_too(server, monkeypatch):
    del server
    monkeypatch.setenv(TOKEN_VARIABLE, REFRESH_TOKEN)
    candidates = query_scenes(AREA, options())
    assert len(candidates.features) == 5


@pytest.fixture
def secrets(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with mock_aws():
        client = boto3.client("secretsmanager")
        yield lambda name, text: client.create_secret(Name=name, SecretString=text)


def test_the_token_comes_from_an_aws_secret_too(secrets):
    secrets("rf", REFRESH_TOKEN)
    secrets("rf-json", json.dumps({"refresh_token": REFRESH_TOKEN}))
    secrets("rf-empty", json.dumps({"other": "value"}))
    for name in ("rf", "rf-json"):
        assert read_refresh_token(f"secretsmanager:{name}").get_secret_value() == REFRESH_TOKEN
    with pytest.raises(CredentialsError, match="secret rf-empty holds no token"):
        read_refresh_token("secretsmanager:rf-empty")
    with pytest.raises(NotFoundError, match="secret none: ResourceNotFoundException"):
        read_refresh_token("secretsmanager:none")


def test_the_token_is_in_no_log_no_error_and_no_document(server, caplog):
    with caplog.at_level(logging.DEBUG):
        candidates = query_scenes(AREA, options(), refresh_token=REFRESH_TOKEN)
        with pytest.raises(CredentialsError, match="refused the refresh token") as refused:
            search("wrong-token-0815")
        server.failures = [400]
        with pytest.raises(CatalogError) as other:
            search()
    shown = (caplog.text, str(refused.value), str(other.value), candidates.to_json().decode())
    catalog = repr(open_catalog("rasterfoundry", refresh_token=REFRESH_TOKEN))
    for text in (*shown, catalog):
        assert REFRESH_TOKEN not in text
        assert "wrong-token-0815" not in text
        assert "id-1" not in text


def run_query(tmp_path, *arguments):
    (tmp_path / "area.geojson").write_text(json.dumps(AREA))
    known = ["query", "--geojson", tmp_path / "area.geojson", "--mindate", "2022-01-01"]
    return invoke(*known, "--maxdate", "2022-01-31", *arguments)


def test_a_token_without_a_catalog_selects_rasterfoundry_and_warns(server, tmp_path, capsys):
    del server
    assert run_query(tmp_path, "--refresh-token", REFRESH_TOKEN) == 0
    written = capsys.readouterr()
    document = json.loads(written.out)
    assert document["cloudbuster"]["catalog"] == "rasterfoundry"
    assert "could not be reached when this was built" in written.err
    assert REFRESH_TOKEN not in written.out + written.err


def test_a_token_and_another_catalog_are_a_malformed_command_line(tmp_path, capsys):
    flags = ["--refresh-token", REFRESH_TOKEN, "--catalog", "earth-search"]
    assert run_query(tmp_path, *flags) == ExitCode.USAGE
    line = last_line(capsys.readouterr().err)
    assert line.startswith("UsageError: --refresh-token is for rasterfoundry, not earth-search")


def test_the_page_of_the_specification_parses(server, test_data):
    page = json.loads(
        (test_data / "stac-items/rasterfoundry/scenes_page_SYNTHETIC.json").read_text()
    )
    server.scenes = page["results"]
    (item,) = search().items
    scene = parse_scene(item, catalog="rasterfoundry")
    assert (scene.mgrs_tile, scene.relative_orbit, scene.baseline) == ("53DMB", 130, "03.01")


@pytest.mark.usefixtures("server")
def test_pages_without_an_end_are_an_error(monkeypatch):
    monkeypatch.setattr(rasterfoundry, "MAX_PAGES", 1)
    with pytest.raises(CatalogError, match="over 1 pages; make the area or the period smaller"):
        search()
