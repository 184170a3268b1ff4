"""Load PyTorch models: a state dict with its architecture, TorchScript, or torch.export."""

import hashlib
import io
import json
import pickle
import re
import types
import warnings
import zipfile
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from cloudbuster.errors import BadInputError, UntrustedCodeError
from cloudbuster.storage.trust import own_trust
from cloudbuster.storage.uri import read_bytes

if TYPE_CHECKING:
    import torch

Model = Callable[["torch.Tensor"], Any]

# Arguments that the original passes to `make_model` (its README, "architecture").
MODEL_ARGUMENTS: dict[str, Any] = {
    "input_stride": 1,
    "class_count": 1,
    "divisor": 1,
    "pretrained": False,
}
# Greatest size of a file of a model: ResNet-152, the largest encoder in use for this, has 240 MB.
MAX_MODEL_BYTES = 512 * 2**20
# Operators of an exported program that only compute tensors.
PLAIN_TARGET = re.compile(r"(torch\.ops\.aten\.\w+\.\w+|_operator\.getitem)\Z")


def first_line(error: BaseException) -> str:
    """First line of the message of an error, or the name of its class."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def fingerprint(uri: str) -> str:
    """First 12 hexadecimal digits of the SHA-256 of a file, to identify its content."""
    return hashlib.sha256(_read(uri)).hexdigest()[:12]


def _read(uri: str) -> bytes:
    """Read a file of a model, at an address that the request gives."""
    return read_bytes(uri, trust=own_trust(), max_bytes=MAX_MODEL_BYTES)


def load_model(
    weights: str,
    *,
    architecture: str | None,
    trusted: bool,
    num_channels: int,
    device: "torch.device",
) -> Model:
    """Load a model, ready to be called on ``device``.

    Parameters
    ----------
    weights : str
        URI of a state dict, a TorchScript archive or an exported program; the format is recognised
        by the content.
    architecture : str or None
        URI of a Python file with ``make_model(num_channels, **kwargs)``; required for a state dict.
    trusted : bool
        Whether code in these files may run.
    num_channels : int
        Number of input bands.
    device : torch.device
        Device the model runs on.

    Returns
    -------
    callable
        Model in inference mode; it takes float32 of shape (1, num_channels, y, x).

    Raises
    ------
    UntrustedCodeError
        If the file contains code that is not trusted.
    BadInputError, TryAgainError
        If a file cannot be read or is not a model.
    """
    content = _read(weights)
    file_format = _file_format(content)
    if file_format == "torchscript":
        return _load_torchscript(weights, content, device)
    if file_format == "exported":
        return _load_exported(weights, content, trusted=trusted, device=device)
    state = _load_state_dict(weights, content, device)
    if architecture is None:
        msg = (
            f"{weights} holds only weights; name the Python file of their model with "
            "--architecture, or give a TorchScript or torch.export file"
        )
        raise BadInputError(msg)
    model = _make_model(architecture, num_channels, trusted=trusted)
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        msg = f"{weights} does not fit the model of {architecture}: {first_line(error)}"
        raise BadInputError(msg) from error
    return model.to(device).eval()


def _file_format(content: bytes) -> str:
    """Format of a weights file, by the names in its archive."""
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return "state_dict"
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = {name.partition("/")[2] or name for name in archive.namelist()}
    if "constants.pkl" in names:
        return "torchscript"
    if "archive_format" in names or "serialized_exported_program.json" in names:
        return "exported"
    return "state_dict"


def _load_state_dict(uri: str, content: bytes, device: "torch.device") -> dict[str, Any]:
    """Load a state dict without running code."""
    import torch

    try:
        state = torch.load(io.BytesIO(content), weights_only=True, map_location=device)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError) as error:
        msg = f"{uri} is not a state dict ({first_line(error)}); save one with torch.save"
        raise BadInputError(msg) from error
    if not isinstance(state, dict):
        msg = f"{uri} holds a {type(state).__name__}, not a state dict; save model.state_dict()"
        raise BadInputError(msg)
    return state


def _load_torchscript(uri: str, content: bytes, device: "torch.device") -> Model:
    """Load a TorchScript archive."""
    import torch

    try:
        with warnings.catch_warnings():
            # torch deprecates TorchScript, but existing files must remain readable.
            warnings.filterwarnings("ignore", r".*torch\.jit.*", DeprecationWarning)
            model: Any = torch.jit.load(  # type: ignore[no-untyped-call]
                io.BytesIO(content), map_location=device
            )
            return model.eval()  # type: ignore[no-any-return]
    except RuntimeError as error:
        msg = f"{uri} cannot be read as TorchScript by this torch: {first_line(error)}"
        raise BadInputError(msg) from error


def _load_exported(uri: str, content: bytes, *, trusted: bool, device: "torch.device") -> Model:
    """Load a torch.export file.

    ``torch.export.load`` unpickles and evaluates some parts of a file. Most files have no such
    parts, only tensors and a list of operators; those that have some must be trusted. This limits
    what a malicious file can do, but does not make files of unknown origin safe.
    """
    if not trusted:
        part = next(_code_parts(content), None)
        if part is not None:
            msg = (
                f"{uri} holds {part}, which can run code; if you trust its author, add "
                "--trust-architecture"
            )
            raise UntrustedCodeError(msg)
    import torch
    from torch.export.passes import move_to_device_pass

    try:
        program = torch.export.load(io.BytesIO(content))
    except (RuntimeError, AssertionError, ValueError, KeyError) as error:
        msg = f"{uri} cannot be read as an exported program by this torch: {first_line(error)}"
        raise BadInputError(msg) from error
    if device.type != "cpu":
        program = move_to_device_pass(program, device)
    model: Model = program.module()
    return model


def _code_parts(content: bytes) -> Iterator[str]:
    """Yield descriptions of the parts of an exported program that can run code."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        documents = {name: archive.read(name) for name in names if name.endswith(".json")}
        samples = [archive.read(name) for name in names if "/sample_inputs/" in name]
    if any("/aotinductor/" in name for name in names):
        yield "compiled code"
    if not any("/models/" in name for name in documents):
        yield "an older format, with pickled parts"
    for name, document in documents.items():
        yield from _code_in_document(name, document)
    if any(not _is_plain_pickle(sample) for sample in samples):
        yield "pickled objects"


