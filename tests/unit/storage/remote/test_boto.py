"""How boto3's errors become errors of this package, and how its clients are made."""

import sys
from typing import Any

import pytest
from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    ProfileNotFound,
)

from cloudbuster.errors import (
    AccessError,
    BadInputError,
    ConflictError,
    CredentialsError,
    ExitCode,
    MissingExtraError,
    NotFoundError,
    TryAgainError,
)
from cloudbuster.storage.remote.boto import aws_client, make_aws_client, translate_boto_errors


def answer(code: str, status: int) -> ClientError:
    """Error of boto3 for an answer of a service."""
    response: Any = {
        "Error": {"Code": code, "Message": "words."},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, "Operation")


@pytest.mark.parametrize(
    ("code", "status", "kind", "remedy"),
    [
        ("AccessDeniedException", 400, AccessError, "need s3:GetObject"),
        ("403", 403, AccessError, "need s3:GetObject"),
        ("InvalidAccessKeyId", 403, CredentialsError, "renew them"),
        ("UnrecognizedClientException", 400, CredentialsError, "renew them"),
        ("ExpiredTokenException", 403, CredentialsError, "renew them"),
        ("NoSuchKey", 404, NotFoundError, "look again"),
        ("404", 404, NotFoundError, "look again"),
        ("ExecutionDoesNotExist", 400, NotFoundError, "look again"),
        ("ParameterNotFound", 400, NotFoundError, "look again"),
        ("ExecutionAlreadyExists", 400, ConflictError, "try again"),
        ("PreconditionFailed", 412, ConflictError, "try again"),
        ("ThrottlingException", 400, TryAgainError, "try again"),
        ("Throttling", 400, TryAgainError, "try again"),
        ("TooManyRequestsException", 429, TryAgainError, "try again"),
        ("SlowDown", 503, TryAgainError, "try again"),
        ("ServerException", 500, TryAgainError, "try again"),
        ("ClientException", 400, BadInputError, "look again"),
    ],
)
def test_an_answer_of_a_service_becomes_an_error_of_this_package(
    code: str, status: int, kind: type[Exception], remedy: str
) -> None:
    with (
        pytest.raises(kind) as caught,
        translate_boto_errors("do it", hint="look again", permission="s3:GetObject"),
    ):
        raise answer(code, status)
    assert type(caught.value) is kind
    assert str(caught.value).startswith(f"cannot do it: {code}: words; ")
    assert remedy in str(caught.value)


@pytest.mark.parametrize(
    ("cause", "kind", "remedy"),
    [
        (NoCredentialsError(), CredentialsError, "set AWS_ACCESS_KEY_ID"),
        (ProfileNotFound(profile="ours"), CredentialsError, "or AWS_PROFILE"),
        (NoRegionError(), BadInputError, "set AWS_REGION"),
        (ParamValidationError(report="name"), BadInputError, "look again"),
        (EndpointConnectionError(endpoint_url="https://states"), TryAgainError, "https://states"),
        (S3UploadFailedError("a broken transfer"), TryAgainError, "a broken transfer"),
    ],
)
def test_a_call_without_an_answer_becomes_an_error_of_this_package(
    cause: Exception, kind: type[Exception], remedy: str
) -> None:
    with pytest.raises(kind) as caught, translate_boto_errors("do it", hint="look again"):
        raise cause
    assert type(caught.value) is kind
    assert str(caught.value).startswith("cannot do it: ")
    assert remedy in str(caught.value)
    assert caught.value.__cause__ is cause


def test_what_does_not_exist_is_bad_input() -> None:
    assert issubclass(NotFoundError, BadInputError)
    assert NotFoundError.exit_code is ExitCode.BAD_INPUT


def test_without_boto3_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'cloudbuster\[aws\]'"):
        make_aws_client("s3")
    with (
        pytest.raises(MissingExtraError, match=r"pip install 'cloudbuster\[aws\]'"),
        translate_boto_errors("do it"),
    ):
        pass


def test_a_client_without_a_region_says_which_variable_to_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(BadInputError, match=r"a client of batch: .*set AWS_REGION"):
        make_aws_client("batch", own_session=True)


def test_aws_region_comes_before_aws_default_region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    client = make_aws_client("batch", config={"read_timeout": 7})
    assert client.meta.region_name == "us-west-2"
    assert client.meta.config.read_timeout == 7
    assert client.meta.config.retries["mode"] == "standard"


def test_a_client_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    aws_client.cache_clear()
    assert aws_client("s3") is aws_client("s3")
    aws_client.cache_clear()
