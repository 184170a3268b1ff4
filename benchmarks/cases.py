"""Benchmark cases, each run in a process of its own: ``python -m benchmarks.cases NAME CACHE``.

A case prints its own values as one JSON object. A reference does the same work with another tool
and imports nothing of this package.
"""

import functools
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

# Number of searches of the case `search`, of which the median counts.
SEARCHES = 200
# Rows and columns of a part in the case `merge-parts`, cells: the mosaic of 3840 has four parts.
PART_CELLS = 2048
# Scenes of the case `thumbnails`, and how late every answer comes, seconds.
LOOKED_AT = 100
LATENCY_S = 0.030


def prepare(cache: Path) -> dict[str, float]:
    """Make the input. This is no benchmark."""
    from benchmarks.inputs import make_classification, make_geoparquet, make_inputs

    make_inputs(cache)
    make_geoparquet(cache)
    make_classification(cache)
    return {}


def gather(cache: Path) -> dict[str, float]:
    """Gather a full tile: 10980 x 10980, 4 bands from COG, stock mask."""
    from benchmarks.inputs import TILE, gather_task, make_inputs
    from cloudbuster.gather import gather_scene

    output = _empty_folder(cache / "gather")
    record = gather_scene(gather_task(make_inputs(cache).tile_item, TILE, 1, output))[0]
    return {"clear_fraction": record.clear_fraction}


def gather_copy(cache: Path) -> dict[str, float]:
    """Decode the same four bands with rasterio and write them to one GeoTIFF: a lower bound."""
    import rasterio

    output = _empty_folder(cache / "gather-copy")
    tile = next(cache.glob("inputs-*")) / "tile"
    names = ("blue", "green", "red", "nir")
    bands = [rasterio.open(tile / f"{name}.tif") for name in names]
    profile = bands[0].profile | {
        "driver": "GTiff",
        "count": len(bands),
        "compress": "DEFLATE",
        "predictor": 2,
        "zlevel": 1,
        "interleave": "band",
    }
    with rasterio.open(output / "copy.tif", "w", **profile) as copy:
        for _, window in copy.block_windows(1):
            for number, band in enumerate(bands, start=1):
                copy.write(band.read(1, window=window), number, window=window)
    return {}


def merge(cache: Path) -> dict[str, float]:
    """Merge 7 scenes and a backstop: 3840 x 3840, 4 bands, with every product of the stage."""
    from benchmarks.inputs import MERGE_NAME, make_inputs
    from cloudbuster.merge import MosaicRecipe, merge_scenes

    output, scenes = _empty_folder(cache / "merge"), str(make_inputs(cache).scenes)
    result = merge_scenes(scenes, str(output), MosaicRecipe(MERGE_NAME))
    return {"clear_fraction": result.clear_fraction}


def merge_in_parts(cache: Path) -> dict[str, float]:
    """Merge the same scenes in four parts and assemble these; CPU seconds of the last step."""
    from benchmarks.inputs import MERGE_NAME, make_inputs
    from cloudbuster.merge import MosaicRecipe, merge_part, merge_parts

    output, scenes = _empty_folder(cache / "merge-parts"), str(make_inputs(cache).scenes)
    parts, recipe = str(output / "parts"), MosaicRecipe(MERGE_NAME)
    for number in range(1, 5):
        merge_part(scenes, parts, recipe, number=number, cells=PART_CELLS)
    before = time.process_time()
    merge_parts(parts, scenes, str(output), recipe, cells=PART_CELLS)
    return {"last_step_cpu_s": time.process_time() - before}


def merge_median(cache: Path) -> dict[str, float]:
    """Merge the same scenes with composite median, with every product of the stage."""
    from benchmarks.inputs import MERGE_NAME, make_inputs
    from cloudbuster.merge import MosaicRecipe, merge_scenes

    output, scenes = _empty_folder(cache / "merge-median"), str(make_inputs(cache).scenes)
    result = merge_scenes(scenes, str(output), MosaicRecipe(MERGE_NAME, "median"))
    return {"clear_fraction": result.clear_fraction}


