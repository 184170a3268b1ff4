"""Names of cloud detectors, alone and combined: ``csmask``, ``csmask+stock``, ``csmask&stock``."""

import re
from dataclasses import dataclass
from typing import Literal

Operator = Literal["+", "&"]

# Chosen by the level of the scenes and by what is installed.
AUTO = "auto"
# Names as package names spell them; an entry point may have any name.
NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
# The same for a JSON Schema: names joined by one operator.
PATTERN = r"^[a-z][a-z0-9_-]*((\+[a-z][a-z0-9_-]*)*|(&[a-z][a-z0-9_-]*)*)$"
# Detectors that can be joined: each reads the scene once more.
MAX_DETECTORS = 8


@dataclass(frozen=True)
class DetectorNames:
    """Detectors whose masks are joined.

    Attributes
    ----------
    names : tuple of str
        Names of the detectors, each once.
    operator : {"+", "&"}
        ``+`` masks what any of them masks, ``&`` what all of them mask.
    """

    names: tuple[str, ...]
    operator: Operator = "+"

    def __str__(self) -> str:
        """Names as a request gives them."""
        return self.operator.join(self.names)

    def replaced(self, name: str, others: "DetectorNames") -> "DetectorNames":
        """Return these names with ``others`` in the place of one of them, if it is there.

        Raises
        ------
        ValueError
            If the operators differ.
        """
        if name not in self.names:
            return self
        if len(self.names) > 1 and len(others.names) > 1 and self.operator != others.operator:
            msg = f"{self} joins its detectors with {self.operator}, but {name} is {others}"
            raise ValueError(msg)
        operator = self.operator if len(self.names) > 1 else others.operator
        parts = [others.names if each == name else (each,) for each in self.names]
        return DetectorNames(tuple(dict.fromkeys(sum(parts, ()))), operator)

    def with_name(self, name: str) -> "DetectorNames":
        """Return these names and one more, whose mask is added.

        Raises
        ------
        ValueError
            If several detectors are joined by another operator than ``+``.
        """
        if name in self.names and len(self.names) == 1:
            return self
        if self.operator != "+" and len(self.names) > 1:
            msg = f"{self} joins its detectors with {self.operator}, and {name} is added with +"
            raise ValueError(msg)
        return DetectorNames(tuple(dict.fromkeys((*self.names, name))))


def parse_detectors(text: str) -> DetectorNames:
    """Parse the names of detectors.

    Parameters
    ----------
    text : str
        Names joined by ``+`` or by ``&``; case and blanks do not matter.

    Raises
    ------
    ValueError
        If a name is malformed, both operators occur, or there are too many names.
    """
    if "+" in text and "&" in text:
        msg = f"detector {text!r} mixes + and &; join detectors with one of them"
        raise ValueError(msg)
    operator: Operator = "&" if "&" in text else "+"
    names = tuple(dict.fromkeys(name.strip().lower() for name in text.split(operator)))
    for name in names:
        if not NAME.fullmatch(name):
            msg = f"detector {text!r} holds {name!r}, which is no name; write as csmask+stock"
            raise ValueError(msg)
    if len(names) > MAX_DETECTORS:
        msg = f"detector {text!r} joins {len(names)} detectors; {MAX_DETECTORS} are allowed"
        raise ValueError(msg)
    if operator == "&" and AUTO in names and len(names) > 1:
        msg = f"detector {text!r}: auto may be several detectors joined with +; name one instead"
        raise ValueError(msg)
    return DetectorNames(names, operator if len(names) > 1 else "+")
