"""The catalogs that are known by name: where each is, what it holds, what it asks for."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec

import requests

from cloudbuster.catalogs.rasterfoundry import TOKEN_VARIABLE, UNPROVEN
from cloudbuster.catalogs.rasterfoundry import URL as RASTERFOUNDRY_URL
from cloudbuster.core.asset_mirror import Mirror, mirrored_href
from cloudbuster.core.bands import Kind
from cloudbuster.errors import CatalogError, CredentialsError
from cloudbuster.original.documents import L1C_BUCKET
from cloudbuster.storage.access import CDSE_KEY_VARIABLES, has_aws_credentials
from cloudbuster.storage.sas import SUBSCRIPTION_VARIABLE

DEFAULT_CATALOG = "earth-search"
KINDS: tuple[Kind, ...] = ("L2A", "L1C")
BOTH = frozenset(KINDS)
# Address of the instance metadata service, the same on every EC2 host, and how long it may take:
# it answers within milliseconds where it is, and nobody answers elsewhere.
INSTANCE_METADATA_URL = "http://169.254.169.254/latest/api/token"
INSTANCE_METADATA_TIMEOUT_S = 0.5


@dataclass(frozen=True)
class Need:
    """Something that a catalog asks for.

    Attributes
    ----------
    what : str
        In words, with the names of the variables that give it.
    is_there : callable
        Tells whether it is there now.
    kinds : set of {"L1C", "L2A"}
        Levels that ask for it.
    assets : str or None
        Prefix of the assets that need it; with all of them mirrored elsewhere it is not needed.
    optional : bool
        Whether the catalog works without it.
    by_flag : bool
        Whether a flag may give it instead, so that its absence here proves nothing.
    """

    what: str
    is_there: Callable[[], bool]
    kinds: frozenset[Kind] = BOTH
    assets: str | None = None
    optional: bool = False
    by_flag: bool = False

    def applies(self, kind: Kind, mirrors: Iterable[Mirror]) -> bool:
        """Whether a search of ``kind``, read through ``mirrors``, cannot do without it."""
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
        Of its API.
    collections : mapping of {"L1C", "L2A"} to tuple of str
        Collections of each product level it has, the preferred one first.
    needs : tuple of Need
        What it asks for.
    requester_pays : set of {"L1C", "L2A"}
        Levels whose files are paid for by who reads them.
    note : str
        What else there is to know.
    """

    url: str
    collections: Mapping[Kind, tuple[str, ...]] = field(default_factory=dict)
    needs: tuple[Need, ...] = ()
    requester_pays: frozenset[Kind] = frozenset()
    note: str = ""


@dataclass(frozen=True)
class NeedStatus:
    """A need, and whether it is met now.

    Attributes
    ----------
    what : str
        In words, with the names of the variables that give it.
    levels : tuple of {"L1C", "L2A"}
        Those that ask for it.
    optional : bool
        Whether the catalog works without it.
    is_there : bool
        Whether it is there now.
    """

    what: str
    levels: tuple[Kind, ...]
    optional: bool
    is_there: bool


@dataclass(frozen=True)
class CatalogStatus:
    """What ``cloudbuster catalogs`` tells of one catalog.

    Attributes
    ----------
    name, url : str
        Of the catalog.
    levels : tuple of {"L1C", "L2A"}
        Product levels that it has.
    collections : mapping of {"L1C", "L2A"} to tuple of str
        Of each level, where the catalog names some.
    requester_pays : tuple of {"L1C", "L2A"}
        Levels whose files are paid for by who reads them.
    needs : tuple of NeedStatus
        What it asks for.
    is_ready : mapping of {"L1C", "L2A"} to bool
        Whether all that a level cannot do without is there now.
    note : str
        What else there is to know.
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
    """Whether each of these environment variables has a value."""
    return all(os.environ.get(variable) for variable in variables)


def _has_aws() -> bool:
    """Whether AWS can be asked as somebody: credentials in sight, or the role of an EC2 host."""
    return has_aws_credentials() or _has_instance_role()


def _has_instance_role() -> bool:
    if os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() in ("true", "yes"):
        return False
    headers = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
    try:
        with requests.Session() as session:
            session.trust_env = False  # a proxy does not lead to this host
            answer = session.put(
                INSTANCE_METADATA_URL, headers=headers, timeout=INSTANCE_METADATA_TIMEOUT_S
            )
    except requests.RequestException:
        return False
    return answer.ok


AWS_FOR_L1C = Need(
    "credentials of AWS (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or a role)",
    _has_aws,
    kinds=frozenset({"L1C"}),
    assets=L1C_BUCKET,
)

CATALOGS: dict[str, NamedCatalog] = {
    # C1 alone has holes (2022 above all), so the older collection completes it.
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
# What `--catalog` takes beside a name.
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


def check_catalog(catalog: str, kinds: Iterable[Kind], mirrors: Iterable[Mirror] = ()) -> None:
    """Refuse a search whose scenes nobody here could read, before it is made.

    Parameters
    ----------
    catalog : str
        As ``open_catalog`` takes it; only named ones are checked.
    kinds : iterable of {"L1C", "L2A"}
        Levels that will be read.
    mirrors : iterable of (str, str)
        Prefixes of assets that are read elsewhere: what only they need is not asked for.

    Raises
    ------
    CatalogError
        Where the catalog does not have a level.
    CredentialsError
        Where credentials are missing; names the variables.
    """
    named = CATALOGS.get(catalog)
    if named is None:
        return
    mirrors = list(mirrors)
    for kind in kinds:
        if kind not in named.collections:
            holders = [name for name, other in CATALOGS.items() if kind in other.collections]
            msg = f"catalog {catalog} has no {kind}; take {' or '.join(holders)}"
            raise CatalogError(msg)
        for need in named.needs:
            if need.applies(kind, mirrors) and not need.is_there():
                msg = (
                    f"catalog {catalog} needs {need.what} to read {kind}; set them, or read "
                    f"{need.assets or 'its assets'} from elsewhere with --asset-mirror"
                )
                raise CredentialsError(msg)


def catalog_statuses() -> tuple[CatalogStatus, ...]:
    """Tell of each catalog what it needs, and whether that is there now."""
    return tuple(_status(name, named) for name, named in {**CATALOGS, **UNNAMED}.items())


def _is_ready(kind: Kind, needs: Iterable[NeedStatus]) -> bool:
    return all(need.is_there or need.optional for need in needs if kind in need.levels)


def _status(name: str, named: NamedCatalog) -> CatalogStatus:
    """Tell of one catalog; asks whether each need is met once."""
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
