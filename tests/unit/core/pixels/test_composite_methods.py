import pytest

from cloudbuster.core.pixels.composite_methods import (
    COMPOSITE_METHODS,
    Composite,
    delivered_layers,
    parse_composite,
)


@pytest.mark.parametrize("name", [name for name in COMPOSITE_METHODS if name != "percentile"])
def test_a_composite_is_parsed_by_its_name(name: str) -> None:
    assert parse_composite(name) == Composite(name)
    assert str(parse_composite(name)) == name


@pytest.mark.parametrize(
    ("text", "percent", "spelt"),
    [
        ("percentile:25", 25.0, "percentile:25"),
        ("percentile:0", 0.0, "percentile:0"),
        ("percentile:100", 100.0, "percentile:100"),
        ("percentile:33.3", 33.3, "percentile:33.3"),
        ("percentile:50.0", 50.0, "percentile:50"),
    ],
)
def test_a_percentile_is_parsed_and_has_one_spelling(text: str, percent: float, spelt: str) -> None:
    assert parse_composite(text) == Composite("percentile", percent)
    assert str(parse_composite(text)) == spelt


@pytest.mark.parametrize(
    "text",
    [
        "percentile",
        "percentile:",
        "percentile:-1",
        "percentile:100.5",
        "percentile:101",
        "percentile:nan",
        "percentile:1e1",
        "percentile: 25",
        "percentile:25 ",
        "percentile:25\n",
        "percentile:025",
        "percentile:25:30",
        "percentile:\N{ARABIC-INDIC DIGIT ONE}",
    ],
)
def test_what_is_no_percentile_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(
        ValueError, match=r"number from 0 to 100 after a colon, as in percentile:25"
    ):
        parse_composite(text)


@pytest.mark.parametrize("text", ["", "mean", "Median", "median:50", "first ", "medoid\n"])
def test_an_unknown_composite_is_refused_with_the_names(text: str) -> None:
    with pytest.raises(ValueError, match=r"choose one of first, .*percentile:P"):
        parse_composite(text)


@pytest.mark.parametrize(
    ("name", "self_check", "layers"),
    [("first", False, 1), ("first", True, 2), ("median", False, 4), ("percentile:10", True, 5)],
)
def test_statistics_are_delivered_all_layers_and_a_self_check_takes_one_more(
    name: str, self_check: bool, layers: int
) -> None:
    assert delivered_layers(parse_composite(name), 4, self_check=self_check) == layers
