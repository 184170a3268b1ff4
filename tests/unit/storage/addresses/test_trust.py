"""The gate: who gave an address decides what it may refer to."""

import pytest

from cloudbuster.errors import UntrustedAddressError
from cloudbuster.storage.addresses.hosts import ALLOW_HOSTS_VARIABLE
from cloudbuster.storage.addresses.trust import (
    ALLOW_FOLDERS_VARIABLE,
    FOREIGN_REQUESTS_VARIABLE,
    admitted,
    catalog_trust,
    own_trust,
    scheme_of,
)

REMOTE = "https://stac.example.com/v1"

NO_ADDRESSES = [
    ("", "is no address"),
    (None, "is no address"),
    (7, "is no address"),
    ({"href": "x"}, "is no address"),
    ("<VRTDataset rasterXSize='1'/>", "neither a path nor an address"),
    ("<GDAL_WMS><Service/></GDAL_WMS>", "neither a path nor an address"),
    ('{"type": "FeatureCollection"}', "neither a path nor an address"),
    ("GTIFF_DIR:1:/data/B04.tif", "neither a path nor an address"),
    ("NETCDF:/data/x.nc:band", "neither a path nor an address"),
    ("HDF5:x.h5://band", "neither a path nor an address"),
    ("vrt:///data/B04.tif", "vrt is not supported"),
    ("WMS:http://127.0.0.1/wms", "neither a path nor an address"),
    ("data:text/plain,x", "neither a path nor an address"),
    ("javascript:x", "neither a path nor an address"),
    ("MEM:::DATAPOINTER=1", "neither a path nor an address"),
    ("/vsicurl/http://127.0.0.1/x", "virtual file of GDAL"),
    ("/vsis3/bucket/key.tif", "virtual file of GDAL"),
    ("/vsizip/x.zip/B04.tif", "virtual file of GDAL"),
    ("//vsicurl/http://127.0.0.1/x", "virtual file of GDAL"),
    ("/./vsimem/x", "virtual file of GDAL"),
    ("/data/../vsicurl/http://127.0.0.1/x", "virtual file of GDAL"),
    ("/VSICURL/http://127.0.0.1/x", "virtual file of GDAL"),
    ("file:///vsicurl/http://127.0.0.1/x", "virtual file of GDAL"),
    ("file:///%76sicurl/x", "virtual file of GDAL"),
    ("gs://bucket/B04.tif", "gs is not supported"),
    ("az://container/B04.tif", "az is not supported"),
    ("ftp://h/B04.tif", "ftp is not supported"),
    ("gopher://h/x", "gopher is not supported"),
    ("zip://x.zip!B04.tif", "zip is not supported"),
    ("s3:///key", "no name of a bucket"),
    ("s3://b@evil/key", "no name of a bucket"),
    ("s3://bucket:80/key", "no name of a bucket"),
    ("s3://127.0.0.1#/key", "no name of a bucket"),
    ("s3://bucket/a/../../other/key", "a part . or .."),
    ("https:///B04.tif", "is no URL"),
    ("https://h:port/B04.tif", "is no URL"),
    ("https://h:99999/B04.tif", "is no URL"),
    ("https://[::1/B04.tif", "is no URL"),
    ("https://public.example.com\\@127.0.0.1/x", "is no URL"),
    ("https://h/a\r\nHost: x", "control characters"),
    ("https://h/a%0d%0aHost:%20x", "control characters"),
    ("/data/B04\x00.tif", "control characters"),
    ("/data/B04%00.tif", "control characters"),
    ("file://otherhost/data/B04.tif", "names another machine"),
    ("zip:///data/a.zip!/../../etc/passwd", "leads out of its zip"),
    ("zip:///data/a.zip!//etc/passwd", "leads out of its zip"),
    ("zip:///data/a.zip!/a/./B04.jp2", "leads out of its zip"),
    ("zip:///data/a.zip!/a\\..\\B04.jp2", "leads out of its zip"),
    ("zip:///data/a.zip!/", "leads out of its zip"),
    ("zip:///data/a}.zip!/B04.jp2", "has braces"),
    ("zip:///vsicurl/http://127.0.0.1/a.zip!/B04.jp2", "virtual file of GDAL"),
    ("zip://a.zip!/B04.jp2", "zip is not supported"),
    ("zip:///data/a.zip", "zip is not supported"),
    ("https://h/" + "x" * 9000, "characters"),
]


@pytest.mark.parametrize(("address", "said"), NO_ADDRESSES)
def test_what_is_no_address_is_refused_whoever_gives_it(address, said):
    for trust in (own_trust(), catalog_trust(REMOTE), catalog_trust("/data/catalog")):
        with pytest.raises(UntrustedAddressError, match=said.replace(".", r"\.")):
            admitted(address, trust)