def _code_in_document(name: str, document: bytes) -> Iterator[str]:
    """Yield descriptions of the entries of a JSON document that can run code."""
    try:
        content = json.loads(document)
    except ValueError:
        yield f"an unreadable {name}"
        return
    for key, value in _entries(content):
        if key == "target" and not PLAIN_TARGET.match(str(value)):
            yield f"a call of {value}"
        elif key == "use_pickle" and value:
            yield "pickled tensors"
        elif key in ("expr_str", "guards_code") and value:
            yield "expressions (export it with a fixed shape)"
        elif key == "path_name" and not re.match(r"(weight|tensor)_\d+\Z", str(value)):
            yield f"an object {value}"


def _entries(content: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 -- any JSON
    """Yield the keys and values of all objects in a JSON value, at any depth."""
    if isinstance(content, dict):
        yield from content.items()
    children = content.values() if isinstance(content, dict) else content
    if isinstance(content, dict | list):
        for child in children:
            yield from _entries(child)


def _is_plain_pickle(content: bytes) -> bool:
    """Whether a pickle holds only tensors and plain values."""
    import torch

    try:
        torch.load(io.BytesIO(content), weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError):
        return False
    return True


def _make_model(uri: str, num_channels: int, *, trusted: bool) -> "torch.nn.Module":
    """Run an architecture file and create its model."""
    require_trust(uri, trusted=trusted)
    module = types.ModuleType("cloudbuster_architecture")
    source = _read(uri)
    # User code may raise any exception; all of them are errors of the file.
    try:
        exec(compile(source, uri, "exec"), module.__dict__)  # noqa: S102 -- trusted by the user
    except Exception as error:
        msg = f"{uri} cannot be run: {type(error).__name__}: {first_line(error)}"
        raise BadInputError(msg) from error
    make_model = getattr(module, "make_model", None)
    if not callable(make_model):
        msg = f"{uri} has no function make_model(num_channels, **kwargs); add one"
        raise BadInputError(msg)
    try:
        model = make_model(num_channels, **MODEL_ARGUMENTS)
    except Exception as error:
        msg = (
            f"{uri}: make_model({num_channels}, ...) failed: {type(error).__name__}: "
            f"{first_line(error)}"
        )
        raise BadInputError(msg) from error
    return _checked_module(uri, model)


def _checked_module(uri: str, model: object) -> "torch.nn.Module":
    """Raise BadInputError unless ``make_model`` returned a module."""
    import torch

    if not isinstance(model, torch.nn.Module):
        msg = f"{uri}: make_model returned a {type(model).__name__}, not a torch.nn.Module"
        raise BadInputError(msg)
    return model


def require_trust(architecture: str, *, trusted: bool) -> None:
    """Raise UntrustedCodeError unless the user trusts the code of an architecture."""
    if not trusted:
        msg = (
            f"{architecture} is code that would run with all your permissions; read it, then add "
            "--trust-architecture"
        )
        raise UntrustedCodeError(msg)
