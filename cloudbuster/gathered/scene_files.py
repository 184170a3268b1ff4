"""The gathered scenes in a folder: which files are whose, and what is known of each."""

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from cloudbuster import models
from cloudbuster.core.grid import GridWindow
from cloudbuster.errors import NothingUsableError, RasterError, RequestError
from cloudbuster.gathered.scene_raster import BACKSTOP_PREFIX, OpenScenes, scene_stem
from cloudbuster.models import MAX_SCENE_INDEX, SceneRecord
from cloudbuster.storage.folders import input_folder, names_in
from cloudbuster.storage.uri import join, local_path, read_bytes


@dataclass(frozen=True)
class SceneFile:
    """One gathered scene as it lies in a folder.

    Attributes
    ----------
    path : Path
        Of its raster.
    index : int
        From its file name.
    backstop : bool
        Whether it is an unmasked one.
    record : SceneRecord or None
        The document beside it, where there is one.
    """

    path: Path
    index: int
    backstop: bool
    record: SceneRecord | None

    @property
    def acquisition(self) -> str:
        """Id of its item: the same for a cloud-free scene and the backstop of the same item."""
        if self.record is not None:
            return self.record.item_id
        return self.path.stem.removeprefix(BACKSTOP_PREFIX)


def find_scenes(input_path: str, name: str) -> tuple[SceneFile, ...]:
    """Find the gathered scenes of ``name``: the cloud-free ones by index, then the backstops.

    A file counts only if its whole name is ``{name}-{index:02d}.tif``, or that with the prefix
    ``backstop-``; scenes of other names and donated masks may lie beside them.

    Parameters
    ----------
    input_path : str
        Folder of the scenes, on this machine.
    name : str
        Of the mosaic.

    Returns
    -------
    tuple of SceneFile
        In order of preference.

    Raises
    ------
    NothingUsableError
        Where there is none.
    RasterError
        Where an index is out of range or two items share one.
    RequestError
        Where the name or a record breaks the contract.
    """
    check_name(name)
    return scenes_in(local_path(input_path), name, shown=input_path)


def find_records(
    input_path: str, name: str, *, wanted: Collection[str] | None = None
) -> tuple[SceneRecord, ...]:
    """Read the documents of the gathered scenes of ``name``, in order of preference.

    Parameters
    ----------
    input_path : str
        Folder or prefix of the scenes; of S3 the documents alone are fetched.
    name : str
        Of the mosaic.
    wanted : collection of str, optional
        Stems of the scenes, all of which must be there; whatever else lies there is left alone.

    Raises
    ------
    NothingUsableError
        Where there is none.
    RasterError
        Where one that is wanted is missing, or a raster has no document.
    RequestError
        Where one breaks the contract.
    """
    check_name(name)
    ours = partial(is_scene_file, name=name, wanted=wanted)
    names = {PurePosixPath(file_name) for file_name in names_in(input_path) if ours(file_name)}
    documents = {path.name for path in names if path.suffix == ".json"}
    check_all_there([PurePosixPath(document).stem for document in documents], wanted, input_path)
    unknown = sorted(path.name for path in names if path.with_suffix(".json").name not in documents)
    if unknown:
        msg = f"{input_path}: {unknown[0]} has no document beside it; gather this scene again"
        raise RasterError(msg)
    if not documents:
        msg = f"{input_path} holds no scene {name}-NN.json; gather some, or check --name"
        raise NothingUsableError(msg)
    with input_folder(input_path, documents.__contains__) as folder:
        records = [_record(folder / document, name) for document in documents]
    return tuple(sorted(records, key=lambda record: (record.backstop, record.index)))


def files_of(records: tuple[SceneRecord, ...]) -> tuple[SceneFile, ...]:
    """Make scenes of their records alone, wherever their rasters lie, each index of one item."""
    files = [SceneFile(Path(each.raster), each.index, each.backstop, each) for each in records]
    _check_indices(files)
    return tuple(files)


