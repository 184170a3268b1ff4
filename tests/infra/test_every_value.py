"""Every value of the configuration has an effect on the template."""

from typing import Any

import pytest

from infra.configuration.config import StackConfig
from tests.infra.conftest import Synth
from tests.infra.templates import Template
from tests.infra.value_cases import CASES, Look, job

# Values that only the build of the image uses.
ELSEWHERE = {"base_image"}


@pytest.mark.parametrize(
    ("config", "look", "expected"),
    [case[1:] for case in CASES],
    ids=[f"{name}-{number}" for number, (name, *_) in enumerate(CASES)],
)
def test_a_value_changes_the_template(
    synth: Synth, template: Template, config: dict[str, Any], look: Look, expected: Any
) -> None:
    changed = look(synth(**config))
    if expected is not None:
        assert changed == expected
    assert changed != _look(look, template)


def _look(look: Look, template: Template) -> Any:
    """Result for the default template; None for a part that it lacks."""
    try:
        return look(template)
    except AssertionError:
        return None


def test_every_value_has_a_case() -> None:
    assert {name for name, *_ in CASES} | ELSEWHERE == set(StackConfig.model_fields)


def test_the_base_image_changes_the_build_of_the_image(synth: Synth) -> None:
    def tag(template: Template) -> str:
        return str(job("Gather", "ContainerProperties", "Image")(template))

    assert tag(synth(base_image="localhost/python:3")) != tag(synth())
