"""Counters of windows of time, and the networks that they count for."""

from __future__ import annotations

import ipaddress
import time
from dataclasses import dataclass

from django.core.cache import caches
from django.http import HttpRequest

from dovetail_core.net import client_address, client_network
from dovetail_magiclink.conf import Limits, conf

PREFIX = "dovetail_magiclink"


@dataclass(frozen=True)
class Reservation:
    """The counters that an attempt was added to, with the amounts."""

    entries: tuple[tuple[str, int], ...] = ()

    def refund(self) -> None:
        for key, amount in self.entries:
            add(key, -amount, 1)


def reserve(name: str, limits: Limits, amount: int = 1) -> Reservation | None:
    """Add ``amount`` to the current window of each limit. If that exceeds one, count nothing and return None."""
    taken: list[tuple[str, int]] = []
    for limit, seconds in limits:
        key = window_key(name, seconds)
        taken.append((key, amount))
        if add(key, amount, seconds) > limit:
            Reservation(tuple(taken)).refund()
            return None
    return Reservation(tuple(taken))


def window_key(name: str, seconds: int) -> str:
    """The cache key of a counter in the current window of ``seconds``."""
    return f"{PREFIX}:{name}:{seconds}:{int(time.time() // seconds)}"


def add(key: str, amount: int, seconds: int) -> int:
    """Add ``amount`` to a counter that lives for at least ``seconds``, and return its value."""
    cache = caches[conf.CACHE]
    for _ in range(3):
        # Longer than the window, whose number is in the key: no counter is reset while it counts.
        if amount > 0 and cache.add(key, amount, seconds + 60):
            return amount
        try:
            return int(cache.incr(key, amount))
        except ValueError:
            if amount < 0:
                return 0
            # It expired or was evicted between the two.
    raise RuntimeError(f"The cache {conf.CACHE!r} (MAGIC_LINK_CACHE) loses its counters.")


def network_of(request: HttpRequest | None) -> str | None:
    """The client's IPv4 address or IPv6 /64."""
    return None if request is None else client_network(request)


def wide_network(request: HttpRequest | None) -> str | None:
    """The client's IPv4 /24 or IPv6 /48, in which a phone stays when it changes cells."""
    address = None if request is None else client_address(request)
    if address is None:
        return None
    return str(ipaddress.ip_network((address, 48 if address.version == 6 else 24), strict=False))