@pytest.mark.parametrize(
    "address",
    [
        "/etc/passwd",
        "etc/passwd",
        "../../etc/passwd",
        "./B04.tif",
        "~/B04.tif",
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        "file://localhost/etc/passwd",
        "file:/etc/passwd",
        "zip:///data/a.zip!/B04.jp2",
        "ZIP:///data/a.zip!/B04.jp2",
        "/proc/self/environ",
        "/dev/zero",
        "\\\\server\\share",
    ],
)
@pytest.mark.parametrize(
    "catalog", [REMOTE, "earth-search", "planetary-computer", "rasterfoundry", "original"]
)
def test_a_catalog_elsewhere_names_no_file_of_this_machine(address, catalog):
    with pytest.raises(UntrustedAddressError):
        admitted(address, catalog_trust(catalog))


HERE = [
    "127.0.0.1",
    "127.1",
    "127.8.8.8",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "017700000001",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "x.localhost",
    "10.0.0.5",
    "172.16.3.4",
    "192.168.1.1",
    "100.64.0.1",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b::10.0.0.5]",
    "[2002:7f00:1::]",
    "[fd12::1]",
]
NEVER = [
    "169.254.169.254",
    "169.254.170.2",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "[::ffff:169.254.169.254]",
    "[64:ff9b::a9fe:a9fe]",
    "[fe80::1]",
    "[fe80::1%25eth0]",
    "[fd00:ec2::254]",
    "168.63.129.16",
    "100.100.100.200",
    "0.0.0.0",  # noqa: S104 -- an address to refuse
    "0",
    "[::]",
    "224.0.0.1",
    "[ff02::1]",
    "255.255.255.255",
    "240.0.0.1",
]


@pytest.mark.parametrize("host", [*HERE, *NEVER])
def test_a_catalog_elsewhere_names_no_server_of_this_network(host):
    for address in (f"http://{host}/B04.tif", f"https://user@{host}:8080/B04.tif"):
        with pytest.raises(UntrustedAddressError, match=r"not contacted|may not name"):
            admitted(address, catalog_trust(REMOTE))


@pytest.mark.parametrize("host", HERE)
def test_the_user_and_catalogs_of_this_machine_may_name_servers_of_this_network(host):
    for trust in (own_trust(), catalog_trust("/data/catalog")):
        assert admitted(f"http://{host}/B04.tif", trust) == f"http://{host}/B04.tif"


@pytest.mark.parametrize("host", NEVER)
def test_a_metadata_service_is_contacted_for_nobody(host):
    for trust in (own_trust(), catalog_trust("/data/catalog")):
        with pytest.raises(UntrustedAddressError, match="no server for data"):
            admitted(f"http://{host}/latest/meta-data/", trust)


@pytest.mark.parametrize(
    "address",
    [
        "https://sentinel-cogs.s3.us-west-2.amazonaws.com/a/B04.tif",
        "http://8.8.8.8/B04.tif",
        "https://[2600::1]:8443/B04.tif?sig=a%2Fb",
        "HTTPS://example.com/B04.tif",
        "s3://sentinel-s2-l1c/tiles/33/T/WL/2020/5/9/0/B04.jp2",
        "s3://eodata/a b/c#d?.SAFE/B04.jp2",
        "https://example.com/a..b/B04.tif",
    ],
)
def test_public_servers_and_buckets_are_open_to_everybody(address, monkeypatch):
    trusts = [own_trust(), catalog_trust(REMOTE), catalog_trust("earth-search")]
    monkeypatch.setenv(FOREIGN_REQUESTS_VARIABLE, "1")
    for trust in (*trusts, own_trust(), catalog_trust(REMOTE)):
        assert admitted(address, trust) == address


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("/data/B04.tif", "/data/B04.tif"),
        ("//data//B04.tif", "/data/B04.tif"),
        ("/data/x/../B04.tif", "/data/B04.tif"),
        ("file:///data/B04.tif", "/data/B04.tif"),
        ("file:///data/a%20b.tif", "/data/a b.tif"),
        ("file:/data/B04.tif", "/data/B04.tif"),
        ("file://localhost/data/B04.tif", "/data/B04.tif"),
        ("zip:///data/x/../a.zip!/S/B04.jp2", "zip:///data/a.zip!/S/B04.jp2"),
        ("/data/a:b.tif", "/data/a:b.tif"),
        ("/data/<x>.tif", "/data/<x>.tif"),
    ],
)
def test_a_local_catalog_names_files_of_this_machine(address, path):
    assert admitted(address, catalog_trust("/data/catalog")) == path


