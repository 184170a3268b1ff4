"""Texts of coordinate reference systems: which of them are read.

PROJ also reads PROJ strings, URLs and the names of files, and from some texts it opens grids by
their path. A request is somebody else's text, so only codes of authorities and WKT are read.
"""

import re

from cloudbuster.core.texts.names import shown

# The longest WKT 2 that PROJ's database has for a projected CRS takes 5000 characters.
MAX_CRS_CHARS = 16_384
# Authorities in PROJ's database that define CRSs.
AUTHORITIES = ("EPSG", "ESRI", "IAU_2015", "IGNF", "NKG", "NRCAN", "OGC")
CODE = re.compile(rf"(?:{'|'.join(AUTHORITIES)}):[A-Z0-9][A-Z0-9_.-]{{0,31}}", re.IGNORECASE)
WKT = re.compile(
    r"(?:PROJCRS|PROJECTEDCRS|PROJCS|GEOGCRS|GEOGRAPHICCRS|GEODCRS|GEODETICCRS|GEOGCS)\s*[\[(]",
    re.IGNORECASE,
)
# Parts of WKT by which PROJ is led to its own strings, or to files: extensions of WKT 1, methods
# that are PROJ strings, and grids.
LEADING_OUT = re.compile(
    r"EXTENSION\s*[\[(]|PARAMETERFILE\s*[\[(]|ABRIDGEDTRANSFORMATION\s*[\[(]|METHOD\s*[\[(]\s*\"PROJ"
    r"|proj\s*=|grids\s*=|pipeline",
    re.IGNORECASE,
)
HINT = "give utm, a code like EPSG:32633, or WKT"


def check_crs_text(text: str) -> str:
    """Return ``text`` if it has the form of a code or of WKT; whether the CRS exists is not asked.

    Raises
    ------
    ValueError
        If it is too long, or has another form.
    """
    if len(text) > MAX_CRS_CHARS:
        msg = f"a CRS has {len(text)} characters, over {MAX_CRS_CHARS}: {HINT}"
        raise ValueError(msg)
    stripped = text.strip()
    is_code = CODE.fullmatch(stripped) is not None
    if not is_code and (WKT.match(stripped) is None or LEADING_OUT.search(stripped)):
        msg = f"no CRS {shown(text)} exists among the codes of authorities and plain WKT: {HINT}"
        raise ValueError(msg)
    return text
