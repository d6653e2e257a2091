"""What is counted, and when it is too much.

A wrong code that is sent alone can be charged to no account: with N codes out, each guess hits one with a chance of
N / 10^8, and whoever can ask for codes for many addresses makes N. So besides each network the site as a whole has a
*risk budget*: every such guess costs its chance, and once a window's is spent, codes alone are refused until it ends.
Links, and codes with a ``request_id`` or an address, do not ask it.

Counters are in a cache, because that is outside of every transaction. They are raised before a guess is compared and
given back afterwards where it was right: of parallel guesses none passes unseen.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.core.cache import caches
from django.http import HttpRequest
from django.utils import timezone

from dovetail_core.events import emit
from dovetail_core.net import client_network
from dovetail_magiclink import events, get_magic_link_model
from dovetail_magiclink.codes import SPACE
from dovetail_magiclink.conf import Limits, conf

logger = logging.getLogger("dovetail.magiclink")

_PREFIX = "dovetail_magiclink"
# How old a count of live codes may be. What was asked for since is added to it from counters of as many seconds each.
_COUNT_SECONDS = 10


class TooManyRequests(Exception):
    """More mails were asked for than the limits allow. ``wait`` is seconds until it makes sense to ask again."""

    def __init__(self, wait: float) -> None:
        super().__init__(f"Ask again in {wait:.0f} seconds.")
        self.wait = wait


@dataclass(frozen=True)
class Reservation:
    """What an attempt was charged."""

    entries: tuple[tuple[str, int], ...] = ()

    def refund(self) -> None:
        for key, amount in self.entries:
            _add(key, -amount, 1)


def network_of(request: HttpRequest | None) -> str | None:
    return None if request is None else client_network(request)


def admit_request(request: HttpRequest | None) -> None:
    """Raise ``TooManyRequests`` where the client's network or the site has asked for enough mails."""
    _require(f"requests:{network_of(request)}", conf.REQUESTS_PER_NETWORK)
    _require("requests", conf.REQUESTS_PER_SITE)


def admit_address(asked_at: Sequence[datetime], now: datetime) -> None:
    """Raise ``TooManyRequests`` where an address has had enough mails; ``asked_at`` are their times, newest first."""
    waits = [
        (asked_at[count - 1] + timedelta(seconds=seconds) - now).total_seconds()
        for count, seconds in conf.REQUESTS_PER_ADDRESS
        if len(asked_at) >= count
    ]
    if (wait := max(waits, default=0.0)) > 0:
        raise TooManyRequests(wait)


def reserve_link(request: HttpRequest | None) -> Reservation | None:
    """Charge an attempt at a link's secret to the network; None where it had too many that were wrong."""
    # Counted apart from codes: a colleague who mistypes them must not close the way that no guess opens.
    return _reserve(f"links:{network_of(request)}", conf.FAILURES_PER_NETWORK)


def reserve_code(request: HttpRequest | None) -> Reservation | None:
    """Charge a code that was sent alone to the network and to the site; None where either has no more."""
    network = _reserve(f"codes:{network_of(request)}", conf.FAILURES_PER_NETWORK)
    if network is None:
        return None
    live = live_codes()
    risk = _reserve("risk", [(round(chance * SPACE), seconds) for chance, seconds in conf.RISK_BUDGET], live)
    if risk is None:
        network.refund()  # refused for everybody; nothing was learnt about this network
        _tell_of_attack(live)
        return None
    return Reservation(network.entries + risk.entries)


def note_request() -> None:
    """Count a code that is about to be live. Before it is committed, so that no guess is charged for too few."""
    _add(f"{_PREFIX}:issued:{_bucket()}", 1, 4 * _COUNT_SECONDS)


def live_codes() -> int:
    """At least as many as there are, and at least 1: what is used or superseded may be counted a little longer."""
    live, bucket = f"{_PREFIX}:live", _bucket()
    # A count may be one bucket old, and a transaction that it could not see yet may have begun in the one before.
    issued = [f"{_PREFIX}:issued:{bucket - age}" for age in range(3)]
    found: dict[str, Any] = caches[conf.CACHE].get_many([live, *issued])
    if live not in found:
        found[live] = get_magic_link_model()._base_manager.filter(**is_live(timezone.now())).count()
        caches[conf.CACHE].set(live, found[live], _COUNT_SECONDS)
    return int(max(1, sum(found.values())))


def is_live(now: datetime) -> dict[str, Any]:
    """What a link that can be used has, for a filter."""
    return {"pending_key__isnull": False, "expires_at__gt": now}


def _require(name: str, limits: Limits) -> None:
    if _reserve(name, limits) is None:
        now = time.time()
        raise TooManyRequests(min(seconds - now % seconds for _, seconds in limits))


def _reserve(name: str, limits: Limits, amount: int = 1) -> Reservation | None:
    """Count ``amount`` in the present window of each limit; where that is more than one allows, in none."""
    taken: list[tuple[str, int]] = []
    for limit, seconds in limits:
        key = f"{_PREFIX}:{name}:{seconds}:{int(time.time() // seconds)}"
        taken.append((key, amount))
        if _add(key, amount, seconds) > limit:
            Reservation(tuple(taken)).refund()
            return None
    return Reservation(tuple(taken))


def _add(key: str, amount: int, seconds: int) -> int:
    cache = caches[conf.CACHE]
    for _ in range(3):
        # Longer than the window, whose number is in the key: none is reset while it counts.
        if amount > 0 and cache.add(key, amount, seconds + 60):
            return amount
        try:
            return int(cache.incr(key, amount))
        except ValueError:
            if amount < 0:
                return 0
            # It expired or was evicted between the two.
    raise RuntimeError(f"The cache {conf.CACHE!r} (MAGIC_LINK_CACHE) does not keep what is counted in it.")


def _bucket() -> int:
    return int(time.time() // _COUNT_SECONDS)


def _tell_of_attack(live: int) -> None:
    # The longest first: while a day's budget is spent, each quarter of an hour would be told as well.
    for _, seconds in sorted(conf.RISK_BUDGET, key=lambda pair: -pair[1]):
        key = f"{_PREFIX}:risk:{seconds}:{int(time.time() // seconds)}"
        limit = next(round(chance * SPACE) for chance, window in conf.RISK_BUDGET if window == seconds)
        if caches[conf.CACHE].get(key, 0) + live <= limit:
            continue
        if caches[conf.CACHE].add(f"{key}:told", 1, seconds):
            logger.critical(
                "Codes that are sent alone are refused: with %d live codes, one more guess would exceed the risk "
                "budget of %d seconds. Links, and codes with request_id or email, still work.",
                live,
                seconds,
            )
            emit(events.MAGIC_LINK_UNDER_ATTACK, data={"live_codes": live, "seconds": seconds})
        return
