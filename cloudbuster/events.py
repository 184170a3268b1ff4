"""Progress events of the stages; the command line draws them."""

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
    done : float
        Steps that are finished. Scenes under way count with the share of them that is done.
    total : int
        Number of steps; 0 where it is unknown.
    message : str
        What was finished last, for a person; empty where that has not changed.
    """

    stage: str
    done: float = 0
    total: int = 0
    message: str = ""


OnEvent = Callable[[Event], None]


def emit(on_event: OnEvent | None, event: Event) -> None:
    """Call ``on_event`` with ``event``, unless it is None."""
    if on_event is not None:
        on_event(event)
