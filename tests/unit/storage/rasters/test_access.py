"""Files and rasters in buckets and behind signatures, on a loopback S3 and a loopback Azure."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from affine import Affine
from rasterio.io import MemoryFile

from cloudbuster.errors import (
    AccessError,
    CredentialsError,
    ExitCode,
    MaskError,
    NotFoundError,
    RasterError,
    TryAgainError,
)
from cloudbuster.source.masks.gml import read_cloud_polygons
from cloudbuster.storage.rasters import access
from cloudbuster.storage.rasters.access import access_of, bucket_of, read_file
from cloudbuster.storage.rasters.gdal_env import _OPTIONS, gdal_env
from cloudbuster.storage.rasters.raster_file import RasterFile
from cloudbuster.storage.remote import sas
from tests.loopback import LoopbackHandler, serving_http

SIZE = 512
PIXELS = np.arange(SIZE * SIZE, dtype=np.uint16).reshape(SIZE, SIZE) % 9973
L1C, L2A, COGS = "sentinel-s2-l1c", "sentinel-s2-l2a", "sentinel-cogs"
HOST = "sentinel2l2a01.blob.core.windows.net"


def tiff() -> bytes:
    """GeoTIFF in tiles of 64 kB, so that its pixels are read after its header."""
    profile = {"driver": "GTiff", "dtype": "uint16", "count": 1, "width": SIZE, "height": SIZE}
    place = {"crs": "EPSG:32633", "transform": Affine(10, 0, 500_000, 0, -10, 5_000_000)}
    with MemoryFile() as memory:
        with memory.open(**profile, **place, tiled=True, blockxsize=256, blockysize=256) as dataset:
            dataset.write(PIXELS, 1)
        return bytes(memory.read())


TIFF = tiff()


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    """Remove all credentials, and the host that would give some."""
    names = (*access.CREDENTIAL_VARIABLES, *access.CDSE_KEY_VARIABLES, "AWS_SECRET_ACCESS_KEY")
    for name in (*names, "AWS_SESSION_TOKEN", "AWS_REQUEST_PAYER", "AWS_NO_SIGN_REQUEST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setitem(_OPTIONS, "GDAL_HTTP_RETRY_DELAY", "0.01")


@pytest.fixture
def store(s3_server, monkeypatch):
    """S3 that refuses as AWS does."""
    s3_server.behave(requester_pays=[L1C], private=["somebodys", "eodata"])
    s3_server.behave(unsigned_only=[], outages=[], outage_after=0)
    s3_server.forget()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_server.url)
    monkeypatch.setenv("CDSE_S3_ENDPOINT", s3_server.url)
    return s3_server


@pytest.fixture
def credentials(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOWN")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "own-secret")


def fresh(store, bucket):
    """Address of an object that no test has opened: GDAL remembers headers until it ends."""
    key = f"tiles/{time.monotonic_ns()}.tif"
    store.put(bucket, key, TIFF)
    return f"s3://{bucket}/{key}"


def read(href):
    with gdal_env(), RasterFile(href) as raster:
        return raster.read(1)


@pytest.mark.usefixtures("credentials")
def test_the_requester_pays_for_the_bucket_that_asks_and_for_no_other(store):
    for bucket in (L1C, L2A, COGS, "somebodys"):
        np.testing.assert_array_equal(read(fresh(store, bucket)), PIXELS)
    payers = {(asked.bucket, asked.payer) for asked in store.asked}
    assert payers == {(L1C, "requester"), (L2A, None), (COGS, None), ("somebodys", None)}


@pytest.mark.usefixtures("credentials")
def test_every_bucket_is_signed_for_its_own_region(store):
    for bucket in (L1C, L2A, COGS):
        read(fresh(store, bucket))
    regions = {(asked.bucket, asked.region) for asked in store.asked}
    assert regions == {(L1C, "eu-central-1"), (L2A, "eu-central-1"), (COGS, "us-west-2")}


@pytest.mark.parametrize("bucket", [L2A, COGS])
def test_a_public_bucket_is_read_without_credentials(store, bucket):
    np.testing.assert_array_equal(read(fresh(store, bucket)), PIXELS)
    assert {asked.authorization for asked in store.asked} == {""}


@pytest.mark.usefixtures("credentials")
def test_files_of_several_buckets_stay_apart_while_all_are_open(store, monkeypatch):
    for name in access.CDSE_KEY_VARIABLES:
        monkeypatch.setenv(name, f"cdse-{name[8:14].lower()}")
    hrefs = [fresh(store, bucket) for bucket in (L1C, "eodata", COGS)]
    with gdal_env():
        rasters = [RasterFile(href) for href in hrefs]
        for raster in reversed(rasters):
            np.testing.assert_array_equal(raster.read(1), PIXELS)
            raster.close()
    assert {(asked.bucket, asked.payer, asked.key) for asked in store.asked} == {
        (L1C, "requester", "AKIAOWN"),
        ("eodata", None, "cdse-access"),
        (COGS, None, "AKIAOWN"),
    }


@pytest.mark.usefixtures("credentials")
def test_threads_that_read_different_buckets_do_not_mix_them_up(store):
    hrefs = [fresh(store, bucket) for bucket in (L1C, COGS, L2A) for _ in range(6)]
    with gdal_env(), ThreadPoolExecutor(6) as pool:
        rasters = list(pool.map(read, hrefs))
    assert all((raster == PIXELS).all() for raster in rasters)
    assert {(asked.bucket, asked.payer, asked.region) for asked in store.asked} == {
        (L1C, "requester", "eu-central-1"),
        (COGS, None, "us-west-2"),
        (L2A, None, "eu-central-1"),
    }


def test_without_credentials_the_error_names_the_bucket_the_permission_and_who_pays(store):
    store.put(L1C, "qi/MSK_CLOUDS_B00.gml", b"<Mask/>")
    wanted = r"credentials.*sentinel-s2-l1c is requester pays.*s3:GetObject"
    for missing in (
        lambda: read(fresh(store, L1C)),
        lambda: read_file(f"s3://{L1C}/qi/MSK_CLOUDS_B00.gml"),
    ):
        with pytest.raises(CredentialsError, match=wanted) as caught:
            missing()
        assert caught.value.exit_code == ExitCode.BAD_INPUT


@pytest.mark.usefixtures("credentials")
def test_a_refusal_names_the_bucket_the_permission_and_who_pays(store):
    store.put(L1C, "qi/MSK_CLOUDS_B00.gml", b"<Mask/>")
    store.behave(unsigned_only=[L1C])
    wanted = r"sentinel-s2-l1c is requester pays.*s3:GetObject"
    with pytest.raises(AccessError, match=wanted):
        read(fresh(store, L1C))
    with pytest.raises((AccessError, CredentialsError), match=wanted):
        read_file(f"s3://{L1C}/qi/MSK_CLOUDS_B00.gml")


@pytest.mark.usefixtures("credentials")
def test_a_refused_signature_of_a_public_bucket_says_how_to_do_without(store):
    store.behave(unsigned_only=[COGS])
    with pytest.raises(AccessError, match=r"sentinel-cogs refused.*403.*AWS_NO_SIGN_REQUEST=YES"):
        read(fresh(store, COGS))


def test_the_error_of_an_unknown_bucket_says_what_may_be_missing(store):
    with pytest.raises(CredentialsError, match=r"no credentials.*somebodys.*AWS_REQUEST_PAYER"):
        read(fresh(store, "somebodys"))


@pytest.mark.usefixtures("store")
def test_an_object_that_does_not_exist_is_not_worth_another_try():
    with pytest.raises(RasterError, match=r"s3://sentinel-cogs/no.tif: there is no such file"):
        read(f"s3://{COGS}/no.tif")


def test_a_file_that_is_no_raster_is_not_worth_another_try(store):
    store.put(COGS, "page.tif", b"<html>maintenance</html>" * 9)
    with pytest.raises(RasterError, match="not recognized"):
        read(f"s3://{COGS}/page.tif")


@pytest.mark.parametrize("status", [500, 503, 429])
def test_an_outage_is_worth_another_try(store, status):
    href = fresh(store, COGS)
    store.behave(outages=[status] * 99)
    with pytest.raises(TryAgainError, match=f"HTTP status {status}"):
        read(href)
    # GDAL would remember the outage for the life of the process.
    store.behave(outages=[])
    np.testing.assert_array_equal(read(href), PIXELS)


def test_a_short_outage_in_the_middle_of_a_file_is_survived(store):
    href = fresh(store, COGS)
    with gdal_env(GDAL_HTTP_MAX_RETRY="0"), RasterFile(href) as raster:
        store.behave(outages=[503])
        np.testing.assert_array_equal(raster.read(1), PIXELS)


def test_a_long_outage_in_the_middle_of_a_file_is_worth_another_try(store):
    href = fresh(store, COGS)
    with gdal_env(GDAL_HTTP_MAX_RETRY="0"), RasterFile(href) as raster:
        store.behave(outages=[503] * 99)
        with pytest.raises(TryAgainError, match="503"):
            raster.read(1)


def test_the_data_space_needs_its_keys_and_names_them():
    with pytest.raises(CredentialsError, match="CDSE_S3_ACCESS_KEY and CDSE_S3_SECRET_KEY"):
        access_of("s3://eodata/Sentinel-2/B04.jp2")


def test_the_data_space_is_addressed_by_path_at_its_own_endpoint(monkeypatch):
    for name in access.CDSE_KEY_VARIABLES:
        monkeypatch.setenv(name, "value")
    options = access_of("s3://eodata/Sentinel-2/B04.jp2").options
    assert options["AWS_S3_ENDPOINT"] == "eodata.dataspace.copernicus.eu"
    assert (options["AWS_HTTPS"], options["AWS_VIRTUAL_HOSTING"]) == ("YES", "FALSE")


def test_keys_and_signatures_are_not_shown(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "own-secret")
    assert "own-secret" not in repr(access_of("s3://somebodys/B04.tif"))


@pytest.mark.parametrize(
    ("href", "found"),
    [
        (f"s3://{L1C}/tiles/B04.jp2", (L1C, "tiles/B04.jp2")),
        (f"https://{L1C}.s3.eu-central-1.amazonaws.com/tiles/B04.jp2", (L1C, "tiles/B04.jp2")),
        (f"https://{L1C}.s3.amazonaws.com/tiles/B04.jp2", (L1C, "tiles/B04.jp2")),
        (f"https://s3.eu-central-1.amazonaws.com/{L1C}/tiles/B04.jp2", (L1C, "tiles/B04.jp2")),
        (f"https://{COGS}.s3.us-west-2.amazonaws.com/B04.tif", None),
        ("https://example.com/B04.tif", None),
        ("/data/B04.tif", None),
    ],
)
def test_https_addresses_of_a_requester_pays_bucket_are_read_as_s3(href, found):
    assert bucket_of(href) == found


@pytest.mark.parametrize(
    "href",
    [
        "/data/B04.tif",
        "file:///data/B04.tif",
        "file:/data/B04.tif",
        "file://localhost/data/B04.tif",
    ],
)
def test_a_file_on_this_machine_needs_no_settings(href):
    opened = access_of(href)
    assert (opened.path, opened.options) == ("/data/B04.tif", {})


def test_a_local_file_that_is_missing_or_broken_is_named(tmp_path):
    with pytest.raises(RasterError, match="fetch the file again"):
        read(str(tmp_path / "none.tif"))
    (tmp_path / "cut.tif").write_bytes(TIFF[: len(TIFF) // 2])
    with pytest.raises(RasterError, match="fetch the file again"):
        read(str(tmp_path / "cut.tif"))


@pytest.mark.usefixtures("credentials")
def test_a_small_file_of_a_requester_pays_bucket_is_read(store):
    store.put(L1C, "qi/MSK_CLOUDS_B00.gml", b"<Mask/>")
    assert read_file(f"s3://{L1C}/qi/MSK_CLOUDS_B00.gml") == b"<Mask/>"
    assert {(asked.payer, asked.region) for asked in store.asked} == {("requester", "eu-central-1")}
    with pytest.raises(
        NotFoundError, match=r"cannot read s3://sentinel-s2-l1c/qi/none\.gml: NoSuch"
    ):
        read_file(f"s3://{L1C}/qi/none.gml")


def test_a_refused_mask_keeps_its_reason(store):
    store.put(L1C, "qi/MSK_CLOUDS_B00.gml", b"<Mask/>")
    with pytest.raises(MaskError, match=r"sentinel-s2-l1c is requester pays"):
        read_cloud_polygons(f"s3://{L1C}/qi/MSK_CLOUDS_B00.gml")


class Azure:
    """A storage account that accepts the last token only, and the service that issues tokens."""

    def __init__(self):
        self.life_s = 2700.0
        self.given = 0
        self.failures: list[int] = []
        self.keys: list[str | None] = []
        self.reads: list[str] = []
        self.url = ""

    def token(self, handler):
        self.keys.append(handler.headers.get("Ocp-Apim-Subscription-Key"))
        if self.failures:
            return self.failures.pop(0), b"{}"
        self.given += 1
        end = datetime.fromtimestamp(time.time() + self.life_s, UTC)
        document = {"msft:expiry": end.isoformat(), "token": f"se=x&sig=token{self.given}"}
        return 200, json.dumps(document).encode()

    def blob(self, query):
        signature = parse_qs(query).get("sig", [""])[0]
        self.reads.append(signature)
        return (200, TIFF) if signature == f"token{self.given}" else (403, b"")


@contextmanager
def azure_server(azure):
    class Handler(LoopbackHandler):
        def do_GET(self):
            parts = urlsplit(self.path)
            is_token = parts.path.startswith("/token/")
            status, content = azure.token(self) if is_token else azure.blob(parts.query)
            part = self.headers.get("Range")
            if status != 200 or not part:
                self.send(status, content)
                return
            first, last = part.removeprefix("bytes=").split("-")
            start, end = int(first), min(int(last) + 1, len(content))
            place = f"bytes {start}-{end - 1}/{len(content)}"
            self.send(206, content[start:end], {"Content-Range": place})

        do_HEAD = do_GET

    with serving_http(Handler) as address:
        azure.url = f"http://{address}"
        yield azure


@pytest.fixture
def azure(monkeypatch):
    with azure_server(Azure()) as server:
        host = urlsplit(server.url).netloc
        monkeypatch.setattr(sas, "SIGNED_HOSTS", frozenset({host}))
        tokens = sas.SasTokens(f"{server.url}/token", backoff_s=0)
        monkeypatch.setattr(sas, "sas_tokens", lambda: tokens)
        yield server


def blob(azure):
    return f"{azure.url}/sentinel2-l2/{time.monotonic_ns()}/B04.tif"


def test_hrefs_of_the_planetary_computer_are_signed_with_one_token(azure):
    for _ in range(3):
        np.testing.assert_array_equal(read(blob(azure)), PIXELS)
    assert azure.given == 1
    assert set(azure.reads) == {"token1"}


def test_a_token_is_renewed_while_a_file_is_open(azure):
    azure.life_s = 0.4
    with gdal_env(), RasterFile(blob(azure)) as raster:
        time.sleep(0.3)
        azure.life_s = 2700.0
        np.testing.assert_array_equal(raster.read(1), PIXELS)
    assert azure.given == 2
    assert azure.reads[-1] == "token2"


def test_a_token_is_renewed_five_minutes_before_its_end(azure):
    now = [time.time()]
    tokens = sas.SasTokens(f"{azure.url}/token", now=lambda: now[0])
    href = f"https://{HOST}/sentinel2-l2/B04.tif"
    assert tokens.sign(href) == f"{href}?se=x&sig=token1"
    now[0] += azure.life_s - sas.RENEW_BEFORE_S - 10
    assert tokens.sign(href).endswith("token1")
    now[0] += 20
    assert tokens.sign(href).endswith("token2")


def test_each_container_has_its_own_token(azure):
    tokens = sas.SasTokens(f"{azure.url}/token", subscription_key="mine")
    for container in ("a", "b", "a"):
        tokens.sign(f"https://{HOST}/{container}/B04.tif")
    assert azure.given == 2
    assert azure.keys == ["mine", "mine"]


def test_the_token_service_is_asked_again_when_it_fails(azure):
    azure.failures = [503, 429, 500]
    np.testing.assert_array_equal(read(blob(azure)), PIXELS)
    azure.failures = [503] * 9
    other = sas.SasTokens(f"{azure.url}/token", backoff_s=0)
    with pytest.raises(TryAgainError, match="HTTP status 503; got no signature"):
        other.sign(f"https://{HOST}/a/B04.tif")


def test_a_refused_token_is_not_worth_another_try(azure):
    azure.failures = [401]
    with pytest.raises(AccessError, match=r"refused a signature .HTTP status 401"):
        read(blob(azure))


def test_a_signature_is_not_in_the_error(azure):
    href = blob(azure)
    with gdal_env(), RasterFile(href) as raster:
        azure.given += 1  # The account now accepts another token than the open file has.
        with pytest.raises(AccessError, match="refused") as caught:
            raster.read(1)
    assert "token1" not in str(caught.value)
    assert href in str(caught.value)


def test_an_address_that_is_signed_already_is_left_unchanged():
    href = f"https://{HOST}/sentinel2-l2/B04.tif?se=x&sig=theirs"
    assert sas.signed(href) == href
