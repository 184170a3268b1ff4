"""What a stage tells about its progress; only an adapter draws it."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """One step of a stage.

    Attributes
    ----------
    stage : str
        ``query``, ``filter``, ``gather``, ``assess``, ``merge`` or ``sample``; ``zone`` before the
        stages of each part of a run by UTM zones.
    done, total : int
        Steps finished and steps in all; ``total`` 0 means unknown.
    message : str
        What was just finished, for a person.
    """

    stage: str
    done: int = 0
    total: int = 0
    message: str = ""


OnEvent = Callable[[Event], None]


def emit(on_event: OnEvent | None, event: Event) -> None:
    """Pass ``event`` on where somebody listens."""
    if on_event is not None:
        on_event(event)
