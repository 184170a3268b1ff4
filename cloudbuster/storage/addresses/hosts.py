"""Hosts by their addresses: public ones, and those of this machine and of its networks."""

import ipaddress
import os
import re
import socket
from dataclasses import dataclass
from functools import cache
from typing import Literal

from cloudbuster.errors import BadInputError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Reach = Literal["public", "private", "never"]
"""Whether anybody reaches an address, only this machine or its networks do, or nobody should."""

ALLOW_HOSTS_VARIABLE = "CLOUDBUSTER_ALLOW_HOSTS"
"""Environment variable of hosts that may be contacted although they are not public."""

# Addresses at which clouds serve the credentials of a machine, apart from link-local ones: Azure's
# wire server (public by its number), and those of Alibaba, Oracle, and AWS in IPv6.
METADATA_ADDRESSES = frozenset(
    ipaddress.ip_address(text)
    for text in ("168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254")
)
# IPv6 addresses that contain an IPv4 address in their last 32 bits: NAT64 (RFC 6052, RFC 8215) and
# IPv4-compatible ones (RFC 4291).
_EMBEDDING_NETWORKS = tuple(
    ipaddress.IPv6Network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48", "::/96")
)
_IPV4_MASK = 0xFFFFFFFF
PRIVATE_SUFFIXES = (
    ".corp",
    ".home",
    ".home.arpa",
    ".internal",
    ".intranet",
    ".lan",
    ".local",
    ".private",
)
"""Ends of names of private networks (RFC 6762, appendix G; RFC 8375)."""
# Numbers as inet_aton(3) reads them: decimal, octal or hexadecimal, one to four of them.
_NUMERIC_HOST = re.compile(
    r"(?:0[xX][0-9a-fA-F]*|[0-9]+)(?:\.(?:0[xX][0-9a-fA-F]*|[0-9]+)){0,3}\.?"
)


@dataclass(frozen=True)
class AllowedHosts:
    """Hosts that `ALLOW_HOSTS_VARIABLE` lists.

    Attributes
    ----------
    everything : bool
        Whether the list contains ``*``.
    names : frozenset of str
        Names and addresses, with or without ``:port``; a name that starts with a dot allows all
        names that end with it.
    networks : tuple of network
        Networks, ``10.0.0.0/8``.
    """

    everything: bool
    names: frozenset[str]
    networks: tuple[Network, ...]

    def allow(self, host: str, port: int, address: Address | None) -> bool:
        """Whether the host may be contacted at a port, by its name or by its address."""
        known = {host, f"{host}:{port}"}
        if address is not None:
            known |= {str(address), f"{address}:{port}", f"[{address}]:{port}"}
        parts = host.split(".")
        known |= {f".{'.'.join(parts[start:])}" for start in range(1, len(parts))}
        in_network = address is not None and any(address in network for network in self.networks)
        return self.everything or in_network or not self.names.isdisjoint(known)


def allowed_hosts() -> AllowedHosts:
    """Hosts that the environment allows.

    Raises
    ------
    BadInputError
        If the variable lists something that is no host and no network.
    """
    return _parsed(os.environ.get(ALLOW_HOSTS_VARIABLE, ""))


@cache
def _parsed(text: str) -> AllowedHosts:
    entries = [entry.strip().lower() for entry in text.split(",") if entry.strip()]
    networks: list[Network] = []
    names: set[str] = set()
    for entry in entries:
        try:
            if "/" in entry:
                networks.append(ipaddress.ip_network(entry, strict=False))
            elif entry != "*":
                names.add(entry.removeprefix("*"))
        except ValueError as error:
            msg = (
                f"{ALLOW_HOSTS_VARIABLE}: {entry!r} is neither a host nor a network; give names, "
                "addresses and networks, separated by commas, for example catalog.lan,10.0.0.0/8"
            )
            raise BadInputError(msg) from error
    return AllowedHosts("*" in entries, frozenset(names), tuple(networks))


def reach_of(address: Address) -> Reach:
    """Who reaches an address.

    Returns
    -------
    {"public", "private", "never"}
        ``public`` for a global unicast address; ``private`` for loopback, private and shared
        networks; ``never`` for link-local, multicast and reserved addresses, and for those at which
        clouds serve credentials. An IPv6 address that contains an IPv4 address counts as that.
    """
    if address in METADATA_ADDRESSES:
        return "never"
    inner = _embedded(address)
    if inner is not None:
        return reach_of(inner)
    if address.is_loopback:
        return "private"
    if address.is_link_local or address.is_multicast or address.is_unspecified:
        return "never"
    if address.is_global:
        return "public"
    return "never" if address.is_reserved else "private"


def _embedded(address: Address) -> ipaddress.IPv4Address | None:
    """IPv4 address that an IPv6 address stands for; None if it stands for itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if int(address) > 1 and any(address in network for network in _EMBEDDING_NETWORKS):
        return ipaddress.IPv4Address(int(address) & _IPV4_MASK)
    return None


def literal_address(host: str) -> Address | None:
    """Address that a host is written as; None for a name.

    ``2130706433``, ``0x7f.1`` and ``0177.0.0.1`` are 127.0.0.1, as the system's resolver reads
    them; ``localhost`` and names under it are loopback by RFC 6761.
    """
    name = host.strip("[]").partition("%")[0].rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return ipaddress.IPv4Address("127.0.0.1")
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        pass
    if not _NUMERIC_HOST.fullmatch(name):
        return None
    try:
        return ipaddress.IPv4Address(socket.inet_aton(name))
    except OSError:
        return None


def is_private_name(host: str) -> bool:
    """Whether a host is an address, or a name that the public DNS cannot have."""
    name = host.strip("[]").rstrip(".").lower()
    return literal_address(host) is not None or "." not in name or name.endswith(PRIVATE_SUFFIXES)


def resolved_addresses(host: str, port: int) -> list[Address]:
    """Addresses of a host, as the system resolves it, each once.

    Raises
    ------
    OSError
        If the name cannot be resolved.
    """
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # A label that is empty or too long.
        msg = f"{host}: {error}"
        raise OSError(msg) from error
    texts = dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found)
    return [ipaddress.ip_address(text) for text in texts]
