"""Documents and folders in S3, against a loopback S3."""

from pathlib import Path

import pytest

from cloudbuster.errors import BadInputError, TryAgainError
from cloudbuster.storage import s3
from cloudbuster.storage.folders import input_folder, output_folder
from cloudbuster.storage.uri import exists, read_bytes, write_bytes
from tests.s3_server import S3Server


@pytest.fixture
def bucket(s3_account: S3Server) -> str:
    del s3_account
    s3.client().create_bucket(Bucket="documents")
    return "s3://documents"


def test_a_document_comes_back_as_it_went(bucket: str) -> None:
    uri = f"{bucket}/runs/a b/ünï#?.json"
    assert not exists(uri)
    write_bytes(uri, b"content")
    assert exists(uri)
    assert read_bytes(uri) == b"content"


def test_what_is_missing_is_named(bucket: str) -> None:
    with pytest.raises(BadInputError, match=r"s3://documents/none.json: no such object"):
        read_bytes(f"{bucket}/none.json")
    with pytest.raises(BadInputError, match="no such object"):
        read_bytes("s3://no-such-bucket/key")
    with pytest.raises(BadInputError, match="no S3 address"):
        s3.split("s3:///key")


def test_an_s3_that_does_not_answer_is_worth_another_try(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setattr(s3, "MAX_ATTEMPTS", 1)
    s3.client.cache_clear()
    with pytest.raises(TryAgainError, match="try again"):
        read_bytes(f"{bucket}/any")


def test_a_folder_goes_up_when_the_body_succeeds(bucket: str) -> None:
    with output_folder(f"{bucket}/made") as folder:
        (folder / "a.tif").write_bytes(b"raster")
        (folder / "a.json").write_bytes(b"{}")
        assert s3.list_names(f"{bucket}/made") == []
    assert s3.list_names(f"{bucket}/made/") == ["a.json", "a.tif"]
    with input_folder(f"{bucket}/made", lambda name: name.endswith(".tif")) as folder:
        assert [path.name for path in folder.iterdir()] == ["a.tif"]
        assert (folder / "a.tif").read_bytes() == b"raster"


def test_a_folder_of_a_failed_body_does_not_go_up(bucket: str) -> None:
    def fail() -> None:
        with output_folder(f"{bucket}/failed") as folder:
            (folder / "a.tif").write_bytes(b"raster")
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 -- any error of the body
        fail()
    assert s3.list_names(f"{bucket}/failed") == []


def test_only_names_right_under_a_prefix_are_listed(bucket: str) -> None:
    for key in ("p/1", "p/2", "p/deeper/3", "pq/4"):
        write_bytes(f"{bucket}/{key}", b"")
    assert s3.list_names(f"{bucket}/p") == ["1", "2"]


def test_a_local_folder_is_used_where_it_lies(tmp_path: Path) -> None:
    with output_folder(str(tmp_path)) as folder:
        assert folder == tmp_path
    with input_folder(str(tmp_path), lambda _: True) as folder:
        assert folder == tmp_path
