"""Run the benchmarks, print a table, and fail if a result exceeds its limit."""

import argparse
import json
import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.measure import CaseError, Measurement, measure, median

DEFAULT_CACHE = Path("build/bench")


@dataclass(frozen=True)
class Benchmark:
    """One row of the table.

    Attributes
    ----------
    case : str
        Name in `benchmarks.cases.CASES`.
    title : str
        Title of the row.
    reference : str, optional
        Case whose CPU time is the denominator of the ratio.
    max_peak_bytes : float, optional
        Limit of the peak memory, bytes; a result must stay under it.
    max_values : mapping of str to float, optional
        Limits of the values that the case itself measures.
    """

    case: str
    title: str
    reference: str | None = None
    max_peak_bytes: float | None = None
    max_values: Mapping[str, float] | None = None


BENCHMARKS = (
    Benchmark(
        "gather",
        "gather a full tile, 10980 x 10980 x 4, COG",
        reference="gather-copy",
        max_peak_bytes=1e9,
    ),
    Benchmark("gather-copy", "  floor: rasterio copies the four bands"),
    Benchmark(
        "merge",
        "merge 8 scenes, 3840 x 3840 x 4",
        reference="merge-rasterio",
        max_peak_bytes=1e9,
    ),
    Benchmark(
        "merge-parts",
        "merge them in four parts, and put these together",
        reference="merge",
        max_peak_bytes=1e9,
    ),
    Benchmark(
        "merge-median",
        "merge them with composite median",
        reference="merge-nanmedian",
        max_peak_bytes=1e9,
    ),
    Benchmark("merge-nanmedian", "  reference: numpy.nanmedian of blocks read with rasterio"),
    Benchmark(
        "statistics",
        "statistics of 8 looks of 4 bands in memory",
        max_values={"median_per_nanmedian": 0.5},
    ),
    Benchmark("merge-rasterio", "  reference: rasterio.merge, then a COG"),
    Benchmark("search", "search 1000 items, once loaded", max_values={"search_ms": 1.0}),
    Benchmark(
        "search-parquet",
        "search 100 000 items of stac-geoparquet",
        max_peak_bytes=4e8,
        max_values={"growth_mb": 300.0},
    ),
    Benchmark(
        "thumbnails",
        "thumbnails of 100 scenes over HTTP, 30 ms of latency",
        max_values={"missing": 1, "requests": 251, "megabytes": 6.0, "wall_per_optimum": 2.0},
    ),
    Benchmark("synth", "synthesize the stack of the defaults"),
)


def run_interleaved(names: list[str], *, repeat: int, cache: Path) -> dict[str, Measurement]:
    """Run all cases ``repeat`` times and return the medians by name.

    The cases are interleaved, so that a change in the machine's speed affects all of them alike.
    """
    runs: dict[str, list[Measurement]] = {name: [] for name in names}
    for turn in range(1, repeat + 1):
        for name in names:
            print(f"{name} ({turn}/{repeat})", file=sys.stderr)
            runs[name].append(measure(name, cache))
    return {name: median(measured) for name, measured in runs.items()}


def broken_limits(results: Mapping[str, Measurement]) -> list[str]:
    """Return a line for each limit that a result exceeds."""
    broken = []
    for row in BENCHMARKS:
        result = results.get(row.case)
        if result is None:
            continue
        if row.max_peak_bytes is not None and result.peak_bytes >= row.max_peak_bytes:
            broken.append(
                f"{row.case}: {result.peak_bytes / 1e6:.0f} MB, must stay under "
                f"{row.max_peak_bytes / 1e6:.0f} MB"
            )
        for name, limit in (row.max_values or {}).items():
            if result.values[name] >= limit:
                broken.append(
                    f"{row.case}: {name} {result.values[name]:.3g}, must stay under {limit:g}"
                )
    return broken


def table(results: Mapping[str, Measurement]) -> str:
    """Format the results as a Markdown table."""
    lines = [
        "| what | CPU s | peak MB | CPU / reference | other |",
        "|---|---:|---:|---:|---|",
    ]
    for row in BENCHMARKS:
        result = results.get(row.case)
        if result is None:
            continue
        reference = results.get(row.reference or "")
        ratio = f"{result.cpu_s / reference.cpu_s:.2f}" if reference else ""
        values = ", ".join(f"{name} {value:.3g}" for name, value in result.values.items())
        lines.append(
            f"| {row.title.strip()} | {result.cpu_s:.1f} | {result.peak_bytes / 1e6:.0f} "
            f"| {ratio} | {values} |"
        )
    return "\n".join(lines)


def _arguments(names: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("case", nargs="*", help=f"one of {', '.join(names)} (default: all)")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each case (default: 3)")
    parser.add_argument(
        "--cache", type=Path, default=DEFAULT_CACHE, help="folder of input and output"
    )
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.case) - set(names))
    if unknown or arguments.repeat < 1:
        parser.error(f"unknown case {', '.join(unknown)}" if unknown else "--repeat is at least 1")
    return arguments


def main() -> int:
    """Run the benchmarks; return 1 if a limit is exceeded or a case fails, else 0."""
    names = [row.case for row in BENCHMARKS]
    arguments = _arguments(names)
    try:
        print("preparing the input (some minutes the first time)", file=sys.stderr)
        measure("prepare", arguments.cache)
        results = run_interleaved(
            [name for name in names if not arguments.case or name in arguments.case],
            repeat=arguments.repeat,
            cache=arguments.cache,
        )
    except CaseError as error:
        print(f"CaseError: {error}", file=sys.stderr)
        return 1
    report = {
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "repeat": arguments.repeat,
        "results": {name: asdict(result) for name, result in results.items()},
    }
    (arguments.cache / "latest.json").write_text(json.dumps(report, indent=2) + "\n")
    print(table(results))
    broken = broken_limits(results)
    for line in broken:
        print(f"over its limit: {line}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
