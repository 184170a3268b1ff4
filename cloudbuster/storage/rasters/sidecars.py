"""Files beside a raster on this machine that complete it: georeference, overviews, mask.

GDAL opens what lies beside a raster with any of its drivers, and `.aux.xml` may name further files
anywhere. Such files are looked at first, so that a raster from somebody else opens nothing but
what lies beside it. Beside a remote raster nothing is looked for.
"""

import itertools
from collections.abc import Iterable
from pathlib import Path

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

from cloudbuster.errors import RasterError
from cloudbuster.storage.addresses.trust import PROGRAM, Trust, admitted

# Options with which GDAL finds the files by their names, without listing the folder. It writes no
# `.aux.xml`, because no statistics are computed.
SIDECAR_OPTIONS = {"GDAL_DISABLE_READDIR_ON_OPEN": "TRUE", "GDAL_PAM_ENABLED": "YES"}
# Endings of rasters beside a raster, appended to its whole name. GDAL also tries them in capitals.
RASTER_ENDINGS = tuple(
    "".join(spelled)
    for parts in ((".ovr",), (".msk",), (".msk", ".ovr"), (".ovr", ".msk"), (".ovr", ".ovr"))
    for spelled in itertools.product(*((part, part.upper()) for part in parts))
)
METADATA_ENDING = ".aux.xml"
# Erdas files, in which GDAL looks for overviews once it looks for files by their names.
ERDAS_ENDINGS = (".aux", ".AUX")
ERDAS_SIGNATURE = b"EHFA_HEADER_TAG"
# First bytes of a TIFF and of a BigTIFF, in both byte orders.
TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Greatest size of an `.aux.xml` that is read, bytes; one with a histogram of each band has 100 kB.
MAX_METADATA_BYTES = 16 * 2**20
# Metadata by which an `.aux.xml` names a file of overviews that lies elsewhere: a key, and domains.
# GDAL takes the first attribute of an item for its key, whatever the attribute is called.
REFERRING_NAMES = frozenset({"OVERVIEW_FILE", "OVERVIEWS", "PROXYOVERVIEWREQUEST"})


def _check(beside: Path) -> None:
    """Raise RasterError if a file beside a raster is not what its name says."""
    if beside.name.endswith(METADATA_ENDING):
        _check_metadata(beside)
    elif beside.name.endswith(RASTER_ENDINGS):
        _check_raster(beside)


def sidecar_options(path: Path, trust: Trust = PROGRAM) -> dict[str, str]:
    """Return the GDAL options with which a local raster is opened with the files beside it.

    Parameters
    ----------
    path : Path
        Path of the raster.
    trust : Trust
        What the giver of its address may refer to, which holds for the files beside it too.

    Returns
    -------
    dict of str to str
        Empty if nothing that belongs to it lies beside it.

    Raises
    ------
    UntrustedAddressError, RasterError
        If such a file is a link to one that the giver may not have opened, or is not what its name
        says, or names a file elsewhere.
    """
    found = sidecar_files(path)
    for beside in found:
        admitted(str(beside), trust)
        _check(beside)
    if not found:
        return {}
    for beside in _erdas_files(path):
        if _first_bytes(beside, len(ERDAS_SIGNATURE)) == ERDAS_SIGNATURE:
            msg = f"{beside} is a file of Erdas, which is not read; remove it"
            raise RasterError(msg)
    return SIDECAR_OPTIONS


def sidecar_files(path: Path) -> tuple[Path, ...]:
    """Return the files beside a local raster that complete it, in a fixed order."""
    names = [path.name + ending for ending in RASTER_ENDINGS]
    names += [name + METADATA_ENDING for name in (path.name, *names)]
    if path.suffix:
        names += [f"{path.stem}.{ending}" for ending in _world_endings(path.suffix[1:])]
    return _present(path, names)


def sidecar_rasters(path: Path) -> tuple[Path, ...]:
    """Return the overviews and masks beside a local raster."""
    return _present(path, [path.name + ending for ending in RASTER_ENDINGS])


def _erdas_files(path: Path) -> tuple[Path, ...]:
    """Return the files beside a local raster, or its overviews and mask, with a name of Erdas."""
    names = [path.name, *(path.name + ending for ending in RASTER_ENDINGS)]
    bases = dict.fromkeys([*names, *(Path(name).stem for name in names)])
    return _present(path, [base + ending for base in bases for ending in ERDAS_ENDINGS])


def _present(path: Path, names: Iterable[str]) -> tuple[Path, ...]:
    """Return the files of these names beside ``path``."""
    return tuple(beside for name in names if _is_file(beside := path.with_name(name)))


def _is_file(path: Path) -> bool:
    """Whether there is such a file; a name that is too long is that of none."""
    try:
        return path.is_file()
    except OSError:
        return False


def _world_endings(ending: str) -> list[str]:
    """Return the endings of a raster's world file that GDAL knows: ``tfw``, ``tifw``, ``wld``."""
    kinds = (f"{ending[0]}{ending[-1]}w", f"{ending}w", "wld")
    spellings = (name for kind in kinds for name in (kind.lower(), kind.upper()))
    return list(dict.fromkeys(spellings))


def _check_raster(beside: Path) -> None:
    """Raise RasterError for overviews or a mask that are no TIFF."""
    if _first_bytes(beside, 4) not in TIFF_SIGNATURES:
        msg = f"{beside} is no TIFF; remove it, or make it again"
        raise RasterError(msg)


def _first_bytes(beside: Path, count: int) -> bytes:
    """Read the beginning of a file; raise RasterError if it cannot be read."""
    try:
        with beside.open("rb") as file:
            return file.read(count)
    except OSError as error:
        msg = f"{beside}: {error.strerror or error}; make it readable, or remove it"
        raise RasterError(msg) from error


def _check_metadata(beside: Path) -> None:
    """Raise RasterError for an ``.aux.xml`` that cannot be read or names a file elsewhere."""
    try:
        if beside.stat().st_size > MAX_METADATA_BYTES:
            msg = f"{beside} is over {MAX_METADATA_BYTES} bytes; remove it"
            raise RasterError(msg)
        root = fromstring(beside.read_bytes())
    except OSError as error:
        msg = f"{beside}: {error.strerror or error}; make it readable, or remove it"
        raise RasterError(msg) from error
    except (ParseError, DefusedXmlException, ValueError) as error:
        msg = f"{beside} is not readable as XML ({error}); correct it, or remove it"
        raise RasterError(msg) from error
    values = {value.upper() for element in root.iter() for value in element.attrib.values()}
    if not values.isdisjoint(REFERRING_NAMES):
        msg = f"{beside} names overviews in another file (OVERVIEW_FILE); remove it"
        raise RasterError(msg)
