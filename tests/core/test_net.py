from __future__ import annotations

from typing import Any
from unittest.mock import patch

import pytest
from asgiref.sync import async_to_sync
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory, override_settings

from dovetail_core.conf import conf
from dovetail_core.net import (
    ProxyHeadersMiddleware,
    _client_address,
    check_proxy_headers,
    client_address,
    client_network,
    is_from_trusted_proxy,
    without_underscore_headers,
)

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


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        ("203.0.113.9, " * 600 + "198.51.100.1, 10.0.0.2", "198.51.100.1"),
        # The address of a longer entry is not cut out of it.
        ("x" * 600 + "198.51.100.1", "10.0.0.1"),
        ("x" * 600 + "198.51.100.1, 10.0.0.2", "10.0.0.2"),
    ],
)
def test_only_end_of_long_header_is_read_and_cached(forwarded: str, expected: str) -> None:
    with patch("dovetail_core.net._client_address", wraps=_client_address) as cached:
        assert address("10.0.0.1", forwarded) == expected
    assert len(cached.call_args.args[1]) <= 512


def test_long_header_holds_no_single_address(settings: Any) -> None:
    settings.DOVETAIL_CLIENT_ADDRESS_HEADER = "Clientaddress"
    with override_settings(DOVETAIL_TRUSTED_PROXIES=PROXIES):
        request = RequestFactory().get("/", REMOTE_ADDR="10.0.0.1", HTTP_CLIENTADDRESS="x" * 600 + ",203.0.113.9")
        assert str(client_address(request)) == "10.0.0.1"


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


# --- headers that a client can forge ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("remote", "header", "expected"),
    [
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        # Two values: the proxy did not replace the client's, in whichever order the server joins them.
        ("10.0.0.1", "203.0.113.9,198.51.100.1", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1,203.0.113.9", "10.0.0.1"),
        ("198.51.100.1", "203.0.113.9", "198.51.100.1"),
        ("", "198.51.100.1", "198.51.100.1"),
        ("", "203.0.113.9,198.51.100.1", None),
    ],
)
def test_other_address_header_holds_one_address(remote: str, header: str, expected: str | None) -> None:
    request = RequestFactory().get(
        "/", REMOTE_ADDR=remote, HTTP_CLIENTADDRESS=header, HTTP_X_FORWARDED_FOR="203.0.113.77"
    )
    with override_settings(DOVETAIL_TRUSTED_PROXIES=PROXIES, DOVETAIL_CLIENT_ADDRESS_HEADER="Clientaddress"):
        address = client_address(request)
    assert (None if address is None else str(address)) == expected


def test_address_header_ignores_case_of_its_name() -> None:
    request = RequestFactory().get("/", REMOTE_ADDR="10.0.0.1", HTTP_X_FORWARDED_FOR="203.0.113.9,198.51.100.1")
    with override_settings(DOVETAIL_TRUSTED_PROXIES=PROXIES, DOVETAIL_CLIENT_ADDRESS_HEADER="x-forwarded-FOR"):
        assert str(client_address(request)) == "198.51.100.1"


@pytest.mark.parametrize(
    ("remote", "proxies", "trusted"),
    [
        ("10.0.0.1", PROXIES, True),
        ("::ffff:10.0.0.1", PROXIES, True),
        ("198.51.100.1", PROXIES, False),
        ("", PROXIES, True),
        ("10.0.0.1", [], False),
        ("", [], False),
    ],
)
def test_request_is_from_trusted_proxy(remote: str, proxies: list[str], trusted: bool) -> None:
    with override_settings(DOVETAIL_TRUSTED_PROXIES=proxies):
        assert is_from_trusted_proxy(RequestFactory().get("/", REMOTE_ADDR=remote)) is trusted


SECURE = ("HTTP_X_FORWARDED_PROTO", "https")


