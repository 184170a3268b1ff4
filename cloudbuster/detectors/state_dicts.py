"""State dicts: find one in a checkpoint, fit it to a model, and report what does not fit."""

from collections.abc import Iterator, Mapping
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from cloudbuster.errors import BadInputError

if TYPE_CHECKING:
    import torch

State = Mapping[str, "torch.Tensor"]

# Keys of a training checkpoint that hold the state dict, the most specific first (PyTorch
# tutorials "Saving and loading models"; Lightning, timm, segmentation_models, MMEngine).
HOLDERS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module")
# Attributes by which wrappers hold the model that they wrap, and so the first parts of their keys:
# DataParallel and DDP (`module`), torch.compile (`_orig_mod`), Lightning modules by convention
# (`model`, `net`, `network`), Fabric and FSDP.
WRAPPERS = frozenset(
    {"module", "_orig_mod", "model", "net", "network", "_forward_module", "_fsdp_wrapped_module"}
)
# torch.compile of a part of a model puts its name in the middle of keys.
COMPILED_PART = "_orig_mod."
# Depth to which checkpoints are searched for a state dict.
MAX_DEPTH = 4
# Number of keys of each kind that a message names.
SHOWN_KEYS = 3


def find_state(checkpoint: object, uri: str) -> State:
    """Find the state dict in the content of a weights file.

    Parameters
    ----------
    checkpoint : object
        What ``torch.load`` returned: a state dict, or a checkpoint that holds one.
    uri : str
        Address of the file, for errors.

    Returns
    -------
    mapping of str to Tensor

    Raises
    ------
    BadInputError
        If there is none.
    """
    state = next(_states(checkpoint, MAX_DEPTH), None)
    if state is not None:
        return state
    if checkpoint == {}:
        # The state dict of a model without parameters; any other lacks keys, which are named later.
        return {}
    if not isinstance(checkpoint, Mapping):
        msg = (
            f"{uri} holds a {type(checkpoint).__name__}, not a state dict; save model.state_dict()"
        )
        raise BadInputError(msg)
    keys = _shown([str(key) for key in checkpoint])
    msg = f"{uri} holds no state dict, but {keys}; save model.state_dict()"
    raise BadInputError(msg)


def _states(value: object, depth: int) -> "Iterator[State]":
    """Yield the state dicts in a value, those under the keys `HOLDERS` first."""
    if not isinstance(value, Mapping) or depth == 0:
        return
    if _is_state(value):
        yield value
        return
    others = [key for key in value if key not in HOLDERS]
    for key in (*(key for key in HOLDERS if key in value), *others):
        yield from _states(value[key], depth - 1)


def _is_state(value: Mapping[Any, Any]) -> bool:
    """Whether every entry of a mapping is a tensor under a text key, and there is one."""
    import torch

    weights = {key: item for key, item in value.items() if not str(key).endswith("_extra_state")}
    return bool(weights) and all(
        isinstance(key, str) and isinstance(item, torch.Tensor) for key, item in weights.items()
    )


def fit_state(state: State, model: "torch.nn.Module") -> dict[str, "torch.Tensor"]:
    """Rename the keys of a state dict as a model names its own.

    Wrappers of the model at training time prefix its keys (``module.``, ``_orig_mod.``, ``model.``
    and combinations of them). A prefix is removed if what is left is exactly the model's.

    Parameters
    ----------
    state : mapping of str to Tensor
        Weights. Not modified.
    model : torch.nn.Module
        Model they are for. Not modified.

    Returns
    -------
    dict of str to Tensor
        Weights by the model's own keys. Entries that lie outside of a removed prefix, such as those
        of a loss, are left out.

    Raises
    ------
    ValueError
        If the weights do not fit, naming the first keys that are missing, unexpected and of another
        shape; or if they fit under several prefixes.
    """
    own = {_plain(name): name for name in model.state_dict()}
    plain = {_plain(name): name for name in state}
    pairs = [
        (prefix, _under(plain, prefix), _under(own, own_prefix))
        for own_prefix in _shared_prefixes(own)
        for prefix in _prefixes(plain)
    ]
    # Two ways to remove prefixes may come to the same, if the model has some of its own.
    fits = {
        tuple((names[key], found[key]) for key in names): prefix
        for prefix, found, names in pairs
        if found.keys() == names.keys()
    }
    if len(fits) > 1:
        msg = f"it holds the weights of {len(fits)} models, under {' and '.join(fits.values())}"
        raise ValueError(msg)
    if not fits:
        _, found, names = max(pairs, key=lambda pair: len(pair[1].keys() & pair[2].keys()))
        raise ValueError(_difference(found, names))
    fitted = {own_name: state[name] for own_name, name in next(iter(fits))}
    wrong = _other_shapes(fitted, model.state_dict())
    if wrong:
        msg = f"{len(wrong)} of another shape ({_shown(wrong)})"
        raise ValueError(msg)
    return fitted


