from typing import Any

import pytest

from tests.search_contract import SearchContract
from tests.stac_items import thousand_items
from tests.stac_server import CONFORMANCE, FILTER, StacServer, serving


@pytest.fixture(scope="module")
def items():
    return thousand_items()


@pytest.fixture(scope="module", params=["plain", "pages by GET"])
def stac_url(items, request):
    known: dict[str, dict[str, Any]] = {
        "plain": {},
        "pages by GET": {"links": "get", "matched": "numberMatched"},
    }
    spoken = (*CONFORMANCE, FILTER)
    server = StacServer(items, page_size=100, conformance=spoken, **known[request.param])
    with serving(server):
        yield server.url


class TestLoopbackServer(SearchContract):
    pass
