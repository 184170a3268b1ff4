"""The secret of a stack, as Secrets Manager keeps it in moto."""

import json
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

import lambdas.query
from cloudbuster.aws.client import session as aws_client
from cloudbuster.aws.settings import StackSettings
from cloudbuster.aws.stack.catalog_secret import VARIABLES, give_catalog_secret
from cloudbuster.catalogs.named import CATALOGS
from cloudbuster.errors import BadInputError, CredentialsError
from cloudbuster.storage.access import access_of

ACCESS, VALUE = "CDSE_S3_ACCESS_KEY", "do-not-tell"
KEYS = {ACCESS: VALUE, "CDSE_S3_SECRET_KEY": f"{VALUE}-either"}
Store = Callable[[str], StackSettings]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """Store a text as the stack's secret; the settings of the stack."""
    for name in VARIABLES:
        # Set and unset, so that what is given here is gone afterwards.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "us-west-2")
    with mock_aws():
        aws_client.client.cache_clear()
        manager = boto3.client("secretsmanager", "us-west-2")
        arn = manager.create_secret(Name="catalogs", SecretString="{}")["ARN"]

        def put(text: str) -> StackSettings:
            manager.put_secret_value(SecretId=arn, SecretString=text)
            return StackSettings(
                root="s3://stack", catalog_secret_arn=arn, catalog_variables=tuple(KEYS)
            )

        yield put
    aws_client.client.cache_clear()


def test_what_the_secret_holds_is_in_the_environment(store: Store) -> None:
    settings = store(json.dumps({**KEYS, "unasked": "x"}))
    with pytest.raises(CredentialsError):
        access_of("s3://eodata/Sentinel-2/x.jp2")
    give_catalog_secret(settings)
    assert {name: os.environ.get(name) for name in KEYS} == KEYS
    assert "unasked" not in os.environ
    assert access_of("s3://eodata/Sentinel-2/x.jp2").options["AWS_ACCESS_KEY_ID"] == VALUE


def test_a_secret_that_was_changed_holds_from_the_next_event_on(store: Store) -> None:
    give_catalog_secret(store(json.dumps(KEYS)))
    give_catalog_secret(store(json.dumps({**KEYS, ACCESS: "another"})))
    assert os.environ[ACCESS] == "another"


def test_without_a_secret_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def client(_service: str) -> Any:
        raise AssertionError

    monkeypatch.setattr("cloudbuster.aws.stack.catalog_secret.client", client)
    give_catalog_secret(StackSettings(root="s3://stack"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (VALUE, ["is no JSON object", ACCESS]),
        (json.dumps([VALUE]), ["is no JSON object"]),
        (json.dumps({ACCESS: VALUE}), ["has no text as CDSE_S3_SECRET_KEY;", "deploy"]),
        (json.dumps({**KEYS, ACCESS: ""}), [f"has no text as {ACCESS};"]),
        (json.dumps({**KEYS, ACCESS: {"key": VALUE}}), [f"has no text as {ACCESS};"]),
    ],
)
def test_a_secret_without_its_members_is_one_clear_line_that_shows_nothing(
    store: Store, caplog: pytest.LogCaptureFixture, text: str, words: list[str]
) -> None:
    caplog.set_level(logging.DEBUG, "cloudbuster")
    with pytest.raises(CredentialsError) as caught:
        give_catalog_secret(store(text))
    message = str(caught.value)
    assert "\n" not in message
    assert [word for word in words if word not in message] == []
    assert VALUE not in message + repr(caught.value.__cause__) + repr(caught.value.__context__)
    assert VALUE not in caplog.text
    assert ACCESS not in os.environ


def test_a_secret_that_does_not_exist_is_named(store: Store) -> None:
    gone = "arn:aws:secretsmanager:us-west-2:123456789012:secret:gone-AbCd12"
    settings = store(json.dumps(KEYS)).model_copy(update={"catalog_secret_arn": gone})
    with pytest.raises(BadInputError, match=f"cannot read the secret {gone}: ResourceNotFound"):
        give_catalog_secret(settings)


def test_the_query_begins_with_the_secret(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDBUSTER_STACK", store("[]").model_dump_json())
    with pytest.raises(CredentialsError, match="is no JSON object"):
        lambdas.query.handler({}, None)


def test_the_variables_are_those_that_the_catalogs_ask_for() -> None:
    """A credential that a catalog learns to ask for must be one that the stack can be given."""
    asked = " ".join(need.what for catalog in CATALOGS.values() for need in catalog.needs)
    named = {word.strip("(),") for word in asked.split() if "_" in word}
    # Those of AWS are the role's.
    assert {name for name in named if not name.startswith("AWS_")} == set(VARIABLES)
