"""Refused and failed requests, which are recorded after their transaction, and the limit on anonymous ones.

With ``ATOMIC_REQUESTS``, REST framework rolls the transaction back after an exception, and a row that is written in the
view or in an exception handler is gone.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from dovetail_audit.conf import conf
from dovetail_audit.entries import principals
from dovetail_audit.entries.building import build, name_actor
from dovetail_audit.entries.databases import alias_for
from dovetail_audit.entries.units import Unit
from dovetail_audit.entries.writing import insert
from dovetail_audit.models import Entry
from dovetail_core.net import client_network

logger = logging.getLogger("dovetail.audit")

DENIED: Final = "request.denied"
FAILED: Final = "request.failed"
SUPPRESSED: Final = "request.denials_suppressed"

_DENIED: Final = frozenset({401, 403})
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_MINUTE: Final = 60
#: Networks of one minute with their own count. The attack: a client with many IPv6 networks fills the memory.
_MOST_NETWORKS: Final = 1000
_OTHERS: Final = "other networks"


@dataclass
class Limiter:
    """Counts the recorded refusals of anonymous requests for each network in the present minute, in this process."""

    minute: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def admits(self, network: str) -> bool:
        """Count a refusal. Return whether it is recorded with an entry of its own."""
        with self.lock:
            if network not in self.counts and len(self.counts) >= _MOST_NETWORKS:
                network = _OTHERS
            if not self.counts:
                self.minute = self._minute()
            self.counts[network] = self.counts.get(network, 0) + 1
            return self.counts[network] <= conf.DENIALS_PER_MINUTE

    def is_due(self) -> bool:
        return bool(self.counts) and self._minute() != self.minute

    def ended(self) -> dict[str, int]:
        """Return the number of refusals by network that were not recorded in the last minute, once after its end."""
        # Without the lock for almost every request.
        if not self.is_due():
            return {}
        with self.lock:
            if not self.is_due():
                return {}
            counts, self.counts, self.minute = self.counts, {}, self._minute()
        excess = {network: number - conf.DENIALS_PER_MINUTE for network, number in counts.items()}
        return {network: number for network, number in excess.items() if number > 0}

    def reset(self) -> None:
        with self.lock:
            self.counts = {}

    @staticmethod
    def _minute() -> int:
        return int(time.time() // _MINUTE)


limiter: Final = Limiter()


def finish(unit: Unit, request: HttpRequest, response: HttpResponseBase) -> None:
    """Write the entries of a request that wait for its end. Log errors: the response is made."""
    _logged(lambda: _write_suppressed(limiter.ended()))
    for write in unit.end():
        _logged(write)
    _logged(lambda: _write_response(unit, request, response))


def _logged(write: Callable[[], object]) -> None:
    """Call ``write``. One that fails must not lose the others."""
    try:
        write()
    except Exception:
        logger.exception("The refusal or failure of a request could not be recorded.")


def _write_response(unit: Unit, request: HttpRequest, response: HttpResponseBase) -> None:
    outcome = None if unit.is_refusal_recorded else _outcome(request, response)
    if outcome is not None:
        _write(_of_response(outcome, request, response), request)


def defer(unit: Unit, entry: Entry, *, unless_recorded: bool = False) -> None:
    """Write a refusal at the end of its request, or now if the request has ended: a thread may outlive it.

    ``unless_recorded``: only if no event of the request describes the refusal better.
    """

    # Only async code has not read the user by now.
    is_unread = unit.request is not None and principals.is_unread(unit.request)

    def write() -> None:
        if not (unless_recorded and unit.is_refusal_recorded):
            if is_unread:
                name_actor(entry, unit.request)
            _write(entry, unit.request)
            unit.is_refusal_recorded = True

    # First, so that others see it.
    if not unit.defer(write, first=not unless_recorded):
        _logged(write)


def concerns(unit: Unit, request: HttpRequest, response: HttpResponseBase) -> bool:
    """Return whether :func:`finish` may write, so that other requests do not wait for a thread under ASGI."""
    return bool(unit.at_end) or limiter.is_due() or _outcome(request, response) is not None


def _outcome(request: HttpRequest, response: HttpResponseBase) -> str | None:
    if response.status_code in _DENIED:
        return "denied"
    # A page that cannot be read changes nothing, and is in the log of errors.
    return "failed" if response.status_code >= 500 and request.method not in _SAFE else None


def _of_response(outcome: str, request: HttpRequest, response: HttpResponseBase) -> Entry:
    match = request.resolver_match
    # The route and not the path, which may contain the token of a link.
    parameters: dict[str, Any] = {"method": request.method, "route": match.route if match else None}
    if match is not None and match.kwargs:
        parameters["arguments"] = match.kwargs
    return build(
        DENIED if outcome == "denied" else FAILED,
        outcome=outcome,
        status=response.status_code,
        problem=_problem_of(response),
        parameters=parameters,
        request=request,
    )


def _problem_of(response: HttpResponseBase) -> str:
    """Return the error code of a REST framework response, in the members that error formats use, or ``""``."""
    data = getattr(response, "data", None)
    for _ in range(2):
        if not isinstance(data, Mapping):
            break
        if isinstance(code := data.get("code"), str):
            return code
        data = data.get("error")
    return ""


def _write(entry: Entry, request: HttpRequest | None) -> None:
    network = (client_network(request) if request is not None else None) or "unknown"
    if entry.actor_kind == "anonymous" and not limiter.admits(network):
        return
    insert([entry], using=alias_for(None))


def _write_suppressed(counts: Mapping[str, int]) -> None:
    for network, count in counts.items():
        entry = build(
            SUPPRESSED,
            outcome="denied",
            actor=principals.ANONYMOUS,
            parameters={"count": count},
            personal={"network": network},
        )
        insert([entry], using=alias_for(None))
