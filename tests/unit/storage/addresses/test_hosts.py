"""Hosts by their addresses."""

from ipaddress import ip_address

import pytest

from cloudbuster.errors import BadInputError
from cloudbuster.storage.addresses.hosts import (
    ALLOW_HOSTS_VARIABLE,
    allowed_hosts,
    is_private_name,
    literal_address,
    reach_of,
    resolved_addresses,
)


@pytest.mark.parametrize(
    ("text", "reach"),
    [
        ("8.8.8.8", "public"),
        ("2600::1", "public"),
        ("64:ff9b::8.8.8.8", "public"),
        ("127.0.0.1", "private"),
        ("10.0.0.1", "private"),
        ("100.64.0.1", "private"),
        ("198.18.0.1", "private"),
        ("::1", "private"),
        ("fd00::1", "private"),
        ("::ffff:10.0.0.1", "private"),
        ("2002:a00:1::", "private"),
        ("169.254.169.254", "never"),
        ("168.63.129.16", "never"),
        ("fd00:ec2::254", "never"),
        ("0.0.0.0", "never"),  # noqa: S104 -- an address to refuse
        ("224.0.0.251", "never"),
        ("fe80::1", "never"),
    ],
)
def test_who_reaches_an_address(text, reach):
    assert reach_of(ip_address(text)) == reach


@pytest.mark.parametrize("name", ["example.com", "1.2.3.4.example.com", "0x", "999.1.1.1", "a.b"])
def test_a_name_is_no_address(name):
    assert literal_address(name) is None


def test_a_list_with_something_that_is_no_network_is_refused(monkeypatch):
    monkeypatch.setenv(ALLOW_HOSTS_VARIABLE, "catalog.lan,10.0.0.0/99")
    with pytest.raises(BadInputError, match=r"'10\.0\.0\.0/99' is neither a host nor a network"):
        allowed_hosts()


@pytest.mark.parametrize(
    ("listed", "name", "is_allowed"),
    [
        (".lan", "catalog.lan", True),
        ("*.lan", "a.catalog.lan", True),
        (".lan", "catalog.plan", False),
        ("catalog.lan", "catalog.lan", True),
        ("catalog.lan", "evil-catalog.lan", False),
    ],
)
def test_names_are_allowed_whole_or_by_their_end(listed, name, is_allowed, monkeypatch):
    monkeypatch.setenv(ALLOW_HOSTS_VARIABLE, listed)
    assert allowed_hosts().allow(name, 443, None) is is_allowed


@pytest.mark.parametrize("host", ["a..b", "x" * 70 + ".com", ".", "no-such-host.invalid"])
def test_a_name_that_cannot_be_resolved_is_an_error_of_the_system(host):
    with pytest.raises(OSError, match=r"."):
        resolved_addresses(host, 443)


@pytest.mark.parametrize(
    ("host", "is_private"),
    [
        ("10.0.0.5", True),
        ("[::1]", True),
        ("catalog", True),
        ("catalog.lan", True),
        ("Catalog.INTERNAL.", True),
        ("x.home.arpa", True),
        ("stac.example.com", False),
        ("lan.example.com", False),
        ("evillan", True),
        ("evil.plan", False),
    ],
)
def test_names_that_the_public_dns_cannot_have(host, is_private):
    assert is_private_name(host) is is_private
