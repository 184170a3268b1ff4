"""What all tests share: the real imagery, the proof that it was used, and CPU times.

The real imagery lies outside of the repository. Without it the tests that need it are skipped and
say so; under ``CLOUDBUSTER_REQUIRE_REAL_DATA=1`` (as ``.ci/run`` sets it) they fail instead, and so
does a session in which one of them was skipped or too few of them ran.
"""

import gc
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

DATA_VARIABLE = "CLOUDBUSTER_TEST_DATA"
REQUIRE_VARIABLE = "CLOUDBUSTER_REQUIRE_REAL_DATA"
TESTS = Path(__file__).resolve().parent
DEFAULT_DATA = TESTS.parents[1] / "shared" / "data"

# Tests marked `real_data` that a complete session runs at the least; raise it with every new one,
# so that a test that is lost, renamed or deselected is noticed.
MINIMUM_REAL_DATA_TESTS = 63


# CPU seconds that the unit tests alone may take; the summary reports it, and nothing fails.
UNIT_CPU_SECONDS = 60

# A full collection walks the half a million objects that moto, botocore and PyTorch keep for good
# (0.4 s each, measured); young garbage is collected as always.
RARE_FULL_COLLECTIONS = 1000


def real_data_is_required() -> bool:
    """Whether this session may not do without the real imagery."""
    return os.environ.get(REQUIRE_VARIABLE, "") not in ("", "0")


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Folder of the real imagery; skips the test (or fails it, where required) without it."""
    folder = Path(os.environ.get(DATA_VARIABLE) or DEFAULT_DATA)
    if not folder.is_dir():
        reason = f"no real imagery: {folder} is not a folder; set {DATA_VARIABLE} to where it lies"
        if real_data_is_required():
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return folder


class RealDataCensus:
    """Counts the tests marked ``real_data`` by how they ended.

    Attributes
    ----------
    ran : set of str
        Node ids of those whose body ran, whether it passed or failed.
    skipped : dict of str to str
        Node ids of those that were skipped, with the reason.
    """

    def __init__(self) -> None:
        self.ran: set[str] = set()
        self.skipped: dict[str, str] = {}

    def complaints(self) -> list[str]:
        """What is wrong with the session, one line each; empty when nothing is."""
        found = [f"skipped: {name} ({reason})" for name, reason in sorted(self.skipped.items())]
        if len(self.ran) < MINIMUM_REAL_DATA_TESTS:
            found.append(
                f"{len(self.ran)} tests on real imagery ran, at least "
                f"{MINIMUM_REAL_DATA_TESTS} must"
            )
        return found

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take note of one phase of one test."""
        if "real_data" not in report.keywords:
            return
        if report.skipped:
            self.skipped[report.nodeid] = _skip_reason(report)
        elif report.when == "call":
            self.ran.add(report.nodeid)

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Iterator[None]:
        """Fail an otherwise good session that did not use the real imagery as it must."""
        if self.complaints() and session.exitstatus in (
            pytest.ExitCode.OK,
            pytest.ExitCode.NO_TESTS_COLLECTED,
        ):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        yield

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what is wrong, or how many tests used the real imagery."""
        complaints = self.complaints()
        terminalreporter.section("real imagery", red=bool(complaints), green=not complaints)
        for line in complaints:
            terminalreporter.write_line(f"FAILED {line}", red=True)
        terminalreporter.write_line(f"{len(self.ran)} tests on real imagery ran")


class CpuClock:
    """Reports the CPU seconds of collection and of the tests of each folder.

    They are those of this process and of the processes that it has waited for.
    """

    def __init__(self) -> None:
        self.spent: defaultdict[str, float] = defaultdict(float)

    def pytest_collection_finish(self) -> None:
        """Take what was spent until now for collection."""
        self.spent["collection"] = _cpu_seconds()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Measure one test with its fixtures."""
        before = _cpu_seconds()
        try:
            return (yield)
        finally:
            self.spent[item.path.relative_to(TESTS).parts[0]] += _cpu_seconds() - before

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Report the seconds; a session without unit tests has no limit to look at."""
        terminalreporter.section("CPU seconds")
        for name, seconds in self.spent.items():
            limit = f" (at most {UNIT_CPU_SECONDS} with collection)" if name == "unit" else ""
            terminalreporter.write_line(f"{name}: {seconds:.1f}{limit}")


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _skip_reason(report: pytest.TestReport) -> str:
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    return getattr(report, "wasxfail", "") or "expected to fail"


def pytest_configure(config: pytest.Config) -> None:
    """Start the clock, and the census where the real imagery is required."""
    # Read when PyTorch and LightGBM are loaded: their idle threads spin, a third of their CPU time.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    gc.set_threshold(*gc.get_threshold()[:2], RARE_FULL_COLLECTIONS)
    config.pluginmanager.register(CpuClock(), "cpu-clock")
    if real_data_is_required():
        config.pluginmanager.register(RealDataCensus(), "real-data-census")


def pytest_collection_finish() -> None:
    """Leave what was imported out of the full collections to come."""
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Collect the garbage once, and leave what remains out of the collections on the way out."""
    gc.collect()
    gc.freeze()
