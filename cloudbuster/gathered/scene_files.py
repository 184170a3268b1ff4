"""Find the gathered scenes of a mosaic in a folder or S3 prefix, and read their records."""

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from cloudbuster import models
from cloudbuster.core.grids.grid import GridWindow
from cloudbuster.errors import NothingUsableError, RasterError, RequestError
from cloudbuster.gathered.scene_raster import BACKSTOP_PREFIX, OpenScenes, scene_stem
from cloudbuster.models import MAX_SCENE_INDEX, SceneRecord
from cloudbuster.storage.files.folders import input_folder, names_in
from cloudbuster.storage.files.uri import join, local_path, read_bytes


@dataclass(frozen=True)
class SceneFile:
    """Files of one gathered scene.

    Attributes
    ----------
    path : Path
        Path of the raster.
    index : int
        Index of the scene, from the file name.
    backstop : bool
        Whether it is the unmasked backstop.
    record : SceneRecord or None
        Record in the document beside the raster, if there is one.
    """

    path: Path
    index: int
    backstop: bool
    record: SceneRecord | None

    @property
    def acquisition(self) -> str:
        """Id of the item, which a cloud-free scene and its backstop share; else the file name."""
        if self.record is not None:
            return self.record.item_id
        return self.path.stem.removeprefix(BACKSTOP_PREFIX)


def find_scenes(input_path: str, name: str) -> tuple[SceneFile, ...]:
    """Find the gathered scenes of a mosaic in a local folder.

    The files are named ``{name}-{index:02d}.tif`` or ``backstop-{name}-{index:02d}.tif``. Other
    files, such as donated masks and scenes of other mosaics, are ignored.

    Parameters
    ----------
    input_path : str
        Folder of the scenes, on this machine.
    name : str
        Name of the mosaic.

    Returns
    -------
    tuple of SceneFile
        Cloud-free scenes by index, then backstops by index: the order of preference.

    Raises
    ------
    NothingUsableError
        If there is no scene.
    RasterError
        If an index is out of range, or two items share one.
    RequestError
        If the name or a record is invalid.
    """
    check_name(name)
    return scenes_in(local_path(input_path), name, shown=input_path)


def find_records(
    input_path: str, name: str, *, wanted: Collection[str] | None = None
) -> tuple[SceneRecord, ...]:
    """Read the records of the gathered scenes of a mosaic, in order of preference.

    Parameters
    ----------
    input_path : str
        Folder or prefix of the scenes; only the records are fetched from S3.
    name : str
        Name of the mosaic.
    wanted : collection of str, optional
        Stems of the scenes to read, all of which must exist; None reads every scene of the mosaic.

    Raises
    ------
    NothingUsableError, RasterError
        If there is no scene, a wanted one is missing, or a raster has no record.
    RequestError
        If the name or a record is invalid.
    """
    check_name(name)
    is_wanted = partial(is_scene_file, name=name, wanted=wanted)
    paths = {PurePosixPath(file_name) for file_name in names_in(input_path) if is_wanted(file_name)}
    documents = {path.name for path in paths if path.suffix == ".json"}
    check_none_missing([PurePosixPath(document).stem for document in documents], wanted, input_path)
    bare = sorted(path.name for path in paths if path.with_suffix(".json").name not in documents)
    if bare:
        msg = f"{input_path}: {bare[0]} has no document beside it; gather this scene again"
        raise RasterError(msg)
    if not documents:
        raise _no_scene(input_path, f"{name}-NN.json")
    with input_folder(input_path, documents.__contains__) as folder:
        records = [_record(folder / document, name) for document in documents]
    return tuple(sorted(records, key=lambda record: (record.backstop, record.index)))


def files_from_records(records: tuple[SceneRecord, ...]) -> tuple[SceneFile, ...]:
    """Make scene files from records alone; raise RasterError if two items share an index."""
    files = [SceneFile(Path(each.raster), each.index, each.backstop, each) for each in records]
    _check_indices(files)
    return tuple(files)


@contextmanager
def scenes_in_window(
    input_path: str, records: tuple[SceneRecord, ...], window: GridWindow
) -> Iterator[tuple[SceneFile, ...]]:
    """Provide local files of the scenes that intersect a window of the mosaic's grid.

    Parameters
    ----------
    input_path : str
        Folder or prefix of the scenes; files in S3 are fetched.
    records : tuple of SceneRecord
        Records of all scenes of the mosaic, in order of preference.
    window : GridWindow
        Window in cells of the mosaic's grid.

    Yields
    ------
    tuple of SceneFile
        Scenes in order of preference. If none intersects the window, the first scene, whose bands
        are those of the mosaic.
    """
    grid, name = records[0].grid.grid(), records[0].name
    rasters = [record.raster for record in records]
    with OpenScenes([join(input_path, raster) for raster in rasters], grid) as scenes:
        wanted = {rasters[position] for position in scenes.intersecting(window) or [0]}
    names = wanted | {str(Path(raster).with_suffix(".json")) for raster in wanted}
    with input_folder(input_path, names.__contains__) as folder:
        yield scenes_in(
            folder, name, shown=input_path, wanted={Path(raster).stem for raster in wanted}
        )