def class_count_of(state: State, model: "torch.nn.Module", class_count: int) -> int:
    """Return the number of classes that weights were trained for.

    Parameters
    ----------
    state : mapping of str to Tensor
        Weights.
    model : torch.nn.Module
        Model made for ``class_count`` classes.
    class_count : int
        Number of classes of ``model``.

    Returns
    -------
    int
        First dimension, in the weights, of the tensors that have ``class_count`` in the model and
        another number in the weights; ``class_count`` if there are none or they disagree.
    """
    own = {_plain(name): weight.shape for name, weight in model.state_dict().items()}
    counts = set()
    for name, weight in state.items():
        shape = next((own[end] for end in _endings(_plain(name)) if end in own), None)
        if shape and shape != weight.shape and shape[1:] == weight.shape[1:]:
            counts |= {weight.shape[0] if shape[0] == class_count else class_count}
    return counts.pop() if len(counts) == 1 else class_count


def _plain(name: str) -> str:
    """Key without the name that torch.compile adds, wherever it stands."""
    return name.replace(COMPILED_PART, "")


def _wrapping(name: str) -> list[str]:
    """Leading parts of a key that are names of wrappers."""
    return list(takewhile(WRAPPERS.__contains__, name.split(".")[:-1]))


def _prefixes(names: Mapping[str, object]) -> list[str]:
    """Prefixes of wrappers that some of the keys have, the shortest first; ``""`` is one."""
    found = {""}
    for name in names:
        parts = _wrapping(name)
        found |= {".".join(parts[:count]) + "." for count in range(1, len(parts) + 1)}
    return sorted(found, key=lambda prefix: (prefix.count("."), prefix))


def _shared_prefixes(names: Mapping[str, object]) -> list[str]:
    """Prefixes of wrappers that all of the keys have, the shortest first."""
    return [prefix for prefix in _prefixes(names) if all(name.startswith(prefix) for name in names)]


def _under(entries: Mapping[str, str], prefix: str) -> dict[str, str]:
    """Entries whose key begins with a prefix, by the rest of the key."""
    return {
        name.removeprefix(prefix): value
        for name, value in entries.items()
        if name.startswith(prefix)
    }


def _endings(name: str) -> Iterator[str]:
    """Yield a key, then the key without its first part, its first two, ..."""
    parts = name.split(".")
    yield from (".".join(parts[start:]) for start in range(len(parts)))


def _difference(found: Mapping[str, str], names: Mapping[str, str]) -> str:
    """Describe how the keys of weights differ from those of a model, without its prefix."""
    missing = [own for name, own in names.items() if name not in found]
    unexpected = [name for name in found if name not in names]
    parts = [
        f"{len(keys)} {verdict} ({_shown(keys)})"
        for keys, verdict in ((missing, "missing"), (unexpected, "unexpected"))
        if keys
    ]
    return f"of {len(names)} keys {', '.join(parts)}"


def _other_shapes(weights: State, own: State) -> list[str]:
    """Describe the weights whose shape is not that of the model's."""
    return [
        f"{name}: {_size(weight)} in the file, {_size(own[name])} in the model"
        for name, weight in weights.items()
        if weight.shape != own[name].shape
    ]


def _size(weight: "torch.Tensor") -> str:
    """Shape of a tensor as text."""
    return " x ".join(str(side) for side in weight.shape) or "a number"


def _shown(names: list[str]) -> str:
    """Join the first few of some names."""
    return ", ".join(names[:SHOWN_KEYS]) + (", ..." if len(names) > SHOWN_KEYS else "")