def merge_nanmedian(cache: Path) -> dict[str, float]:
    """Take the median of the same scenes with rasterio and numpy.nanmedian, block by block."""
    import numpy as np
    import rasterio

    output = _empty_folder(cache / "merge-nanmedian")
    paths = sorted((next(cache.glob("inputs-*")) / "plain").glob("*.tif"))
    scenes = [rasterio.open(path) for path in paths[:-1]]
    profile = scenes[0].profile | {"compress": "DEFLATE", "predictor": 2, "zlevel": 1}
    with rasterio.open(output / "median.tif", "w", **profile) as target:
        for _, window in target.block_windows(1):
            stack = np.stack([scene.read(window=window) for scene in scenes]).astype(np.float32)
            stack[stack == 0] = np.nan
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                median = np.nanmedian(stack, axis=0)
            target.write(np.nan_to_num(median).astype(np.uint16), window=window)
    return {}


def statistics_of_looks(_cache: Path) -> dict[str, float]:
    """Compute each statistic of 8 looks of 4 bands in memory; CPU ns for each value, and numpy's.

    Its own time means nothing: the values are compared with each other.
    """
    import numpy as np

    from cloudbuster.core.pixels.composite_methods import parse_composite
    from cloudbuster.core.pixels.pixel_statistics import pixel_statistic

    random = np.random.default_rng(0)
    looks = random.integers(1, 10_000, (8, 4, 2**18)).astype(np.uint16)
    counts = random.random((8, 2**18)) < 0.7
    with_nan = np.where(counts[:, None], looks.astype(np.float32), np.float32("nan"))
    spent: dict[str, float] = {}

    def measured(name: str, compute: Callable[..., object], *arrays: object) -> None:
        """Note the CPU time of a computation for each value that it makes, the second time."""
        compute(*arrays)
        before = time.process_time()
        compute(*arrays)
        spent[f"{name}_ns"] = (time.process_time() - before) / looks[0].size * 1e9

    for name in ("median", "percentile:25", "medoid", "geomedian"):
        measured(name.partition(":")[0], pixel_statistic(parse_composite(name)), looks, counts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        measured("nanmedian", functools.partial(np.nanmedian, axis=0), with_nan)
    spent["median_per_nanmedian"] = spent["median_ns"] / spent["nanmedian_ns"]
    return spent


def merge_rasterio(cache: Path) -> dict[str, float]:
    """Merge the same scenes with rasterio.merge (first valid pixel), then make a COG with GDAL."""
    import rasterio.merge
    import rasterio.shutil

    output = _empty_folder(cache / "merge-rasterio")
    scenes = sorted((next(cache.glob("inputs-*")) / "plain").glob("*.tif"))
    options = {"compress": "DEFLATE", "predictor": 2, "zlevel": 1, "tiled": True}
    rasterio.merge.merge(
        scenes,
        method="first",
        mem_limit=256,
        dst_path=output / "merged.tif",
        dst_kwds=options | {"blockxsize": 512, "blockysize": 512, "interleave": "band"},
    )
    rasterio.shutil.copy(
        output / "merged.tif",
        output / "cog.tif",
        driver="COG",
        compress="DEFLATE",
        predictor="YES",
        level=1,
    )
    return {}


def search(cache: Path) -> dict[str, float]:
    """Search a loaded local catalog of 1000 items; median milliseconds of a search."""
    from datetime import date

    from shapely.geometry import shape

    from benchmarks.inputs import TILE, make_inputs, stac_item
    from cloudbuster.catalogs import SceneSearch, open_catalog
    from cloudbuster.models import QueryOptions

    catalog = open_catalog(str(make_inputs(cache).catalog))
    aoi = shape(stac_item(TILE, 0)["geometry"]).buffer(-0.4)
    options = QueryOptions(mindate=(date(2023, 6, 1),), maxdate=(date(2023, 7, 1),), maxclouds=50)
    wanted = SceneSearch.from_options(aoi, options)
    durations = []
    for _ in range(SEARCHES):
        started = time.perf_counter()
        found = catalog.search(wanted)
        durations.append(time.perf_counter() - started)
    return {"search_ms": 1e3 * statistics.median(durations), "found": len(found.items)}


def search_parquet(cache: Path) -> dict[str, float]:
    """Search a stac-geoparquet file of 100 000 items; seconds and memory of the first search."""
    import resource
    from datetime import date

    import pyarrow.parquet  # noqa: F401 -- imported first, so that its memory is not counted
    from shapely.geometry import shape

    from benchmarks.inputs import TILE, make_geoparquet, stac_item
    from cloudbuster.catalogs import SceneSearch, open_catalog
    from cloudbuster.models import QueryOptions

    path = make_geoparquet(cache)
    aoi = shape(stac_item(TILE, 0)["geometry"]).buffer(-0.4)
    options = QueryOptions(mindate=(date(2023, 6, 1),), maxdate=(date(2023, 10, 31),), maxclouds=20)
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    found = open_catalog(str(path)).search(SceneSearch.from_options(aoi, options))
    return {
        "search_s": time.perf_counter() - started,
        "found": len(found.items),
        "growth_mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib) / 1e3,
    }


def thumbnails(cache: Path) -> dict[str, float]:
    """Read thumbnails of 100 scenes over HTTP with 30 ms of latency; requests, MB and wall time."""
    from benchmarks.inputs import TILE, make_classification, stac_item
    from cloudbuster.models import DetectorOptions
    from cloudbuster.selection.thumbnails import THREADS, read_thumbnails
    from tests.range_server import serving_ranges

    folder = make_classification(cache).parent
    with serving_ranges(folder, latency_s=LATENCY_S) as server:
        items = [stac_item(TILE, number) for number in range(LOOKED_AT)]
        for number, item in enumerate(items):
            item["assets"]["scl"]["href"] = f"{server.url}/{number}/scl.tif"
        started = time.perf_counter()
        found = read_thumbnails(
            items,
            kind="L2A",
            catalog="bench",
            bands=("B04",),
            detector=DetectorOptions(),
            dilate_m=50,
            folder=str(_empty_folder(cache / "thumbnails")),
        )
        wall_s = time.perf_counter() - started
        asked = server.asked
    # Each thread reads its share of the scenes with two requests each, one after the other.
    optimum_s = math.ceil(LOOKED_AT / THREADS) * 2 * LATENCY_S
    return {
        "missing": LOOKED_AT - len(found.by_id),
        "requests": len(asked),
        "megabytes": sum(size for *_, size in asked) / 1e6,
        "wall_s": wall_s,
        "wall_per_optimum": wall_s / optimum_s,
    }


def synth(cache: Path) -> dict[str, float]:
    """Synthesize the default stack as ``cdk synth`` runs the app, with Python and node."""
    output = _empty_folder(cache / "synth")
    config = cache / "stack.json"
    config.write_text("{}")
    context = json.loads(Path("cdk.json").read_text())["context"]
    environment = {
        **os.environ,
        "CDK_CONTEXT_JSON": json.dumps({**context, "config": str(config)}),
        "CDK_OUTDIR": str(output),
        # The `infra` extra brings node beside Python.
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
    }
    subprocess.run(
        [sys.executable, "-m", "infra.app"], env=environment, stderr=subprocess.PIPE, check=True
    )
    (template,) = output.glob("*.template.json")
    return {"resources": len(json.loads(template.read_text())["Resources"])}


CASES: dict[str, Callable[[Path], dict[str, float]]] = {
    "prepare": prepare,
    "gather": gather,
    "gather-copy": gather_copy,
    "merge": merge,
    "merge-parts": merge_in_parts,
    "merge-median": merge_median,
    "merge-nanmedian": merge_nanmedian,
    "statistics": statistics_of_looks,
    "merge-rasterio": merge_rasterio,
    "search": search,
    "search-parquet": search_parquet,
    "thumbnails": thumbnails,
    "synth": synth,
}


def _empty_folder(folder: Path) -> Path:
    """Make an empty folder in place of an earlier one."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


if __name__ == "__main__":
    print(json.dumps(CASES[sys.argv[1]](Path(sys.argv[2]))))
