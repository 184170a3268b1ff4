"""The secret of a stack with the credentials of catalogs, as moto keeps it."""

import json
import logging
import os
from collections.abc import Callable

import pytest

import lambdas.query
from cloudbuster.aws.settings import StackSettings
from cloudbuster.aws.stack.catalog_secret import VARIABLES, load_catalog_secret
from cloudbuster.catalogs.named import CATALOGS
from cloudbuster.errors import CredentialsError, NotFoundError
from cloudbuster.storage.rasters.access import access_of
from cloudbuster.storage.remote.boto import aws_client

ACCESS, VALUE = "CDSE_S3_ACCESS_KEY", "do-not-show"
KEYS = {ACCESS: VALUE, "CDSE_S3_SECRET_KEY": f"{VALUE}-either"}
Store = Callable[[str], StackSettings]


@pytest.fixture
def store(aws: str, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Store a text as the stack's secret; return the settings of the stack."""
    assert aws
    for name in VARIABLES:
        # Set and unset, so that monkeypatch removes what a test adds.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    manager = aws_client("secretsmanager")
    arn = manager.create_secret(Name="catalogs", SecretString="{}")["ARN"]

    def put(text: str) -> StackSettings:
        manager.put_secret_value(SecretId=arn, SecretString=text)
        return StackSettings(
            root="s3://stack", catalog_secret_arn=arn, catalog_variables=tuple(KEYS)
        )

    return put


def test_the_members_of_the_secret_are_put_into_the_environment(store: Store) -> None:
    settings = store(json.dumps({**KEYS, "unasked": "x"}))
    with pytest.raises(CredentialsError):
        access_of("s3://eodata/Sentinel-2/x.jp2")
    load_catalog_secret(settings)
    assert {name: os.environ.get(name) for name in KEYS} == KEYS
    assert "unasked" not in os.environ
    assert access_of("s3://eodata/Sentinel-2/x.jp2").options["AWS_ACCESS_KEY_ID"] == VALUE


def test_a_changed_secret_holds_from_the_next_event_on(store: Store) -> None:
    load_catalog_secret(store(json.dumps(KEYS)))
    load_catalog_secret(store(json.dumps({**KEYS, ACCESS: "another"})))
    assert os.environ[ACCESS] == "another"


def test_a_stack_without_a_secret_makes_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloudbuster.aws.stack.catalog_secret.aws_client", pytest.fail)
    load_catalog_secret(StackSettings(root="s3://stack"))


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
def test_a_secret_without_its_members_is_one_clear_line_without_its_text(
    store: Store, caplog: pytest.LogCaptureFixture, text: str, words: list[str]
) -> None:
    caplog.set_level(logging.DEBUG, "cloudbuster")
    with pytest.raises(CredentialsError) as caught:
        load_catalog_secret(store(text))
    message = str(caught.value)
    assert "\n" not in message
    assert [word for word in words if word not in message] == []
    assert VALUE not in message + repr(caught.value.__cause__) + repr(caught.value.__context__)
    assert VALUE not in caplog.text
    assert ACCESS not in os.environ


def test_a_secret_that_does_not_exist_is_named(store: Store) -> None:
    gone = "arn:aws:secretsmanager:us-west-2:123456789012:secret:gone-AbCd12"
    settings = store(json.dumps(KEYS)).model_copy(update={"catalog_secret_arn": gone})
    with pytest.raises(NotFoundError, match=f"cannot read the secret {gone}: ResourceNotFound"):
        load_catalog_secret(settings)


def test_the_query_begins_with_the_secret(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDBUSTER_STACK", store("[]").model_dump_json())
    with pytest.raises(CredentialsError, match="is no JSON object"):
        lambdas.query.handler({}, None)


def test_the_stack_can_have_every_credential_that_a_catalog_needs() -> None:
    asked = " ".join(need.what for catalog in CATALOGS.values() for need in catalog.needs)
    named = {word.strip("(),") for word in asked.split() if "_" in word}
    # The credentials of AWS are those of the role.
    assert {name for name in named if not name.startswith("AWS_")} == set(VARIABLES)
