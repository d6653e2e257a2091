"""The address of the client, behind trusted proxies."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

from django.conf import settings
from django.core import checks
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from dovetail_core.conf import conf
from dovetail_core.middleware import Middleware

Address = IPv4Address | IPv6Address

_FORWARDED_FOR = "HTTP_X_FORWARDED_FOR"
# The characters of the header that are read, from the right: twelve proxies with IPv6 addresses.
_MAX_HEADER = 512


def client_address(request: HttpRequest) -> Address | None:
    """Return the client's address, or None if the server provides none (a Unix socket).

    Reads ``X-Forwarded-For`` from the right, past ``DOVETAIL_TRUSTED_PROXIES``, to the first address that is not a
    trusted proxy. The left end is never used: clients can write any address there and evade rate limits. A malformed
    entry ends the search at the last trusted address. Another ``DOVETAIL_CLIENT_ADDRESS_HEADER`` must hold exactly one
    address; otherwise the client has the address of the proxy.
    """
    remote = request.META.get("REMOTE_ADDR", "")
    proxies = conf.TRUSTED_PROXIES
    if not proxies:
        return _client_address(remote, "", (), False)
    name = environ_name(conf.CLIENT_ADDRESS_HEADER)
    header, is_list = request.META.get(name, ""), name == _FORWARDED_FOR
    if len(header) > _MAX_HEADER:
        # The attack: a client sends long headers, and the cache keeps thousands. No single address is so long.
        header = header[-_MAX_HEADER:].partition(",")[2] if is_list else ""
    return _client_address(remote, header, tuple(proxies), is_list)


def client_network(request: HttpRequest) -> str | None:
    """Return the key by which to rate-limit the client: its IPv4 address, or the /64 network of its IPv6 address.

    A customer usually gets a /64 of IPv6 or more, and could evade a limit per address.
    """
    address = client_address(request)
    return None if address is None else _network_of(address)


def is_from_trusted_proxy(request: HttpRequest) -> bool:
    """Return whether the request comes directly from one of ``DOVETAIL_TRUSTED_PROXIES``, or by a Unix socket.

    Only the project's own proxy can reach a Unix socket.
    """
    if not conf.TRUSTED_PROXIES:
        return False
    address = _parse(request.META.get("REMOTE_ADDR", ""))
    return address is None or _is_in(address, _networks(tuple(conf.TRUSTED_PROXIES)))


def environ_name(header: str) -> str:
    """Return the key of a header in ``request.META``."""
    return f"HTTP_{header.upper().replace('-', '_')}"


class ProxyHeadersMiddleware(Middleware):
    """Ignores the header of ``SECURE_PROXY_SSL_HEADER`` if it is ambiguous or does not come from a trusted proxy.

    Put it first. Django itself trusts the header of every sender, and reads the leftmost of several values, which is
    the client's own if a proxy appends. If ``DOVETAIL_TRUSTED_PROXIES`` is empty, every sender is still trusted.
    """

    def respond(self, request: HttpRequest) -> HttpResponseBase:
        self._ignore_ambiguous(request)
        return self.get_response(request)  # type: ignore[no-any-return]  # sync or async, so Any

    async def arespond(self, request: HttpRequest) -> HttpResponseBase:
        self._ignore_ambiguous(request)
        return await self.get_response(request)  # type: ignore[no-any-return]

    @staticmethod
    def _ignore_ambiguous(request: HttpRequest) -> None:
        name = _scheme_header()
        value = request.META.get(name)
        if value is not None and ("," in value or (conf.TRUSTED_PROXIES and not is_from_trusted_proxy(request))):
            del request.META[name]


Scope = MutableMapping[str, Any]
ASGIApplication = Callable[[Scope, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]


def without_underscore_headers(application: ASGIApplication) -> ASGIApplication:
    """Wrap an ASGI application so that it does not see headers whose names contain an underscore.

    ``X_Forwarded_For`` and ``X-Forwarded-For`` have the same key in ``request.META``, so a client could replace the
    header of the proxy. Current releases of Django do the same for HTTP; older ones do not.
    """

    async def filtered(scope: Scope, receive: Any, send: Any) -> None:
        if "headers" in scope:
            scope = {**scope, "headers": [header for header in scope["headers"] if b"_" not in header[0]]}
        await application(scope, receive, send)

    return filtered


def check_proxy_headers(**kwargs: Any) -> list[checks.CheckMessage]:
    """Warn of proxy headers with a hyphen, which many WSGI servers do not distinguish from an underscore.

    The application cannot see the difference: a server passes ``X-Forwarded-For`` and ``X_Forwarded_For`` as one key,
    and the client's spelling may win. A name without a hyphen has only one spelling, which a proxy can replace.
    """
    names = {}
    if conf.TRUSTED_PROXIES:
        names["DOVETAIL_CLIENT_ADDRESS_HEADER"] = environ_name(conf.CLIENT_ADDRESS_HEADER)
    if _scheme_header():
        names["SECURE_PROXY_SSL_HEADER"] = _scheme_header()
    return [
        checks.Warning(
            f"{setting} trusts the header {name.removeprefix('HTTP_').replace('_', '-').title()}. If the proxy passes "
            "on headers with underscores, clients of a WSGI server can forge it.",
            hint="Let the proxy set a header without hyphens, such as Clientaddress or Clientscheme, and name it in "
            f"{setting}. Silence this check if the proxy drops headers with underscores, as nginx does by default.",
            id="dovetail_core.W005",
        )
        for setting, name in names.items()
        if "_" in name.removeprefix("HTTP_")
    ]


def _scheme_header() -> str:
    header: tuple[str, str] | None = getattr(settings, "SECURE_PROXY_SSL_HEADER", None)
    return header[0] if header else ""


# Cached, because parsing an address costs more than counting the request, and clients send many requests.
@lru_cache(maxsize=4096)
def _client_address(remote: str, header: str, proxies: tuple[str, ...], is_list: bool) -> Address | None:
    address = _parse(remote)
    trusted = _networks(proxies)
    hops = [hop for hop in header.split(",") if hop.strip()]
    if not is_list and len(hops) > 1:
        return address  # A proxy that sets the header sends one address, so the client has added the others.
    if address is None and trusted and hops:
        address = _parse(hops.pop())  # Only the project's own proxy can reach a Unix socket.
    while hops and address is not None and _is_in(address, trusted):
        forwarded = _parse(hops.pop())
        if forwarded is None:
            break
        address = forwarded
    return address


@lru_cache(maxsize=64)
def _networks(proxies: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ipaddress.ip_network(network, strict=False) for network in proxies)


def _is_in(address: Address, networks: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    return any(address in network for network in networks)


@lru_cache(maxsize=4096)
def _network_of(address: Address) -> str:
    return str(ipaddress.ip_network((address, 64 if address.version == 6 else 32), strict=False))


def _parse(value: str) -> Address | None:
    value = value.strip()
    if value.startswith("["):
        value = value[1:].partition("]")[0]
    elif value.count(":") == 1:  # address:port, as some load balancers append
        value = value.partition(":")[0]
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return None
    # A dual-stack socket reports IPv4 clients as ::ffff:192.0.2.1. Each client must have only one address.
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
