"""Files on HTTP servers, read in ranges: whole, right, or with one clear error."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import ClassVar

import numpy as np
import pytest

from cloudbuster.errors import (
    AccessError,
    CloudBusterError,
    RasterError,
    TooLargeError,
    TryAgainError,
)
from cloudbuster.storage.addresses.trust import PROGRAM
from cloudbuster.storage.rasters import range_file
from cloudbuster.storage.rasters.gdal_env import gdal_env
from cloudbuster.storage.rasters.gdal_files import _files, _handles
from cloudbuster.storage.rasters.range_file import PAGE_BYTES, RangeFile
from cloudbuster.storage.rasters.raster_file import RasterFile
from cloudbuster.storage.remote.http import Retries
from tests.loopback import LoopbackHandler, serving_http

CONTENT = np.random.default_rng(7).bytes(10 * PAGE_BYTES + 77)


class Handler(LoopbackHandler):
    """Serves one file, in one of several manners."""

    manner = ""
    version = '"1"'
    asked: ClassVar[list[tuple[int, int]]] = []

    def do_GET(self) -> None:
        if self.manner.isdecimal():
            self.send(int(self.manner), b"")
            return
        if self.manner == "whole":
            self.send(200, CONTENT)
            return
        first, last = (int(part) for part in self.headers["Range"][len("bytes=") :].split("-"))
        last = min(last, len(CONTENT) - 1)
        self.asked.append((first, last))
        place = f"bytes {first}-{last}/{len(CONTENT)}"
        if self.manner == "no range":
            place = "bytes */*"
        elif self.manner == "another range":
            place = f"bytes {first + 1}-{last + 1}/{len(CONTENT)}"
        content = CONTENT[first : last + 1]
        self.send(206, content, {"Content-Range": place, "ETag": self.version})


@pytest.fixture(scope="module")
def href():
    with serving_http(Handler) as address:
        yield f"http://{address}/B04.tif"


@pytest.fixture
def handler(monkeypatch):
    monkeypatch.setattr(Handler, "asked", [])
    monkeypatch.setattr(range_file, "RETRIES", Retries())
    return monkeypatch


@pytest.mark.usefixtures("handler")
@pytest.mark.parametrize(
    ("start", "length"),
    [
        (0, 10),
        (PAGE_BYTES - 3, 6),
        (5, 3 * PAGE_BYTES),
        (len(CONTENT) - 4, 10),
        (len(CONTENT), 5),
        (0, len(CONTENT)),
        (9 * PAGE_BYTES, 0),
    ],
)
def test_any_part_is_what_the_file_holds(href, start, length):
    file = RangeFile(href, PROGRAM)
    assert file.size == len(CONTENT)
    for _ in range(2):  # The second time from the cache.
        assert file.read(start, length) == CONTENT[start : start + length]
    file.close()


@pytest.mark.usefixtures("handler")
def test_ranges_that_are_near_each_other_are_asked_for_as_one(href):
    file = RangeFile(href, PROGRAM)
    Handler.asked.clear()
    far = 3 * PAGE_BYTES
    ranges = [(9 * PAGE_BYTES, 50), (far, 50), (far + 100, 1000), (5 * PAGE_BYTES, 10)]
    assert file.read_ranges(ranges) == [CONTENT[start : start + size] for start, size in ranges]
    assert sorted(Handler.asked) == [
        (far, far + 1099),
        (5 * PAGE_BYTES, 5 * PAGE_BYTES + 9),
        (9 * PAGE_BYTES, 9 * PAGE_BYTES + 49),
    ]


@pytest.mark.usefixtures("handler")
def test_a_range_that_is_held_is_not_asked_for_again(href):
    file = RangeFile(href, PROGRAM)
    Handler.asked.clear()
    assert file.read_ranges([(100, 50)]) == [CONTENT[100:150]]
    assert Handler.asked == []


@pytest.mark.usefixtures("handler")
def test_a_file_that_is_read_from_front_to_back_takes_few_requests(href):
    file = RangeFile(href, PROGRAM)
    steps = range(0, len(CONTENT) + PAGE_BYTES // 2, PAGE_BYTES // 2)
    parts = [file.read(start, end - start) for start, end in pairwise(steps)]
    assert b"".join(parts) == CONTENT
    assert len(Handler.asked) < 6


@pytest.mark.parametrize(
    ("manner", "kind", "said"),
    [
        ("403", AccessError, r"refused \(HTTP status 403\)"),
        ("401", AccessError, r"refused \(HTTP status 401\)"),
        ("404", RasterError, "there is no such file"),
        ("416", RasterError, "an empty file"),
        ("500", TryAgainError, "HTTP status 500; try again"),
        ("204", RasterError, "an empty file"),
        ("no range", TryAgainError, "does not say what range"),
        ("another range", TryAgainError, "does not say what range"),
    ],
)
def test_a_file_that_cannot_be_had_is_one_clear_error(href, handler, manner, kind, said):
    handler.setattr(Handler, "manner", manner)
    with pytest.raises(kind, match=said) as raised:
        RangeFile(href, PROGRAM)
    assert href in str(raised.value)


def test_a_server_without_ranges_sends_small_files_whole(href, handler):
    handler.setattr(Handler, "manner", "whole")
    assert RangeFile(href, PROGRAM).read(7, 9) == CONTENT[7:16]
    handler.setattr(range_file, "MAX_WHOLE_BYTES", 1000)
    with pytest.raises(TooLargeError, match="the server must answer requests for ranges"):
        RangeFile(href, PROGRAM)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": '"2"'}, "it changed while it was read"),
        ({"manner": "whole"}, "over"),
        ({"manner": "another range"}, "another range than asked for"),
        ({"manner": "403"}, "refused"),
        ({"manner": "503"}, "HTTP status 503"),
    ],
)
def test_an_error_ends_every_further_read(href, handler, change, said):
    file = RangeFile(href, PROGRAM)
    for name, value in change.items():
        handler.setattr(Handler, name, value)
    assert file.read(5 * PAGE_BYTES, 10) == b""
    assert isinstance(file.error, CloudBusterError)
    assert said in str(file.error)
    assert (file.read(0, 10), file.read_ranges([(0, 10)])) == (b"", [])


@pytest.mark.usefixtures("handler")
@pytest.mark.parametrize("ranges", [[(len(CONTENT) - 4, 10)], [(-5, 3)], [(0, 10), (2**40, 10)]])
def test_a_header_that_points_beyond_the_file_is_refused(href, ranges):
    file = RangeFile(href, PROGRAM)
    assert file.read_ranges(ranges) == []
    assert "points beyond its end" in str(file.error)


def test_a_block_that_is_too_large_is_not_fetched(href, handler):
    handler.setattr(range_file, "MAX_READ_BYTES", 1000)
    file = RangeFile(href, PROGRAM)
    Handler.asked.clear()
    assert file.read_ranges([(0, 600), (2000, 600)]) == []
    assert isinstance(file.error, TooLargeError)
    assert Handler.asked == []


@pytest.mark.usefixtures("handler")
def test_what_is_refused_leaves_nothing_open(href):
    def refused(_: int) -> bool:
        with gdal_env(), pytest.raises(RasterError, match="neither GeoTIFF nor JPEG 2000"):
            RasterFile(href)
        return True

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(refused, range(24)))
    assert (_files, _handles) == ({}, {})
