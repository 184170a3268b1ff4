"""Progress on stderr: a bar a stage on a terminal, else one line or JSON object a stage."""

import logging
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

from cloudbuster.cli.terminal import writes_json
from cloudbuster.events import Event, OnEvent
from cloudbuster.processes import log
from cloudbuster.redaction import visible

if TYPE_CHECKING:
    from tqdm import tqdm

logger = logging.getLogger(f"{log.SPOKEN}.progress")

BAR_FORMAT = "{desc} {percentage:3.0f}%|{bar:24}| [{elapsed}<{remaining}{postfix}]"
# Without a total there is no end to estimate.
COUNT_FORMAT = "{desc} [{elapsed}{postfix}]"


class _Drawing(Protocol):
    """Listener that draws events."""

    def __call__(self, event: Event) -> None:
        """Draw an event."""

    def close(self) -> None:
        """Finish the drawing of the stage that is under way."""


class _Bars:
    """The bar of the stage that is under way; those of earlier stages stay above it."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._stage = ""
        self._message = ""

    def __call__(self, event: Event) -> None:
        if event.stage != self._stage or self._bar is None:
            self.close()
            self._stage, self._message = event.stage, ""
            self._bar = _new_bar(event)
        bar = self._bar
        self._message = event.message or self._message
        bar.total = event.total or bar.total
        bar.bar_format = BAR_FORMAT if bar.total else COUNT_FORMAT
        bar.n = event.done
        count = f"{int(event.done)}/{bar.total}" if bar.total else f"{int(event.done)}"
        bar.set_postfix_str(visible(f"{count} {self._message}").rstrip())

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _new_bar(event: Event) -> "tqdm[Any]":
    """Begin the bar of a stage; what was done before it does not count for the time left."""
    from tqdm import tqdm

    return tqdm(
        desc=f"{event.stage:8}",
        initial=event.done,
        total=event.total or None,
        file=sys.stderr,
        dynamic_ncols=True,
        bar_format=BAR_FORMAT,
    )


class _Lines:
    """The last event of each stage, as a line or a JSON object of its own."""

    def __init__(self) -> None:
        self._last: Event | None = None
        self._message = ""

    def __call__(self, event: Event) -> None:
        if self._last is not None and self._last.stage != event.stage:
            self.close()
        self._last = event
        self._message = event.message or self._message

    def close(self) -> None:
        """Write the line of the stage that is under way."""
        if self._last is None:
            return
        stage, done, total = self._last.stage, int(self._last.done), self._last.total
        if writes_json():
            extra = {"stage": stage, "done": done, "total": total, "text": self._message}
            logger.info("progress", extra=extra)
        else:
            sys.stderr.write(f"{stage} {done}/{total} {self._message}".rstrip() + "\n")
        self._last, self._message = None, ""


@contextmanager
def progress() -> Iterator[OnEvent]:
    """Yield a progress callback that draws on stderr."""
    has_bars = sys.stderr.isatty() and not writes_json()
    drawing: _Drawing = _Bars() if has_bars else _Lines()
    with _messages_above_bars() if has_bars else nullcontext():
        try:
            yield drawing
        finally:
            drawing.close()


def _messages_above_bars() -> AbstractContextManager[None]:
    """Let messages that are logged while a bar stands go above it."""
    from tqdm.contrib.logging import logging_redirect_tqdm

    return logging_redirect_tqdm([logging.getLogger("cloudbuster")])
