from __future__ import annotations

import pytest
from django.test import RequestFactory, override_settings

from dovetail_core.net import client_address, client_network

PROXIES = ["10.0.0.0/8", "192.0.2.7", "fd00::/8"]


def address(remote: str, forwarded: str | None = None, proxies: list[str] | None = None) -> str | None:
    extra = {"REMOTE_ADDR": remote} | ({} if forwarded is None else {"HTTP_X_FORWARDED_FOR": forwarded})
    with override_settings(DOVETAIL_TRUSTED_PROXIES=PROXIES if proxies is None else proxies):
        client = client_address(RequestFactory().get("/", **extra))
    return None if client is None else str(client)


def network(remote: str) -> str | None:
    return client_network(RequestFactory().get("/", REMOTE_ADDR=remote))


@pytest.mark.parametrize(
    ("remote", "forwarded", "expected"),
    [
        ("198.51.100.1", None, "198.51.100.1"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1, 10.0.0.2, 192.0.2.7", "198.51.100.1"),
        ("192.0.2.7", " 198.51.100.1 ,,10.0.0.2 ", "198.51.100.1"),
        ("fd00::1", "2001:db8::5", "2001:db8::5"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
    ],
    ids=["direct", "proxy-alone", "empty", "one-hop", "three-hops", "spaces", "ipv6", "all-trusted"],
)
def test_forwarded_for_is_read_from_the_right(remote: str, forwarded: str | None, expected: str) -> None:
    assert address(remote, forwarded) == expected


def test_addresses_written_by_the_client_are_ignored() -> None:
    # Without a proxy, the client wrote the whole header.
    assert address("198.51.100.1", "203.0.113.9") == "198.51.100.1"
    # The proxy appends the address of the client.
    assert address("10.0.0.1", "203.0.113.9, 198.51.100.1") == "198.51.100.1"
    # The client writes the address of a trusted proxy.
    assert address("10.0.0.1", "203.0.113.9, 10.9.9.9, 198.51.100.1") == "198.51.100.1"


def test_header_is_ignored_without_trusted_proxies() -> None:
    assert address("10.0.0.1", "203.0.113.9", proxies=[]) == "10.0.0.1"


@pytest.mark.parametrize("garbage", ["unknown", "198.51.100", "<script>", "999.1.1.1", "a:b:c"])
def test_malformed_entry_ends_the_search_at_the_last_trusted_address(garbage: str) -> None:
    assert address("10.0.0.1", f"203.0.113.9, {garbage}") == "10.0.0.1"
    assert address("10.0.0.1", f"203.0.113.9, {garbage}, 10.0.0.2") == "10.0.0.2"


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("198.51.100.1:4711", "198.51.100.1"),
        ("[2001:db8::5]", "2001:db8::5"),
        ("[2001:db8::5]:443", "2001:db8::5"),
        ("2001:DB8:0::5", "2001:db8::5"),
        ("::ffff:198.51.100.1", "198.51.100.1"),
        ("[::ffff:198.51.100.1]:80", "198.51.100.1"),
    ],
)
def test_addresses_are_normalized(entry: str, expected: str) -> None:
    assert address("10.0.0.1", entry) == expected


def test_proxy_on_a_dual_stack_socket_is_trusted() -> None:
    assert address("::ffff:10.0.0.1", "198.51.100.1") == "198.51.100.1"


def test_unix_socket_trusts_the_nearest_hop() -> None:
    assert address("", "203.0.113.9, 198.51.100.1") == "198.51.100.1"
    assert address("", "198.51.100.1, 10.0.0.2") == "198.51.100.1"
    assert address("") is None
    assert address("", "nonsense") is None


def test_unix_socket_without_trusted_proxies_has_no_address() -> None:
    assert address("", "198.51.100.1", proxies=[]) is None


def test_client_network_is_an_ipv4_address_or_an_ipv6_64() -> None:
    assert network("198.51.100.1") == "198.51.100.1/32"
    assert network("::ffff:198.51.100.1") == "198.51.100.1/32"
    assert network("2001:db8:1:2:aaaa::1") == "2001:db8:1:2::/64"
    assert network("2001:db8:1:2::ffff") == "2001:db8:1:2::/64"
    assert network("2001:db8:1:3::1") == "2001:db8:1:3::/64"
    assert network("") is None


def test_client_network_ignores_the_zone_of_a_link_local_address() -> None:
    assert network("fe80::1%eth0") == network("fe80::1%eth1") == "fe80::/64"
