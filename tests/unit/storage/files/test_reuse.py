from pathlib import Path

from cloudbuster.models import Dropped
from cloudbuster.storage.files.reuse import made_once, read_earlier

FIRST = Dropped(item_id="a", reason="")


def never() -> Dropped:
    raise AssertionError


def test_a_document_is_made_once(tmp_path: Path) -> None:
    uri = str(tmp_path / "a.json")
    assert made_once(uri, Dropped, lambda: FIRST) == FIRST
    assert made_once(uri, Dropped, never) == FIRST


def test_a_document_is_made_anew_on_demand(tmp_path: Path) -> None:
    uri = str(tmp_path / "a.json")
    made_once(uri, Dropped, lambda: FIRST)
    other = Dropped(item_id="b", reason="")
    assert made_once(uri, Dropped, lambda: other, anew=True) == other
    assert read_earlier(uri, Dropped) == other


def test_a_document_that_cannot_be_read_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"item_id": ')
    assert read_earlier(str(path), Dropped) is None
    assert made_once(str(path), Dropped, lambda: FIRST) == FIRST


def test_there_is_no_earlier_document_in_an_empty_folder(tmp_path: Path) -> None:
    assert read_earlier(str(tmp_path / "a.json"), Dropped) is None
