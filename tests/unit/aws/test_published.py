"""A configuration file compared with the one that a stack was deployed with."""

from typing import Any

import pytest

from cloudbuster.aws.published import differences

FILE = {"preset": "prod", "disk": {"gib": 500}, "tags": {"team": "gis"}}


@pytest.mark.parametrize(
    ("file", "deployed", "lines"),
    [
        (FILE, FILE, []),
        ({**FILE, "$schema": "stack.schema.json"}, FILE, []),
        (
            {**FILE, "disk": {"gib": 300}},
            FILE,
            ["disk.gib is 300 in the file and 500 in the stack"],
        ),
        (
            {"preset": "prod"},
            FILE,
            [
                "disk.gib is not given in the file and 500 in the stack",
                'tags.team is not given in the file and "gis" in the stack',
            ],
        ),
        (
            {**FILE, "log_days": 7},
            FILE,
            ["log_days is 7 in the file and not given in the stack"],
        ),
        ({"tags": {}}, {}, ["tags is {} in the file and not given in the stack"]),
        ({"spot": False}, {"spot": 0}, ["spot is false in the file and 0 in the stack"]),
    ],
)
def test_each_value_that_differs_is_named_with_both(
    file: dict[str, Any], deployed: dict[str, Any], lines: list[str]
) -> None:
    assert differences(file, deployed) == lines
