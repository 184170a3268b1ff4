"""What several commands read and write: files, stdin and stdout, areas, selections, names."""

import os
import sys
import tempfile
from pathlib import Path

import orjson

from cloudbuster.cli.flags.query import AreaFlags
from cloudbuster.core.scenes.bands import Kind
from cloudbuster.core.texts.names import check_name_part
from cloudbuster.errors import AoiError, OutputError, RequestError
from cloudbuster.inputs.areas import load_aoi
from cloudbuster.models import MAX_INLINE_AOI_BYTES, Document, Geometry, Selection, check_name
from cloudbuster.models.given import box_feature
from cloudbuster.storage.addresses.regular_files import too_large
from cloudbuster.storage.files.documents import ADDRESSED, parse_json, parse_selection
from cloudbuster.storage.files.uri import DOCUMENT_BYTES, read_bytes, resolve, write_bytes

STDIN = "-"


def json_text(content: object) -> str:
    """Write JSON values, dataclasses and documents of the contract as text, indented."""
    return orjson.dumps(content, default=_dumped, option=orjson.OPT_INDENT_2).decode()


def _dumped(document: object) -> object:
    if isinstance(document, Document):
        return document.model_dump(mode="json", by_alias=True)
    raise TypeError


def read_input(uri: str) -> bytes:
    """Read a file, a URI, or for ``-`` stdin; raise TooLargeError over `DOCUMENT_BYTES`."""
    if uri != STDIN:
        return read_bytes(uri)
    content = sys.stdin.buffer.read(DOCUMENT_BYTES + 1)
    if len(content) > DOCUMENT_BYTES:
        raise too_large("stdin", DOCUMENT_BYTES)
    return content


def write_output(target: str, content: object) -> str:
    """Write a document to a file and return its name; for ``-`` return the document itself.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    if target == STDIN:
        return json_text(content)
    if Path(target).is_dir():
        msg = f"{target} is a folder; name a file"
        raise OutputError(msg)
    private = isinstance(content, ADDRESSED)
    write_bytes(target, f"{json_text(content)}\n".encode(), private=private)
    return target


def read_aoi(flags: AreaFlags) -> Geometry:
    """Read the area that was given: a bounding box, a file, a URI or stdin.

    Raises
    ------
    AoiError
        If it cannot be read, or is no GeoJSON object.
    MissingExtraError
        If the file needs a package that is not installed.
    """
    if flags.bbox:
        return box_feature(*flags.bbox)
    if flags.geojson != STDIN:
        return load_aoi({"uri": flags.geojson, "layer": flags.layer})
    document = parse_json(read_input(STDIN), source="stdin")
    if not isinstance(document, dict):
        msg = "stdin: no GeoJSON object"
        raise AoiError(msg)
    return document


def request_aoi(flags: AreaFlags) -> Geometry:
    """Read an area as a request holds it: the URI of a file that is too large to stand in it."""
    document = read_aoi(flags)
    source = flags.geojson
    if source in (None, STDIN) or len(orjson.dumps(document)) <= MAX_INLINE_AOI_BYTES:
        return document
    layer = {"layer": flags.layer} if flags.layer else {}
    return {"uri": resolve(str(source), "."), **layer}


def read_selection(content: bytes, *, source: str, kind: Kind | None, default: Kind) -> Selection:
    """Read what filter wrote, which must be of the level asked for.

    Parameters
    ----------
    content : bytes
        JSON.
    source : str
        What an error calls it.
    kind : {"L1C", "L2A"} or None
        Level asked for; None takes any.
    default : {"L1C", "L2A"}
        Level of a document of the original's, which does not say it, where none is asked for.

    Raises
    ------
    RequestError
        If it is no selection, or of another level.
    """
    selection = parse_selection(content, source=source, kind=kind or default)
    found = selection.cloudbuster.kind
    if kind not in (None, found):
        msg = f"{source} selects {found} scenes, not {kind}: give --kind {found}, or query {kind}"
        raise RequestError(msg)
    return selection


def checked_name(name: str) -> str:
    """Return the value of ``--name`` if it can name files.

    Raises
    ------
    RequestError
        If it cannot; lists the characters that are allowed.
    """
    try:
        return check_name(name)
    except ValueError as error:
        msg = f"--name {error}"
        raise RequestError(msg) from error


def file_name(name: str, source: str) -> str:
    """Return a name that is part of the name of a file to write.

    Parameters
    ----------
    name : str
        The name.
    source : str
        Where it comes from, for errors.

    Raises
    ------
    RequestError
        If it is no single part of a path.
    """
    try:
        return check_name_part(name)
    except ValueError as error:
        msg = f"{source}: {error}"
        raise RequestError(msg) from error


def use_tmp(folder: str | None) -> None:
    """Let Python, GDAL and the worker processes put their temporary files in ``folder``.

    Raises
    ------
    OutputError
        If it is no folder.
    """
    if folder is None:
        return
    if not Path(folder).is_dir():
        msg = f"--tmp {folder} is no folder; make it, or choose another"
        raise OutputError(msg)
    tempfile.tempdir = folder
    os.environ |= {"TMPDIR": folder, "CPL_TMPDIR": folder}
