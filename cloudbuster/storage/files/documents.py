"""Documents of the contract, read and written by URI; errors name the field and the remedy."""

import difflib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, get_args

import orjson
from pydantic import BaseModel, ValidationError

from cloudbuster.core.scenes.bands import Kind
from cloudbuster.core.texts.json_text import JsonError, parsed_json, utf8_text
from cloudbuster.core.texts.json_values import MAX_DEPTH
from cloudbuster.core.texts.names import shown
from cloudbuster.errors import RequestError
from cloudbuster.models import (
    DOCUMENTS,
    Assessment,
    Candidates,
    Document,
    GatherTask,
    MosaicRequest,
    RunStatus,
    SceneRecord,
    Selection,
)
from cloudbuster.original.documents import (
    candidates_from_original,
    is_original_response,
    is_original_selection,
    selection_from_original,
)
from cloudbuster.redaction import redacted_json
from cloudbuster.storage.files.uri import read_bytes, write_bytes

D = TypeVar("D", bound=Document)

ADDRESSED = (Candidates, GatherTask, MosaicRequest, Selection)
"""Documents that need whole addresses, which may hold secrets."""
PUBLISHED = (Assessment, RunStatus, SceneRecord)
"""Documents that are passed on with a mosaic, or shown to others."""

# Texts for two of pydantic's error types; the others keep pydantic's own.
PROBLEMS = {"extra_forbidden": "unknown field", "missing": "is required"}
# A message is read by a person: more problems are counted, and longer ones are shortened.
MAX_PROBLEMS, MAX_PROBLEM_CHARS = 10, 400


def read_document(uri: str, model: type[D]) -> D:
    """Read a document of the contract.

    Parameters
    ----------
    uri : str
        Path or URI of a JSON file.
    model : type of Document
        Kind of document.

    Returns
    -------
    Document
        An instance of ``model``.

    Raises
    ------
    RequestError
        If it is not JSON (names line and column), or breaks the contract (names every field).
    NotFoundError
        If it does not exist.
    BadInputError
        If it may not be read.
    TryAgainError
        If its place is throttled, broken or out of reach.
    """
    return parse_document(read_bytes(uri), model, source=uri)


def parse_document(content: bytes, model: type[D], *, source: str) -> D:
    """Read a document as `read_document` does, from bytes; errors call them ``source``."""
    return _validated(parse_json(content, source=source), model, source)


def write_document(uri: str, document: Document) -> None:
    """Write a document as a whole; errors are those of `storage.files.uri.write_bytes`.

    A local file of a document in `ADDRESSED` can be read by its owner alone. Those in `PUBLISHED`
    are written without the secrets in them.
    """
    write_bytes(uri, document_json(document), private=isinstance(document, ADDRESSED))


def document_json(document: Document) -> bytes:
    """Return a document as JSON for a file; one in `PUBLISHED` without the secrets in it."""
    if not isinstance(document, PUBLISHED):
        return document.to_json()
    content = redacted_json(document.model_dump(mode="json", by_alias=True))
    return orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


@dataclass(frozen=True)
class _Form(Generic[D]):
    """A document between stages that the original project writes in a form of its own."""

    model: type[D]
    name: str
    written_by: str
    is_original: Callable[[object], bool]
    from_original: Callable[..., D]


_CANDIDATES = _Form(
    Candidates, "candidates", "cloudbuster query", is_original_response, candidates_from_original
)
_SELECTION = _Form(
    Selection, "selection", "cloudbuster filter", is_original_selection, selection_from_original
)


def parse_candidates(content: bytes, *, source: str, kind: Kind = "L2A") -> Candidates:
    """Read the result of a query, written by this package or by the original project.

    Parameters
    ----------
    content : bytes
        JSON.
    source : str
        Name of the document in errors.
    kind : {"L1C", "L2A"}
        Product level of a document of the original, which does not contain it.

    Returns
    -------
    Candidates
        With every item that the document lists.

    Raises
    ------
    RequestError
        If it is neither; says why.
    """
    return _parsed(content, _CANDIDATES, source, kind)


def parse_selection(content: bytes, *, source: str, kind: Kind = "L2A") -> Selection:
    """Read the result of a filter, with the parameters and errors of `parse_candidates`."""
    return _parsed(content, _SELECTION, source, kind)


def _parsed(content: bytes, form: _Form[D], source: str, kind: Kind) -> D:
    document = parse_json(content, source=source)
    if not form.is_original(document):
        _check_form(document, source, form)
        return _validated(document, form.model, source)
    try:
        return form.from_original(document, kind=kind)
    except RequestError as error:
        msg = f"{source}: {error}"
        raise RequestError(msg) from error


