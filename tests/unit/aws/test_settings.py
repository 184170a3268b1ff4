"""The settings that the deployed stack gives to its functions."""

import pytest

from cloudbuster.aws.settings import StackSettings
from cloudbuster.errors import RequestError
from tests.unit.aws.requests import STACK


def test_settings_are_read_from_the_environment() -> None:
    text = STACK.model_dump_json()
    assert StackSettings.of_environment({"CLOUDBUSTER_STACK": text}) == STACK
    with pytest.raises(RequestError, match="CLOUDBUSTER_STACK is not set"):
        StackSettings.of_environment({})
