"""The gate through which every address passes: who gave it decides what it may refer to.

`Trust` says what addresses from one source may refer to; `admitted` checks an address without
opening anything. What only shows while a file is opened (the addresses that a name resolves to,
redirects) is checked by `storage.remote.http`, with the same `Trust`.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cloudbuster.errors import UntrustedAddressError
from cloudbuster.storage.addresses.archives import ZipMember, member_uri, stays_inside, zip_member
from cloudbuster.storage.addresses.hosts import (
    ALLOW_HOSTS_VARIABLE,
    Address,
    allowed_hosts,
    is_private_name,
    literal_address,
    reach_of,
)

FOREIGN_REQUESTS_VARIABLE = "CLOUDBUSTER_FOREIGN_REQUESTS"
"""Environment variable that says that requests come from others, as on the stack: any value but an
empty one and ``0``."""
ALLOW_FOLDERS_VARIABLE = "CLOUDBUSTER_ALLOW_FOLDERS"
"""Environment variable of folders that others may name, separated by colons."""

REMOTE_CATALOGS = frozenset(
    {"cdse", "earth-search", "original", "planetary-computer", "rasterfoundry"}
)
"""Names of catalogs elsewhere; documents of the original, which list public buckets, have one."""
SCHEMES = ("file", "http", "https", "s3")
DEFAULT_PORTS = {"http": 80, "https": 443}
# Longer than a signed address of any store (S3's have up to 2 kB).
MAX_ADDRESS_LENGTH = 8192

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
# GDAL reads `NETCDF:...`, `GTIFF_DIR:1:...` and the like with the driver that the prefix names.
_PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9_+.-]*:")
# A file of this machine as a URI, with or without an authority (RFC 8089).
_FILE_URI = re.compile(r"file:(?://(?P<host>[^/]*))?(?P<path>/.*)", re.IGNORECASE | re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# Names of buckets, old ones of us-east-1 included (Amazon S3 user guide, "Bucket naming rules").
# GDAL and boto3 make host names of them, so that no other character may pass.
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")


# Names that had a public address. Whoever owns such a name may give it a private one afterwards
# (DNS rebinding), so that it is not taken for that of a private server any more.
_public_names: set[str] = set()


@dataclass(frozen=True)
class Trust:
    """What addresses from one source may refer to.

    Attributes
    ----------
    giver : str
        Who gives the addresses, for messages.
    files : bool
        Whether they may be files of this machine.
    private_hosts : bool
        Whether they may lie on this machine's own servers and in its networks.
    hosts : frozenset of str
        ``host:port`` of servers that may be contacted although they are not public.
    folders : tuple of str
        Folders whose files may be opened although ``files`` is False.
    """

    giver: str
    files: bool = False
    private_hosts: bool = False
    hosts: frozenset[str] = frozenset()
    folders: tuple[str, ...] = ()

    def with_places(self, *addresses: str) -> "Trust":
        """Trust the servers and folders of ``addresses`` as well: what lies below them is trusted.

        Addresses in S3 change nothing, since every source may name them.
        """
        hosts, folders = set(self.hosts), list(self.folders)
        for address in addresses:
            scheme = scheme_of(address)
            if scheme in DEFAULT_PORTS:
                hosts |= _servers(address)
            elif scheme == "file":
                folders.append(str(file_path(address)))
        return replace(self, hosts=frozenset(hosts), folders=tuple(folders))

    def after_redirect(self, url: str) -> "Trust":
        """Return the trust in a redirect of the server of ``url``: public servers and its own."""
        return replace(
            self,
            giver=f"a redirect of {host_of(url)}",
            files=False,
            private_hosts=False,
            hosts=self.hosts | _servers(url),
        )

    def check_host(self, host: str, port: int, address: Address | None) -> None:
        """Raise UntrustedAddressError unless a server may be contacted.

        Parameters
        ----------
        host, port : str, int
            Server, as its URL names it.
        address : Address or None
            An address that the name resolves to; None if it is not resolved yet, and only what the
            name itself says is checked.
        """
        address = literal_address(host) if address is None else address
        reach = "public" if address is None else reach_of(address)
        name = host.strip("[]").lower()
        if reach == "public":
            if address is not None:
                _public_names.add(name)
            return
        if allowed_hosts().allow(name, port, address):
            return
        is_trusted = f"{name}:{port}" in self.hosts and name not in _public_names
        if reach == "private" and (self.private_hosts or is_trusted):
            return
        where = f"{host}:{port}" if str(address) == name else f"{host}:{port} ({address})"
        raise self._refusal(where, is_for_data=reach != "never")

    def _refusal(self, where: str, *, is_for_data: bool) -> UntrustedAddressError:
        """Make the error for a server that may not be contacted."""
        if is_for_data:
            return UntrustedAddressError(
                f"{where} is on this machine or in its network, and {self.giver} may not name such "
                f"a server; list it in {ALLOW_HOSTS_VARIABLE} if it is meant"
            )
        return UntrustedAddressError(
            f"{where} is no server for data (link-local, multicast, reserved, or a cloud's "
            f"metadata service), as given by {self.giver}; it is not contacted"
        )


PROGRAM = Trust("this program", files=True, private_hosts=True)
"""Trust in addresses that this program makes itself: documents of a run, files that it wrote."""


def own_trust() -> Trust:
    """Return the trust in the addresses in a request and on the command line.

    They may refer to everything, since whoever runs the program gives them, unless
    `FOREIGN_REQUESTS_VARIABLE` says that they come from others.
    """
    if foreign_requests():
        return Trust("a request from others", folders=_allowed_folders())
    return Trust("the command line or the request", files=True, private_hosts=True)


def foreign_requests() -> bool:
    """Whether requests come from others, who are not trusted with this machine and its network."""
    return os.environ.get(FOREIGN_REQUESTS_VARIABLE, "") not in ("", "0")


def catalog_trust(catalog: str, mirrors: Iterable[str] = ()) -> Trust:
    """Return the trust in the items of a catalog.

    Parameters
    ----------
    catalog : str
        Name, URL or path of the catalog.
    mirrors : iterable of str
        ``FROM=TO`` of each asset mirror that its user gave.

    Returns
    -------
    Trust
        For a catalog on this machine, as much as its user's own addresses. For one elsewhere,
        public servers, the targets of the mirrors, and its own server if its name is of a private
        network (see `is_private_name`): the owner of a public name decides what address it has.
        Neither the catalog's server nor the mirrors count if requests come from others.
    """
    giver = f"the catalog {catalog}"
    scheme = scheme_of(catalog)
    is_here = scheme == "file" and catalog not in REMOTE_CATALOGS
    if foreign_requests():
        return Trust(giver, folders=_allowed_folders())
    if is_here:
        return Trust(giver, files=True, private_hosts=True)
    places = [text.partition("=")[2].strip() for text in mirrors]
    own = [catalog] if scheme in DEFAULT_PORTS and is_private_name(host_of(catalog) or "") else []
    return Trust(giver, folders=_allowed_folders()).with_places(*own, *filter(None, places))


def server_trust(url: str) -> Trust:
    """Return the trust in the pages of a catalog: that in its items, and its own server.

    The server may be private, as the catalog's user names it, unless requests come from others.
    """
    trust = catalog_trust(url)
    return trust if foreign_requests() else trust.with_places(url)


def admitted(address: object, trust: Trust) -> str:
    """Check an address, and return it in its normal form.

    Parameters
    ----------
    address : str
        Path, ``file:``, ``http(s)://``, ``s3://``, or ``zip://`` of a member of a zip.
    trust : Trust
        What its giver may refer to. A member of a zip needs the trust that the zip needs.

    Returns
    -------
    str
        The address itself; an absolute path for one of this machine, in that of a member too.

    Raises
    ------
    UntrustedAddressError
        If it is no such address, or its giver is not trusted to have it opened.
    """
    if not isinstance(address, str) or not address:
        msg = f"{str(address)[:80]!r} is no address, but a {type(address).__name__}"
        raise UntrustedAddressError(msg)
    if len(address) > MAX_ADDRESS_LENGTH:
        msg = (
            f"{address[:80]}...: an address of {len(address)} characters; {MAX_ADDRESS_LENGTH} fit"
        )
        raise UntrustedAddressError(msg)
    if _CONTROL.search(unquote(address)):
        msg = f"{address}: an address with control characters; nothing is opened by it"
        raise UntrustedAddressError(msg)
    member = zip_member(address)
    if member is not None:
        return _admitted_member(address, member, trust)
    scheme = scheme_of(address)
    if scheme == "s3":
        return _admitted_object(address)
    if _SCHEME.match(address) and host_of(address) is None:
        msg = f"{address} is no URL; give https://host/path"
        raise UntrustedAddressError(msg)
    if scheme in DEFAULT_PORTS:
        return _admitted_url(address, trust)
    if scheme != "file":
        msg = (
            f"{address}: {scheme} is not supported; give a path, or an address that begins with "
            f"{', '.join(f'{name}://' for name in SCHEMES)}"
        )
        raise UntrustedAddressError(msg)
    return _admitted_path(address, trust)


def scheme_of(address: str) -> str:
    """Scheme of an address in lower case; ``file`` for a plain path."""
    match = _SCHEME.match(address)
    return match[1].lower() if match else "file"


def file_path(address: str) -> Path:
    """Absolute path of a plain path or a ``file:`` address, without ``..`` and double slashes."""
    match = _FILE_URI.fullmatch(address)
    plain = unquote(match["path"]) if match else address
    # POSIX leaves two leading slashes as they are.
    return Path(f"/{os.path.abspath(plain).lstrip('/')}")  # noqa: PTH100 -- links are kept


def is_file_uri(address: str) -> bool:
    """Whether an address names a local file by the scheme ``file:``."""
    return _FILE_URI.fullmatch(address) is not None


def names_another_machine(address: str) -> bool:
    """Whether an address is a ``file:`` URI with the name of another machine in it."""
    match = _FILE_URI.fullmatch(address)
    return match is not None and (match["host"] or "").lower() not in ("", "localhost")


def port_of(url: str) -> int | None:
    """Port of a URL, or that of its scheme; None if it is no number."""
    try:
        parts = urlsplit(url)
        return parts.port or DEFAULT_PORTS.get(parts.scheme.lower())
    except ValueError:
        return None


def host_of(url: str) -> str | None:
    """Host of a URL in lower case, empty without one; None if it is no URL."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return None


