"""From flags to the stages' arguments and back to text; used by the command line alone."""

import sys
from pathlib import Path
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from cloudbuster import models
from cloudbuster.areas import load_aoi
from cloudbuster.catalogs import CATALOGS, DEFAULT_CATALOG
from cloudbuster.catalogs.named import CatalogStatus, catalog_statuses
from cloudbuster.core.aoi import feature_property
from cloudbuster.core.bands import Kind
from cloudbuster.errors import (
    AoiError,
    CloudBusterError,
    NotCoveredError,
    OutputError,
    RequestError,
)
from cloudbuster.events import OnEvent
from cloudbuster.filter import filter_scenes, not_covered_error
from cloudbuster.gather import gather_scene, gather_scenes
from cloudbuster.gathered.scene_files import find_scenes
from cloudbuster.merge import MosaicRecipe, merge_scenes
from cloudbuster.merging import merge_task
from cloudbuster.models import (
    DetectorOptions,
    FilterOptions,
    GatherOptions,
    GatherTask,
    Geometry,
    LimitOptions,
    MergeOptions,
    MergeResult,
    MergeTask,
    MosaicRequest,
    QueryOptions,
)
from cloudbuster.options import bands_of
from cloudbuster.original.documents import original_response, original_selection
from cloudbuster.pipeline import run as run_request
from cloudbuster.query import query_scenes
from cloudbuster.storage.documents import (
    parse_candidates,
    parse_json,
    parse_selection,
    read_document,
    validation_message,
)
from cloudbuster.storage.uri import absolute_mirror, local_path, read_bytes, resolve, write_bytes
from cloudbuster.tasks import plan_tasks
from cloudbuster.zones import run_zones, wants_each_zone, worst_error

M = TypeVar("M", bound=BaseModel)
Flags = dict[str, Any]

STDIN = "-"
# Level of a document of the original's, which does not tell: the free COGs are L2A.
DEFAULT_KIND: Kind = "L2A"


def query(flags: Flags, on_event: OnEvent) -> str | None:
    """``cloudbuster query``: the path written, or the document where no name was given."""
    aoi = _aoi(flags["geojson"])
    target = _response_path(flags, aoi)
    candidates = query_scenes(
        aoi, _query_options(flags), refresh_token=flags["refresh_token"], on_event=on_event
    )
    content = (
        _original_json(original_response(candidates))
        if flags["style"] == "original"
        else candidates.to_json()
    )
    return _output(target, content)


def filter_(flags: Flags, on_event: OnEvent) -> str | None:
    """``cloudbuster filter``: the path written; where it is not covered, OUTPUT.ERROR."""
    kind = flags["kind"] or DEFAULT_KIND
    source = flags["input_"]
    candidates = parse_candidates(read_input(source), source=source, kind=kind)
    options = _filter_options(flags, minclouds=flags["minclouds"])
    bands = bands_of(flags["bands"]) or ()
    selection = filter_scenes(candidates, options, bands=bands, on_event=on_event)
    content = (
        _original_json(original_selection(selection))
        if flags["style"] == "original"
        else selection.to_json()
    )
    target = flags["output"]
    if not selection.cloudbuster.covered:
        if target != STDIN:
            write_bytes(f"{target}.ERROR", content)
        raise not_covered_error(selection, options)
    return _output(target, content)


