"""Secrets are replaced in whatever is shown or passed on; the rest of a text stays as it is."""

import io
import json
import logging
import time

import pytest

from cloudbuster.errors import AccessError
from cloudbuster.processes import log
from cloudbuster.redaction import (
    HARMLESS_PARAMETERS,
    SECRET_VARIABLES,
    keep_secret,
    redacted,
    redacted_json,
    visible,
)

SECRET = "pl4ntedSecret"  # noqa: S105 -- what must not be shown

FORMS = [
    f"https://user:{SECRET}@h/B04.tif",
    f"https://{SECRET}@h/B04.tif",
    f"https://user:a@b:{SECRET}@h:8080/B04.tif",
    f"https://user:a/{SECRET}@h/B04.tif",
    f"s3://AKIDEXAMPLE:{SECRET}@bucket/key",
    f"http://h/x?sig={SECRET}",
    f"http://h/x?se=2020&sp=r&sv=2019&sr=c&sig={SECRET}%2Bx%3D",
    f"http://h/x?X-Amz-Credential={SECRET}&X-Amz-Signature=1",
    f"http://h/x?X-Amz-Security-Token={SECRET}",
    f"http://h/x?AWSAccessKeyId=a&Signature={SECRET}&Expires=1",
    f"http://h/x?X-Goog-Signature={SECRET}",
    f"http://h/x?token={SECRET}",
    f"http://h/x?access_token={SECRET};b=1",
    f"http://h/x?api_key={SECRET}",
    f"http://h/x?apikey={SECRET}",
    f"http://h/x?unheard-of={SECRET}",
    f"http://h/x?{SECRET}",
    f"http://h/x?a=1&{SECRET}",
    f"http://h/x?{SECRET}=",
    f"http://h/x?{SECRET}==&a=1",
    f"http://h/x#access_token={SECRET}",
    f"http://h/x?a=1#{SECRET}",
    f"//h/x?sig={SECRET}",
    f"B04.tif?sig={SECRET}",
    f"/vsicurl/http://h/x?sig={SECRET}",
    f"/vsicurl?pc_url_signing=yes&url=http%3A%2F%2Fh%2F%3Fsig%3D{SECRET}",
    f"Authorization: Bearer {SECRET}",
    f"authorization: basic {SECRET}==",
    f"{{'Authorization': 'Bearer {SECRET}'}}",
    f"Ocp-Apim-Subscription-Key: {SECRET}",
    f"Cookie: session={SECRET}; other={SECRET}",
    f"X-Amz-Security-Token: {SECRET}",
    f'{{"refresh_token": "{SECRET}"}}',
    f'{{\\"refresh_token\\": \\"{SECRET}\\"}}',
    f'{{"password":"{SECRET}"}}',
    f"password={SECRET}",
    f"AWS_SECRET_ACCESS_KEY={SECRET}",
    f"aws_session_token = {SECRET}",
    f"client-secret={SECRET}",
    f"AccountKey={SECRET}",
    f"SharedAccessSignature={SECRET}",
]


@pytest.mark.parametrize("text", FORMS)
@pytest.mark.parametrize(
    "around", ["{}", "cannot read {}: HTTP status 403; check it", "<{}>", "'{}'"]
)
def test_no_form_of_a_secret_is_shown(text, around):
    shown = redacted(around.format(text))
    assert SECRET not in shown
    assert SECRET not in str(AccessError(around.format(text)))
    assert redacted(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no scene covers the area; did you mean utm-each?",
        "https://h/stac/search?collections=sentinel-2-l2a&limit=100&bbox=1,2,3,4",
        "https://h/x?datetime=2020-01-01T00:00:00Z/2020-02-01T00:00:00Z&page=2",
        "s3://bucket/tiles/33/T/WL/2020/5/9/0/B04.jp2: no such object",
        "s3://bucket/a#b@c/key",
        "/data/a@b/c",
        "EPSG:32633, 10 m; B02 = 500 and key = 3",
        "the area lies at longitude 15.2: swap the two?",
        "token",
        "http://127.0.0.1:8080/x: HTTP status 404; check the address",
        "a refresh token: give --refresh-token, or set CLOUDBUSTER_RF_REFRESH_TOKEN",
    ],
)
def test_what_is_no_secret_stays_as_it_is(text):
    assert redacted(text) == text


