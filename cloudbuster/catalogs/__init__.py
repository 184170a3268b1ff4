"""Catalogs of scenes: named ones, STAC APIs, and local ones."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cloudbuster.catalogs.search import Catalog, Found, SceneSearch
from cloudbuster.core.bands import Kind
from cloudbuster.errors import CatalogError
from cloudbuster.io.uri import scheme_of

__all__ = ["CATALOGS", "Catalog", "Found", "NamedCatalog", "SceneSearch", "open_catalog"]


@dataclass(frozen=True)
class NamedCatalog:
    """A catalog that is known by name.

    Attributes
    ----------
    url : str or None
        STAC API; None where it is not available yet.
    collections : mapping of {"L1C", "L2A"} to tuple of str
        Collections of each product level, the preferred one first.
    """

    url: str | None
    collections: Mapping[Kind, tuple[str, ...]] = field(default_factory=dict)


CATALOGS: dict[str, NamedCatalog] = {
    # C1 alone has holes (2022 above all), so the older collection completes it.
    "earth-search": NamedCatalog(
        "https://earth-search.aws.element84.com/v1",
        {"L2A": ("sentinel-2-c1-l2a", "sentinel-2-l2a"), "L1C": ("sentinel-2-l1c",)},
    ),
    "planetary-computer": NamedCatalog(None),
    "cdse": NamedCatalog(None),
    "rasterfoundry": NamedCatalog(None),
}


def open_catalog(name_or_path: str) -> Catalog:
    """Open a catalog.

    Parameters
    ----------
    name_or_path : str
        A name in `CATALOGS`, the URL of a STAC API, or the path of a local catalog (a folder, an
        ItemCollection, a ``catalog.json`` or a stac-geoparquet file).

    Returns
    -------
    Catalog
        Ready to search; a remote one is first contacted by its search.

    Raises
    ------
    CatalogError
        Where there is none of that name or path, or it cannot be read.
    MissingExtraError
        Where a stac-geoparquet file needs a package that is not installed.
    """
    named = CATALOGS.get(name_or_path)
    if named is not None and named.url is None:
        msg = (
            f"catalog {name_or_path} is not available yet; give earth-search, the URL of a STAC "
            "API, or the path of a local STAC catalog"
        )
        raise CatalogError(msg)
    # Each kind of catalog brings its own heavy imports.
    if named is not None and named.url is not None:
        from cloudbuster.catalogs.stac_api import StacApiCatalog

        return StacApiCatalog(named.url, name=name_or_path, collections=named.collections)
    scheme = scheme_of(name_or_path)
    if scheme in ("http", "https"):
        from cloudbuster.catalogs.stac_api import StacApiCatalog

        return StacApiCatalog(name_or_path)
    if scheme != "file":
        msg = (
            f"catalog {name_or_path}: {scheme}:// is not supported; give a name "
            f"({', '.join(CATALOGS)}), the URL of a STAC API, or a local path"
        )
        raise CatalogError(msg)
    from cloudbuster.catalogs.local import LocalCatalog

    return LocalCatalog.open(name_or_path)