def parse_json(content: bytes, *, source: str, levels: int | None = MAX_DEPTH) -> Any:  # noqa: ANN401 -- any JSON value
    """Parse JSON; raise RequestError with line and column of a mistake, or the bound it is over.

    With ``levels`` None the nesting is not bounded: the members are checked one by one.
    """
    if not utf8_text(content).strip():
        msg = f"{source}: the file is empty; it must hold JSON"
        raise RequestError(msg)
    try:
        return parsed_json(content, levels=levels)
    except JsonError as error:
        msg = f"{source}: {error}"
        raise RequestError(msg) from error


def parse_unique_json(content: bytes, *, source: str) -> Any:  # noqa: ANN401 -- any JSON value
    """Parse JSON that decides what is done: no object may have two members of one name.

    Raises
    ------
    RequestError
        As `parse_json`, and for such an object, of which readers take one member or the other.
    """
    document = parse_json(content, source=source)
    try:
        json.loads(utf8_text(content), object_pairs_hook=_refuse_repeated)
    except ValueError as error:
        msg = f"{source}: {error}"
        raise RequestError(msg) from error
    return document


def _refuse_repeated(members: list[tuple[str, object]]) -> None:
    """Raise ValueError if an object has two members of one name."""
    counts = Counter(name for name, _ in members)
    repeated = [name for name, count in counts.items() if count > 1]
    if repeated:
        msg = f"an object has member {shown(repeated[0])} twice; leave one of them"
        raise ValueError(msg)


def validation_message(error: ValidationError) -> str:
    """Describe in one line what breaks the contract: ``field: problem``, joined by ``; ``."""
    model = DOCUMENTS.get(error.title)
    details = error.errors(include_url=False)
    if len(details) > MAX_PROBLEMS:
        # A misspelt field is shown rather than those that are missing for that reason.
        details.sort(key=lambda detail: detail["type"] != "extra_forbidden")
    problems = [_shortened(_problem(detail, model)) for detail in details[:MAX_PROBLEMS]]
    more = len(details) - len(problems)
    return "; ".join([*problems, f"{more} more problems"] if more else problems)


def _shortened(text: str) -> str:
    """Return a text without its middle if it is long."""
    if len(text) <= MAX_PROBLEM_CHARS:
        return text
    half = MAX_PROBLEM_CHARS // 2
    return f"{text[:half]} ... {text[-half:]}"


def _problem(detail: Mapping[str, Any], model: type[BaseModel] | None) -> str:
    place: tuple[str | int, ...] = detail["loc"]
    field = ".".join(str(part) for part in place)
    text = PROBLEMS.get(detail["type"]) or detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "extra_forbidden" and model is not None:
        known = _fields(model, place[:-1])
        close = difflib.get_close_matches(str(place[-1]), known, n=1)
        text += f"; did you mean {close[0]}?" if close else f"; known are {', '.join(known)}"
    return f"{field}: {text}" if field else text


def _fields(model: type[BaseModel], place: Sequence[str | int]) -> list[str]:
    """Return the JSON names of the fields of the model at ``place``; empty if it is no model."""
    current: object = model
    for part in place:
        # A number is the position in a list, whose field has led to the model of its members.
        if isinstance(part, int):
            continue
        if isinstance(current, type) and issubclass(current, BaseModel):
            found = [
                field for name, field in current.model_fields.items() if part in (name, field.alias)
            ]
            current = _inner_model(found[0].annotation) if found else None
    if not (isinstance(current, type) and issubclass(current, BaseModel)):
        return []
    return [field.alias or name for name, field in current.model_fields.items()]


def _inner_model(annotation: object) -> object:
    """Return the model in an annotation like ``Model | None`` or ``tuple[Model, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_inner_model(member) for member in get_args(annotation))
    return next((model for model in found if model is not None), None)


def _validated(document: object, model: type[D], source: str) -> D:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        msg = f"{source}: {validation_message(error)}"
        raise RequestError(msg) from error


def _check_form(document: object, source: str, form: _Form[D]) -> None:
    """Refuse a document of another kind with one line instead of one for each field."""
    info = document.get("cloudbuster") if isinstance(document, dict) else None
    schema = info.get("schema") if isinstance(info, dict) else None
    if schema is None or not str(schema).startswith(f"cloudbuster.{form.name}/"):
        found = f"but {schema}" if schema else "neither of this package nor of the original"
        msg = f"{source}: no {form.name} document, {found}; give what `{form.written_by}` writes"
        raise RequestError(msg)
