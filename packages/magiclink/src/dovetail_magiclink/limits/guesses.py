"""Limits of guesses: by network, and a risk budget for the site.

A wrong code that is sent alone belongs to no account. With N live codes, a guess hits one with a chance of N / 10^8,
and anybody who requests codes for many addresses raises N. So the site has a *risk budget* in addition to the limits of
each network: every such guess costs its chance, and once the budget of a window is spent, codes alone are refused until
the window ends. Links, and codes with a ``request_id`` or an address, do not use it.
"""

from __future__ import annotations

import logging
import time
from datetime import datetime
from typing import Any

from django.core.cache import caches
from django.http import HttpRequest
from django.utils import timezone

from dovetail_core.events import emit
from dovetail_magiclink import events, get_magic_link_model
from dovetail_magiclink.conf import conf
from dovetail_magiclink.limits.counters import PREFIX, Reservation, add, network_of, reserve, window_key
from dovetail_magiclink.secrets.codes import SPACE

logger = logging.getLogger("dovetail.magiclink")

# How old a count of live codes may be. The requests since then are added to it, from counters of as many seconds.
_COUNT_SECONDS = 10


def reserve_link(request: HttpRequest | None) -> Reservation | None:
    """Count an attempt at the secret of a link for the network. None if the network has had too many wrong ones."""
    # Counted apart from codes: a colleague's mistyped codes must not close links, which nobody can guess.
    return reserve(f"links:{network_of(request)}", conf.FAILURES_PER_NETWORK)


def reserve_code(request: HttpRequest | None) -> Reservation | None:
    """Count a code that was sent alone for the network and the site. None if either has reached its limit."""
    network = reserve(f"codes:{network_of(request)}", conf.FAILURES_PER_NETWORK)
    if network is None:
        return None
    live = live_codes()
    risk = reserve("risk", [(round(chance * SPACE), seconds) for chance, seconds in conf.RISK_BUDGET], live)
    if risk is None:
        network.refund()  # everybody is refused, so this says nothing about the network
        _report_attack(live)
        return None
    return Reservation(network.entries + risk.entries)


def count_new_code() -> None:
    """Count a code that is about to be live. Call it before the commit, so that no guess costs too little."""
    add(f"{PREFIX}:issued:{_bucket()}", 1, 4 * _COUNT_SECONDS)


def live_codes() -> int:
    """An upper bound of the number of live codes, at least 1. Used and superseded codes may count a little longer."""
    live, bucket = f"{PREFIX}:live", _bucket()
    # A count may be one bucket old, and a transaction that it did not see may have begun in the bucket before.
    issued = [f"{PREFIX}:issued:{bucket - age}" for age in range(3)]
    counts: dict[str, Any] = caches[conf.CACHE].get_many([live, *issued])
    if live not in counts:
        counts[live] = get_magic_link_model()._base_manager.filter(**live_filter(timezone.now())).count()
        caches[conf.CACHE].set(live, counts[live], _COUNT_SECONDS)
    return int(max(1, sum(counts.values())))


def live_filter(now: datetime) -> dict[str, Any]:
    """Arguments of ``filter()`` for links that can be used."""
    return {"pending_key__isnull": False, "expires_at__gt": now}


def _bucket() -> int:
    return int(time.time() // _COUNT_SECONDS)


def _report_attack(live: int) -> None:
    # The longest window first: once a day's budget is spent, each quarter of an hour would be reported as well.
    for chance, seconds in sorted(conf.RISK_BUDGET, key=lambda pair: -pair[1]):
        key = window_key("risk", seconds)
        if caches[conf.CACHE].get(key, 0) + live <= round(chance * SPACE):
            continue
        if caches[conf.CACHE].add(f"{key}:reported", 1, seconds):
            logger.critical(
                "Codes that are sent alone are refused: with %d live codes, one more guess would exceed the risk "
                "budget of %d seconds. Links, and codes with request_id or email, still work.",
                live,
                seconds,
            )
            emit(events.MAGIC_LINK_UNDER_ATTACK, data={"live_codes": live, "seconds": seconds})
        return