def test_a_secret_of_the_environment_is_hidden_wherever_it_occurs(monkeypatch):
    for variable in SECRET_VARIABLES:
        monkeypatch.setenv(variable, f"{variable}-value")
        assert redacted(f"the server said {variable}-value!") == "the server said ***!"


def test_a_secret_that_was_kept_is_hidden_from_then_on():
    keep_secret("an-issued-token-1234")
    assert redacted("path/an-issued-token-1234/x") == "path/***/x"


@pytest.mark.parametrize(
    "name", ["token", "accessToken", "client_secret", "x-api-key", "sig", "auth", "Authorization"]
)
def test_a_member_that_is_named_as_a_secret_is_replaced_whole(name):
    assert redacted_json([{name: "short"}]) == [{name: "***"}]


@pytest.mark.parametrize("name", ["authority", "sigma0", "author", "key", "requester_pays"])
def test_other_members_stay_as_they_are(name):
    assert redacted_json({name: "EPSG"}) == {name: "EPSG"}
    assert redacted(f"{name}=EPSG") == f"{name}=EPSG"


def test_json_stays_json_with_the_same_members():
    document = {"a": [f"http://h/?sig={SECRET}", {"b": f"x={SECRET} token={SECRET}\n"}], "n": 1.5}
    text = redacted(json.dumps(document))
    assert json.loads(text) == {
        "a": ["http://h/?sig=***", {"b": f"x={SECRET} token=***\n"}],
        "n": 1.5,
    }
    changed = redacted_json(document)
    assert changed["a"][0] == "http://h/?sig=***"
    assert (changed["n"], redacted_json((1, None, True))) == (1.5, [1, None, True])


@pytest.mark.parametrize(
    "text",
    [
        "http://" + "a" * 50_000 + "?" + "b=" * 50_000,
        "token" * 40_000,
        "//:" * 60_000 + "@",
        "secret" + "." * 200_000 + "=",
        "Authorization: " + "Bearer " * 30_000,
        "eyJ" + "a." * 90_000,
        "?" * 100_000 + "//",
    ],
    ids=["query", "names", "users", "dots", "headers", "tokens", "marks"],
)
def test_a_long_text_takes_no_longer_than_its_length(text):
    started = time.process_time()
    redacted(text)
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2Jb", "a\\u001b[2Jb"),
        ("a\rb\x07", "a\\u000db\\u0007"),
        ("\u202eexe.fit", "\\u202eexe.fit"),
        ("\u2066x\u2069\ufeff", "\\u2066x\\u2069\\ufeff"),
        ("tab\there\nand Zürich 東京", "tab\there\nand Zürich 東京"),
    ],
)
def test_characters_that_no_terminal_should_get_are_written_out(text, shown):
    assert visible(text) == shown
    assert str(AccessError(text)) == shown


@pytest.mark.parametrize("as_json", [False, True])
def test_logs_hold_no_secret(as_json, monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    log.configure(as_json=as_json)
    try:
        error = ValueError(f"http://h/?sig={SECRET}")
        logging.getLogger("cloudbuster.x").warning(
            "read_failed",
            exc_info=error,
            extra={"href": f"https://u:{SECRET}@h", "of": [error], "at": f'"Cookie: {SECRET}"'},
        )
    finally:
        log.configure(as_json=False)
    assert "https://***@h" in stream.getvalue()
    assert not as_json or json.loads(stream.getvalue())["event"] == "read_failed"
    assert SECRET not in stream.getvalue()


def test_only_parameters_of_searches_and_versions_are_harmless():
    assert not any(word in name for name in HARMLESS_PARAMETERS for word in ("key", "sig", "tok"))
