"""Load PyTorch models: a state dict with its architecture, TorchScript, or torch.export."""

import hashlib
import io
import types
import warnings
import zipfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cloudbuster.core.texts.names import shown
from cloudbuster.detectors.state_dicts import State, class_count_of, find_state, fit_state
from cloudbuster.errors import BadInputError, UntrustedCodeError, first_line
from cloudbuster.storage.addresses.trust import own_trust
from cloudbuster.storage.files.uri import read_bytes

if TYPE_CHECKING:
    import torch

Model = Callable[["torch.Tensor"], Any]

# Arguments that the original passes to `make_model` (its README, "architecture"), beside the
# ``class_count``.
MODEL_ARGUMENTS: dict[str, Any] = {
    "input_stride": 1,
    "divisor": 1,
    "pretrained": False,
}
STORED = zipfile.ZIP_STORED
# Greatest size of a file of a model: ResNet-152, the largest encoder in use for this, has 240 MB.
MAX_MODEL_BYTES = 512 * 2**20


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
    class_count: int = 1,
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
        Whether code in these files may run. An architecture, a TorchScript archive and an exported
        program are code; a state dict is none.
    num_channels : int
        Number of input bands.
    class_count : int
        Least number of classes to make the model of an architecture for. The weights of more than
        one class have the last word.
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
    file_format = _file_format(weights, content)
    if file_format in LOADERS:
        require_trust(weights, trusted=trusted)
        return LOADERS[file_format](weights, content, device)
    state = _load_state_dict(weights, content, device)
    if architecture is None:
        raise _without_architecture(weights)
    model = _fitted_model(
        architecture, num_channels, class_count, trusted=trusted, state=state, weights=weights
    )
    try:
        return model.to(device).eval()
    except Exception as error:
        msg = f"{architecture}: the model cannot be moved to {device}: {first_line(error)}"
        raise BadInputError(msg) from error


def _without_architecture(weights: str) -> BadInputError:
    """Make the error for weights that come without their model."""
    return BadInputError(
        f"{weights} holds only weights; name the Python file of their model with "
        "--architecture, or give a TorchScript or torch.export file"
    )


def _fitted_model(
    architecture: str,
    num_channels: int,
    class_count: int,
    *,
    trusted: bool,
    state: State,
    weights: str,
) -> "torch.nn.Module":
    """Make the model of an architecture with its weights; raise BadInputError if they don't fit."""
    model = _make_model(architecture, num_channels, class_count, trusted=trusted)
    found = class_count
    # The architecture is code of the user, and may load its weights by code of its own.
    try:
        found = class_count_of(state, model, class_count)
        if class_count > 1 and found > class_count:
            model = _make_model(architecture, num_channels, found, trusted=trusted)
        model.load_state_dict(fit_state(state, model))
    except BadInputError:
        raise
    except Exception as error:
        hint = "name the file of the model that they were trained with"
        if class_count == 1 and found > 1:
            hint = f"they may be of {found} classes: say which are cloud with --cloud-classes"
        msg = f"{weights} does not fit the model of {architecture}: {first_line(error)}; {hint}"
        raise BadInputError(msg) from error
    return model


def _file_format(uri: str, content: bytes) -> str:
    """Format of a weights file, by the names in its archive.

    Raises
    ------
    BadInputError
        If it is a broken archive, or weights that would become larger than the file: torch writes
        them without compression.
    """
    # The reader of archives raises errors of ten classes, according to what is broken.
    try:
        if not zipfile.is_zipfile(io.BytesIO(content)):
            return "state_dict"
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
    except Exception as error:
        msg = f"{uri} is a broken archive ({first_line(error)}); save the model again"
        raise BadInputError(msg) from error
    names = {entry.filename.partition("/")[2] or entry.filename for entry in entries}
    if "constants.pkl" in names:
        return "torchscript"
    if "archive_format" in names or "serialized_exported_program.json" in names:
        return "exported"
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > len(content) or any(entry.compress_type != STORED for entry in entries):
        msg = (
            f"{uri} is a compressed archive of {unpacked} bytes, and torch compresses no weights; "
            "save them again"
        )
        raise BadInputError(msg)
    return "state_dict"


def _load_state_dict(uri: str, content: bytes, device: "torch.device") -> State:
    """Load a state dict, alone or in a checkpoint, without running code."""
    import torch

    # Whatever a broken pickle leads the unpickler to raise.
    try:
        state = torch.load(io.BytesIO(content), weights_only=True, map_location=device)
    except Exception as error:
        msg = f"{uri} is not a state dict ({first_line(error)}); save one with torch.save"
        raise BadInputError(msg) from error
    plain = find_state(state, uri)
    # What modules save beside their tensors goes to code of the architecture, which is trusted.
    strange = [
        name
        for name, value in plain.items()
        if not (name.endswith("_extra_state") or _is_weight(name, value))
    ]
    if strange:
        msg = f"{uri}: {shown(str(strange[0]))} is no plain tensor; save model.state_dict()"
        raise BadInputError(msg)
    return plain


def _is_weight(name: object, value: object) -> bool:
    """Whether an entry of a state dict is a tensor with values of its own, under a name."""
    import torch

    return (
        isinstance(name, str)
        and isinstance(value, torch.Tensor)
        and value.layout == torch.strided
        and not (value.is_meta or value.is_quantized or value.is_nested)
    )


def _load_torchscript(uri: str, content: bytes, device: "torch.device") -> Model:
    """Load a TorchScript archive, which is trusted."""
    import torch

    # A program of the user: anything may be wrong with it.
    try:
        with warnings.catch_warnings():
            # torch deprecates TorchScript, but existing files must remain readable.
            warnings.filterwarnings("ignore", r".*torch\.jit.*", DeprecationWarning)
            model: Any = torch.jit.load(  # type: ignore[no-untyped-call]
                io.BytesIO(content), map_location=device
            )
            return model.eval()  # type: ignore[no-any-return]
    except Exception as error:
        msg = f"{uri} cannot be read as TorchScript by this torch: {first_line(error)}"
        raise BadInputError(msg) from error


def _load_exported(uri: str, content: bytes, device: "torch.device") -> Model:
    """Load a torch.export file, which is trusted: it is unpickled, and parts of it are run."""
    import torch
    from torch.export.passes import move_to_device_pass

    # A program of the user: anything may be wrong with it.
    try:
        program = torch.export.load(io.BytesIO(content))
        if device.type != "cpu":
            program = move_to_device_pass(program, device)
        model: Model = program.module()
    except Exception as error:
        msg = f"{uri} cannot be read as an exported program by this torch: {first_line(error)}"
        raise BadInputError(msg) from error
    return model


LOADERS: dict[str, Callable[[str, bytes, "torch.device"], Model]] = {
    "torchscript": _load_torchscript,
    "exported": _load_exported,
}
"""Loaders of the formats that are programs and not only weights."""


def _make_model(
    uri: str, num_channels: int, class_count: int, *, trusted: bool
) -> "torch.nn.Module":
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
        model = make_model(num_channels, class_count=class_count, **MODEL_ARGUMENTS)
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


def require_trust(uri: str, *, trusted: bool) -> None:
    """Raise UntrustedCodeError unless the user trusts the code of a file."""
    if not trusted:
        msg = (
            f"{uri} is code that would run with all your permissions; read it, or make sure of its "
            "author, then add --trust-architecture"
        )
        raise UntrustedCodeError(msg)