def gather(flags: Flags, on_event: OnEvent) -> str | None:
    """``cloudbuster gather``: the paths written, a line each."""
    if flags["task"]:
        task = read_document(flags["task"], GatherTask)
        return "\n".join(f"{task.output}/{record.raster}" for record in gather_scene(task))
    _require(flags, "response", "name", "output_path")
    source, kind = flags["response"], flags["kind"]
    selection = parse_selection(read_input(source), source=source, kind=kind or DEFAULT_KIND)
    if kind not in (None, selection.cloudbuster.kind):
        msg = f"{source} selects {selection.cloudbuster.kind} scenes, not {kind}; query those"
        raise RequestError(msg)
    tasks = plan_tasks(
        selection, name=flags["name"], options=gather_options(flags), output=flags["output_path"]
    )
    if flags["index"] is not None:
        tasks = _task_of_index(tasks, flags["index"])
    if flags["dryrun"]:
        content = [task.model_dump(mode="json", by_alias=True) for task in tasks]
        return orjson.dumps(content, option=orjson.OPT_INDENT_2).decode()
    if len(tasks) == 1:
        records = gather_scene(tasks[0])
        return "\n".join(f"{flags['output_path']}/{record.raster}" for record in records)
    report = gather_scenes(tasks, workers=flags["workers"], on_event=on_event)
    report.raise_for_failures(LimitOptions().min_success_fraction)
    return "\n".join(f"{flags['output_path']}/{record.raster}" for record in report.records)


def merge(flags: Flags, on_event: OnEvent) -> str | None:
    """``cloudbuster merge``: what was made, as JSON."""
    if flags["task"]:
        task = read_document(flags["task"], MergeTask)
        made = merge_task(task, on_event=on_event)
        return made.to_json().decode().rstrip() if made else None
    _require(flags, "input_path", "output_path", "name")
    if flags["dryrun"]:
        scenes = find_scenes(flags["input_path"], flags["name"])
        return orjson.dumps(
            [str(scene.path) for scene in scenes], option=orjson.OPT_INDENT_2
        ).decode()
    recipe = MosaicRecipe(flags["name"], flags["composite"])
    result = merge_scenes(flags["input_path"], flags["output_path"], recipe, on_event=on_event)
    return result.to_json().decode().rstrip()


def run(flags: Flags, on_event: OnEvent) -> tuple[str, CloudBusterError | None]:
    """``cloudbuster run``: the result as text, and the error of an area that is not covered."""
    request = _request(flags)
    if flags["dryrun"]:
        return request.to_json().decode().rstrip(), None
    if wants_each_zone(request):
        return _run_zones(request, flags, on_event)
    result = run_request(request, workers=flags["workers"], on_event=on_event)
    text = result.to_json().decode().rstrip() if flags["as_json"] else _products(result.products)
    if result.assessment.covered:
        return text, None
    reasons = "; ".join(result.assessment.reasons)
    return text, NotCoveredError(
        f"{reasons}; the mosaic was made all the same: widen the dates or --maxclouds, or lower "
        "--coverage-count"
    )


def _run_zones(
    request: MosaicRequest, flags: Flags, on_event: OnEvent
) -> tuple[str, CloudBusterError | None]:
    """Run each part; their results as text, and the worst of their errors."""
    runs = run_zones(request, workers=flags["workers"], on_event=on_event)
    if flags["as_json"]:
        content = [entry.document().model_dump(mode="json", by_alias=True) for entry in runs]
        text = orjson.dumps(content, option=orjson.OPT_INDENT_2).decode()
    else:
        made = [(entry.request.name, entry.result) for entry in runs]
        text = "\n".join(
            f"{name}\n{_products(result.products)}" for name, result in made if result is not None
        )
    return text, worst_error(runs)


def _products(products: MergeResult) -> str:
    """One line for each product."""
    return "\n".join(
        f"{label:9} {path}"
        for label, path in (
            ("mosaic", products.cloudless),
            ("backstop", products.cloudy),
            ("quality", products.quality),
            ("preview", products.preview),
            ("report", products.report),
            ("item", products.item),
        )
    )


def catalogs(*, as_json: bool) -> str:
    """``cloudbuster catalogs``: each catalog, what it needs, and whether that is there now."""
    statuses = catalog_statuses()
    if as_json:
        return orjson.dumps(statuses, option=orjson.OPT_INDENT_2).decode()
    return "\n\n".join(_catalog_text(status) for status in statuses)