@contextmanager
def scenes_meeting(
    input_path: str, records: tuple[SceneRecord, ...], window: GridWindow
) -> Iterator[tuple[SceneFile, ...]]:
    """Yield those scenes that hold a cell of ``window``, fetched from S3 where they lie there.

    Parameters
    ----------
    input_path : str
        Folder or prefix of the scenes.
    records : tuple of SceneRecord
        Of all scenes of one mosaic, in order of preference.
    window : GridWindow
        Cells of the mosaic's grid.

    Yields
    ------
    tuple of SceneFile
        In order of preference. Where none meets the window, the first: it says which bands the
        mosaic has.
    """
    grid, name = records[0].grid.grid(), records[0].name
    rasters = [record.raster for record in records]
    with OpenScenes([join(input_path, raster) for raster in rasters], grid) as scenes:
        wanted = {rasters[position] for position in scenes.meeting(window) or [0]}
    names = wanted | {str(Path(raster).with_suffix(".json")) for raster in wanted}
    with input_folder(input_path, names.__contains__) as folder:
        yield scenes_in(
            folder, name, shown=input_path, wanted={Path(raster).stem for raster in wanted}
        )


def check_all_there(stems: Collection[str], wanted: Collection[str] | None, where: str) -> None:
    """Raise RasterError where a scene that is wanted is not among ``stems``."""
    missing = sorted(set(wanted or ()) - set(stems))
    if missing:
        msg = (
            f"{where} lacks {len(missing)} of {len(wanted or ())} scenes, the first is "
            f"{missing[0]}; gather them again"
        )
        raise RasterError(msg)


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def is_scene_file(file_name: str, *, name: str, wanted: Collection[str] | None = None) -> bool:
    """Whether a file is a gathered scene of mosaic ``name``, or the document of one.

    Only as gather writes it: ``NAME-2020.tif`` may be one of ours, ``NAME-002020.tif`` is not. With
    ``wanted``, only one of these stems.
    """
    if wanted is not None and file_name.rpartition(".")[0] not in wanted:
        return False
    return _role(file_name, name) is not None


def _role(file_name: str, name: str) -> tuple[int, bool] | None:
    """Index of a scene's file and whether it is a backstop; None where it is none of ``name``."""
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
    """Like `find_scenes`, of a folder that an error calls ``shown``; of the ``wanted`` stems."""
    files = []
    for path in _entries(folder):
        role = _role(path.name, name) if path.suffix == ".tif" else None
        if role is not None and (wanted is None or path.stem in wanted):
            files.append(_scene_file(path, name, role[0], backstop=role[1]))
    check_all_there([file.path.stem for file in files], wanted, shown)
    if not files:
        msg = f"{shown} holds no scene {name}-NN.tif; gather some, or check --name"
        raise NothingUsableError(msg)
    files.sort(key=lambda file: (file.backstop, file.index))
    _check_indices(files)
    return tuple(files)


def _scene_file(path: Path, name: str, index: int, *, backstop: bool) -> SceneFile:
    if not 1 <= index <= MAX_SCENE_INDEX:
        msg = f"{path}: index {index} is not in 1 to {MAX_SCENE_INDEX}; gather this scene again"
        raise RasterError(msg)
    document = path.with_suffix(".json")
    if not document.is_file():
        return SceneFile(path, index, backstop, None)
    return SceneFile(path, index, backstop, _record(document, name))


def _record(document: Path, name: str) -> SceneRecord:
    """Read the document of a scene of ``name``, which must be the one that its file name says."""
    try:
        record = SceneRecord.model_validate_json(read_bytes(str(document)))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        msg = f"{document}: {place}: {first['msg']}; gather this scene again"
        raise RequestError(msg) from error
    if (record.name, (record.index, record.backstop)) != (name, _role(document.name, name)):
        msg = f"{document} is of scene {record.index} of {record.name}; gather this scene again"
        raise RequestError(msg)
    return record


def _check_indices(files: list[SceneFile]) -> None:
    """`scene_index` must tell items apart: a backstop shares an index with its own item only."""
    known: dict[int, SceneFile] = {}
    for file in files:
        other = known.setdefault(file.index, file)
        if other.acquisition != file.acquisition:
            msg = (
                f"{other.path.name} and {file.path.name} share index {file.index} and are of "
                "different items; gather one of them with another --index-start"
            )
            raise RasterError(msg)
