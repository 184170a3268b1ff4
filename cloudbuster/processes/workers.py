"""A pool of worker processes that stop with the process that started them."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterator, MutableSequence, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any, ClassVar, NoReturn, TypeVar

from cloudbuster.errors import ExitCode, RequestError, TryAgainError
from cloudbuster.processes import log

Task = TypeVar("Task")
Result = TypeVar("Result")
Report = Callable[[float], None]
"""Takes the share of a task that is done, 0 to 1."""

# Seconds between two reports of what the workers have done. Twice a second is smooth enough for a
# progress bar, and a report costs microseconds.
REPORT_S = 0.5
# Spawned, not forked: a fork would copy the threads and locks of GDAL and of the models.
_WORKERS = multiprocessing.get_context("spawn")


def run_tasks(
    function: Callable[[Task, Report], Result],
    tasks: Sequence[Task],
    *,
    workers: int,
    on_progress: Report | None = None,
) -> Generator[Result, None, None]:
    """Call a function for each task, in this process or in worker processes.

    Close the generator when it is not used to its end: that stops the workers.

    Parameters
    ----------
    function : callable
        Function of a module, so that it can be sent to a worker. It takes a task, and a function
        to report the share of it that is done.
    tasks : sequence
        Arguments of the calls.
    workers : int
        Number of processes; with 1, or for one task, everything runs in this process.
    on_progress : callable, optional
        Called now and then with the sum of the shares of the tasks that are under way.

    Yields
    ------
    object
        Results in the order in which the calls finish.

    Raises
    ------
    RequestError
        If this process is itself a worker that is still importing its parent's script.
    TryAgainError
        If a worker was killed.
    Exception
        As ``function``.
    """
    refuse_reimport()
    if workers <= 1 or len(tasks) <= 1:
        for task in tasks:
            yield function(task, on_progress or _ignore)
        return
    yield from _run_in_workers(function, tasks, workers, on_progress)


def _run_in_workers(
    function: Callable[[Task, Report], Result],
    tasks: Sequence[Task],
    workers: int,
    on_progress: Report | None,
) -> Iterator[Result]:
    """Call a function for each task in worker processes; see `run_tasks`."""
    # Without a lock: a worker that is killed cannot block the others by it.
    shares: MutableSequence[float] = _WORKERS.RawArray("d", len(tasks))
    watched, leash = _WORKERS.Pipe(duplex=False)
    pool = ProcessPoolExecutor(
        min(workers, len(tasks)),
        mp_context=_WORKERS,
        initializer=_start_worker,
        initargs=(watched, shares, log.settings()),
    )
    with watched, leash:
        finished = False
        try:
            yield from _results(pool, function, tasks, shares, on_progress)
            finished = True
        except BrokenProcessPool as error:
            msg = "a worker was killed, most often for memory; try again with fewer --workers"
            raise TryAgainError(msg) from error
        finally:
            if not finished:
                leash.close()
            pool.shutdown(cancel_futures=True)


def _ignore(_share: float) -> None:
    """Report to nobody."""


def _results(
    pool: ProcessPoolExecutor,
    function: Callable[[Task, Report], Result],
    tasks: Sequence[Task],
    shares: MutableSequence[float],
    on_progress: Report | None,
) -> Iterator[Result]:
    """Yield the results of the workers, and report their progress in between."""
    with _interrupts_held(), _main_module_left_out():
        futures = {
            pool.submit(_call_in_worker, function, task, number): number
            for number, task in enumerate(tasks)
        }
    pending = set(futures)
    while pending:
        timeout = None if on_progress is None else REPORT_S
        ended, pending = wait(pending, timeout, return_when=FIRST_COMPLETED)
        for future in ended:
            shares[futures[future]] = 0.0
            yield future.result()
        if on_progress is not None and not ended:
            on_progress(sum(shares))


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Block SIGINT while workers start, so that Ctrl-C reaches only this process.

    New processes inherit the blocked signal; this process receives it when the body ends, and stops
    the workers itself.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _main_module_left_out() -> Iterator[None]:
    """Start workers that do not import the caller's main module.

    A spawned process first imports the file of its parent's main module. It would run a script
    without ``if __name__ == "__main__":`` again, from its start. Tasks hold nothing of that module,
    so its file is hidden while processes start.
    """
    main = sys.modules["__main__"].__dict__
    known: dict[str, Any] = {name: main[name] for name in ("__file__", "__spec__") if name in main}
    main.pop("__file__", None)
    main["__spec__"] = None
    try:
        yield
    finally:
        main.update(known)


def refuse_reimport() -> None:
    """Refuse to work in a process that is still importing the script of its parent.

    Raises
    ------
    RequestError
        If a pool of the caller's own imports a script that runs this package without a guard: each
        of its processes would start the same run.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        msg = (
            "a process of your own pool imports this script and would run it again; put the call "
            'under: if __name__ == "__main__":'
        )
        raise RequestError(msg)


class _Worker:
    """What a worker process was given when it started."""

    shares: ClassVar[MutableSequence[float]] = []


def _start_worker(
    watched: Connection, shares: MutableSequence[float], logging_settings: log.LogSettings | None
) -> None:
    """Let a worker log as its parent does, and stop when that closes its pipe or is gone."""
    _Worker.shares = shares
    if logging_settings is not None:
        log.configure(as_json=logging_settings.as_json, level=logging_settings.level)
    threading.Thread(target=_follow, args=(watched,), daemon=True).start()


def _follow(watched: Connection) -> None:
    """Wait until the other end of a pipe is closed, and stop this process; nothing is ever sent."""
    with suppress(EOFError, OSError):
        watched.recv_bytes()
    os.kill(os.getpid(), signal.SIGTERM)


def _stop_worker(_signal: int, _frame: object) -> NoReturn:
    """Handle SIGTERM: unwind the stack, so that unfinished files are removed."""
    raise SystemExit(int(ExitCode.TERMINATED))


def _call_in_worker(function: Callable[[Task, Report], Result], task: Task, number: int) -> Result:
    """Call a function in a worker; if it is stopped, clean up and take no further task."""

    def report(share: float) -> None:
        """Store the share of the task that is done where the parent reads it."""
        _Worker.shares[number] = share

    signal.signal(signal.SIGTERM, _stop_worker)
    try:
        return function(task, report)
    except SystemExit:
        os._exit(int(ExitCode.TERMINATED))
    finally:
        # Between two tasks there is nothing to clean up.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
