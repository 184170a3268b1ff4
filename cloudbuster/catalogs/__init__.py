"""Catalogs of scenes: named ones, STAC APIs, and local ones."""

import difflib
from pathlib import PurePath

from cloudbuster.catalogs.named import CATALOGS, DEFAULT_CATALOG, NamedCatalog, check_catalog
from cloudbuster.catalogs.search import Catalog, Found, SceneSearch
from cloudbuster.errors import CatalogError
from cloudbuster.storage.uri import local_path, scheme_of

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
    if not local_path(name_or_path).exists():
        raise _unknown(name_or_path)
    from cloudbuster.catalogs.local import LocalCatalog

    return LocalCatalog.open(name_or_path)


def _unknown(name_or_path: str) -> CatalogError:
    """Say that there is no such path, and which names there are: a mistyped one is a path."""
    # A request's path is absolute by now, whatever was written.
    close = difflib.get_close_matches(PurePath(name_or_path).name.lower(), CATALOGS, n=1)
    meant = f"; did you mean {close[0]}?" if close else ""
    return CatalogError(
        f"catalog {name_or_path}: No such file or directory; check the path, or take a name: "
        f"{', '.join(CATALOGS)}{meant}"
    )
