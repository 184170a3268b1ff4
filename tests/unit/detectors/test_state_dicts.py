"""Weights as people save them: in checkpoints, under the prefixes of wrappers, and wrong ones."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from cloudbuster.detectors.state_dicts import class_count_of, find_state, fit_state
from cloudbuster.errors import BadInputError

State = dict[str, Any]


class Net(torch.nn.Module):
    def __init__(self, classes: int = 1) -> None:
        super().__init__()
        self.body = torch.nn.Conv2d(2, 3, 1)
        self.head = torch.nn.Conv2d(3, classes, 1)


class Wrapped(torch.nn.Module):
    """A model whose own keys begin with a wrapper's name."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Net()


KEYS = ("body.weight", "body.bias", "head.weight", "head.bias")


def weights(prefix: str = "", model: torch.nn.Module | None = None) -> State:
    state = (model or Net()).state_dict()
    return {
        prefix + name: torch.full_like(state[name], number) for number, name in enumerate(state)
    }


def compiled_part(state: State) -> State:
    return {name.replace("body.", "body._orig_mod."): value for name, value in state.items()}


LOSS = {"criterion.weight": torch.ones(3), "metric.count": torch.tensor(7)}


@pytest.mark.parametrize(
    "state",
    [
        weights(),
        weights("module."),
        weights("_orig_mod."),
        weights("model."),
        weights("net."),
        weights("module._orig_mod."),
        weights("_orig_mod.module.model."),
        weights("model.network."),
        compiled_part(weights("model.")),
        weights("model.") | LOSS,
    ],
    ids=[
        "none",
        "DataParallel",
        "compiled",
        "Lightning",
        "net",
        "compiled in DDP",
        "three",
        "two of Lightning's",
        "a compiled part",
        "with a loss",
    ],
)
def test_prefixes_of_wrappers_are_removed(state: State) -> None:
    fitted = fit_state(state, Net())
    assert list(fitted) == list(KEYS)
    for number, name in enumerate(KEYS):
        assert bool((fitted[name] == number).all())


@pytest.mark.parametrize("prefix", ["", "model.", "model.model.", "module.model."])
def test_a_model_that_is_wrapped_itself_keeps_its_own_names(prefix: str) -> None:
    fitted = fit_state(weights(prefix), Wrapped())
    assert list(fitted) == [f"model.{name}" for name in KEYS]


def test_weights_of_two_models_are_refused() -> None:
    with pytest.raises(ValueError, match=r"weights of 2 models, under model\. and net\."):
        fit_state(weights("model.") | weights("net."), Net())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("head.bias"), r"of 4 keys 1 missing \(head\.bias\)$"),
        (
            lambda state: state.update(extra=torch.ones(1)),
            r"of 4 keys 1 unexpected \(extra\)$",
        ),
        (
            lambda state: [state.pop(name) for name in KEYS] and state.update(a=torch.ones(1)),
            r"of 4 keys 4 missing \(body\.weight, body\.bias, head\.weight, \.\.\.\), "
            r"1 unexpected \((module\.)?a\)$",
        ),
        (
            lambda state: state.update({"head.bias": torch.ones(5)}),
            r"1 of another shape \(head\.bias: 5 in the file, 1 in the model\)$",
        ),
    ],
    ids=["missing", "unexpected", "another model", "shape"],
)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_weights_that_do_not_fit_name_their_first_keys(
    change: Callable[[State], object], message: str, prefix: str
) -> None:
    state = weights()
    change(state)
    with pytest.raises(ValueError, match=message):
        fit_state({prefix + name: value for name, value in state.items()}, Net())


@pytest.mark.parametrize(
    "checkpoint",
    [
        weights(),
        {"state_dict": weights(), "epoch": 3},
        {"epoch": torch.tensor(3), "model_state_dict": weights(), "optimizer": {"state": {}}},
        {"checkpoint": {"model": {"state_dict": weights()}}},
        {"net": weights(), "loss": 0.3},
        weights() | {"body._extra_state": {"scale": 1}},
    ],
    ids=["plain", "Lightning", "PyTorch", "nested", "net", "extra state"],
)
def test_the_state_dict_of_a_checkpoint_is_found(checkpoint: State) -> None:
    found = find_state(checkpoint, "w.ckpt")
    assert set(KEYS) <= set(found)


@pytest.mark.parametrize(
    ("checkpoint", "message"),
    [
        ([1, 2], "w.ckpt holds a list, not a state dict"),
        ({"epoch": 3, "lr": 0.1}, "w.ckpt holds no state dict, but epoch, lr; save"),
    ],
)
def test_a_file_without_a_state_dict_says_what_it_holds(checkpoint: object, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        find_state(checkpoint, "w.ckpt")


@pytest.mark.parametrize("prefix", ["", "model."])
def test_the_number_of_classes_is_that_of_the_weights(prefix: str) -> None:
    assert class_count_of(weights(prefix, Net(4)), Net(2), 2) == 4
    assert class_count_of(weights(prefix, Net(2)), Net(2), 2) == 2


def test_weights_of_another_model_have_no_number_of_classes() -> None:
    assert class_count_of({"head.weight": torch.ones(9, 9, 9, 9)}, Net(2), 2) == 2


def test_a_model_without_parameters_has_an_empty_state_dict():
    assert find_state({}, "w.pth") == {}
