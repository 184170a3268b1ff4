"""Names that become parts of paths."""

import pytest

from cloudbuster.core.texts.names import check_name_part, shortened, shown


@pytest.mark.parametrize(
    "name", ["denver", "São Paulo", "東京", "a.b", "_x", "2020-05-01", "a b", "x" * 128, "console"]
)
def test_names_of_files_are_kept(name: str) -> None:
    assert check_name_part(name) == name


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "has 0 bytes"),
        ("x" * 129, "has 129 bytes"),
        ("é" * 65, "has 130 bytes"),
        ("a/b", "separator"),
        ("/etc/passwd", "separator"),
        ("..\\x", "separator"),
        ("..", "dot or a dash"),
        (".", "dot or a dash"),
        (".hidden", "dot or a dash"),
        ("-rf", "dot or a dash"),
        ("a\0b", r"U\+0000"),
        ("a\nb", r"U\+000A"),
        ("a\x1b[31m", r"U\+001B"),
        ("a\u202eb", r"U\+202E"),
        ("a\u2028b", r"U\+2028"),
        ("a\ud800b", r"U\+D800"),
        (" a", "space"),
        ("a ", "space"),
        ("NUL", "device"),
        ("com1.tar", "device"),
    ],
)
def test_what_is_no_single_part_of_a_path_is_refused_with_the_reason(name: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        check_name_part(name)
    message = str(caught.value)
    assert len(message) < 400
    assert message.isprintable()


def test_a_text_is_shown_on_one_line_and_cut() -> None:
    assert shown("a\n\x1b\u202eb") == r"'a\n\x1b\u202eb'"
    assert shown("x" * 100) == f"'{'x' * 80}'..."


def test_a_shortened_text_keeps_its_beginning_and_its_end() -> None:
    assert shortened("a" * 20, limit=20) == "a" * 20
    assert shortened("a" * 20 + "b" * 20, limit=25) == "a" * 10 + " ... " + "b" * 10
