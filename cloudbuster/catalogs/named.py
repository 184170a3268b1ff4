"""Catalogs known by name: their addresses, collections and required credentials."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec

import requests

from cloudbuster.catalogs.rasterfoundry import TOKEN_VARIABLE, UNPROVEN
from cloudbuster.catalogs.rasterfoundry import URL as RASTERFOUNDRY_URL
from cloudbuster.core.scenes.asset_mirror import Mirror, mirrored_href
from cloudbuster.core.scenes.bands import Kind
from cloudbuster.errors import CatalogError, CredentialsError
from cloudbuster.original.documents import L1C_BUCKET, TILE_PATH
from cloudbuster.storage.files.uri import is_remote
from cloudbuster.storage.rasters.access import CDSE_KEY_VARIABLES, has_aws_credentials
from cloudbuster.storage.remote.sas import SUBSCRIPTION_VARIABLE

DEFAULT_CATALOG = "earth-search"
KINDS: tuple[Kind, ...] = ("L2A", "L1C")
BOTH = frozenset(KINDS)
# Instance metadata service of EC2 and its timeout: on EC2 it answers within milliseconds, and
# elsewhere nothing listens at this address.
INSTANCE_METADATA_URL = "http://169.254.169.254/latest/api/token"
INSTANCE_METADATA_TIMEOUT_S = 0.5


@dataclass(frozen=True)
class Need:
    """Credentials or a package that a catalog needs.

    Attributes
    ----------
    what : str
        Description for messages, with the names of the environment variables.
    is_there : callable
        Function that returns whether the need is met now.
    kinds : set of {"L1C", "L2A"}
        Levels that need it.
    assets : str or None
        Prefix of the assets that need it; it is not needed if a mirror replaces that prefix.
    optional : bool
        Whether the catalog works without it.
    by_flag : bool
        Whether a command-line flag may provide it, so that it may be missing here.
    """

    what: str
    is_there: Callable[[], bool]
    kinds: frozenset[Kind] = BOTH
    assets: str | None = None
    optional: bool = False
    by_flag: bool = False

    def applies(self, kind: Kind, mirrors: Iterable[Mirror]) -> bool:
        """Whether reading scenes of ``kind`` through ``mirrors`` requires it."""
        if self.optional or self.by_flag or kind not in self.kinds:
            return False
        mirrored = self.assets and mirrored_href(f"{self.assets}/", list(mirrors))
        return self.assets is None or mirrored == f"{self.assets}/"


@dataclass(frozen=True)
class NamedCatalog:
    """A catalog that is known by name.

    Attributes
    ----------
    url : str
        URL of its API.
    collections : mapping of {"L1C", "L2A"} to tuple of str
        Collections of each product level it has, the preferred one first.
    needs : tuple of Need
        Credentials and packages it needs.
    requester_pays : set of {"L1C", "L2A"}
        Levels whose files are charged to the reader.
    note : str
        Further remarks for users.
    """

    url: str
    collections: Mapping[Kind, tuple[str, ...]] = field(default_factory=dict)
    needs: tuple[Need, ...] = ()
    requester_pays: frozenset[Kind] = frozenset()
    note: str = ""


@dataclass(frozen=True)
class NeedStatus:
    """A need of a catalog, and whether it is met now.

    Attributes
    ----------
    what : str
        Description, with the names of the environment variables.
    levels : tuple of {"L1C", "L2A"}
        Levels that need it.
    optional : bool
        Whether the catalog works without it.
    is_there : bool
        Whether the need is met.
    """

    what: str
    levels: tuple[Kind, ...]
    optional: bool
    is_there: bool


@dataclass(frozen=True)
class CatalogStatus:
    """Status of one catalog, as ``cloudbuster catalogs`` reports it.

    Attributes
    ----------
    name, url : str
        Name of the catalog and URL of its API.
    levels : tuple of {"L1C", "L2A"}
        Product levels it has.
    collections : mapping of {"L1C", "L2A"} to tuple of str
        Collections of each level, if the catalog has collections.
    requester_pays : tuple of {"L1C", "L2A"}
        Levels whose files are charged to the reader.
    needs : tuple of NeedStatus
        Credentials and packages it needs.
    is_ready : mapping of {"L1C", "L2A"} to bool
        Whether everything that a level requires is available now.
    note : str
        Further remarks for users.
    """

    name: str
    url: str
    levels: tuple[Kind, ...]
    collections: Mapping[Kind, tuple[str, ...]]
    requester_pays: tuple[Kind, ...]
    needs: tuple[NeedStatus, ...]
    is_ready: Mapping[Kind, bool]
    note: str


def _are_set(*variables: str) -> bool:
    """Whether all of these environment variables have a value."""
    return all(os.environ.get(variable) for variable in variables)


def _has_aws() -> bool:
    """Whether there are AWS credentials: configured ones, or the role of an EC2 instance."""
    return has_aws_credentials() or _has_instance_role()


def _has_instance_role() -> bool:
    """Whether this machine is an EC2 instance whose metadata service hands out tokens."""
    if os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() in ("true", "yes"):
        return False
    headers = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
    try:
        with requests.Session() as session:
            session.trust_env = False  # a proxy cannot reach this link-local address
            answer = session.put(
                INSTANCE_METADATA_URL, headers=headers, timeout=INSTANCE_METADATA_TIMEOUT_S
            )
    except requests.RequestException:
        return False
    return answer.ok


AWS_FOR_L1C = Need(
    "AWS credentials (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or a role)",
    _has_aws,
    kinds=frozenset({"L1C"}),
    assets=L1C_BUCKET,
)

CATALOGS: dict[str, NamedCatalog] = {
    # C1 alone has gaps (2022 above all), which the older collection fills.
    "earth-search": NamedCatalog(
        "https://earth-search.aws.element84.com/v1",
        {"L2A": ("sentinel-2-c1-l2a", "sentinel-2-l2a"), "L1C": ("sentinel-2-l1c",)},
        needs=(AWS_FOR_L1C,),
        requester_pays=frozenset({"L1C"}),
        note="L2A is free, in us-west-2; L1C is in eu-central-1",
    ),
    "planetary-computer": NamedCatalog(
        "https://planetarycomputer.microsoft.com/api/stac/v1",
        {"L2A": ("sentinel-2-l2a",)},
        needs=(
            Need(
                f"a subscription key ({SUBSCRIPTION_VARIABLE})",
                partial(_are_set, SUBSCRIPTION_VARIABLE),
                optional=True,
            ),
        ),
        note="free, in Azure West Europe; addresses are signed when they are read",
    ),
    "cdse": NamedCatalog(
        "https://stac.dataspace.copernicus.eu/v1",
        {"L2A": ("sentinel-2-l2a",), "L1C": ("sentinel-2-l1c",)},
        needs=(
            Need(
                f"S3 keys of the Data Space ({' and '.join(CDSE_KEY_VARIABLES)})",
                partial(_are_set, *CDSE_KEY_VARIABLES),
                assets="s3://eodata",
            ),
        ),
        note="free within a monthly quota",
    ),
    "rasterfoundry": NamedCatalog(
        RASTERFOUNDRY_URL,
        {"L2A": (), "L1C": ()},
        needs=(
            Need(
                f"a refresh token (--refresh-token or {TOKEN_VARIABLE})",
                partial(_are_set, TOKEN_VARIABLE),
                by_flag=True,
            ),
            AWS_FOR_L1C,
        ),
        requester_pays=frozenset({"L1C"}),
        note=UNPROVEN,
    ),
}
# Other values of `--catalog`: the URL of a STAC API and the path of a local catalog.
GEOPARQUET_EXTRA = Need(
    "pyarrow, for stac-geoparquet (pip install 'cloudbuster[geoparquet]')",
    lambda: find_spec("pyarrow") is not None,
    optional=True,
)
UNNAMED: dict[str, NamedCatalog] = {
    "URL": NamedCatalog("https://...", note="any STAC API that holds Sentinel-2"),
    "PATH": NamedCatalog(
        "a file or folder",
        needs=(GEOPARQUET_EXTRA,),
        note="a folder of items, an ItemCollection, a catalog.json, or stac-geoparquet",
    ),
}


def is_product_address(uri: str) -> bool:
    """Whether a remote address is that of a product: a SAFE folder or a tile's folder."""
    path = uri.rstrip("/")
    tile = TILE_PATH.search(path)
    is_tile = tile is not None and tile.end() == len(path)
    return is_remote(uri) and (is_tile or path.upper().endswith(".SAFE"))


