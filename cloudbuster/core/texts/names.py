"""Names that become parts of paths: the one rule for all of them, whoever gives them."""

import unicodedata

# Linux takes names of files of up to 255 bytes (limits.h, NAME_MAX). A scene adds "backstop-" and
# "-65534.tif" to the name of its mosaic, and a file that is being written a dot, eight random
# characters and ".partial".
MAX_NAME_BYTES = 128
MAX_FILE_NAME_BYTES = 200
# What divides the parts of a path, here and on Windows.
SEPARATORS = "/\\"
# Characters by category of Unicode that a path may hold and a reader cannot see: controls, formats
# (marks of direction among them), surrogates, private and unassigned ones, ends of lines.
INVISIBLE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Names of devices on Windows, with or without a suffix (Naming Files, Paths, and Namespaces,
# Microsoft), where a mosaic may be opened.
DEVICE_NAMES = frozenset(
    {"con", "prn", "aux", "nul"} | {f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10)}
)


def check_name_part(name: str, *, max_bytes: int = MAX_NAME_BYTES) -> str:
    """Return ``name`` if it can be one part of a path: the name of a file, a folder or an object.

    Parameters
    ----------
    name : str
        The name, without a path before it.
    max_bytes : int
        Greatest length as UTF-8: `MAX_FILE_NAME_BYTES` for the whole name of a file, less for a
        name that others are made of.

    Raises
    ------
    ValueError
        If it is empty or too long, holds a separator or a character that cannot be seen, begins
        with a dot or a dash, begins or ends with a space, or names a device.
    """
    problem = _problem(name, max_bytes)
    if problem is not None:
        msg = (
            f"{shown(name)} cannot name a file: it {problem}; give up to {max_bytes} bytes of "
            "letters, digits and marks without / and \\, beginning with none of . and -"
        )
        raise ValueError(msg)
    return name


def shown(text: str, *, limit: int = 80) -> str:
    """Return a text for a message: quoted, on one line, and cut after ``limit`` characters."""
    return repr(text[:limit]) + ("..." if len(text) > limit else "")


def shortened(text: str, *, limit: int = 400) -> str:
    """Return a text of at most ``limit`` characters for a message, without the middle of a longer.

    Its end stays, because messages say there what to do.
    """
    mark = " ... "
    half = (limit - len(mark)) // 2
    return text if len(text) <= limit else f"{text[:half]}{mark}{text[-half:]}"


def _problem(name: str, max_bytes: int) -> str | None:
    """Return why a name cannot be part of a path, as it follows "it"; None if it can."""
    size = len(name.encode(errors="replace"))
    if not 0 < size <= max_bytes:
        return f"has {size} bytes"
    unseen = next((c for c in name if unicodedata.category(c) in INVISIBLE_CATEGORIES), None)
    problems = {
        "holds a separator of paths": any(mark in name for mark in SEPARATORS),
        f"holds the character U+{ord(unseen or ' '):04X}": unseen is not None,
        "begins with a dot or a dash": name.startswith((".", "-")),
        "begins or ends with a space": name != name.strip(),
        "names a device of Windows": name.partition(".")[0].casefold() in DEVICE_NAMES,
    }
    return next((problem for problem, applies in problems.items() if applies), None)
