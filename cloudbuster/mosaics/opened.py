"""Find a finished mosaic by any of its files, and the documents of the run that made it."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, TypeVar

from cloudbuster.errors import BadInputError, NotFoundError, RequestError
from cloudbuster.models import (
    Assessment,
    Candidates,
    Claim,
    Document,
    GatherTask,
    MosaicRequest,
    RunStatus,
    Selection,
)
from cloudbuster.models.base import RESERVED_NAMES
from cloudbuster.runs.tasks import read_tasks
from cloudbuster.storage.files.documents import parse_json, read_document
from cloudbuster.storage.files.folders import names_in
from cloudbuster.storage.files.run_layout import RunLayout
from cloudbuster.storage.files.uri import exists, is_remote, join, local_path, read_bytes, resolve

D = TypeVar("D", bound=Document)

CLOUDLESS, CLOUDY, QUALITY = "cloudless", "cloudy", "quality"
# Ends of the file names of a mosaic's rasters, after its name.
RASTER_ENDS = tuple(f"-{key}.tif" for key in (CLOUDLESS, CLOUDY, QUALITY))
# Folder of the products in the stack's bucket, and what lies beside it: see `RunLayout.in_bucket`.
PRODUCTS_FOLDER = "mosaics"


@dataclass(frozen=True)
class SceneRow:
    """One row of the scene table of a mosaic's item.

    Attributes
    ----------
    index : int
        Value of ``scene_index``.
    backstop : bool
        Whether its pixels are unmasked.
    item_id : str or None
        Id of the STAC item; None if the scene had no record.
    fields : mapping
        All members of the row.
    """

    index: int
    backstop: bool
    item_id: str | None
    fields: dict[str, Any] = field(repr=False, compare=False)

    @classmethod
    def of(cls, row: object, source: str) -> "SceneRow":
        """Read a row; raise RequestError if it has no index."""
        index = row.get("index") if isinstance(row, dict) else None
        if not isinstance(row, dict) or not isinstance(index, int) or isinstance(index, bool):
            msg = f"{source}: a row of cloudbuster:scenes has no index; merge the mosaic again"
            raise RequestError(msg)
        item_id = row.get("item_id")
        return cls(index, row.get("backstop") is True, str(item_id) if item_id else None, row)

    @property
    def detector(self) -> str:
        """Name and parameters of the detector that masked the scene."""
        return str(self.fields.get("detector") or "an unknown detector")


class RunDocuments:
    """Documents of the run that made a mosaic, each None if it is not there or of another mosaic.

    Parameters
    ----------
    folder : str or None
        Folder or prefix of the documents; None if it is unknown.
    name : str
        Name of the mosaic.
    scenes : str or None
        Folder or prefix of the gathered scenes, if it is not that of the run.
    """

    def __init__(self, folder: str | None, name: str, scenes: str | None = None) -> None:
        self.folder = folder
        self.name = name
        self._scenes = scenes

    @cached_property
    def request(self) -> MosaicRequest | None:
        """Request of the run; None if the documents are of a mosaic of another name."""
        found = self._read("request.json", MosaicRequest)
        return found if found is not None and found.name == self.name else None

    @cached_property
    def status(self) -> RunStatus | None:
        """State of the run."""
        found = self._read("status.json", RunStatus)
        return found if found is not None and found.name == self.name else None

    @cached_property
    def candidates(self) -> Candidates | None:
        """Result of the query."""
        return self._of_run("candidates.json", Candidates)

    @cached_property
    def selection(self) -> Selection | None:
        """Result of the filter."""
        return self._of_run("selection.json", Selection)

    @cached_property
    def assessment(self) -> Assessment | None:
        """What the scenes cover, and which failed."""
        return self._of_run("assessment.json", Assessment)

    @cached_property
    def tasks(self) -> list[GatherTask]:
        """Tasks of the scenes; none if they are not there any more."""
        layout = self.layout
        tasks = [] if layout is None else read_tasks(layout.tasks)
        return [task for task in tasks if task.name == self.name]

    @cached_property
    def layout(self) -> RunLayout | None:
        """Where the run keeps its files; None if that is unknown."""
        if self.folder is None or self.request is None:
            return None
        if not is_remote(self.folder):
            return RunLayout.in_folder(self.request, self.folder)
        root = self.folder.rpartition("/runs/")[0]
        execution = self.status.execution if self.status else None
        return RunLayout.in_bucket(self.request, root, execution=execution or "") if root else None

    @cached_property
    def scenes(self) -> str | None:
        """Folder or prefix of the gathered scenes; None if it is unknown or gone."""
        place = self._scenes or (self.layout.scenes if self.layout else None)
        if place is None and self.folder is not None:
            place = join(self.folder, "scenes")
        return place if place is not None and names_in(place) else None

    def _of_run(self, name: str, model: type[D]) -> D | None:
        """Read a document of the run, unless the folder is that of another mosaic."""
        return None if self.request is None else self._read(name, model)

    def _read(self, name: str, model: type[D]) -> D | None:
        """Read a document; None if it is not there, or cannot be read."""
        if self.folder is None:
            return None
        uri = join(self.folder, name)
        try:
            return read_document(uri, model) if exists(uri) else None
        except BadInputError:
            return None


@dataclass(frozen=True)
class FinishedMosaic:
    """A mosaic that was merged.

    Attributes
    ----------
    uri : str
        Address of its STAC item.
    item : mapping
        The item.
    rows : tuple of SceneRow
        Its scene table, in the order of preference.
    run : RunDocuments
        Documents of the run that made it.
    """

    uri: str
    item: dict[str, Any] = field(repr=False)
    rows: tuple[SceneRow, ...] = field(repr=False)
    run: RunDocuments = field(repr=False)

    @property
    def name(self) -> str:
        """Name of the mosaic."""
        return str(self.item["id"])

    @property
    def folder(self) -> str:
        """Folder or prefix of the products."""
        return folder_of(self.uri)

    @property
    def properties(self) -> dict[str, Any]:
        """Properties of the item."""
        found = self.item.get("properties")
        return found if isinstance(found, dict) else {}

    @property
    def composite(self) -> str:
        """Name of the composite."""
        return str(self.properties.get("cloudbuster:composite", "first"))

    @cached_property
    def request(self) -> MosaicRequest | None:
        """Request of the mosaic, from the run or, without secrets, from the item."""
        if self.run.request is not None:
            return self.run.request
        content = self.properties.get("cloudbuster:request")
        try:
            return MosaicRequest.model_validate(content) if content is not None else None
        except ValueError:
            return None

    @property
    def is_synthetic(self) -> bool:
        """Whether a pixel may have values that no scene has."""
        return self.properties.get("cloudbuster:synthetic") is True

    def row(self, index: int, *, backstop: bool) -> SceneRow | None:
        """Return the row of a scene index, for its cloud-free raster or its backstop."""
        found = (row for row in self.rows if (row.index, row.backstop) == (index, backstop))
        return next(found, None)

    def source_row(self, index: int, *, filled: bool) -> SceneRow | None:
        """Return the row of a pixel's scene; ``filled`` says that the pixel is not a clear one.

        A composite may fill a cell with a cloud-free raster's pixel that it refuses as clear.
        """
        return self.row(index, backstop=filled) or self.row(index, backstop=not filled)

    def raster(self, key: str) -> str:
        """Address of a raster: ``cloudless``, ``cloudy``, ``quality``, or a band of its own.

        Raises
        ------
        NotFoundError
            If the item has no such asset.
        """
        asset = (self.item.get("assets") or {}).get(key)
        href = asset.get("href") if isinstance(asset, dict) else None
        if not isinstance(href, str):
            msg = f"{self.uri} has no asset {key}; merge the mosaic again"
            raise NotFoundError(msg)
        return resolve(href.removeprefix("./"), self.folder)

    @property
    def cloudless(self) -> list[str]:
        """Addresses of the mosaic: one file of all bands, or one of each band in order."""
        assets = self.item.get("assets") or {}
        if CLOUDLESS in assets:
            return [self.raster(CLOUDLESS)]
        bands = [key for key, asset in assets.items() if _is_band(key, asset)]
        return [self.raster(key) for key in bands] or [self.raster(CLOUDLESS)]


def open_mosaic(place: str, *, run: str | None = None, scenes: str | None = None) -> FinishedMosaic:
    """Open a mosaic.

    Parameters
    ----------
    place : str
        Folder or ``s3://`` prefix of a run or of its products, the STAC item of the mosaic, or one
        of its rasters.
    run : str, optional
        Folder or prefix of the documents of the run, if they are not beside the item.
    scenes : str, optional
        Folder or prefix of the gathered scenes, if it is not that of the run.

    Returns
    -------
    FinishedMosaic

    Raises
    ------
    NotFoundError
        If there is no mosaic, or more than one; says which.
    RequestError
        If the item cannot be read, or is not that of a mosaic of this package.
    AccessError, TryAgainError
        If the storage refuses access or fails.
    """
    uri, documents = _item_of(place.rstrip("/") if len(place) > 1 else place)
    item = parse_json(read_bytes(uri), source=uri)
    rows = _rows(item, uri)
    name = str(item["id"])
    folder = run or documents or _documents_of(folder_of(uri), name)
    return FinishedMosaic(uri, item, rows, RunDocuments(folder, name, scenes))


def folder_of(uri: str) -> str:
    """Return the folder or prefix of a file."""
    return uri.rpartition("/")[0] or "."


def _item_of(place: str) -> tuple[str, str | None]:
    """Return the address of the item, and the folder of the run's documents if it is ``place``."""
    if place.endswith(".json"):
        return _there(place), None
    for end in RASTER_ENDS:
        if place.endswith(end):
            return _there(f"{place.removesuffix(end)}.json"), None
    if place.endswith((".tif", ".png", ".html")):
        return _item_beside(place), None
    return _item_in(place)