def check_catalog(catalog: str, kinds: Iterable[Kind], mirrors: Iterable[Mirror] = ()) -> None:
    """Check before a search that the scenes of a named catalog could be read.

    Parameters
    ----------
    catalog : str
        Argument of ``open_catalog``; URLs and paths are not checked.
    kinds : iterable of {"L1C", "L2A"}
        Levels to be read.
    mirrors : iterable of (str, str)
        Prefixes of assets and their mirrors. Credentials that only mirrored assets need are not
        required.

    Raises
    ------
    CatalogError
        If the catalog does not have one of the levels.
    CredentialsError
        If required credentials are missing; the message names the environment variables.
    """
    named = CATALOGS.get(catalog)
    if named is None:
        return
    mirrors = list(mirrors)
    for kind in kinds:
        if kind not in named.collections:
            holders = [name for name, other in CATALOGS.items() if kind in other.collections]
            msg = f"catalog {catalog} has no {kind}; use {' or '.join(holders)}"
            raise CatalogError(msg)
        _check_needs(catalog, named.needs, kind, mirrors)


def _check_needs(
    catalog: str, needs: Iterable[Need], kind: Kind, mirrors: Iterable[Mirror]
) -> None:
    """Raise CredentialsError if something that a level requires is missing."""
    for need in needs:
        if need.applies(kind, mirrors) and not need.is_there():
            msg = (
                f"catalog {catalog} needs {need.what} to read {kind}; set them, or read "
                f"{need.assets or 'its assets'} from elsewhere with --asset-mirror"
            )
            raise CredentialsError(msg)


def catalog_statuses() -> tuple[CatalogStatus, ...]:
    """Status of every named catalog, and of catalogs given by URL or path."""
    return tuple(_status(name, named) for name, named in {**CATALOGS, **UNNAMED}.items())


def _is_ready(kind: Kind, needs: Iterable[NeedStatus]) -> bool:
    """Whether every required need of a level is met."""
    return all(need.is_there or need.optional for need in needs if kind in need.levels)


def _status(name: str, named: NamedCatalog) -> CatalogStatus:
    """Status of one catalog; each need is checked once."""
    levels = tuple(kind for kind in KINDS if kind in named.collections) or KINDS
    needs = tuple(
        NeedStatus(
            need.what,
            tuple(kind for kind in levels if kind in need.kinds),
            need.optional,
            need.is_there(),
        )
        for need in named.needs
    )
    return CatalogStatus(
        name=name,
        url=named.url,
        levels=levels,
        collections={kind: names for kind, names in named.collections.items() if names},
        requester_pays=tuple(kind for kind in levels if kind in named.requester_pays),
        needs=needs,
        is_ready={kind: _is_ready(kind, needs) for kind in levels},
        note=named.note,
    )
