"""Rasters are opened as GeoTIFF and JPEG 2000 alone, within bounds, and refer to nothing else."""

import os
import struct
import tempfile
import zipfile
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.io import MemoryFile
from rasterio.windows import Window

from cloudbuster.errors import (
    AccessError,
    BadInputError,
    RasterError,
    TooLargeError,
    UntrustedAddressError,
)
from cloudbuster.storage.addresses import archives
from cloudbuster.storage.addresses.trust import catalog_trust
from cloudbuster.storage.rasters.gdal_env import gdal_env
from cloudbuster.storage.rasters.raster_file import RasterFile
from tests.loopback import LoopbackHandler, serving_http

PLACE = {"crs": "EPSG:32633", "transform": Affine(10, 0, 500_000, 0, -10, 5_000_000)}
SECRET = 4321


def raster_bytes(driver="GTiff", *, size=64, count=1, value=7, **options):
    profile = {"driver": driver, "dtype": "uint16", "count": count, "width": size, "height": size}
    with MemoryFile() as memory:
        with memory.open(**profile, **PLACE, **options) as dataset:
            dataset.write(np.full((count, size, size), value, np.uint16))
        return bytes(memory.read())


TIFF = raster_bytes()
JP2 = raster_bytes("JP2OpenJPEG", QUALITY="100", REVERSIBLE="YES", CODEC="JP2")


def vrt(source):
    return (
        '<VRTDataset rasterXSize="64" rasterYSize="64"><VRTRasterBand dataType="UInt16" band="1">'
        f"<SimpleSource><SourceFilename>{source}</SourceFilename><SourceBand>1</SourceBand>"
        "</SimpleSource></VRTRasterBand></VRTDataset>"
    ).encode()


@pytest.fixture(scope="module")
def folder():
    """Folder with a raster that nobody else may have."""
    with tempfile.TemporaryDirectory() as name:
        Path(name, "secret.tif").write_bytes(raster_bytes(value=SECRET))
        Path(name, "raw").write_bytes(np.full(64 * 64, SECRET, np.uint16).tobytes())
        yield Path(name)


def hostile(folder):
    """Contents that GDAL opens with another driver, each of which reads the raster beside it."""
    secret = folder / "secret.tif"
    raw = (
        '<VRTDataset rasterXSize="64" rasterYSize="64"><VRTRasterBand dataType="UInt16" band="1" '
        f'subClass="VRTRawRasterBand"><SourceFilename>{folder}/raw</SourceFilename>'
        "</VRTRasterBand></VRTDataset>"
    )
    service = (
        '<GDAL_WMS><Service name="TMS"><ServerUrl>http://127.0.0.1:9/${x}</ServerUrl></Service>'
        "<DataWindow><SizeX>64</SizeX><SizeY>64</SizeY></DataWindow></GDAL_WMS>"
    )
    label = f'PDS_VERSION_ID = PDS3\nRECORD_BYTES = 128\n^IMAGE = ("{folder}/raw", 1)\nEND\n'
    isis = f'Object = IsisCube\n Object = Core\n  ^Core = "{folder}/raw"\n End_Object\nEnd_Object\n'
    return {
        "VRT": vrt(secret),
        "VRT after a mark of order and spaces": b"\xef\xbb\xbf  \n" + vrt(secret),
        "VRT in UTF-16": vrt(secret).decode().encode("utf-16"),
        "VRT of a raw file": raw.encode(),
        "WMS": service.encode(),
        "PDS label": label.encode(),
        "ISIS label": isis.encode(),
        "STAC item": b'{"type": "FeatureCollection", "stac_version": "1.0.0", "features": []}',
        "tile index": b"<GDALTileIndexDataset><IndexDataset>x</IndexDataset>",
        "web page": b"<!DOCTYPE html><html>sign in</html>",
        "PNG": b"\x89PNG\r\n\x1a\n",
        "HDF5": b"\x89HDF\r\n\x1a\n",
        "netCDF": b"CDF\x01",
        "ZIP": b"PK\x03\x04",
        "text": b"ncols 64\nnrows 64\n",
        "nothing": b"",
        "a cut TIFF": TIFF[:8],
        "a cut JPEG 2000": JP2[:40],
        "TIFF in name only": b"II*\x00" + bytes(4),
    }


CASES = list(hostile(Path()))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", ["B04.tif", "B04.jp2", "B04.vrt", "B04"])
def test_other_contents_are_refused_whatever_their_name_is(folder, tmp_path, case, name):
    path = tmp_path / name
    path.write_bytes(hostile(folder)[case])
    with gdal_env(), pytest.raises(RasterError, match=str(path)) as raised:
        RasterFile(str(path))
    assert "\n" not in str(raised.value)


