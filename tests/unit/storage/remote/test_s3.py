"""Documents and folders in S3, as moto keeps it in this process."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto import mock_aws

from cloudbuster.errors import (
    BadInputError,
    CredentialsError,
    NotFoundError,
    OutputError,
    TryAgainError,
)
from cloudbuster.storage.files.folders import input_folder, output_folder
from cloudbuster.storage.files.uri import exists, read_bytes, write_bytes
from cloudbuster.storage.remote import boto, s3
from cloudbuster.storage.remote.boto import aws_client


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "us-east-1")
    aws_client.cache_clear()
    yield
    aws_client.cache_clear()


@pytest.fixture
def bucket() -> Iterator[str]:
    """URI of an empty bucket."""
    with mock_aws():
        aws_client("s3").create_bucket(Bucket="store")
        yield "s3://store"


def test_a_document_comes_back_as_it_was_written(bucket: str) -> None:
    uri = f"{bucket}/runs/a b/ünï#?.json"
    assert not exists(uri)
    write_bytes(uri, b"content")
    assert exists(uri)
    assert read_bytes(uri) == b"content"


@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize("uri", ["s3://store/none.json", "s3://no-such-bucket/key"])
def test_an_object_that_does_not_exist_is_named(uri: str, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=f"cannot read {uri}: NoSuch.*; check the address"):
        read_bytes(uri)
    with pytest.raises(NotFoundError, match=f"cannot read {uri}: "):
        s3.download_object(uri, tmp_path / "copy")
    assert not exists(uri)


@pytest.mark.usefixtures("bucket")
def test_writing_to_a_bucket_that_does_not_exist_names_it(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"raster")
    for write in (
        lambda: write_bytes("s3://none/a.tif", b"raster"),
        # boto3 wraps what S3 answers to an upload in an error of its own.
        lambda: s3.upload_object(tmp_path / "a.tif", "s3://none/a.tif"),
    ):
        with pytest.raises(NotFoundError, match=r"cannot write s3://none/a.tif: NoSuchBucket"):
            write()


def test_an_address_without_a_bucket_is_refused() -> None:
    with pytest.raises(BadInputError, match="no S3 address"):
        s3.parse_s3_uri("s3:///key")


def test_an_s3_that_does_not_answer_is_worth_another_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setattr(boto, "MAX_ATTEMPTS", 1)
    with pytest.raises(TryAgainError, match="try again"):
        read_bytes("s3://store/any")


def test_without_credentials_the_error_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)
    with pytest.raises(CredentialsError, match=r"s3://store/any: .*set AWS_ACCESS_KEY_ID"):
        read_bytes("s3://store/any")


def test_a_folder_is_uploaded_when_the_body_succeeds(bucket: str) -> None:
    with output_folder(f"{bucket}/made") as folder:
        (folder / "a.tif").write_bytes(b"raster")
        (folder / "a.json").write_bytes(b"{}")
        assert s3.object_names(f"{bucket}/made") == []
    assert s3.object_names(f"{bucket}/made/") == ["a.json", "a.tif"]
    with input_folder(f"{bucket}/made", lambda name: name.endswith(".tif")) as folder:
        assert [path.name for path in folder.iterdir()] == ["a.tif"]
        assert (folder / "a.tif").read_bytes() == b"raster"


def test_a_folder_is_not_uploaded_when_the_body_fails(bucket: str) -> None:
    def fail() -> None:
        with output_folder(f"{bucket}/failed") as folder:
            (folder / "a.tif").write_bytes(b"raster")
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 -- any error of the body
        fail()
    assert s3.object_names(f"{bucket}/failed") == []


@pytest.mark.parametrize(
    ("reason", "kind"), [(errno.ENOSPC, TryAgainError), (errno.EACCES, OutputError)]
)
def test_a_disk_that_cannot_hold_the_copy_of_a_folder_is_no_bug(
    bucket: str, monkeypatch: pytest.MonkeyPatch, reason: int, kind: type[Exception]
) -> None:
    def fail(_uri: str, _path: Path) -> None:
        raise OSError(reason, "no room")

    write_bytes(f"{bucket}/in/a.tif", b"raster")
    monkeypatch.setattr(s3, "download_object", fail)
    with pytest.raises(kind, match=r"a\.tif: no room"), input_folder(f"{bucket}/in", bool):
        pass


def test_only_names_directly_under_a_prefix_are_listed(bucket: str) -> None:
    for key in ("p/1", "p/2", "p/deeper/3", "pq/4"):
        write_bytes(f"{bucket}/{key}", b"")
    assert s3.object_names(f"{bucket}/p") == ["1", "2"]


def test_a_local_folder_is_used_in_place(tmp_path: Path) -> None:
    with output_folder(str(tmp_path)) as folder:
        assert folder == tmp_path
    with input_folder(str(tmp_path), lambda _: True) as folder:
        assert folder == tmp_path
