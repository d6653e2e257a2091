"""The address of the client, behind trusted proxies."""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address, IPv6Address

from django.http import HttpRequest

from dovetail_core.conf import conf

Address = IPv4Address | IPv6Address


def client_address(request: HttpRequest) -> Address | None:
    """Return the client's address, or None if the server provides none (a Unix socket).

    Reads ``X-Forwarded-For`` from the right, past ``DOVETAIL_TRUSTED_PROXIES``, to the first address that is not a
    trusted proxy. The left end is never used: clients can write any address there and evade rate limits. A malformed
    entry ends the search at the last trusted address.
    """
    address = _parse(request.META.get("REMOTE_ADDR", ""))
    trusted = [ipaddress.ip_network(network, strict=False) for network in conf.TRUSTED_PROXIES]
    hops = [hop for hop in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",") if hop.strip()]
    if address is None and trusted and hops:
        address = _parse(hops.pop())  # Only the project's own proxy can reach a Unix socket.
    while hops and address is not None and any(address in network for network in trusted):
        forwarded = _parse(hops.pop())
        if forwarded is None:
            break
        address = forwarded
    return address


def client_network(request: HttpRequest) -> str | None:
    """Return the key by which to rate-limit the client: its IPv4 address, or the /64 network of its IPv6 address.

    A customer usually gets a /64 of IPv6 or more, and could evade a limit per address.
    """
    address = client_address(request)
    if address is None:
        return None
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