@pytest.fixture(scope="module")
def server(folder):
    """Server of the hostile contents by their number, and of what tests add."""
    contents = {f"/{number}": content for number, content in enumerate(hostile(folder).values())}

    class Handler(LoopbackHandler):
        served = contents

        def do_GET(self) -> None:
            content = self.served[self.path]
            wanted = self.headers["Range"].removeprefix("bytes=").split("-")
            first, last = int(wanted[0]), min(int(wanted[1]), len(content) - 1)
            if first > last:
                self.send(416, b"")
                return
            place = {"Content-Range": f"bytes {first}-{last}/{len(content)}"}
            self.send(206, content[first : last + 1], place)

    with serving_http(Handler) as address:
        yield f"http://{address}", contents


@pytest.mark.parametrize("number", range(len(CASES)), ids=CASES)
def test_other_contents_are_refused_from_a_server_too(server, number):
    url, _ = server
    with gdal_env(), pytest.raises(RasterError, match=f"{url}/{number}"):
        RasterFile(f"{url}/{number}", catalog_trust(url))


@pytest.mark.parametrize("content", [TIFF, JP2], ids=["GeoTIFF", "JPEG 2000"])
def test_both_formats_are_read_here_and_from_a_server(server, tmp_path, content):
    url, contents = server
    contents["/good"] = content
    (tmp_path / "good").write_bytes(content)
    for href in (str(tmp_path / "good"), f"{url}/good"):
        with gdal_env(), RasterFile(href, catalog_trust(url, [f"x={tmp_path}"])) as raster:
            assert (raster.read(1) == 7).all()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.mkdir(), "is a folder"),
        (os.mkfifo, "is a pipe"),
        (lambda path: path.symlink_to("/dev/zero"), "is a device"),
        (lambda path: path.symlink_to("/dev/tty"), "device|No such"),
        (lambda path: path.symlink_to(path), "symbolic links"),
        (lambda path: path.symlink_to(path.parent / "none"), "No such file"),
    ],
    ids=["folder", "pipe", "device", "terminal", "loop", "dangling"],
)
def test_what_is_no_file_is_refused_at_once(tmp_path, make, said):
    path = tmp_path / "B04.tif"
    make(path)
    with gdal_env(), pytest.raises(RasterError, match=said):
        RasterFile(str(path))


@pytest.mark.parametrize("domain", ["OVERVIEWS", "overviews", "ProxyOverviewRequest"])
def test_a_raster_that_names_another_file_as_its_overviews_is_refused(folder, tmp_path, domain):
    path = tmp_path / "B04.tif"
    path.write_bytes(TIFF)
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(ns=domain, OVERVIEW_FILE=str(folder / "secret.tif"))
    with gdal_env(), pytest.raises(RasterError, match="names another file as its overviews"):
        RasterFile(str(path))


def write_world_file(folder):
    """A world file beside B04.tif, so that GDAL looks for other files beside it too."""
    (folder / "B04.tfw").write_text("10\n0\n0\n-10\n500005\n4999995\n")


BESIDE = [
    *(f".{one}" for one in ("ovr", "OVR", "msk", "MSK")),
    *(f".{one}.{two}" for one, two in (("msk", "ovr"), ("MSK", "ovr"), ("ovr", "msk"))),
]


@pytest.mark.parametrize("suffix", BESIDE)
def test_overviews_and_masks_beside_a_raster_are_opened_as_tiff_alone(folder, tmp_path, suffix):
    path = tmp_path / "B04.tif"
    path.write_bytes(TIFF)
    write_world_file(tmp_path)
    (tmp_path / f"B04.tif{suffix}").write_bytes(hostile(folder)["VRT"])
    with gdal_env(), pytest.raises(RasterError, match=rf"B04\.tif{suffix} is no TIFF"):
        RasterFile(str(path))


@pytest.mark.parametrize("suffix", [".ovr", ".msk"])
@pytest.mark.parametrize("domain", ["OVERVIEWS", "ProxyOverviewRequest"])
def test_a_raster_beside_another_names_no_file_either(folder, tmp_path, suffix, domain):
    path, beside = tmp_path / "B04.tif", tmp_path / f"B04.tif{suffix}"
    path.write_bytes(TIFF)
    beside.write_bytes(TIFF)
    with rasterio.open(beside, "r+") as dataset:
        dataset.update_tags(ns=domain, OVERVIEW_FILE=str(folder / "secret.tif"))
    with gdal_env(), pytest.raises(RasterError, match=f"{suffix} names another file"):
        RasterFile(str(path))


