"""Members of a zip on this machine, by addresses like ``zip:///folder/file.zip!/inner/file``."""

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

from cloudbuster.errors import BadInputError, NotFoundError

ZIP_SCHEME = "zip"
_MEMBER = re.compile(r"zip://(?P<archive>/.+?)!/(?P<member>.*)", re.IGNORECASE | re.DOTALL)


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


def read_member(uri: str, place: ZipMember) -> bytes:
    """Read a whole file of a zip.

    Raises
    ------
    NotFoundError
        If there is no such zip, or no such file in it.
    BadInputError
        If it cannot be read.
    """
    try:
        with zipfile.ZipFile(place.archive) as archive:
            return archive.read(place.member)
    except (FileNotFoundError, KeyError) as error:
        msg = f"{uri}: no such file; check the path"
        raise NotFoundError(msg) from error
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
        msg = f"{uri}: {error}; fetch the zip again"
        raise BadInputError(msg) from error