def _catalog_text(status: CatalogStatus) -> str:
    """Tell of one catalog in a few lines."""
    paid = f"; requester pays for {' and '.join(status.requester_pays)}"
    lines = [
        f"{status.name:20} {' '.join(status.levels):10} {status.url}",
        f"{'':20} {status.note}{paid if status.requester_pays else ''}",
    ]
    for need in status.needs:
        verb = "takes" if need.optional else "needs"
        every = need.levels == status.levels
        what = f"{verb} {need.what}{'' if every else ', for ' + ' and '.join(need.levels)}"
        lines.append(f"{'':20} {'[x]' if need.is_there else '[ ]'} {what}")
    if not status.needs:
        lines.append(f"{'':20} [x] needs nothing")
    return "\n".join(lines)


def schema(document: str) -> str:
    """``cloudbuster schema``: the JSON Schema of a document, by the name of its model."""
    known = models.DOCUMENTS
    if document not in known:
        msg = f"no document {document!r}; there is {', '.join(sorted(known))}"
        raise RequestError(msg)
    content = known[document].model_json_schema(by_alias=True)
    return orjson.dumps(content, option=orjson.OPT_INDENT_2).decode()


def load_request(uri: str) -> MosaicRequest:
    """Read a request; relative paths in it count from its own folder.

    Raises
    ------
    RequestError
        Where it breaks the contract.
    """
    request = read_document(uri, MosaicRequest)
    folder = str(local_path(uri).absolute().parent)
    aoi = request.aoi
    if set(aoi) == {"uri"}:
        aoi = {"uri": resolve(str(aoi["uri"]), folder)}
    catalog = request.query.catalog
    if catalog not in CATALOGS:
        catalog = resolve(catalog, folder)
    output = resolve(request.output or request.name, folder)
    mirrors = tuple(absolute_mirror(text, folder) for text in request.query.asset_mirror)
    query_options = request.query.model_copy(update={"catalog": catalog, "asset_mirror": mirrors})
    return request.model_copy(update={"aoi": aoi, "query": query_options, "output": output})


def _request(flags: Flags) -> MosaicRequest:
    if flags["request_file"]:
        mixed = sorted(flags["given"] - {"request_file", "output", "force", "dryrun", "as_json"})
        mixed = [name for name in mixed if name != "workers"]
        if mixed:
            msg = f"a request file and --{mixed[0].replace('_', '-')}: write it into the file"
            raise RequestError(msg)
        request = load_request(flags["request_file"])
        output = flags["output"] or request.output
        force = flags["force"] or request.force
        return request.model_copy(update={"output": output, "force": force})
    if not (flags["geojson"] and flags["name"]):
        msg = "give a request file, or --geojson and --name"
        raise RequestError(msg)
    return _made(
        MosaicRequest,
        name=flags["name"],
        aoi=_request_aoi(flags["geojson"]),
        query=_query_options(flags),
        filter=_filter_options(flags, minclouds=0),
        gather=gather_options(flags),
        merge=_made(MergeOptions, composite=flags["composite"]),
        limits=_made(LimitOptions, min_success_fraction=flags["min_success_fraction"]),
        output=flags["output"],
        force=flags["force"],
    )


def _query_options(flags: Flags) -> QueryOptions:
    token_given = bool(flags.get("refresh_token"))
    default = "rasterfoundry" if token_given else DEFAULT_CATALOG
    catalog = default if flags["catalog"] is None else flags["catalog"]
    if token_given and catalog != "rasterfoundry":
        msg = f"--refresh-token is of rasterfoundry, not of {catalog}; leave one of them out"
        raise RequestError(msg)
    return _made(
        QueryOptions,
        catalog=catalog,
        asset_mirror=tuple(absolute_mirror(text, ".") for text in flags["asset_mirror"]),
        **_picked(flags, "kind", "mindate", "maxdate", "minclouds", "maxclouds", "limit"),
        **_picked(flags, "scale", "original_shape"),
    )


def _filter_options(flags: Flags, *, minclouds: float) -> FilterOptions:
    names = ("strategy", "coverage_count", "max_uncovered", "max_selections", "backstop")
    return _made(
        FilterOptions,
        minclouds=minclouds,
        **_picked(flags, *names, "name_regexp", "date_regexp"),
    )


