"""Catalogs of scenes: named ones, STAC APIs, and local ones."""

from cloudbuster.catalogs.named import CATALOGS, DEFAULT_CATALOG, NamedCatalog, check_catalog
from cloudbuster.catalogs.search import Catalog, Found, SceneSearch
from cloudbuster.errors import CatalogError
from cloudbuster.io.uri import scheme_of

__all__ = [
    "CATALOGS",
    "DEFAULT_CATALOG",
    "Catalog",
    "Found",
    "NamedCatalog",
    "SceneSearch",
    "check_catalog",
    "open_catalog",
]


def open_catalog(name_or_path: str, *, refresh_token: str | None = None) -> Catalog:
    """Open a catalog.

    Parameters
    ----------
    name_or_path : str
        A name in `CATALOGS`, the URL of a STAC API, or the path of a local catalog (a folder, an
        ItemCollection, a ``catalog.json`` or a stac-geoparquet file).
    refresh_token : str or None
        Of RasterFoundry, or the AWS secret that holds it; None for the environment's.

    Returns
    -------
    Catalog
        Ready to search; a remote one is first contacted by its search.

    Raises
    ------
    CatalogError
        Where there is none of that name or path, or it cannot be read.
    CredentialsError
        Where RasterFoundry is named and no refresh token is given.
    MissingExtraError
        Where a stac-geoparquet file needs a package that is not installed.
    """
    # Each kind of catalog brings its own heavy imports.
    if name_or_path == "rasterfoundry":
        from cloudbuster.catalogs.rasterfoundry import RasterFoundryCatalog, refresh_token_of

        return RasterFoundryCatalog(refresh_token_of(refresh_token))
    named = CATALOGS.get(name_or_path)
    if named is not None:
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
