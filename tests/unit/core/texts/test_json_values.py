"""JSON values from elsewhere."""

from typing import Any

import pytest

from cloudbuster.core.texts.json_values import check_json


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def test_a_value_of_64_levels_is_kept_and_a_deeper_one_refused() -> None:
    assert check_json(nested(64)) == nested(64)
    for levels in (65, 254, 300, 100_000):
        with pytest.raises(ValueError, match="nested deeper than 64 levels"):
            check_json(nested(levels))


@pytest.mark.parametrize("value", ["\ud800", {"\udfff": 1}, 2**64, {"a": [10**400]}, {1: 2}])
def test_what_json_has_not_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="cannot be written as JSON"):
        check_json(value)