def _there(uri: str) -> str:
    """Return an address of an item; raise NotFoundError if nothing is there."""
    if not uri.startswith(("http://", "https://")) and not exists(uri):
        msg = f"{uri}: there is no item of a mosaic; give its folder, its item or its raster"
        raise NotFoundError(msg)
    return uri


def _item_beside(place: str) -> str:
    """Return the item of which a file is an asset: NAME.json, for the longest such NAME."""
    folder, _, file = place.rpartition("/")
    stems = [PurePosixPath(name).stem for name in _mosaic_files(folder or ".")]
    fitting = [stem for stem in stems if file.startswith(f"{stem}-")]
    if not fitting:
        msg = f"{place}: no item of a mosaic lies beside it; give the folder of a mosaic"
        raise NotFoundError(msg)
    return join(folder or ".", f"{max(fitting, key=len)}.json")


def _item_in(folder: str) -> tuple[str, str | None]:
    """Return the item in a folder, or the one that the run in it has written elsewhere."""
    if not is_remote(folder) and not local_path(folder).is_dir():
        msg = f"{folder}: there is no such folder; give a mosaic's folder, item or raster"
        raise NotFoundError(msg)
    files = _mosaic_files(folder)
    if len(files) == 1:
        return join(folder, files[0]), None
    if len(files) > 1:
        msg = f"{folder} holds {len(files)} mosaics; give one of {', '.join(files[:10])}"
        raise NotFoundError(msg)
    uri = join(folder, "status.json")
    status = read_document(uri, RunStatus) if exists(uri) else None
    if status is not None and status.products is not None:
        return status.products.item, folder
    inner = _mosaics_below(folder)
    hint = f"; there are mosaics in {', '.join(inner[:10])}" if inner else ""
    msg = f"{folder} holds no finished mosaic{hint}; give a mosaic's folder, item or raster"
    raise NotFoundError(msg)