@pytest.mark.parametrize("name", ["B04.tif.aux.xml", "B04.tif.ovr.aux.xml"])
@pytest.mark.parametrize(
    "metadata",
    [
        '<Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">{}</MDI></Metadata>',
        '<Metadata domain="overviews"><MDI name="overview_file">{}</MDI></Metadata>',
        '<Metadata domain="ProxyOverviewRequest"><MDI key="x">{}</MDI></Metadata>',
    ],
)
def test_metadata_beside_a_raster_name_no_file(folder, tmp_path, name, metadata):
    path = tmp_path / "B04.tif"
    path.write_bytes(TIFF)
    (tmp_path / "B04.tif.ovr").write_bytes(TIFF)
    text = metadata.format(folder / "secret.tif")
    (tmp_path / name).write_text(f"<PAMDataset>{text}</PAMDataset>")
    with gdal_env(), pytest.raises(RasterError, match="names overviews in another file"):
        RasterFile(str(path))


@pytest.mark.parametrize("name", ["B04.aux", "B04.tif.AUX", "B04.tif.msk.aux"])
def test_a_file_of_erdas_is_not_opened_because_of_another_one(tmp_path, name):
    path = tmp_path / "B04.tif"
    path.write_bytes(TIFF)
    write_world_file(tmp_path)
    with MemoryFile() as memory:
        profile = {"driver": "HFA", "dtype": "uint16", "count": 1, "width": 64, "height": 64}
        with memory.open(**profile, **PLACE) as dataset:
            dataset.write(np.full((1, 64, 64), 9, np.uint16))
        (tmp_path / name).write_bytes(memory.read())
    with gdal_env(), pytest.raises(RasterError, match="is a file of Erdas, which is not read"):
        RasterFile(str(path))


@pytest.mark.parametrize("suffix", [".ovr", ".msk", ".aux.xml", ".tfw"])
def test_a_file_beside_a_raster_is_no_link_out_of_its_folder(folder, tmp_path, suffix):
    path = tmp_path / "B04.tif"
    path.write_bytes(TIFF)
    beside = path.with_suffix(".tfw") if suffix == ".tfw" else tmp_path / f"B04.tif{suffix}"
    beside.symlink_to(folder / "secret.tif")
    trust = catalog_trust("https://catalog.example", [f"x={tmp_path}"])
    with gdal_env(), pytest.raises(UntrustedAddressError, match=str(beside)):
        RasterFile(str(path), trust)


def test_nothing_beside_a_remote_raster_is_asked_for(server):
    url, contents = server
    contents["/B04.tif"] = TIFF
    # The server fails for every other name.
    with gdal_env(), RasterFile(f"{url}/B04.tif", catalog_trust(url)) as raster:
        assert (raster.read(1, out_shape=(8, 8)) == 7).all()
        assert (raster.read_mask(1) == 255).all()
        assert raster.overviews(1) == []


def flags_and_pixels(href):
    with gdal_env(), RasterFile(href) as raster:
        return raster.mask_flag_enums[0], raster.read_mask(1), raster.read(1)


@pytest.mark.parametrize("failing", [2, 3])
def test_a_part_of_the_header_that_cannot_be_read_is_an_error(tmp_path, failing):
    path = tmp_path / "B04.tif"
    path.write_bytes(raster_bytes(size=512))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as dataset:
        dataset.write_mask(np.zeros((512, 512), np.uint8))
    content = path.read_bytes()

    class Handler(LoopbackHandler):
        asked = 0

        def do_GET(self) -> None:
            type(self).asked += 1
            if self.asked == failing:
                self.send(403, b"")
                return
            first, last = self.headers["Range"].removeprefix("bytes=").split("-")
            part = content[int(first) : int(last) + 1]
            place = {"Content-Range": f"bytes {first}-{int(first) + len(part) - 1}/{len(content)}"}
            self.send(206, part, place)

    # The directory of the mask lies behind the pixels. Without it they would all be valid.
    with serving_http(Handler) as address, pytest.raises(AccessError, match="403"):
        flags_and_pixels(f"http://{address}/B04.tif")


