"""What an examination of the deployed stack finds."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """State of one part of the stack.

    Attributes
    ----------
    ok : bool
        Whether it is as it should be.
    what : str
        Name of the part.
    detail : str
        Its state.
    """

    ok: bool
    what: str
    detail: str