def check_none_missing(stems: Collection[str], wanted: Collection[str] | None, where: str) -> None:
    """Raise RasterError if a wanted scene is not among ``stems``."""
    missing = sorted(set(wanted or ()) - set(stems))
    if missing:
        msg = (
            f"{where} lacks {len(missing)} of {len(wanted or ())} scenes, the first is "
            f"{missing[0]}; gather them again"
        )
        raise RasterError(msg)


def _no_scene(folder: str, file_name: str) -> NothingUsableError:
    """Make the error for a folder without a scene of the mosaic."""
    return NothingUsableError(f"{folder} holds no scene {file_name}; gather some, or check --name")


def is_scene_file(file_name: str, *, name: str, wanted: Collection[str] | None = None) -> bool:
    """Whether a file is the raster or the record of a gathered scene of mosaic ``name``.

    The index must be written as gather writes it: ``NAME-02.tif`` is a scene, ``NAME-002.tif`` is
    not. If ``wanted`` is given, only those stems count.
    """
    if wanted is not None and file_name.rpartition(".")[0] not in wanted:
        return False
    return _role(file_name, name) is not None


def _role(file_name: str, name: str) -> tuple[int, bool] | None:
    """Index of the scene of a file, and whether it is a backstop; None if not of ``name``."""
    pattern = rf"({BACKSTOP_PREFIX})?{re.escape(name)}-([0-9]+)\.(tif|json)"
    match = re.fullmatch(pattern, file_name)
    if match is None:
        return None
    index, prefix = int(match[2]), match[1] or ""
    as_written = scene_stem(name, index, prefix=prefix) == file_name.rpartition(".")[0]
    return (index, bool(prefix)) if as_written else None


def check_name(name: str) -> None:
    """Raise RequestError if ``name`` cannot name a mosaic."""
    try:
        models.check_name(name)
    except ValueError as error:
        raise RequestError(str(error)) from error


def scenes_in(
    folder: Path, name: str, *, shown: str, wanted: Collection[str] | None = None
) -> tuple[SceneFile, ...]:
    """Find scenes as `find_scenes` does, with the options of `find_records`.

    Errors name the folder ``shown``, which differs from ``folder`` if the scenes come from S3.
    """
    files = []
    for path in folder.iterdir() if folder.is_dir() else ():
        role = _role(path.name, name) if path.suffix == ".tif" else None
        if role is not None and (wanted is None or path.stem in wanted):
            files.append(_scene_file(path, name, role[0], backstop=role[1]))
    check_none_missing([file.path.stem for file in files], wanted, shown)
    if not files:
        raise _no_scene(shown, f"{name}-NN.tif")
    files.sort(key=lambda file: (file.backstop, file.index))
    _check_indices(files)
    return tuple(files)


def _scene_file(path: Path, name: str, index: int, *, backstop: bool) -> SceneFile:
    """Make the scene file of a raster, with its record if there is one."""
    if not 1 <= index <= MAX_SCENE_INDEX:
        msg = f"{path}: index {index} is not in 1 to {MAX_SCENE_INDEX}; gather this scene again"
        raise RasterError(msg)
    document = path.with_suffix(".json")
    if not document.is_file():
        return SceneFile(path, index, backstop, None)
    return SceneFile(path, index, backstop, _record(document, name))


def _record(document: Path, name: str) -> SceneRecord:
    """Read the record of a scene; raise RequestError if it is invalid or does not fit its name."""
    try:
        record = SceneRecord.model_validate_json(read_bytes(str(document)))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        msg = f"{document}: {place}: {first['msg']}; gather this scene again"
        raise RequestError(msg) from error
    is_its_own = record.raster == document.with_suffix(".tif").name
    role = (record.index, record.backstop)
    if not is_its_own or (record.name, role) != (name, _role(document.name, name)):
        msg = (
            f"{document} is the record of scene {record.index} of {record.name}; "
            "gather this scene again"
        )
        raise RequestError(msg)
    return record


def _check_indices(files: list[SceneFile]) -> None:
    """Raise RasterError if two items share an index: ``scene_index`` could not separate them."""
    known: dict[int, SceneFile] = {}
    for file in files:
        other = known.setdefault(file.index, file)
        if other.acquisition != file.acquisition:
            msg = (
                f"{other.path.name} and {file.path.name} share index {file.index} but belong to "
                "different items; gather one of them with another --index-start"
            )
            raise RasterError(msg)
