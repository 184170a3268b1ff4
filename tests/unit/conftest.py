"""What makes a mocked account of AWS quick: most of its time went into what no test looks at."""

import functools
from collections.abc import Iterator

import botocore.session
import pytest


@pytest.fixture(scope="session", autouse=True)
def _quick_accounts() -> Iterator[None]:
    """Read botocore's descriptions of services once, and leave moto's images of machines out.

    Every account begins with sessions of its own, each of which parses megabytes of JSON anew.
    """
    with pytest.MonkeyPatch.context() as patch:
        shared = functools.cache(botocore.session.create_loader)
        patch.setattr(botocore.session, "create_loader", shared)
        patch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
        yield
