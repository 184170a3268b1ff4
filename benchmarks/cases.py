"""What is measured, each case in a process: ``python -m benchmarks.cases NAME CACHE``.

A case prints one JSON object of its own values. A reference does the same work with a named tool
and loads nothing of this package.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

SEARCHES = 200


def prepare(cache: Path) -> dict[str, float]:
    """Make the input; not a benchmark."""
    from benchmarks.inputs import make_geoparquet, make_inputs

    make_inputs(cache)
    make_geoparquet(cache)
    return {}


def gather(cache: Path) -> dict[str, float]:
    """Gather a full tile: 10980 x 10980, 4 bands from COG, stock mask."""
    from benchmarks.inputs import TILE, gather_task, make_inputs
    from cloudbuster.gather import gather_scene

    output = _empty_folder(cache / "gather")
    record = gather_scene(gather_task(make_inputs(cache).tile_item, TILE, 1, output))[0]
    return {"clear_fraction": record.clear_fraction}


def gather_copy(cache: Path) -> dict[str, float]:
    """Decode the same four bands with rasterio and write them to one GeoTIFF: the floor."""
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
    from cloudbuster.merge import merge_scenes

    output = _empty_folder(cache / "merge")
    result = merge_scenes(str(make_inputs(cache).scenes), str(output), name=MERGE_NAME)
    return {"clear_fraction": result.clear_fraction}


def merge_parts(cache: Path) -> dict[str, float]:
    """Merge the same scenes in four parts, then put them together; seconds of the last step."""
    from benchmarks.inputs import MERGE_NAME, make_inputs
    from cloudbuster.merge import merge_part
    from cloudbuster.merge import merge_parts as put_together
    from cloudbuster.products.parts import Part

    output, scenes = _empty_folder(cache / "merge-parts"), str(make_inputs(cache).scenes)
    parts = str(output / "parts")
    for number in range(1, 5):
        merge_part(scenes, parts, part=Part(MERGE_NAME, number, 2048))
    before = time.process_time()
    put_together(parts, scenes, str(output), name=MERGE_NAME, cells=2048)
    return {"last_step_cpu_s": time.process_time() - before}


def merge_rasterio(cache: Path) -> dict[str, float]:
    """Merge the same scenes with rasterio.merge, first valid pixel, then make a COG with GDAL."""
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
    """Search a local catalog of 1000 items, loaded before: milliseconds of one search, median."""
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
    """Search a stac-geoparquet file of 100 000 items: seconds of the first search, memory added."""
    import resource
    from datetime import date

    import pyarrow.parquet  # noqa: F401 -- its own memory is not the search's
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


def synth(cache: Path) -> dict[str, float]:
    """Synthesize the stack of the defaults, as ``cdk synth`` runs the app: Python and node."""
    output = _empty_folder(cache / "synth")
    environment = {
        **os.environ,
        "CDK_CONTEXT_JSON": json.dumps(json.loads(Path("cdk.json").read_text())["context"]),
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
    "merge-parts": merge_parts,
    "merge-rasterio": merge_rasterio,
    "search": search,
    "search-parquet": search_parquet,
    "synth": synth,
}


def _empty_folder(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


if __name__ == "__main__":
    print(json.dumps(CASES[sys.argv[1]](Path(sys.argv[2]))))
