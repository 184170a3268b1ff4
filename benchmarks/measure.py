"""Measure one case in a fresh process: CPU seconds, peak memory, wall seconds."""

import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path


class CaseError(RuntimeError):
    """A case failed; its own message is on stderr."""


@dataclass(frozen=True)
class Measurement:
    """Time and memory of one run, or the medians of several runs.

    Attributes
    ----------
    cpu_s : float
        User and system time of the process and of the child processes it waited for, seconds.
    peak_bytes : float
        Greatest resident memory of the process, or of one of these child processes, bytes.
    wall_s : float
        Elapsed time, seconds.
    values : dict of str to float
        Values that the case itself measured.
    """

    cpu_s: float
    peak_bytes: float
    wall_s: float
    values: dict[str, float]


def measure(case: str, cache: Path) -> Measurement:
    """Run one case of `benchmarks.cases`; raise CaseError if it fails.

    The calling process must be small: the kernel counts its memory as the child's until the new
    program is loaded.

    Parameters
    ----------
    case, cache : str, Path
        Name in `benchmarks.cases.CASES`; folder of input and output.
    """
    command = [sys.executable, "-m", "benchmarks.cases", case, str(cache)]
    started = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        output = process.stdout.read() if process.stdout else b""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        msg = f"{case} exited with status {process.returncode}"
        raise CaseError(msg)
    return Measurement(
        cpu_s=usage.ru_utime + usage.ru_stime,
        peak_bytes=usage.ru_maxrss * 1024.0,  # Linux counts in KiB
        wall_s=time.monotonic() - started,
        values=json.loads(output.splitlines()[-1]),
    )


def median(runs: list[Measurement]) -> Measurement:
    """Return the median of each value over repeated runs."""
    return Measurement(
        cpu_s=statistics.median(run.cpu_s for run in runs),
        peak_bytes=statistics.median(run.peak_bytes for run in runs),
        wall_s=statistics.median(run.wall_s for run in runs),
        values={
            name: statistics.median(run.values[name] for run in runs) for name in runs[0].values
        },
    )
