from __future__ import annotations

import pytest
from django.test import RequestFactory, override_settings

from dovetail_core.net import client_address, client_network

PROXIES = ["10.0.0.0/8", "192.0.2.7", "fd00::/8"]


def address(remote: str, forwarded: str | None = None, proxies: list[str] | None = None) -> str | None:
    extra = {"REMOTE_ADDR": remote} | ({} if forwarded is None else {"HTTP_X_FORWARDED_FOR": forwarded})
    with override_settings(DOVETAIL_TRUSTED_PROXIES=PROXIES if proxies is None else proxies):
        found = client_address(RequestFactory().get("/", **extra))
    return None if found is None else str(found)


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
def test_trusted_hops_are_walked_from_the_right(remote: str, forwarded: str | None, expected: str) -> None:
    assert address(remote, forwarded) == expected


def test_what_a_client_puts_in_the_header_itself_is_not_believed() -> None:
    # Straight to the application: the header is all its own.
    assert address("198.51.100.1", "203.0.113.9") == "198.51.100.1"
    # Through a proxy, which appends the address that it saw.
    assert address("10.0.0.1", "203.0.113.9, 198.51.100.1") == "198.51.100.1"
    # Pretending to be one of the proxies.
    assert address("10.0.0.1", "203.0.113.9, 10.9.9.9, 198.51.100.1") == "198.51.100.1"


def test_without_trusted_proxies_the_header_means_nothing() -> None:
    assert address("10.0.0.1", "203.0.113.9", proxies=[]) == "10.0.0.1"


@pytest.mark.parametrize("garbage", ["unknown", "198.51.100", "<script>", "999.1.1.1", "a:b:c"])
def test_a_malformed_entry_ends_the_walk_at_what_was_believed(garbage: str) -> None:
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
def test_one_client_has_one_name_however_it_is_written(entry: str, expected: str) -> None:
    assert address("10.0.0.1", entry) == expected


def test_a_proxy_on_a_dual_stack_socket_is_recognised() -> None:
    assert address("::ffff:10.0.0.1", "198.51.100.1") == "198.51.100.1"


def test_over_a_unix_socket_the_nearest_hop_is_the_proxys_word() -> None:
    assert address("", "203.0.113.9, 198.51.100.1") == "198.51.100.1"
    assert address("", "198.51.100.1, 10.0.0.2") == "198.51.100.1"
    assert address("") is None
    assert address("", "nonsense") is None


def test_over_a_unix_socket_without_trusted_proxies_there_is_no_address() -> None:
    assert address("", "198.51.100.1", proxies=[]) is None


def test_a_bucket_is_an_ipv4_address_or_the_64_of_an_ipv6_address() -> None:
    assert network("198.51.100.1") == "198.51.100.1/32"
    assert network("::ffff:198.51.100.1") == "198.51.100.1/32"
    assert network("2001:db8:1:2:aaaa::1") == "2001:db8:1:2::/64"
    assert network("2001:db8:1:2::ffff") == "2001:db8:1:2::/64"
    assert network("2001:db8:1:3::1") == "2001:db8:1:3::/64"
    assert network("") is None


def test_a_zone_of_a_link_local_address_does_not_split_the_bucket() -> None:
    assert network("fe80::1%eth0") == network("fe80::1%eth1") == "fe80::/64"
