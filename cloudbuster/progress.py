"""Draw the stages' events: one bar a stage on a terminal, one line a stage elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from cloudbuster.events import Event, OnEvent


class _Bars:
    """The bar of the stage that is running; finished ones stay above it."""

    def __init__(self) -> None:
        self._stage = ""
        self._bar: tqdm[Any] | None = None
        self._is_terminal = sys.stderr.isatty()

    def __call__(self, event: Event) -> None:
        if event.stage != self._stage:
            self.close()
            self._stage = event.stage
            self._bar = tqdm(
                desc=f"{event.stage:8}",
                total=event.total or None,
                file=sys.stderr,
                leave=True,
                dynamic_ncols=True,
                # Elsewhere than on a terminal only the finished bar is printed.
                mininterval=0.1 if self._is_terminal else float("inf"),
                maxinterval=10 if self._is_terminal else float("inf"),
                bar_format="{desc} {percentage:3.0f}%|{bar:24}| {n_fmt}/{total_fmt} "
                "[{elapsed}] {postfix}",
            )
        if self._bar is not None:
            self._bar.total = event.total or self._bar.total
            self._bar.set_postfix_str(event.message, refresh=False)
            self._bar.update(event.done - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.refresh()
            self._bar.close()
            self._bar = None


@contextmanager
def progress_bar() -> Iterator[OnEvent]:
    """Yield a listener that draws on stderr."""
    bars = _Bars()
    try:
        yield bars
    finally:
        bars.close()
