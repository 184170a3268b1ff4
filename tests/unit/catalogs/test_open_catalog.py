import pytest

from cloudbuster.catalogs import CATALOGS, open_catalog
from cloudbuster.catalogs.stac_api import StacApiCatalog
from cloudbuster.errors import CatalogError


def test_earth_search_prefers_collection_1_and_completes_it():
    catalog = open_catalog("earth-search")
    assert isinstance(catalog, StacApiCatalog)
    assert catalog.name == "earth-search"
    assert catalog.url == "https://earth-search.aws.element84.com/v1"
    assert CATALOGS["earth-search"].collections["L2A"] == ("sentinel-2-c1-l2a", "sentinel-2-l2a")


def test_a_url_is_a_stac_api():
    catalog = open_catalog("https://example.com/stac")
    assert isinstance(catalog, StacApiCatalog)
    assert catalog.url == "https://example.com/stac"


def test_a_scheme_without_a_catalog_is_refused():
    with pytest.raises(CatalogError, match="s3:// is not supported"):
        open_catalog("s3://bucket/catalog.json")


@pytest.mark.parametrize(
    ("typed", "suggestion"),
    [
        ("earthsearch", "; did you mean earth-search?"),
        ("Earth-Search", "; did you mean earth-search?"),
        ("/where/the/request/is/planetary_computer", "; did you mean planetary-computer?"),
        ("my-catalog", ""),
    ],
)
def test_an_unknown_catalog_is_refused_with_the_known_names(typed, suggestion):
    with pytest.raises(CatalogError) as error:
        open_catalog(typed)
    assert str(error.value) == (
        f"catalog {typed}: No such file or directory; check the path, or use one of the named "
        f"catalogs: earth-search, planetary-computer, cdse, rasterfoundry{suggestion}"
    )
