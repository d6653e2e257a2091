"""Networks that a key may be used from, and rates."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

from dovetail_core.net import Address

RATE_EXAMPLE: Final = "`600/min`"
_RATE: Final = re.compile(r"([1-9][0-9]{0,8})/(s|sec|second|m|min|minute|h|hour|d|day)")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_rate(rate: str) -> tuple[int, int] | None:
    """Requests and seconds of ``600/min`` (units: s, min, hour, day, as in REST framework); None for what is none."""
    found = _RATE.fullmatch(rate)
    return (int(found[1]), _SECONDS[found[2][0]]) if found else None


def parse_network(text: str) -> str:
    """A network in its canonical form: ``10.0.0.0/8``, and an address as ``192.0.2.1/32``. Raises ``ValueError``."""
    return str(ipaddress.ip_network(text.strip(), strict=False))


def contains(networks: Iterable[str], address: Address | None) -> bool:
    """Whether ``address`` is in one of them. Where the server knows none (a Unix socket), it is in no network."""
    return address is not None and any(address in ipaddress.ip_network(network) for network in networks)


def within(inner: Iterable[str], outer: Iterable[str]) -> bool:
    """Whether every network of ``inner`` lies in one of ``outer``."""
    around = [ipaddress.ip_network(network) for network in outer]
    return all(any(_subnet(ipaddress.ip_network(network), each) for each in around) for network in inner)


def neighbourhood(address: Address) -> str:
    """The network that an address is told apart by when a key is used: IPv4 by /24, IPv6 by /48.

    Narrower ones change with every lease and every pod, and an alarm that rings daily is no alarm.
    """
    return str(ipaddress.ip_network((address, 24 if address.version == 4 else 48), strict=False))


def _subnet(inner: ipaddress.IPv4Network | ipaddress.IPv6Network, outer: object) -> bool:
    if isinstance(inner, ipaddress.IPv4Network) and isinstance(outer, ipaddress.IPv4Network):
        return inner.subnet_of(outer)
    if isinstance(inner, ipaddress.IPv6Network) and isinstance(outer, ipaddress.IPv6Network):
        return inner.subnet_of(outer)
    return False
