"""One execution of a target: what it may do, and what is a finding."""

import resource
import signal
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from cloudbuster.errors import CloudBusterError

MAX_SECONDS = 10
MAX_GROWTH_BYTES = 1_000_000_000
# A refusal is one clear line.
MAX_MESSAGE_CHARS = 5000


class Hang(BaseException):
    """An execution took longer than `MAX_SECONDS`."""


@dataclass(frozen=True)
class Target:
    """A parser to fuzz.

    Attributes
    ----------
    name : str
        Name on the command line.
    samples : callable
        Makes the valid samples, for which a folder is given.
    run : callable
        Reads the content; a folder for files is given. Findings are errors other than those of
        this package.
    package : str or None
        Package without which the target is left out.
    """

    name: str
    samples: Callable[[Path], tuple[bytes, ...]]
    run: Callable[[bytes, Path], None]
    package: str | None = None


def attempt(call: Callable[[], object]) -> bool:
    """Whether a call succeeds; False if it is refused, which takes one line.

    Raises
    ------
    AssertionError
        If the message of the refusal is empty or too long.
    """
    try:
        call()
    except CloudBusterError as error:
        message = str(error)
    else:
        return True
    assert message.strip(), "an error without a message"
    assert len(message) <= MAX_MESSAGE_CHARS, f"a message of {len(message)} characters"
    return False


def finding(target: Target, content: bytes, folder: Path) -> str | None:
    """Execute a target once; return what is wrong with how it ended, or None."""
    before, start = _peak_bytes(), time.monotonic()
    try:
        with _limited(), warnings.catch_warnings(action="ignore"):
            attempt(lambda: target.run(content, folder))
    except Hang:
        return f"hang: over {MAX_SECONDS} s"
    # Whatever the parser did not expect is what this looks for.
    except Exception as error:  # noqa: BLE001 -- see above
        frames = traceback.extract_tb(error.__traceback__)
        place = next((f for f in reversed(frames) if "/cloudbuster/" in f.filename), frames[-1])
        where = f"{Path(place.filename).name}:{place.lineno}"
        return f"{type(error).__name__} at {where}: {' '.join(str(error).split())[:200]}"
    seconds, growth = time.monotonic() - start, _peak_bytes() - before
    if seconds > MAX_SECONDS:
        return f"hang: {seconds:.1f} s"
    return f"memory: {growth / 1e9:.1f} GB" if growth > MAX_GROWTH_BYTES else None


@contextmanager
def _limited() -> Iterator[None]:
    """Raise `Hang` in the body when its time is over."""
    earlier = signal.signal(signal.SIGALRM, _stop)
    signal.setitimer(signal.ITIMER_REAL, MAX_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, earlier)


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise Hang


def _peak_bytes() -> int:
    """Greatest memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