def gather_options(flags: Flags) -> GatherOptions:
    """Make the options of gather of its flags; RequestError where they break the contract."""
    return _made(
        GatherOptions,
        bands=bands_of(flags["bands"]),
        detector=_detector_options(flags),
        gsd_m=flags["gsd"],
        **_picked(flags, "dilate_m", "bounds_clip", "crs", "index_start", "donate_mask"),
        **_picked(flags, "on_radiometry_conflict"),
    )


def _detector_options(flags: Flags) -> DetectorOptions:
    """Make the options of the one detector that the flags name."""
    named = [
        kind
        for kind, given in (
            ("s2cloudless", flags["s2cloudless"]),
            ("pytorch", flags["architecture"] or flags["weights"]),
            ("donor", flags["donor_mask"]),
        )
        if given
    ]
    if len(named) > 1:
        msg = f"{' and '.join(named)}: give the flags of one detector"
        raise RequestError(msg)
    names = ("architecture", "weights", "trust_architecture", "donor_mask", "donor_mask_name")
    return _made(
        DetectorOptions,
        type=named[0] if named else "auto",
        mask_gsd_m=flags["mask_gsd"],
        **_picked(flags, *names, "also_stock", "preset", "threshold"),
        **_picked(flags, "average_over", "dilation_size"),
    )


def _require(flags: Flags, *names: str) -> None:
    """Refuse a command line without one of these flags, where no task stands for them."""
    for name in names:
        if not flags[name]:
            msg = f"give --{name.replace('_', '-')}, or --task alone"
            raise RequestError(msg)


def _picked(flags: Flags, *names: str) -> Flags:
    return {name: flags[name] for name in names}


def _made(model: type[M], **values: Any) -> M:  # noqa: ANN401 -- the model checks each value
    try:
        return model(**values)
    except ValidationError as error:
        raise RequestError(validation_message(error)) from error


def _task_of_index(tasks: list[GatherTask], index: int) -> list[GatherTask]:
    """Find the task that writes a scene index."""
    chosen = [task for task in tasks if index in (task.index, task.backstop_index)]
    if not chosen:
        numbers = [number for task in tasks for number in (task.index, task.backstop_index)]
        known = sorted(number for number in numbers if number is not None)
        msg = f"no scene has index {index}; they run from {known[0]} to {known[-1]}"
        raise RequestError(msg)
    return chosen


def _aoi(source: str) -> Geometry:
    """Read the area from a file, a URI or stdin."""
    if source != STDIN:
        return load_aoi(source)
    document = parse_json(read_input(source), source="stdin")
    if not isinstance(document, dict):
        msg = "stdin: no GeoJSON object"
        raise AoiError(msg)
    return document


def _request_aoi(source: str) -> Geometry:
    """Area as a request holds it: a file that is too large to stand in it is named instead."""
    document = _aoi(source)
    if source == STDIN or len(orjson.dumps(document)) <= models.MAX_INLINE_AOI_BYTES:
        return document
    return {"uri": resolve(source, ".")}


def _response_path(flags: Flags, aoi: Geometry) -> str:
    """Name the response: --response, else --aoi-name, else --name-property, else stdout."""
    if flags["response"]:
        return str(flags["response"])
    if flags["aoi_name"]:
        return f"{flags['aoi_name']}.json"
    if flags["name_property"]:
        try:
            return f"{feature_property(aoi, flags['name_property'])}.json"
        except ValueError as error:
            raise AoiError(str(error)) from error
    return STDIN


def read_input(uri: str) -> bytes:
    """Read a file, a URI or stdin."""
    return sys.stdin.buffer.read() if uri == STDIN else read_bytes(uri)


def _output(target: str, content: bytes) -> str | None:
    """Write to a file and name it, or give the document itself to stdout."""
    if target == STDIN:
        return content.decode().rstrip()
    if Path(target).is_dir():
        msg = f"{target} is a folder; name a file"
        raise OutputError(msg)
    write_bytes(target, content)
    return target


def _original_json(content: object) -> bytes:
    return orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