def tiff_header(*, width, height, rows_per_strip=None, tile=None, samples=1, planar=1):
    """Classic TIFF whose header promises much, with one block of a few bytes."""
    tags = {
        256: (4, width),
        257: (4, height),
        258: (3, 16),
        259: (3, 8),
        262: (3, 1),
        277: (3, samples),
        284: (3, planar),
    }
    if tile:
        tags |= {322: (4, tile), 323: (4, tile), 324: (4, 8), 325: (4, 4)}
    else:
        tags |= {273: (4, 8), 278: (4, rows_per_strip or height), 279: (4, 4)}
    entries = b"".join(
        struct.pack("<HHII", tag, kind, 1, value) for tag, (kind, value) in sorted(tags.items())
    )
    return (
        b"II*\x00"
        + struct.pack("<I", 16)
        + bytes(8)
        + struct.pack("<H", len(tags))
        + entries
        + bytes(4)
    )


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"width": 1_000_000, "height": 1_000_000}, "are the most that are read"),
        ({"width": 60_000, "height": 60_000, "tile": 256}, "are the most that are read"),
        ({"width": 16_000, "height": 16_000}, "are the most that are decoded at a time"),
        ({"width": 16_000, "height": 16_000, "tile": 16_384}, "are the most that are decoded"),
        ({"width": 64, "height": 64, "tile": 65_536}, "are the most that are decoded"),
        ({"width": 2000, "height": 2000, "samples": 200}, "are the most that are decoded"),
        ({"width": 64, "height": 64, "samples": 60_000}, "bands"),
    ],
    ids=["size", "tiles", "strip", "tile", "tile over", "pixels", "bands"],
)
def test_a_raster_bomb_is_refused_by_its_header(tmp_path, header, said):
    path = tmp_path / "B04.tif"
    path.write_bytes(tiff_header(**header))
    with gdal_env(), pytest.raises(BadInputError, match=said):
        RasterFile(str(path))


def test_a_bomb_beside_a_raster_is_refused_by_its_header(tmp_path):
    path = tmp_path / "B04.tif"
    path.write_bytes(TIFF)
    (tmp_path / "B04.tif.msk").write_bytes(tiff_header(width=16_000, height=16_000))
    with gdal_env(), pytest.raises(TooLargeError, match=r"B04\.tif\.msk has blocks"):
        RasterFile(str(path))


@pytest.mark.parametrize(
    ("width", "tile"), [(100_000, 1024), (16_000, 16_000), (16_000, 0xFFFF_FFFF)]
)
def test_a_jpeg_2000_bomb_is_refused_before_it_is_decoded(tmp_path, width, tile):
    content = bytearray(JP2)
    size = content.index(b"\xff\x51") + 6  # SIZ: marker, length, capabilities, then the sizes
    struct.pack_into(">8I", content, size, width, width, 0, 0, tile, tile, 0, 0)
    header = content.index(b"ihdr") + 4
    struct.pack_into(">2I", content, header, width, width)
    path = tmp_path / "B04.jp2"
    path.write_bytes(bytes(content))
    with gdal_env(), pytest.raises((TooLargeError, RasterError)):
        # A single tile is decoded by windows, so that its size alone is no reason.
        RasterFile(str(path)).read(1, window=Window(0, 0, 64, 64))


def test_a_raster_in_a_bucket_is_opened_as_the_same_two_formats_alone(
    folder, s3_server, monkeypatch
):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_server.url)
    for number, content in enumerate((vrt(folder / "secret.tif"), hostile(folder)["WMS"])):
        s3_server.put("sentinel-cogs", f"hostile/{number}.tif", content)
        with gdal_env(), pytest.raises(RasterError, match="not recognized"):
            RasterFile(f"s3://sentinel-cogs/hostile/{number}.tif")


def zipped(path, members):
    """Write a zip of the members; return the address of the first one."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return f"zip://{path}!/{next(iter(members))}"


@pytest.mark.parametrize("driver", ["GTiff", "JP2OpenJPEG"])
@pytest.mark.parametrize("within_env", [True, False])
def test_nothing_beside_a_raster_in_a_zip_is_opened(folder, tmp_path, driver, within_env):
    secret = vrt(folder / "secret.tif")
    members = {"S/B04.tif": raster_bytes(driver)}
    members |= {f"S/B04.tif{suffix}": secret for suffix in (".ovr", ".msk", ".aux.xml")}
    href = zipped(tmp_path / "a.zip", members)
    with gdal_env() if within_env else nullcontext(), RasterFile(href) as raster:
        assert raster.overviews(1) == []
        assert set(raster.read(1).ravel()) <= {6, 7}  # JPEG 2000 is lossy here.


@pytest.mark.parametrize("case", ["VRT", "WMS", "PDS label", "ZIP", "nothing"])
def test_other_contents_are_refused_in_a_zip_too(folder, tmp_path, case):
    href = zipped(tmp_path / "a.zip", {"S/B04.jp2": hostile(folder)[case]})
    with pytest.raises(RasterError, match="neither GeoTIFF nor JPEG 2000"):
        RasterFile(href)


def test_a_raster_in_a_zip_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_MEMBER_BYTES", 1000)
    with pytest.raises(TooLargeError, match="the most that is read"):
        RasterFile(zipped(tmp_path / "a.zip", {"B04.tif": raster_bytes(size=256)}))


def test_a_remote_catalog_names_no_raster_in_a_zip_of_this_machine(tmp_path):
    href = zipped(tmp_path / "a.zip", {"B04.tif": raster_bytes()})
    with pytest.raises(UntrustedAddressError, match="may not name one"):
        RasterFile(href, catalog_trust("https://stac.example.com/v1"))
