"""A zip is other people's: its listing and its members are bounded before they are read."""

import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from cloudbuster.errors import BadInputError, NotFoundError, TooLargeError
from cloudbuster.storage.addresses import archives
from cloudbuster.storage.addresses.archives import member_names, member_uri
from cloudbuster.storage.files.uri import read_bytes

MIB = 2**20


def zip_of(folder: Path, *names: str, content: bytes = b"text", method: int = 8) -> Path:
    """Write a zip whose members have these paths, as they are."""
    path = folder / "a.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        for name in names:
            info = zipfile.ZipInfo("x")
            info.filename, info.compress_type = name, method
            archive.writestr(info, content)
    return path


def test_a_member_is_read_by_its_address(tmp_path):
    path = zip_of(tmp_path, "S/a b.xml", "S/B04.jp2")
    assert member_names(path) == ["S/a b.xml", "S/B04.jp2"]
    assert read_bytes(member_uri(path, "S/a b.xml")) == b"text"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../evil.xml", "leads out of the zip"),
        ("S/../../evil.xml", "leads out of the zip"),
        ("/etc/passwd", "leads out of the zip"),
        ("S\\..\\evil.xml", "leads out of the zip"),
        ("S//evil.xml", "leads out of the zip"),
        ("a/" * 600 + "x", "over 1024 characters"),
    ],
)
def test_a_zip_with_an_odd_path_is_refused_as_a_whole(tmp_path, name, said):
    path = zip_of(tmp_path, "S/good.xml", name)
    with pytest.raises(BadInputError, match=said):
        member_names(path)
    with pytest.raises(BadInputError, match=said):
        read_bytes(member_uri(path, "S/good.xml"))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zip_with_two_files_of_one_path_is_refused(tmp_path):
    with pytest.raises(BadInputError, match="is in it twice"):
        member_names(zip_of(tmp_path, "a", "a"))


def test_too_many_members_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_MEMBERS", 10)
    with pytest.raises(TooLargeError, match="11 members; 10 are the most"):
        member_names(zip_of(tmp_path, *map(str, range(11))))


def test_a_listing_that_is_too_large_is_refused_before_it_is_parsed(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_LISTING_BYTES", 100_000)
    path = zip_of(tmp_path, *(f"{number:0200}" for number in range(500)))
    with pytest.raises(BadInputError, match="its listing has over"):
        member_names(path)


def test_a_bomb_is_unpacked_no_further_than_its_bound(tmp_path):
    path = zip_of(tmp_path, "a.xml", content=bytes(64 * MIB))
    assert path.stat().st_size < 100_000
    with pytest.raises(TooLargeError, match="over 1 MiB"):
        read_bytes(member_uri(path, "a.xml"), max_bytes=MIB)


def test_a_member_that_is_larger_than_the_listing_says_is_refused(tmp_path):
    path = zip_of(tmp_path, "a.xml", content=bytes(4 * MIB))
    content = path.read_bytes()
    path.write_bytes(content.replace(struct.pack("<L", 4 * MIB), struct.pack("<L", 100)))
    with pytest.raises(BadInputError, match="CRC"):
        read_bytes(member_uri(path, "a.xml"), max_bytes=MIB)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_are_unpacked_without_a_bound_are_not_read(tmp_path, method):
    path = zip_of(tmp_path, "a.xml", method=method)
    with pytest.raises(BadInputError, match="compression method"):
        read_bytes(member_uri(path, "a.xml"))


def damaged(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[40:60] = b"\xff" * 20
    path.write_bytes(content)


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("change", "member", "error"),
    [
        (Path.unlink, "a.xml", NotFoundError),
        (lambda _path: None, "b.xml", NotFoundError),
        (damaged, "a.xml", BadInputError),
        (a_pipe, "a.xml", BadInputError),
        (lambda path: path.write_bytes(b"PK\x05\x06" + b"\xff" * 18), "a.xml", BadInputError),
        (lambda path: path.write_bytes(b""), "a.xml", BadInputError),
    ],
    ids=["no zip", "no member", "damaged", "pipe", "only an end", "empty"],
)
def test_what_cannot_be_read_is_one_error(
    tmp_path: Path, change: Callable[[Path], object], member: str, error: type[Exception]
) -> None:
    path = zip_of(tmp_path, "a.xml", content=os.urandom(1000))
    change(path)
    with pytest.raises(error, match=r"a\.zip"):
        read_bytes(member_uri(path, member))
