"""Catalogs of Sentinel-2 scenes (STAC APIs, local files, RasterFoundry) and their item dialects.

Import `open_catalog`, `check_catalog` and `SceneSearch` from here. `schema`, `item_properties` and
`item_hrefs` read STAC items and are used by the stages directly.
"""

import difflib
from pathlib import PurePath

from cloudbuster.catalogs.named import (
    CATALOGS,
    DEFAULT_CATALOG,
    NamedCatalog,
    check_catalog,
    is_product_address,
)
from cloudbuster.catalogs.search import Catalog, Found, SceneSearch
from cloudbuster.errors import CatalogError
from cloudbuster.storage.addresses.trust import admitted, own_trust
from cloudbuster.storage.files.uri import local_path, scheme_of

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
        A name in `CATALOGS`, the URL of a STAC API, the path of a local catalog (a folder, an
        ItemCollection, a ``catalog.json`` or a stac-geoparquet file), or the address of a product
        (a SAFE folder, zipped or not, or a tile's folder in the layout of the public buckets).
    refresh_token : str or None
        Refresh token of RasterFoundry, or ``secretsmanager:NAME``; None reads it from the
        environment.

    Returns
    -------
    Catalog
        Ready to search. A remote catalog is contacted when it is searched, not before.

    Raises
    ------
    CatalogError
        If no catalog has that name or path, or it cannot be read.
    CredentialsError
        If the catalog is RasterFoundry and there is no refresh token.
    UntrustedAddressError
        If the request comes from others, who may not name that path.
    MissingExtraError
        If a stac-geoparquet file needs a package that is not installed.
    """
    # Imported late: each kind of catalog has heavy dependencies of its own.
    if name_or_path == "rasterfoundry":
        from cloudbuster.catalogs.rasterfoundry import RasterFoundryCatalog, read_refresh_token

        return RasterFoundryCatalog(read_refresh_token(refresh_token))
    if is_product_address(name_or_path):
        from cloudbuster.catalogs.local import LocalCatalog

        return LocalCatalog.of_remote_product(name_or_path)
    scheme = scheme_of(name_or_path)
    if name_or_path in CATALOGS or scheme in ("http", "https"):
        from cloudbuster.catalogs.stac_api import StacApiCatalog

        named = CATALOGS.get(name_or_path, NamedCatalog(name_or_path))
        return StacApiCatalog(named.url, name=name_or_path, collections=named.collections or None)
    if scheme != "file":
        msg = (
            f"catalog {name_or_path}: {scheme}:// is not supported; give a name "
            f"({', '.join(CATALOGS)}), the URL of a STAC API, or a local path"
        )
        raise CatalogError(msg)
    admitted(name_or_path, own_trust())
    if not local_path(name_or_path).exists():
        raise _no_such_catalog(name_or_path)
    from cloudbuster.catalogs.local import LocalCatalog

    return LocalCatalog.open(name_or_path)


def _no_such_catalog(name_or_path: str) -> CatalogError:
    """Make the error for a path that does not exist; it may be a misspelt catalog name."""
    # Paths of a request are absolute by now, so only the last part can be a catalog name.
    close = difflib.get_close_matches(PurePath(name_or_path).name.lower(), CATALOGS, n=1)
    suggestion = f"; did you mean {close[0]}?" if close else ""
    return CatalogError(
        f"catalog {name_or_path}: No such file or directory; check the path, or use one of the "
        f"named catalogs: {', '.join(CATALOGS)}{suggestion}"
    )