def test_a_relative_path_counts_from_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert admitted("B04.tif", own_trust()) == str(tmp_path / "B04.tif")
    assert admitted("./odd:name.tif", own_trust()) == str(tmp_path / "odd:name.tif")


def test_a_catalog_on_a_private_server_that_its_user_names_has_its_files_there(monkeypatch):
    catalog = "http://127.0.0.1:8081/stac"
    trust = catalog_trust(catalog)
    assert admitted("http://127.0.0.1:8081/B04.tif", trust)
    for other in ("http://127.0.0.1:8082/B04.tif", "http://10.0.0.5:8081/x", "/etc/passwd"):
        with pytest.raises(UntrustedAddressError):
            admitted(other, trust)
    monkeypatch.setenv(FOREIGN_REQUESTS_VARIABLE, "1")
    with pytest.raises(UntrustedAddressError, match=r"127.0.0.1:8081"):
        admitted("http://127.0.0.1:8081/B04.tif", catalog_trust(catalog))


def test_files_of_a_mirror_that_its_user_names_may_be_opened(tmp_path):
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / "out").symlink_to("/etc")
    trust = catalog_trust(REMOTE, (f"s3://eodata={mirror}", "s3://x=http://10.0.0.5:9000/x"))
    assert admitted(f"{mirror}/B04.tif", trust) == f"{mirror}/B04.tif"
    assert admitted("http://10.0.0.5:9000/x/B04.tif", trust)
    for outside in (f"{mirror}/../B04.tif", f"{mirror}/out/passwd", f"{tmp_path}/mirror2/B04.tif"):
        with pytest.raises(UntrustedAddressError, match="is a file of this machine"):
            admitted(outside, trust)


@pytest.mark.parametrize(
    ("allowed", "host", "is_allowed"),
    [
        ("10.0.0.5", "10.0.0.5", True),
        ("10.0.0.5:443", "10.0.0.5", True),
        ("10.0.0.5:80", "10.0.0.5", False),
        ("10.0.0.0/8", "10.9.9.9", True),
        ("10.0.0.0/8", "192.168.0.1", False),
        ("fd00::/8", "[fd12::1]", True),
        ("localhost", "localhost", True),
        ("other.lan, 127.0.0.1", "127.0.0.1", True),
        ("*", "192.168.0.1", True),
        ("", "192.168.0.1", False),
    ],
)
def test_hosts_that_the_environment_lists_may_be_named(allowed, host, is_allowed, monkeypatch):
    monkeypatch.setenv(ALLOW_HOSTS_VARIABLE, allowed)
    monkeypatch.setenv(FOREIGN_REQUESTS_VARIABLE, "1")
    for trust in (own_trust(), catalog_trust(REMOTE)):
        if is_allowed:
            assert admitted(f"https://{host}/x", trust)
        else:
            with pytest.raises(UntrustedAddressError, match=ALLOW_HOSTS_VARIABLE):
                admitted(f"https://{host}/x", trust)


def test_requests_from_others_name_no_file_but_those_in_listed_folders(tmp_path, monkeypatch):
    monkeypatch.setenv(FOREIGN_REQUESTS_VARIABLE, "1")
    for trust in (own_trust(), catalog_trust(str(tmp_path)), catalog_trust("/data")):
        with pytest.raises(UntrustedAddressError, match=ALLOW_FOLDERS_VARIABLE):
            admitted(str(tmp_path / "B04.tif"), trust)
    monkeypatch.setenv(ALLOW_FOLDERS_VARIABLE, f"/nowhere:{tmp_path}")
    assert admitted(str(tmp_path / "B04.tif"), own_trust())
    with pytest.raises(UntrustedAddressError):
        admitted("/etc/passwd", catalog_trust(str(tmp_path)))
    assert admitted(f"zip://{tmp_path}/a.zip!/B04.jp2", own_trust())
    (tmp_path / "link.zip").symlink_to("/etc/passwd")
    for archive in ("/etc/a.zip", f"{tmp_path}/../a.zip", f"{tmp_path}/link.zip"):
        with pytest.raises(UntrustedAddressError):
            admitted(f"zip://{archive}!/B04.jp2", own_trust())


@pytest.mark.parametrize(
    ("address", "scheme"),
    [("S3://b/k", "s3"), ("/a/b", "file"), ("a://b", "a"), ("http:/x", "file"), ("c:x", "file")],
)
def test_the_scheme_of_an_address_is_known_by_its_two_slashes(address, scheme):
    assert scheme_of(address) == scheme
