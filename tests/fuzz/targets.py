"""The parsers: what reads a content, and what must hold whatever it is."""

from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np
import orjson

from cloudbuster.aws.admission import parse_request
from cloudbuster.aws.settings import StackSettings
from cloudbuster.aws.stack.inbox import Inbox
from cloudbuster.catalogs.schema import parse_scene
from cloudbuster.core.pixels.masks import PixelClass
from cloudbuster.core.scenes.scene import BandAsset, Scene
from cloudbuster.core.texts.json_values import check_json
from cloudbuster.errors import NotFoundError
from cloudbuster.filter import filter_scenes
from cloudbuster.inputs.areas import check_crs, load_aoi, request_area
from cloudbuster.inputs.request_files import load_request
from cloudbuster.models import (
    Candidates,
    DetectorOptions,
    Document,
    FilterOptions,
    GatherTask,
    MosaicRequest,
    QueryOptions,
    SceneRecord,
    Selection,
)
from cloudbuster.query import query_scenes
from cloudbuster.selection.messages import not_covered_error
from cloudbuster.source.masks.gml import read_cloud_polygons
from cloudbuster.source.thumbnails.sky_thumbnail import read_sky_thumbnail
from cloudbuster.source.thumbnails.thumbnail_files import read_thumbnail_file, write_thumbnail_file
from cloudbuster.storage.files.documents import parse_candidates, parse_document, parse_selection
from cloudbuster.storage.files.run_layout import RunLayout, run_id
from cloudbuster.storage.rasters.raster_file import RasterFile
from tests.fuzz import samples
from tests.fuzz.execution import Target, attempt

SETTINGS = StackSettings(root="s3://stack", default_request={"query": samples.QUERY}, torch=True)
OPTIONS = QueryOptions.model_validate(samples.QUERY)
SOURCE = "s3://stack/requests/a.json"
# A document of a run may be as long as the items in it; what is written again is not cut.
KINDS: tuple[type[Document], ...] = (MosaicRequest, Candidates, Selection, GatherTask, SceneRecord)


def _written(folder: Path, name: str, content: bytes) -> str:
    path = folder / name
    path.write_bytes(content)
    return str(path)


def _reads_back(document: Document) -> None:
    """A document that is accepted can be written, and reads back as itself."""
    assert type(document).model_validate_json(document.to_json()) == document


def _request(content: bytes, folder: Path) -> None:
    path = _written(folder, "request.json", content)
    attempt(lambda: _reads_back(load_request(path)))
    attempt(lambda: _admitted(content))


def _admitted(content: bytes) -> None:
    request = parse_request(content, source=SOURCE, settings=SETTINGS)
    _reads_back(request)
    layout = RunLayout.in_bucket(request, SETTINGS.root, execution="e")
    assert layout.products.startswith("s3://stack/mosaics/")
    assert "/" not in run_id(request)


def _area(content: bytes, folder: Path) -> None:
    path = _written(folder, "area.geojson", content)
    attempt(lambda: _admitted(content))
    area = request_area(load_aoi(path), QueryOptions(scale=1.5))
    assert area.is_valid
    assert not area.is_empty
    request = MosaicRequest.model_validate({"name": "a", "aoi": {"uri": path}})
    check_crs(request.gather, area)


def _event(content: bytes, _folder: Path) -> None:
    def read(uri: str) -> bytes:
        if uri == SOURCE:
            return b"{"
        raise NotFoundError(uri)

    inbox, place = Inbox(SETTINGS), "cloudbuster.aws.stack.inbox"
    answers: list[str] = []
    message = {"messageId": "1", "body": content.decode(errors="replace")}
    with (
        patch(f"{place}.read_bytes", read),
        patch(f"{place}.write_bytes", lambda uri, _content: answers.append(uri)),
    ):
        assert inbox.handle_messages([message]) == []
    assert all(uri.startswith("s3://stack/rejected/") for uri in answers)


def _parses(content: bytes) -> bool:
    """Whether a content is JSON at all."""
    try:
        return check_json(orjson.loads(content), levels=200) is not None
    except ValueError:
        return False


def _item(content: bytes, folder: Path) -> None:
    """A bad item never ends a search, nor what comes after it."""
    parts = (orjson.dumps(samples.good_item()), content)
    collection = b'{"type": "FeatureCollection", "features": [%b, %b]}' % parts
    found = _chosen(_written(folder, "items.json", collection), must_find=_parses(content))
    for item in found.features if found else ():
        scene = parse_scene(item, catalog="fuzz")
        assert scene.id


def _collection(content: bytes, folder: Path) -> None:
    attempt(lambda: _chosen(_written(folder, "catalog.json", content)))


def _parquet(content: bytes, folder: Path) -> None:
    attempt(lambda: _chosen(_written(folder, "items.parquet", content)))


