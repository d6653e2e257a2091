"""Limits of requests for mails: by address, by network and for the site."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.http import HttpRequest

from dovetail_magiclink.conf import Limits, conf
from dovetail_magiclink.limits.counters import network_of, reserve


class TooManyRequests(Exception):
    """A request exceeds the limits of mails. ``wait`` is the number of seconds until the next one may succeed."""

    def __init__(self, wait: float) -> None:
        super().__init__(f"Ask again in {wait:.0f} seconds.")
        self.wait = wait


def check_client(request: HttpRequest | None) -> None:
    """Count a request. Raise ``TooManyRequests`` if the client's network or the site exceeds its limits."""
    _require(f"requests:{network_of(request)}", conf.REQUESTS_PER_NETWORK)
    _require("requests", conf.REQUESTS_PER_SITE)


def check_address(requested_at: Sequence[datetime], now: datetime) -> None:
    """Raise ``TooManyRequests`` if an address has had enough mails. ``requested_at`` has their times, newest first."""
    waits = [
        (requested_at[count - 1] + timedelta(seconds=seconds) - now).total_seconds()
        for count, seconds in conf.REQUESTS_PER_ADDRESS
        if len(requested_at) >= count
    ]
    if (wait := max(waits, default=0.0)) > 0:
        raise TooManyRequests(wait)


def _require(name: str, limits: Limits) -> None:
    if reserve(name, limits) is None:
        now = time.time()
        raise TooManyRequests(min(seconds - now % seconds for _, seconds in limits))
