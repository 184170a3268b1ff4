"""Members of a zip on this machine, by addresses like ``zip:///folder/file.zip!/inner/file``.

A zip is other people's: its listing is bounded before it is parsed, and a zip whose members have
paths out of it, or the same path twice, is refused as a whole.
"""

import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cloudbuster.errors import BadInputError, NotFoundError, TooLargeError
from cloudbuster.storage.addresses.regular_files import open_regular, too_large

ZIP_SCHEME = "zip"
MAX_MEMBERS = 100_000
"""Greatest number of members: a product from before 2016, with 15 tiles, has 2000."""
MAX_LISTING_BYTES = 32 * 2**20
"""Greatest size of the listing of a zip: `MAX_MEMBERS` with paths of 270 bytes."""
MAX_MEMBER_PATH = 1024
"""Greatest length of a path in a zip. GDAL makes an entry for each folder in it."""
MAX_MEMBER_BYTES = 2**30
"""Greatest unpacked size of a member: four times a band of 10 980 by 10 980 pixels of uint16."""
# What `zipfile` raises for a file that is no zip, a damaged or truncated member, a date or an
# offset out of range (ValueError), and an encrypted member or one of a newer version of the format
# (RuntimeError and its subclasses).
ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError)
# Other methods are not read by GDAL, and are decompressed by Python without a bound.
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_MEMBER = re.compile(r"zip://(?P<archive>/.+?)!/(?P<member>.*)", re.IGNORECASE | re.DOTALL)
_OUTSIDE = frozenset({"", ".", ".."})


@dataclass(frozen=True)
class ZipMember:
    """A file in a zip.

    Attributes
    ----------
    archive : Path
        Path of the zip.
    member : str
        Path in it.
    """

    archive: Path
    member: str

    @property
    def gdal_path(self) -> str:
        """Path by which GDAL reads it (its ``/vsizip/``; braces keep the two parts apart)."""
        return f"/vsizip/{{{self.archive}}}/{self.member}"


def member_uri(archive: Path, member: str = "") -> str:
    """Return the address of a file in a zip, whose path is absolute."""
    return f"{ZIP_SCHEME}://{archive}!/{member}"


def zip_member(uri: str) -> ZipMember | None:
    """Return the file in a zip that an address names; None for other addresses."""
    match = _MEMBER.fullmatch(uri)
    return ZipMember(Path(match["archive"]), match["member"]) if match else None


def stays_inside(member: str) -> bool:
    """Whether a path in a zip or a folder, with ``/`` between its parts, does not lead out of it.

    A leading slash, and empty parts, count as leading out of it.
    """
    return _OUTSIDE.isdisjoint(member.split("/")) and "\\" not in member


class _Bounded(io.BufferedReader):
    """A file of which no more than the greatest listing is read at a time."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Read bytes; raise BadZipFile if more than `MAX_LISTING_BYTES` are asked for."""
        wanted = -1 if size is None else size
        content = super().read(MAX_LISTING_BYTES + 1 if wanted < 0 else wanted)
        if max(wanted, len(content)) > MAX_LISTING_BYTES:
            msg = f"its listing has over {MAX_LISTING_BYTES // 2**20} MiB"
            raise zipfile.BadZipFile(msg)
        return content


@contextmanager
def open_zip(path: Path, uri: str) -> Iterator[zipfile.ZipFile]:
    """Open a zip for reading, within bounds; errors in the body are raised as those below.

    Parameters
    ----------
    path, uri : Path, str
        Path of the zip, and its address or that of a member, for messages.

    Raises
    ------
    NotFoundError, TooLargeError
        If there is no such zip or no such file in it, or it has over `MAX_MEMBERS` members.
    BadInputError
        If it cannot be read, or is no zip to be trusted.
    """
    try:
        with (
            open_regular(path, uri) as descriptor,
            _Bounded(io.FileIO(descriptor, closefd=False)) as file,
            zipfile.ZipFile(file) as archive,
        ):
            _check_members(archive, uri)
            yield archive
    except (FileNotFoundError, KeyError) as error:
        msg = f"{uri}: no such file; check the path"
        raise NotFoundError(msg) from error
    except ZIP_ERRORS as error:
        msg = f"{uri}: {error}; fetch the zip again"
        raise BadInputError(msg) from error


def _check_members(archive: zipfile.ZipFile, uri: str) -> None:
    """Refuse a zip that no product and no area is packed in."""
    members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        msg = f"{uri} has {len(members)} members; {MAX_MEMBERS} are the most that are read"
        raise TooLargeError(msg)
    seen: set[str] = set()
    for member in members:
        name = member.filename
        problem = None
        if len(name) > MAX_MEMBER_PATH:
            problem = f"has a path of over {MAX_MEMBER_PATH} characters"
        elif not stays_inside(name.removesuffix("/")):
            problem = "has a path that leads out of the zip"
        elif name in seen and not member.is_dir():
            problem = "is in it twice"
        if problem is not None:
            msg = f"{uri}: its member {name[:80]!r} {problem}; zip it again"
            raise BadInputError(msg)
        seen.add(name)


def member_names(path: Path) -> list[str]:
    """List the files of a zip; errors are those of `open_zip`."""
    with open_zip(path, str(path)) as archive:
        return [name for name in archive.namelist() if not name.endswith("/")]


def read_member(uri: str, place: ZipMember, *, max_bytes: int) -> bytes:
    """Read a whole file of a zip.

    Parameters
    ----------
    uri : str
        Its address, for messages.
    place : ZipMember
        The zip and the path in it.
    max_bytes : int
        Greatest unpacked size, bytes.

    Raises
    ------
    TooLargeError
        If it is over ``max_bytes``.
    NotFoundError, BadInputError
        As of `open_zip`.
    """
    with open_zip(place.archive, uri) as archive:
        return unpacked(archive, place.member, uri, max_bytes=max_bytes)


def member_head(uri: str, place: ZipMember, count: int) -> bytes:
    """Read the first bytes of a file of a zip that GDAL is to open; refuse one that is too large.

    Raises
    ------
    TooLargeError
        If it is over `MAX_MEMBER_BYTES` when it is unpacked.
    NotFoundError, BadInputError
        As of `open_zip`.
    """
    with open_zip(place.archive, uri) as archive:
        if archive.getinfo(place.member).file_size > MAX_MEMBER_BYTES:
            raise too_large(uri, MAX_MEMBER_BYTES)
        return _begin(archive, place.member, count)


def unpacked(archive: zipfile.ZipFile, member: str, uri: str, *, max_bytes: int) -> bytes:
    """Unpack a file of an open zip; raise TooLargeError if it is over ``max_bytes``."""
    content = _begin(archive, member, max_bytes + 1)
    if len(content) > max_bytes:
        raise too_large(uri, max_bytes)
    return content


def _begin(archive: zipfile.ZipFile, member: str, count: int) -> bytes:
    """Unpack the first bytes of a member."""
    info = archive.getinfo(member)
    if info.compress_type not in METHODS:
        msg = f"compression method {info.compress_type} is not read"
        raise zipfile.BadZipFile(msg)
    with archive.open(info) as file:
        return file.read(count)
