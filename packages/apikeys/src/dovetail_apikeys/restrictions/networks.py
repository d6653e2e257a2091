"""Networks that a key may be used from (IPv4 and IPv6, in CIDR notation)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from dovetail_core.net import Address


def parse_network(text: str) -> str:
    """The network in canonical form: ``10.0.0.0/8``; a single address as ``192.0.2.1/32``. Raises ``ValueError``."""
    return str(ipaddress.ip_network(text.strip(), strict=False))


def contains(networks: Iterable[str], address: Address | None) -> bool:
    """Whether ``address`` is in one of ``networks``. An unknown address (None, for a Unix socket) is in no network."""
    return address is not None and any(address in ipaddress.ip_network(network) for network in networks)


def within(inner: Iterable[str], outer: Iterable[str]) -> bool:
    """Whether every network of ``inner`` is part of a network of ``outer``."""
    enclosing = [ipaddress.ip_network(network) for network in outer]
    return all(any(_subnet(ipaddress.ip_network(network), each) for each in enclosing) for network in inner)


def neighbourhood(address: Address) -> str:
    """The network that stands for an address in the history of a key: its IPv4 /24 or IPv6 /48.

    A narrower network changes with every DHCP lease and every pod, and would report a new network daily.
    """
    return str(ipaddress.ip_network((address, 24 if address.version == 4 else 48), strict=False))


def _subnet(inner: ipaddress.IPv4Network | ipaddress.IPv6Network, outer: object) -> bool:
    if isinstance(inner, ipaddress.IPv4Network) and isinstance(outer, ipaddress.IPv4Network):
        return inner.subnet_of(outer)
    if isinstance(inner, ipaddress.IPv6Network) and isinstance(outer, ipaddress.IPv6Network):
        return inner.subnet_of(outer)
    return False
