"""Documents by their addresses: files only, within bounds, readable by whom they are for."""

import os
import stat
import tracemalloc

import pytest

from cloudbuster.catalogs import open_catalog
from cloudbuster.detectors.donor import DonorDetector
from cloudbuster.detectors.torch_weights import fingerprint
from cloudbuster.errors import (
    AoiError,
    BadInputError,
    CloudBusterError,
    NotFoundError,
    OutputError,
    TooLargeError,
    UntrustedAddressError,
)
from cloudbuster.inputs.areas import load_aoi
from cloudbuster.source.masks.donor_mask import SceneIdentity, read_donor_mask
from cloudbuster.source.masks.gml import read_cloud_polygons
from cloudbuster.storage.addresses.trust import FOREIGN_REQUESTS_VARIABLE, catalog_trust
from cloudbuster.storage.files.uri import read_bytes, write_bytes
from cloudbuster.storage.rasters.access import read_file
from tests.loopback import LoopbackHandler, serving_http

READERS = [read_bytes, read_file]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.mkdir(), "is a folder"),
        (os.mkfifo, "is a pipe"),
        (lambda path: path.symlink_to("/dev/zero"), "is a device"),
        (lambda path: path.symlink_to("/dev/stdin"), "is a|No such"),
        (lambda path: path.symlink_to(path), "symbolic links"),
    ],
    ids=["folder", "pipe", "device", "stdin", "loop"],
)
def test_what_is_no_file_is_refused_at_once(tmp_path, read, make, said):
    path = tmp_path / "x.json"
    make(path)
    with pytest.raises(BadInputError, match=said):
        read(str(path))


def test_a_file_that_is_not_there_is_not_found(tmp_path):
    with pytest.raises(NotFoundError, match="none: No such file or directory; check the path"):
        read_bytes(str(tmp_path / "none"))


@pytest.mark.parametrize("read", READERS)
def test_a_file_over_its_bound_is_refused_without_taking_its_size_in_memory(tmp_path, read):
    path = tmp_path / "x.json"
    with path.open("wb") as file:
        file.truncate(2**40)  # A sparse file: a terabyte that takes no room.
    tracemalloc.start()
    try:
        with pytest.raises(TooLargeError, match=r"x\.json is over 1 MiB"):
            read(str(path), max_bytes=2**20)
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()
    assert len(read(__file__, max_bytes=2**20)) < 2**20


class Large(LoopbackHandler):
    """Says that its answer is a gigabyte."""

    def do_GET(self) -> None:
        self.send(200, b"", {"Content-Length": str(2**30)})


@pytest.mark.parametrize("read", READERS)
def test_an_answer_over_its_bound_is_refused(read):
    with serving_http(Large) as address, pytest.raises(TooLargeError, match="the answer is over"):
        read(f"http://{address}/x.json")


@pytest.mark.parametrize("read", READERS)
def test_an_object_over_its_bound_is_refused(read, s3_server, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_server.behind)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    s3_server.put("sentinel-cogs", "large.json", bytes(2000))
    with pytest.raises(TooLargeError, match=r"large.json is over"):
        read("s3://sentinel-cogs/large.json", max_bytes=1000)


@pytest.mark.parametrize("read", [*READERS, read_cloud_polygons])
def test_the_trust_of_the_giver_counts_for_documents_too(read):
    for href in ("/etc/passwd", "http://169.254.169.254/x", "http://127.0.0.1:9/x"):
        with pytest.raises(UntrustedAddressError):
            read(href, trust=catalog_trust("earth-search"))


def detect_by_donor(uri):
    DonorDetector(uri)._find(SceneIdentity("33TWL", "G2A"))


@pytest.mark.parametrize(
    "read",
    [load_aoi, read_donor_mask, fingerprint, open_catalog, detect_by_donor],
    ids=["area", "mask", "weights", "catalog", "donor"],
)
@pytest.mark.parametrize("href", ["/etc/passwd", "/proc/self/environ", "file:///etc/"])
def test_requests_from_others_name_no_file_of_this_machine(read, href, monkeypatch):
    monkeypatch.setenv(FOREIGN_REQUESTS_VARIABLE, "1")
    with pytest.raises((UntrustedAddressError, AoiError), match="is a file of this machine"):
        read(href)


@pytest.mark.parametrize(
    "read", [load_aoi, read_donor_mask, fingerprint], ids=["area", "mask", "weights"]
)
@pytest.mark.parametrize("href", ["http://127.0.0.1:9/x", "http://[::1]/x", "http://10.0.0.5/x"])
def test_requests_from_others_name_no_server_of_this_network(read, href, monkeypatch):
    monkeypatch.setenv(FOREIGN_REQUESTS_VARIABLE, "1")
    with pytest.raises(CloudBusterError, match="may not name such a server"):
        read(href)


@pytest.mark.parametrize(
    "make",
    [os.mkfifo, lambda path: os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))],
    ids=["pipe", "device"],
)
def test_a_device_is_never_replaced_by_a_file(tmp_path, make):
    path = tmp_path / "out.json"
    try:
        make(path)
    except PermissionError:
        pytest.skip("devices can be made by root alone")
    before = path.lstat().st_mode
    with pytest.raises(OutputError, match=r"out\.json is a (pipe|device), and no file"):
        write_bytes(str(path), b"{}")
    assert path.lstat().st_mode == before


def test_a_private_document_is_readable_by_its_owner_alone(tmp_path):
    for name, private in (("private.json", True), ("public.json", False)):
        write_bytes(str(tmp_path / name), b"{}", private=private)
    umask = os.umask(0)
    os.umask(umask)
    modes = [
        stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("private.json", "public.json")
    ]
    assert modes == [0o600, 0o666 & ~umask]
