"""Draw the stages' events on stderr: one bar a stage on a terminal, one line a stage elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from cloudbuster.events import Event, OnEvent

BAR_FORMAT = "{desc} {percentage:3.0f}%|{bar:24}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"


class _Bars:
    """The bar of the stage that is running; finished ones stay above it."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._stage = ""

    def __call__(self, event: Event) -> None:
        if event.stage != self._stage:
            self.close()
            self._stage = event.stage
            self._bar = tqdm(
                desc=f"{event.stage:8}",
                file=sys.stderr,
                dynamic_ncols=True,
                bar_format=BAR_FORMAT,
            )
        if self._bar is not None:
            self._bar.total = event.total or self._bar.total
            self._bar.n = event.done
            self._bar.set_postfix_str(event.message)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class _Lines:
    """The last event of each stage, as a line of its own."""

    def __init__(self) -> None:
        self._last: Event | None = None

    def __call__(self, event: Event) -> None:
        if self._last is not None and self._last.stage != event.stage:
            self.close()
        self._last = event

    def close(self) -> None:
        """Write the line of the stage that is running."""
        if self._last is not None:
            event, self._last = self._last, None
            sys.stderr.write(f"{event.stage} {event.done}/{event.total} {event.message}".rstrip())
            sys.stderr.write("\n")


@contextmanager
def progress_bar() -> Iterator[OnEvent]:
    """Yield a listener that draws on stderr."""
    drawing = _Bars() if sys.stderr.isatty() else _Lines()
    try:
        yield drawing
    finally:
        drawing.close()