def _chosen(path: str, *, must_find: bool = False) -> Candidates | None:
    """Search a catalog, and filter what was found."""
    found: list[Candidates] = []

    def search() -> None:
        options = OPTIONS.model_copy(update={"catalog": path})
        found.append(query_scenes(samples.AREA, options, with_twins=True))

    is_done = attempt(search)
    assert is_done or not must_find, "a bad item ended the search"
    if not found:
        return None
    _reads_back(found[0])
    if must_find:
        assert samples.GOOD_ID in {item["id"] for item in found[0].features}
    is_filtered = attempt(lambda: _filtered(found[0]))
    assert is_filtered or not must_find, "a bad item ended the filter"
    return found[0]


def _filtered(candidates: Candidates) -> None:
    # Strategy clear would read the files of the items.
    options = FilterOptions(
        strategy="original", coverage_count=1, name_regexp="S2", date_regexp="20"
    )
    selection = filter_scenes(candidates, options, bands=("B02",))
    _reads_back(selection)
    assert str(not_covered_error(selection, options))


def _candidates(content: bytes, _folder: Path) -> None:
    _filtered(parse_candidates(content, source="candidates.json"))


def _selection(content: bytes, _folder: Path) -> None:
    selection = parse_selection(content, source="selection.json")
    _reads_back(selection)
    for item in selection.features:
        attempt(lambda item=item: parse_scene(item, catalog="fuzz"))  # type: ignore[misc]


def _original(content: bytes, folder: Path) -> None:
    attempt(lambda: _candidates(content, folder))
    attempt(lambda: _selection(content, folder))


def _task(content: bytes, _folder: Path) -> None:
    task = parse_document(content, GatherTask, source="task.json")
    _reads_back(task)
    assert task.grid.grid().width > 0
    parse_scene(task.item, catalog=task.catalog)


def _record(content: bytes, _folder: Path) -> None:
    record = parse_document(content, SceneRecord, source="record.json")
    _reads_back(record)
    assert record.grid.grid().width > 0
    assert record.radiometry.decision().verdict


def _gml(content: bytes, folder: Path) -> None:
    clouds = read_cloud_polygons(_written(folder, "clouds.gml", content))
    assert all(polygon.bounds for polygon in clouds.polygons if not polygon.is_empty)


def _raster(suffix: str) -> Callable[[bytes, Path], None]:
    def run(content: bytes, folder: Path) -> None:
        with RasterFile(_written(folder, f"band{suffix}", content)) as file:
            pixels = file.read(1, out_shape=(64, 64))
            assert pixels.shape == (64, 64)
            assert str(file.crs), str(file.transform)

    return run


def _scene_classes(content: bytes, folder: Path) -> None:
    """A thumbnail of mutated scene classes holds pixel classes alone, and can be written."""
    mask = BandAsset(_written(folder, "SCL.tif", content))
    scene = Scene("S2A_33TWL_20200510_0_L2A", "L2A", masks={"scl": mask})
    thumbnail = read_sky_thumbnail(scene, ("B02",), DetectorOptions(type="stock"), 0)
    assert thumbnail.classes.shape == thumbnail.grid.shape
    assert set(np.unique(thumbnail.classes)) <= set(PixelClass)
    write_thumbnail_file(str(folder / "written.tif"), thumbnail, samples.FINGERPRINT)


def _thumbnail(content: bytes, folder: Path) -> None:
    """A damaged thumbnail is none, so that it is made again."""
    path = _written(folder, "read.tif", content)
    thumbnail = read_thumbnail_file(path, samples.FINGERPRINT)
    (valid,) = samples.thumbnails(folder)
    assert thumbnail is not None or content != valid
    if thumbnail is not None:
        original = read_thumbnail_file(_written(folder, "read.tif", valid), samples.FINGERPRINT)
        assert original is not None
        assert thumbnail.grid == original.grid
        assert np.array_equal(thumbnail.classes, original.classes)


def _weights(content: bytes, folder: Path) -> None:
    import torch

    from cloudbuster.detectors.torch_weights import load_model

    load_model(
        _written(folder, "weights.pth", content),
        architecture=str(folder / "model.py"),
        # The architecture of the sample alone is code: mutations make no programs that run.
        trusted=True,
        num_channels=4,
        device=torch.device("cpu"),
    )


TARGETS = {
    target.name: target
    for target in (
        Target("request", samples.requests, _request),
        Target("area", samples.areas, _area),
        Target("event", samples.events, _event),
        Target("item", samples.items, _item),
        Target("collection", samples.collections, _collection),
        Target("original", samples.originals, _original),
        Target("candidates", samples.candidates, _candidates),
        Target("selection", samples.selections, _selection),
        Target("task", samples.tasks, _task),
        Target("record", samples.records, _record),
        Target("parquet", samples.parquet, _parquet, package="pyarrow"),
        Target("gml", samples.gml, _gml),
        Target("geotiff", samples.geotiffs, _raster(".tif")),
        Target("jp2", samples.jp2s, _raster(".jp2")),
        Target("scene-classes", samples.scene_classes, _scene_classes),
        Target("thumbnail", samples.thumbnails, _thumbnail),
        Target("weights", samples.weights, _weights, package="torch"),
    )
}
"""Every target by its name."""
