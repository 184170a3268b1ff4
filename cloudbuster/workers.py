"""A pool of worker processes that stop with the process that started them."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import NoReturn, TypeVar

from cloudbuster.errors import ExitCode, TryAgainError

Task = TypeVar("Task")
Result = TypeVar("Result")


def run_tasks(
    function: Callable[[Task], Result], tasks: Sequence[Task], *, workers: int
) -> Generator[Result, None, None]:
    """Call a function for each task, in this process or in worker processes.

    Close the generator when it is not used to its end: that stops the workers.

    Parameters
    ----------
    function : callable
        Function of a module, so that it can be sent to a worker.
    tasks : sequence
        Arguments of the calls.
    workers : int
        Number of processes; with 1, or for one task, everything runs in this process.

    Yields
    ------
    object
        Results in the order in which the calls finish.

    Raises
    ------
    TryAgainError
        If a worker was killed.
    Exception
        As ``function``.
    """
    if workers <= 1 or len(tasks) <= 1:
        yield from map(function, tasks)
        return
    # Spawned, not forked: a fork would copy the threads and locks of GDAL and of the models.
    context = multiprocessing.get_context("spawn")
    watched, leash = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(
        min(workers, len(tasks)),
        mp_context=context,
        initializer=_start_worker,
        initargs=(watched,),
    )
    with watched, leash:
        finished = False
        try:
            with _interrupts_held():
                futures = [pool.submit(_call_in_worker, function, task) for task in tasks]
            for future in as_completed(futures):
                yield future.result()
            finished = True
        except BrokenProcessPool as error:
            msg = "a worker was killed, most often for memory; try again with fewer --workers"
            raise TryAgainError(msg) from error
        finally:
            if not finished:
                leash.close()
            pool.shutdown(cancel_futures=True)


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


def _start_worker(watched: Connection) -> None:
    """Let a worker stop when the process that started it closes its pipe, or is gone."""
    threading.Thread(target=_follow, args=(watched,), daemon=True).start()


def _follow(watched: Connection) -> None:
    """Wait until the other end of a pipe is closed, and stop this process; nothing is ever sent."""
    with suppress(EOFError, OSError):
        watched.recv_bytes()
    os.kill(os.getpid(), signal.SIGTERM)


def _stop_worker(_signal: int, _frame: object) -> NoReturn:
    """Handle SIGTERM: unwind the stack, so that unfinished files are removed."""
    raise SystemExit(int(ExitCode.TERMINATED))


def _call_in_worker(function: Callable[[Task], Result], task: Task) -> Result:
    """Call a function in a worker; if it is stopped, clean up and take no further task."""
    signal.signal(signal.SIGTERM, _stop_worker)
    try:
        return function(task)
    except SystemExit:
        os._exit(int(ExitCode.TERMINATED))
    finally:
        # Between two tasks there is nothing to clean up.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