@pytest.mark.parametrize(
    ("proxies", "remote", "header", "secure"),
    [
        (PROXIES, "10.0.0.1", "https", True),
        (PROXIES, "10.0.0.1", "http", False),
        (PROXIES, "10.0.0.1", None, False),
        # The client's value, and that of a proxy that appends.
        (PROXIES, "10.0.0.1", "https,http", False),
        (PROXIES, "198.51.100.1", "https", False),
        ([], "198.51.100.1", "https", True),
        ([], "198.51.100.1", "https,http", False),
    ],
)
@pytest.mark.parametrize("is_async", [False, True])
def test_ambiguous_scheme_is_not_secure(
    proxies: list[str], remote: str, header: str | None, secure: bool, is_async: bool
) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(str(request.is_secure()))

    async def async_view(request: HttpRequest) -> HttpResponse:
        return view(request)

    extra = {"REMOTE_ADDR": remote} | ({} if header is None else {"HTTP_X_FORWARDED_PROTO": header})
    request = RequestFactory().get("/", **extra)
    with override_settings(DOVETAIL_TRUSTED_PROXIES=proxies, SECURE_PROXY_SSL_HEADER=SECURE):
        if is_async:
            response = async_to_sync(ProxyHeadersMiddleware(async_view))(request)
        else:
            response = ProxyHeadersMiddleware(view)(request)
    assert response.content == str(secure).encode()


def test_middleware_without_scheme_header_changes_nothing() -> None:
    request = RequestFactory().get("/", HTTP_X_FORWARDED_PROTO="https,http")
    ProxyHeadersMiddleware(lambda request: HttpResponse())(request)
    assert request.META["HTTP_X_FORWARDED_PROTO"] == "https,http"


@pytest.mark.parametrize("kind", ["http", "websocket", "lifespan"])
def test_asgi_application_sees_no_underscore_headers(kind: str) -> None:
    scopes: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)

    headers = [(b"x-forwarded-for", b"198.51.100.1"), (b"x_forwarded_for", b"203.0.113.9"), (b"x-forwarded_for", b"1")]
    scope: dict[str, Any] = {"type": kind} | ({} if kind == "lifespan" else {"headers": headers})
    async_to_sync(without_underscore_headers(application))(scope, None, None)  # type: ignore[arg-type]
    assert scopes == [{**scope, "headers": headers[:1]} if kind != "lifespan" else scope]


def test_check_names_headers_with_hyphens() -> None:
    with override_settings(DOVETAIL_TRUSTED_PROXIES=PROXIES, SECURE_PROXY_SSL_HEADER=SECURE):
        first, second = check_proxy_headers()
    assert (first.id, second.id) == ("dovetail_core.W005", "dovetail_core.W005")
    assert first.msg.startswith("DOVETAIL_CLIENT_ADDRESS_HEADER trusts the header X-Forwarded-For. If the proxy")
    assert second.msg.startswith("SECURE_PROXY_SSL_HEADER trusts the header X-Forwarded-Proto. If the proxy")
    assert "and name it in SECURE_PROXY_SSL_HEADER." in str(second.hint)
    safe = {
        "DOVETAIL_CLIENT_ADDRESS_HEADER": "Clientaddress",
        "SECURE_PROXY_SSL_HEADER": ("HTTP_CLIENTSCHEME", "https"),
    }
    with override_settings(DOVETAIL_TRUSTED_PROXIES=PROXIES, **safe):
        assert check_proxy_headers() == []
    assert check_proxy_headers() == []


@pytest.mark.parametrize("name", ["", "X_Forwarded_For", "X-Forwarded-For:", 1])
def test_address_header_must_be_a_header_name(name: Any) -> None:
    with override_settings(DOVETAIL_CLIENT_ADDRESS_HEADER=name):
        (error,) = conf.check()
    assert error.msg == (
        f"DOVETAIL_CLIENT_ADDRESS_HEADER is {name!r}; it must be the name of a header, of letters, digits and hyphens, "
        "such as 'X-Forwarded-For'."
    )
