"""IPv4 and IPv6 networks in CIDR notation."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_network

from dovetail_core.net import Address


def parse_network(text: str) -> str:
    """Return the canonical form, ``10.0.0.0/8``; ``192.0.2.1/32`` for an address. Raise ``ValueError``."""
    return str(ip_network(text.strip(), strict=False))


def contains(networks: Iterable[str], address: Address | None) -> bool:
    """Return whether a network contains ``address``. False for an unknown address (None, for a Unix socket)."""
    return address is not None and any(address in ip_network(network) for network in networks)


def within(inner: Iterable[str], outer: Iterable[str]) -> bool:
    enclosing = [ip_network(network) for network in outer]
    return all(
        any(network.version == other.version and network.subnet_of(other) for other in enclosing)  # type: ignore[arg-type]  # of the same version
        for network in map(ip_network, inner)
    )


def surrounding_network(address: Address) -> str:
    """Return the network by which the history of a key records an address: its IPv4 /24 or IPv6 /48.

    A narrower network changes with every DHCP lease and every pod, and would report a new network daily.
    """
    return str(ip_network((address, 24 if address.version == 4 else 48), strict=False))
