import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudbuster.core.texts.detector_names import PATTERN, DetectorNames, parse_detectors


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("stock", DetectorNames(("stock",))),
        (" CSmask + stock", DetectorNames(("csmask", "stock"))),
        ("a&b&c", DetectorNames(("a", "b", "c"), "&")),
        ("a+b+a", DetectorNames(("a", "b"))),
        ("a&a", DetectorNames(("a",))),
    ],
)
def test_names_are_joined_by_one_operator(text, expected):
    assert parse_detectors(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a+b&c", "mixes"),
        ("", "is no name"),
        ("a+", "is no name"),
        ("a b", "is no name"),
        ("1a", "is no name"),
        ("../x", "is no name"),
        ("auto&stock", "name one instead"),
        ("+".join(f"d{number}" for number in range(9)), "8 are allowed"),
    ],
)
def test_what_is_no_list_of_names_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_detectors(text)


@given(st.lists(st.sampled_from(["a", "b9", "c-d", "e_f"]), min_size=1, max_size=8))
def test_what_is_parsed_matches_the_pattern_of_the_schema(names):
    text = str(parse_detectors("+".join(names)))
    assert re.fullmatch(PATTERN, text)
    assert str(parse_detectors(text)) == text


def test_a_name_is_replaced_by_several():
    two = DetectorNames(("csmask", "stock"))
    assert DetectorNames(("auto",)).replaced("auto", two) == two
    assert DetectorNames(("stock", "auto", "donor")).replaced("auto", two) == DetectorNames(
        ("stock", "csmask", "donor")
    )
    assert DetectorNames(("x", "auto"), "&").replaced("auto", DetectorNames(("y",))) == (
        DetectorNames(("x", "y"), "&")
    )
    assert two.replaced("auto", DetectorNames(("x",))) is two
    with pytest.raises(ValueError, match="joins its detectors with &"):
        DetectorNames(("x", "auto"), "&").replaced("auto", two)
