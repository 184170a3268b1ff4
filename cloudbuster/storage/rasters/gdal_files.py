"""Files of this package as files of GDAL, by its interface for plugins of virtual file systems.

rasterio has openers for this. Each opening installs a file system of its own, and a JPEG 2000 file
that is decoded by several threads comes back empty without an error (measured in
docs/decisions/0007-addresses-and-trust.md). Here one file system is installed, once, when this
module is imported, and a file is found by its number.

The functions that GDAL calls may come from any thread and must not raise.
"""

import ctypes
import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import rasterio._base

PREFIX = b"/vsicloudbuster/"


class File(Protocol):
    """A file that GDAL may read; its methods do not raise."""

    @property
    def size(self) -> int:
        """Bytes of the file."""

    def read(self, start: int, length: int) -> bytes:
        """Read bytes; fewer at the end of the file or after an error."""

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Read ranges of (first byte, length); an empty list after an error."""


@dataclass
class _Handle:
    """A file that GDAL has open, with its position."""

    file: File
    position: int = 0
    at_end: bool = False


# What GDAL looks up, from any thread: single operations of a dict are atomic.
_files: dict[str, File] = {}
_handles: dict[int, _Handle] = {}
_numbers = itertools.count(1)


@contextmanager
def gdal_file(file: File) -> Iterator[str]:
    """Let GDAL read a file while the body runs; yield its path for GDAL."""
    name = str(next(_numbers))
    _files[name] = file
    try:
        yield f"{PREFIX.decode()}{name}"
    finally:
        del _files[name]


def _stat(_data: int | None, name: bytes, _status: int | None, _flags: int) -> int:
    """Whether there is such a file; GDAL has zeroed its status, and finds the size by seeking."""
    return 0 if name.decode() in _files else -1


def _open(_data: int | None, name: bytes, _access: bytes) -> int:
    """Open a file; 0 if there is none. Files beside it, which GDAL looks for, are never there."""
    file = _files.get(name.decode())
    if file is None:
        return 0
    number = next(_numbers)
    _handles[number] = _Handle(file)
    return number


def _tell(number: int) -> int:
    return _handles[number].position


def _seek(number: int, offset: int, whence: int) -> int:
    handle = _handles[number]
    base = {os.SEEK_SET: 0, os.SEEK_CUR: handle.position, os.SEEK_END: handle.file.size}
    # GDAL writes steps back as unsigned numbers.
    handle.position = (base[whence] + offset) % 2**64
    handle.at_end = False
    return 0


def _read(number: int, buffer: int, size: int, count: int) -> int:
    """Read ``count`` members of ``size`` bytes; return how many were read."""
    handle = _handles[number]
    wanted = size * count
    content = handle.file.read(handle.position, wanted)[:wanted]
    ctypes.memmove(buffer, content, len(content))
    handle.position += len(content)
    handle.at_end = len(content) < wanted
    return len(content) // size if size else 0


def _read_ranges(number: int, count: int, buffers: Any, starts: Any, lengths: Any) -> int:  # noqa: ANN401 -- arrays of C
    """Read ranges into buffers; -1 if that failed."""
    ranges = list(zip(starts[:count], lengths[:count], strict=True))
    parts = _handles[number].file.read_ranges(ranges)
    if [len(part) for part in parts] != [length for _, length in ranges]:
        return -1
    for index, part in enumerate(parts):
        ctypes.memmove(buffers[index], part, len(part))
    return 0


def _at_end(number: int) -> int:
    return int(_handles[number].at_end)


def _close(number: int) -> int:
    del _handles[number]
    return 0


_POINTER, _TEXT, _INT, _SIZE, _OFFSET = (
    ctypes.c_void_p,
    ctypes.c_char_p,
    ctypes.c_int,
    ctypes.c_size_t,
    ctypes.c_uint64,
)
_STAT = ctypes.CFUNCTYPE(_INT, _POINTER, _TEXT, _POINTER, _INT)
_OPEN = ctypes.CFUNCTYPE(_POINTER, _POINTER, _TEXT, _TEXT)
_POSITION = ctypes.CFUNCTYPE(_OFFSET, _POINTER)
_SEEK = ctypes.CFUNCTYPE(_INT, _POINTER, _OFFSET, _INT)
_READ = ctypes.CFUNCTYPE(_SIZE, _POINTER, _POINTER, _SIZE, _SIZE)
_READ_RANGES = ctypes.CFUNCTYPE(
    _INT,
    _POINTER,
    _INT,
    ctypes.POINTER(_POINTER),
    ctypes.POINTER(_OFFSET),
    ctypes.POINTER(_SIZE),
)
_STATE = ctypes.CFUNCTYPE(_INT, _POINTER)


class _Callbacks(ctypes.Structure):
    """Beginning of GDAL's ``VSIFilesystemPluginCallbacksStruct`` (cpl_vsi.h).

    Members have the names that they have there. Some have been added at its end since GDAL 3.0, and
    GDAL allocates it, so that these stay where they are.
    """

    _fields_ = (
        ("user_data", _POINTER),
        ("stat", _STAT),
        ("unlink", _POINTER),
        ("rename", _POINTER),
        ("mkdir", _POINTER),
        ("rmdir", _POINTER),
        ("read_dir", _POINTER),
        ("open", _OPEN),
        ("tell", _POSITION),
        ("seek", _SEEK),
        ("read", _READ),
        ("read_multi_range", _READ_RANGES),
        ("get_range_status", _POINTER),
        ("eof", _STATE),
        ("write", _POINTER),
        ("flush", _POINTER),
        ("truncate", _POINTER),
        ("close", _STATE),
    )


# GDAL keeps the pointers, and so do these names: functions that were collected would crash it.
_CALLBACKS = _Callbacks(
    stat=_STAT(_stat),
    open=_OPEN(_open),
    tell=_POSITION(_tell),
    seek=_SEEK(_seek),
    read=_READ(_read),
    read_multi_range=_READ_RANGES(_read_ranges),
    eof=_STATE(_at_end),
    close=_STATE(_close),
)


def _install() -> None:
    """Install the file system in the GDAL that rasterio uses."""
    # Symbols of the libraries that an extension is linked with are found through it.
    gdal = ctypes.CDLL(rasterio._base.__file__)
    gdal.VSIAllocFilesystemPluginCallbacksStruct.restype = _POINTER
    gdal.VSIInstallPluginHandler.argtypes = (_TEXT, _POINTER)
    gdal.VSIFreeFilesystemPluginCallbacksStruct.argtypes = (_POINTER,)
    callbacks = gdal.VSIAllocFilesystemPluginCallbacksStruct()
    ctypes.memmove(callbacks, ctypes.byref(_CALLBACKS), ctypes.sizeof(_CALLBACKS))
    gdal.VSIInstallPluginHandler(PREFIX, callbacks)  # It copies the structure.
    gdal.VSIFreeFilesystemPluginCallbacksStruct(callbacks)


_install()
