"""Fixtures of the unit tests: S3 on the loopback, and mocked accounts of AWS that start quickly."""

import functools
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

import botocore.session
import pytest
from hypothesis import settings

from cloudbuster.storage.remote.boto import aws_client

if TYPE_CHECKING:
    from tests.s3_server import S3Server

# The same few examples in every session, however slow the machine is.
settings.register_profile("unit", max_examples=15, deadline=None, derandomize=True)
settings.load_profile("unit")


@pytest.fixture(scope="session", autouse=True)
def _quick_accounts() -> Iterator[None]:
    """Read botocore's descriptions of services once, and leave out moto's machine images.

    Every mocked account has sessions of its own, each of which would parse megabytes of JSON again.
    """
    with pytest.MonkeyPatch.context() as patch:
        shared = functools.cache(botocore.session.create_loader)
        patch.setattr(botocore.session, "create_loader", shared)
        patch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
        yield


@pytest.fixture(scope="module", autouse=True)
def _few_loggers_to_capture() -> Iterator[None]:
    """Let PyTorch's loggers report to the root logger, as all others do.

    It has fifty that do not, and pytest would add its handlers to each of them, and remove them
    again, in all three phases of every later test.
    """
    yield
    for name, logger in logging.root.manager.loggerDict.items():
        if name.startswith("torch") and isinstance(logger, logging.Logger):
            logger.propagate = True


@pytest.fixture(scope="session")
def s3_server() -> "Iterator[S3Server]":
    """S3 on the loopback; each module uses its own buckets."""
    from tests.s3_server import serving_s3

    with serving_s3() as server:
        yield server


@pytest.fixture
def s3_account(s3_server: "S3Server", monkeypatch: pytest.MonkeyPatch) -> "Iterator[S3Server]":
    """Let this process use the moto behind `s3_server`, which refuses nothing."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_server.behind)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    aws_client.cache_clear()
    yield s3_server
    aws_client.cache_clear()
