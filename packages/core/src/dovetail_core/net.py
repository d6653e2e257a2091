"""The address a request came from, when proxies stand between."""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address, IPv6Address

from django.http import HttpRequest

from dovetail_core.conf import conf

Address = IPv4Address | IPv6Address


def client_address(request: HttpRequest) -> Address | None:
    """The client's address as the nearest trusted proxy saw it, or None where the server gives none (a Unix socket).

    ``X-Forwarded-For`` is walked from the right, past ``DOVETAIL_TRUSTED_PROXIES``, to the first address that is not
    one of them. The left end is what the client sent: taking it lets anyone choose an address for each request and
    walk around every limit. A malformed entry ends the walk at the last address that was believed.
    """
    address = _parse(request.META.get("REMOTE_ADDR", ""))
    trusted = [ipaddress.ip_network(network, strict=False) for network in conf.TRUSTED_PROXIES]
    hops = _forwarded_for(request)
    if address is None and trusted and hops:
        address = _parse(hops.pop())  # a Unix socket: only our own proxy can reach it
    while hops and address is not None and any(address in network for network in trusted):
        forwarded = _parse(hops.pop())
        if forwarded is None:
            break
        address = forwarded
    return address


def client_network(request: HttpRequest) -> str | None:
    """The client as a bucket for limits: the IPv4 address, or the /64 of an IPv6 address.

    One customer has at least a /64 of IPv6 to draw addresses from, so a limit by single address is none.
    """
    address = client_address(request)
    if address is None:
        return None
    return str(ipaddress.ip_network((address, 64 if address.version == 6 else 32), strict=False))


def _forwarded_for(request: HttpRequest) -> list[str]:
    return [hop for hop in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",") if hop.strip()]


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
    # A dual-stack socket shows IPv4 clients as ::ffff:192.0.2.1; one client must not have two names.
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