def server_of(url: str) -> str:
    """Host and port of a URL as it gives them, without user and password; empty if it is none."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:
        return ""


def _servers(url: str) -> frozenset[str]:
    """``host:port`` of a URL, and the port of HTTPS, to which servers redirect."""
    host, port = host_of(url), port_of(url)
    if not host or port is None:
        return frozenset()
    return frozenset({f"{host}:{port}", f"{host}:{DEFAULT_PORTS['https']}"})


def _allowed_folders() -> tuple[str, ...]:
    text = os.environ.get(ALLOW_FOLDERS_VARIABLE, "")
    return tuple(folder for folder in text.split(":") if folder)


def _admitted_object(address: str) -> str:
    """Check an address in S3."""
    bucket, _, key = address[len("s3://") :].partition("/")
    if not _BUCKET.fullmatch(bucket):
        msg = f"{address}: {bucket!r} is no name of a bucket; give s3://bucket/key"
        raise UntrustedAddressError(msg)
    if {".", ".."} & set(key.split("/")):
        # Clients of HTTP resolve them: another object would be read than the address names.
        msg = f"{address} has a part . or ..; give the address without it"
        raise UntrustedAddressError(msg)
    return f"s3://{bucket}/{key}"


def _admitted_url(address: str, trust: Trust) -> str:
    """Check a URL as far as it shows without asking for it."""
    host, port = host_of(address), port_of(address)
    if not host or port is None or "\\" in address:
        msg = f"{address} is no URL; give https://host/path"
        raise UntrustedAddressError(msg)
    try:
        trust.check_host(host, port, None)
    except UntrustedAddressError as error:
        msg = f"{address}: {error}"
        raise UntrustedAddressError(msg) from error
    return address


def _admitted_path(address: str, trust: Trust) -> str:
    """Check a path of this machine."""
    if names_another_machine(address):
        msg = f"{address} names another machine; give file:///path"
        raise UntrustedAddressError(msg)
    if not is_file_uri(address) and (_PREFIX.match(address) or address[0] in "<{[\\"):
        msg = (
            f"{address[:200]} is neither a path nor an address; put ./ before a file name that "
            "looks like one"
        )
        raise UntrustedAddressError(msg)
    path = file_path(address)
    if str(path).lower().startswith("/vsi"):
        msg = f"{address} is a virtual file of GDAL, which is not opened; give a path or a URL"
        raise UntrustedAddressError(msg)
    if not (trust.files or _lies_in(path, trust.folders)):
        msg = (
            f"{address} is a file of this machine, and {trust.giver} may not name one; if it is "
            f"meant, give --asset-mirror FROM=TO, or list its folder in {ALLOW_FOLDERS_VARIABLE}"
        )
        raise UntrustedAddressError(msg)
    return str(path)


def _admitted_member(address: str, member: ZipMember, trust: Trust) -> str:
    """Check the address of a member of a zip: its zip as a path, and that it lies in it."""
    if not stays_inside(member.member):
        msg = f"{address} leads out of its zip, or names no file in it; check the path"
        raise UntrustedAddressError(msg)
    if not {"{", "}"}.isdisjoint(str(member.archive)):
        # GDAL ends the path of the zip at a brace.
        msg = f"{address}: a zip whose path has braces is not read; rename it"
        raise UntrustedAddressError(msg)
    return member_uri(Path(_admitted_path(str(member.archive), trust)), member.member)


def _lies_in(path: Path, folders: tuple[str, ...]) -> bool:
    """Whether a path lies in one of the folders once its symbolic links are followed."""
    if not folders:
        return False
    real = path.resolve()
    return any(real.is_relative_to(Path(folder).resolve()) for folder in folders)
