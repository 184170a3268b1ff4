"""Errors: messages without the secrets of the addresses in them."""

import pickle

import pytest

from cloudbuster.errors import CloudBusterError, ExitCode, TryAgainError


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("https://h/B04.tif?se=1&sig=abc%3D: 503", "https://h/B04.tif?se=***&sig=***: 503"),
        ("https://h/?X-Amz-Signature=abc&a=b", "https://h/?X-Amz-Signature=***&a=***"),
        ("catalog http://user:pass@h/stac?token=abc", "catalog http://***@h/stac?token=***"),
        ("s3://bucket/key: no such object", "s3://bucket/key: no such object"),
    ],
)
def test_a_message_shows_no_signature_and_no_password(message: str, shown: str) -> None:
    assert str(TryAgainError(message)) == shown


def test_every_error_has_an_exit_code_and_crosses_processes() -> None:
    error = pickle.loads(pickle.dumps(TryAgainError("a; try again")))  # noqa: S301 -- our own
    assert (str(error), error.exit_code) == ("a; try again", ExitCode.TRY_AGAIN)
    assert CloudBusterError.exit_code is ExitCode.BUG