def _mosaic_files(folder: str) -> list[str]:
    """Return the names of the items of mosaics in a folder: those with a raster beside them."""
    names = set(names_in(folder))
    return sorted(
        name
        for name in names
        if name.endswith(".json")
        and name.removesuffix(".json") not in RESERVED_NAMES
        and f"{name.removesuffix('.json')}-quality.tif" in names
    )


def _mosaics_below(folder: str) -> list[str]:
    """Return the folders in a local folder that hold a mosaic."""
    if is_remote(folder):
        return []
    inner = sorted(path for path in local_path(folder).iterdir() if path.is_dir())
    return [str(path) for path in inner if _mosaic_files(str(path))]


def _documents_of(products: str, name: str) -> str | None:
    """Return the folder of the documents of the run that made the products in a folder."""
    if not is_remote(products):
        return products
    if not products.startswith("s3://"):
        return None
    claim = _claim(join(products, "claim.json"))
    root, divider, run = products.rpartition(f"/{PRODUCTS_FOLDER}/")
    if claim is not None and claim.name == name and divider:
        return join(root, "runs", claim.run)
    return join(root, "runs", run) if divider else None


def _claim(uri: str) -> Claim | None:
    """Read the mark of a run; None if there is none."""
    try:
        return read_document(uri, Claim) if exists(uri) else None
    except BadInputError:
        return None


def _rows(item: object, uri: str) -> tuple[SceneRow, ...]:
    """Read the scene table of an item; raise RequestError if it is not that of a mosaic."""
    is_object = isinstance(item, dict) and isinstance(item.get("id"), str)
    properties = item.get("properties") if isinstance(item, dict) else None
    table = properties.get("cloudbuster:scenes") if isinstance(properties, dict) else None
    if not is_object or not isinstance(table, list) or not table:
        msg = f"{uri} is not the item of a mosaic: it has no scene table; give that of a mosaic"
        raise RequestError(msg)
    return tuple(SceneRow.of(row, uri) for row in table)


def _is_band(key: str, asset: object) -> bool:
    """Return whether an asset is one band of the mosaic in a file of its own."""
    if key in (CLOUDY, QUALITY) or not isinstance(asset, dict):
        return False
    bands = asset.get("eo:bands")
    return isinstance(bands, list) and len(bands) == 1 and bands[0].get("name") == key
