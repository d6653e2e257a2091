"""Limits on requests for mails and on guesses, counted in a cache, outside any transaction.

A guess is counted before it is compared, and subtracted again if it is right. Otherwise parallel guesses could pass
uncounted.

A wrong code that is sent alone belongs to no account. With N live codes, a guess hits one with probability N / 10^8,
and anybody can raise N by requesting codes for many addresses. The site therefore has a *risk budget* in addition to
the limits per network: each such guess costs its probability. Once the budget of a window is spent, codes that are sent
alone are rejected until the window ends. Links, and codes with a ``request_id`` or an address, do not use the budget.
"""

from __future__ import annotations

import ipaddress
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.core.cache.backends.base import BaseCache
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from dovetail_core import attempts
from dovetail_core.events import emit
from dovetail_core.net import client_address, client_network
from dovetail_magiclink import events, get_magic_link_model
from dovetail_magiclink.base import AbstractMagicLink
from dovetail_magiclink.conf import Limits, conf
from dovetail_magiclink.secrets.codes import SPACE

logger = logging.getLogger("dovetail.magiclink")

_PREFIX = "dovetail_magiclink"
# How long a count of live codes is cached. Requests since then are added from counters of this many seconds each.
_COUNT_SECONDS = 10


class TooManyRequests(Exception):
    """A request exceeds the limits on mails. ``wait`` is the number of seconds until the next one may succeed."""

    def __init__(self, wait: float) -> None:
        super().__init__(f"Too many requests. Try again in {wait:.0f} seconds.")
        self.wait = wait


@dataclass(frozen=True)
class Reservation:
    """The counters that an attempt was added to, with the amounts."""

    entries: tuple[tuple[str, int], ...] = ()

    def refund(self) -> None:
        for key, amount in self.entries:
            add(key, -amount, 1)


def check_client(request: HttpRequest | None) -> None:
    """Count a request. Raise ``TooManyRequests`` if the client's network or the site exceeds its limits."""
    for name, limits in (
        (f"requests:{network_of(request)}", conf.REQUESTS_PER_NETWORK),
        ("requests", conf.REQUESTS_PER_SITE),
    ):
        if reserve(name, limits) is None:
            now = time.time()
            raise TooManyRequests(min(seconds - now % seconds for _, seconds in limits))


def check_address(requested_at: Sequence[datetime], now: datetime) -> None:
    """Raise ``TooManyRequests`` if an address exceeds its limits. ``requested_at`` has its requests, newest first."""
    waits = [
        (requested_at[count - 1] + timedelta(seconds=seconds) - now).total_seconds()
        for count, seconds in conf.REQUESTS_PER_ADDRESS
        if len(requested_at) >= count
    ]
    if (wait := max(waits, default=0.0)) > 0:
        raise TooManyRequests(wait)


def reserve_link(request: HttpRequest | None) -> Reservation | None:
    """Count a link for the network. Return None if the network has sent too many wrong ones."""
    # Counted apart from codes: a colleague's mistyped codes must not block links, which nobody can guess.
    return reserve(f"links:{network_of(request)}", conf.FAILURES_PER_NETWORK)


def reserve_code(request: HttpRequest | None) -> Reservation | None:
    """Count a code that is sent alone, for the network and the site. Return None if either has reached its limit."""
    network = reserve(f"codes:{network_of(request)}", conf.FAILURES_PER_NETWORK)
    if network is None:
        return None
    live = live_codes()
    risk = reserve("risk", [(round(chance * SPACE), seconds) for chance, seconds in conf.RISK_BUDGET], live)
    if risk is None:
        network.refund()  # every client is rejected now, so this says nothing about the network
        _report_attack(live)
        return None
    return Reservation(network.entries + risk.entries)


def reserve(name: str, limits: Limits, amount: int = 1) -> Reservation | None:
    """Add ``amount`` to the current window of each limit. If it would exceed one, count nothing and return None."""
    entries: list[tuple[str, int]] = []
    for limit, seconds in limits:
        key = _window_key(name, seconds)
        entries.append((key, amount))
        if add(key, amount, seconds) > limit:
            Reservation(tuple(entries)).refund()
            return None
    return Reservation(tuple(entries))


def add(key: str, amount: int, seconds: int) -> int:
    """Add ``amount`` to a counter that lives for at least ``seconds``, and return its value.

    While the cache is unavailable, each process counts.
    """
    # The counter outlives its window, whose number is in the key, so it is never reset while it counts.
    return attempts.add(key, amount, seconds, cache=conf.CACHE)


def count_new_code() -> None:
    """Count a code that is about to become live. Call this before the commit, so that no guess costs too little."""
    add(f"{_PREFIX}:issued:{_period()}", 1, 4 * _COUNT_SECONDS)


def live_codes() -> int:
    """Return an upper bound of the number of live codes, at least 1. Ended codes may be counted a little longer."""
    live, period = f"{_PREFIX}:live", _period()
    # The count may be one period old, and a transaction that it did not see may have begun in the period before.
    issued = [f"{_PREFIX}:issued:{period - age}" for age in range(3)]
    nothing: dict[str, Any] = {}
    counts = attempts.call(conf.CACHE, lambda cache: cache.get_many([live, *issued]), nothing)
    if live not in counts:
        count = live_links(get_magic_link_model()._base_manager.all()).count()
        attempts.call(conf.CACHE, lambda cache: cache.set(live, count, _COUNT_SECONDS), None)
        counts = {**counts, live: count}
    return int(max(1, sum(counts.values())))


def live_links(links: QuerySet[AbstractMagicLink]) -> QuerySet[AbstractMagicLink]:
    return links.filter(pending_key__isnull=False, expires_at__gt=timezone.now())


def network_of(request: HttpRequest | None) -> str | None:
    return None if request is None else client_network(request)


def wide_network(request: HttpRequest | None) -> str | None:
    """Return the client's IPv4 /24 or IPv6 /48, which a phone usually keeps when it changes cells."""
    address = None if request is None else client_address(request)
    if address is None:
        return None
    return str(ipaddress.ip_network((address, 48 if address.version == 6 else 24), strict=False))


def _window_key(name: str, seconds: int) -> str:
    return f"{_PREFIX}:{name}:{seconds}:{int(time.time() // seconds)}"


def _period() -> int:
    return int(time.time() // _COUNT_SECONDS)


def _spent(key: str, cache: BaseCache) -> int:
    return int(cache.get(key, 0))


def _report_attack(live: int) -> None:
    # The longest window first: once the budget of a day is spent, every quarter of an hour would be reported as well.
    for chance, seconds in sorted(conf.RISK_BUDGET, key=lambda pair: -pair[1]):
        key = _window_key("risk", seconds)
        spent = attempts.call(conf.CACHE, partial(_spent, key), 0)
        if spent + live <= round(chance * SPACE):
            continue
        if add(f"{key}:reported", 1, seconds) == 1:
            logger.critical(
                "Codes that are sent alone are rejected: with %d live codes, one more guess would exceed the risk "
                "budget of %d seconds. Links, and codes with request_id or email, still work.",
                live,
                seconds,
            )
            emit(events.MAGIC_LINK_UNDER_ATTACK, data={"live_codes": live, "seconds": seconds})
        return
