"""Files beside a raster on this machine that complete it: georeference, overviews, mask.

GDAL opens what lies beside a raster with any of its drivers, and `.aux.xml` may name further files
anywhere. Such files are looked at first, so that a raster from somebody else opens nothing but
what lies beside it. Beside a remote raster nothing is looked for.
"""

from pathlib import Path

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

from cloudbuster.errors import RasterError

# Options with which GDAL finds the files by their names, without listing the folder. It writes no
# `.aux.xml`, because no statistics are computed.
SIDECAR_OPTIONS = {"GDAL_DISABLE_READDIR_ON_OPEN": "TRUE", "GDAL_PAM_ENABLED": "YES"}
# Rasters beside a raster, by what is appended to its whole name.
RASTER_ENDINGS = (".ovr", ".msk", ".msk.ovr", ".ovr.msk", ".ovr.ovr")
METADATA_ENDING = ".aux.xml"
# First bytes of a TIFF and of a BigTIFF, in both byte orders.
TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Greatest size of an `.aux.xml` that is read, bytes; one with a histogram of each band has 100 kB.
MAX_METADATA_BYTES = 16 * 2**20
# Metadata item by which an `.aux.xml` names a file of overviews that lies elsewhere.
OVERVIEW_KEY = "OVERVIEW_FILE"


def sidecar_options(path: Path) -> dict[str, str]:
    """Return the GDAL options with which a local raster is opened with the files beside it.

    Parameters
    ----------
    path : Path
        Path of the raster.

    Returns
    -------
    dict of str to str
        Empty if nothing that belongs to it lies beside it.

    Raises
    ------
    RasterError
        If such a file is not what its name says, or names a file elsewhere.
    """
    found = sidecar_files(path)
    for beside in found:
        if beside.name.endswith(METADATA_ENDING):
            _check_metadata(beside)
        elif beside.name.endswith(RASTER_ENDINGS):
            _check_raster(beside)
    return SIDECAR_OPTIONS if found else {}


def sidecar_files(path: Path) -> tuple[Path, ...]:
    """Return the files beside a local raster that complete it, in a fixed order."""
    rasters = [path.name, *(path.name + ending for ending in RASTER_ENDINGS)]
    names = [*rasters[1:], *(name + METADATA_ENDING for name in rasters)]
    if path.suffix:
        names += [f"{path.stem}.{ending}" for ending in _world_endings(path.suffix[1:])]
    return tuple(beside for name in names if (beside := path.with_name(name)).is_file())


def _world_endings(ending: str) -> list[str]:
    """Return the endings of a raster's world file that GDAL knows: ``tfw``, ``tifw``, ``wld``."""
    kinds = (f"{ending[0]}{ending[-1]}w", f"{ending}w", "wld")
    spellings = (name for kind in kinds for name in (kind.lower(), kind.upper()))
    return list(dict.fromkeys(spellings))


def _check_raster(beside: Path) -> None:
    """Raise RasterError for overviews or a mask that are no TIFF."""
    try:
        with beside.open("rb") as file:
            signature = file.read(4)
    except OSError as error:
        msg = f"{beside}: {error.strerror or error}; make it readable, or remove it"
        raise RasterError(msg) from error
    if signature not in TIFF_SIGNATURES:
        msg = f"{beside} is no TIFF; remove it, or make it again"
        raise RasterError(msg)


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
    keys = {element.get("key", "").upper() for element in root.iter()}
    if OVERVIEW_KEY in keys:
        msg = f"{beside} names overviews in another file ({OVERVIEW_KEY}); remove it"
        raise RasterError(msg)
