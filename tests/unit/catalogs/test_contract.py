import pytest

from tests.search_contract import SearchContract
from tests.stac_items import thousand_items
from tests.stac_server import CONFORMANCE, FILTER, StacServer, serving


@pytest.fixture(scope="module")
def items():
    return thousand_items()


def serve(items, **manners):
    return serving(StacServer(items, page_size=100, conformance=(*CONFORMANCE, FILTER), **manners))


class TestLoopbackServer(SearchContract):
    @pytest.fixture(scope="class")
    @classmethod
    def stac_url(cls, items):
        with serve(items) as server:
            yield server.url


class TestLoopbackServerThatPagesByGet:
    """How pages are linked matters to no other test of the contract."""

    @pytest.fixture(scope="class")
    @classmethod
    def stac_url(cls, items):
        with serve(items, links="get", matched="numberMatched") as server:
            yield server.url

    test_a_search_finds_exactly = SearchContract.test_a_search_finds_exactly_the_items_that_it_wants
