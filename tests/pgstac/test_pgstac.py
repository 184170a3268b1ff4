import pytest
import requests

from tests.search_contract import SearchContract

pytestmark = pytest.mark.pgstac


class TestPgstac(SearchContract):
    pass


def test_the_server_is_pgstac_and_holds_every_item(items, stac_url):
    landing = requests.get(stac_url, timeout=20).json()
    assert any("item-search#query" in name for name in landing["conformsTo"])
    assert any("cql2-json" in name for name in landing["conformsTo"])
    assert len(items) == 1000
