"""Progress events of the stages; only the command line displays them."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """One step of a stage.

    Attributes
    ----------
    stage : str
        ``query``, ``filter``, ``gather``, ``assess``, ``merge`` or ``sample``; ``zone`` or
        ``feature`` before the stages of each part of a run by UTM zones or by features.
    done : float
        Number of finished steps; scenes under way count with the share of them that is done.
    total : int
        Number of all steps; 0 means unknown.
    message : str
        What was just finished, in words; empty if that has not changed.
    """

    stage: str
    done: float = 0
    total: int = 0
    message: str = ""


OnEvent = Callable[[Event], None]


def emit(on_event: OnEvent | None, event: Event) -> None:
    """Call ``on_event`` with an event, unless it is None."""
    if on_event is not None:
        on_event(event)
