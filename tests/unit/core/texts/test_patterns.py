"""Regular expressions of users."""

import time

import pytest

from cloudbuster.core.texts.patterns import MAX_TEXT_CHARS, compile_pattern

SCENE = "S2A_33TWL_20230510_0_L2A"


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("", True),
        ("33TWL", True),
        ("^S2[AB]_.*_L2A$", True),
        (r"_\d{8}_", True),
        ("(?i)s2a", True),
        ("2023(0[5-9]|1[0-2])", True),
        ("^33T", False),
        ("L1C", False),
    ],
)
def test_a_pattern_is_found_anywhere_in_a_text(pattern: str, matches: bool) -> None:
    assert compile_pattern(pattern)(SCENE) is matches


def test_a_text_with_half_a_character_is_compared() -> None:
    assert compile_pattern("b$")("a\ud800b")
    assert not compile_pattern("c")("a\ud800b")


def test_a_text_that_is_too_long_matches_nothing() -> None:
    contains_match = compile_pattern("a")
    assert contains_match("a" * MAX_TEXT_CHARS)
    assert not contains_match("a" * (MAX_TEXT_CHARS + 1))


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("S2A(", "at position 3"),
        ("[a", "at position 0"),
        ("a(?=b)", "look-around"),
        ("(?<!a)b", "look-around"),
        (r"(a)\1", "backreferences"),
        ("a{1001}", "over 1000"),
        ("(a{100}){100}", "over 1000"),
        ("a{99999999999}", "simplify it"),
        ("x" * 1001, "1001 characters, over 1000"),
        (r"(\w{1,900}){1,900}", "simplify"),
        ("a\ud800", "simplify it"),
        ("(" * 900 + ")" * 100, "unterminated|too complex|simplify"),
    ],
)
def test_a_pattern_that_cannot_be_used_is_refused_with_the_reason(pattern: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        compile_pattern(pattern)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(a|a)*b", "(a?){60}a{60}", "(.*){9}x", "^(([a-z])+.)+[A-Z]([a-z])+$"]
)
def test_patterns_that_need_exponential_time_elsewhere_take_none(pattern: str) -> None:
    began = time.process_time()
    assert not compile_pattern(pattern)("a" * 50 + "!")
    assert time.process_time() - began < 1
