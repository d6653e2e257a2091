"""When and from where a key was last used: at most one write a minute, and never in the request's transaction.

An UPDATE under ``ATOMIC_REQUESTS`` holds the key's row until the answer is made, so that all requests of one key wait
for each other (measured: 39 requests a second instead of 307). One on commit is lost where the view raises, because
REST framework rolls back then. So it is done when the response is closed: after the transaction, however that ended,
and after the client has its answer, but before the server gives up the connection to the database.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any, Final

from django.db import router, transaction
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone

from dovetail_apikeys import events, get_api_key_model
from dovetail_apikeys.conf import conf
from dovetail_apikeys.credential import APIKeyCredential
from dovetail_apikeys.hot import hot
from dovetail_apikeys.networks import neighbourhood
from dovetail_core.net import Address, client_address

logger = logging.getLogger("dovetail.apikeys")

#: Networks that are remembered of one key. Of more, the first are forgotten, and may be new once more.
REMEMBERED: Final = 20


class Gate:
    """Lets each mark through once in an interval, so that of many threads one writes."""

    SIZE: Final = 4096

    def __init__(self) -> None:
        self._until: dict[Any, float] = {}
        self._lock = threading.Lock()

    def passes(self, mark: Any, interval: float) -> bool:
        now = time.monotonic()
        if self._until.get(mark, 0.0) > now:
            return False
        with self._lock:
            if self._until.get(mark, 0.0) > now:
                return False
            if len(self._until) >= self.SIZE:
                self._until = {each: until for each, until in self._until.items() if until > now}
            if len(self._until) >= self.SIZE:
                self._until.clear()
            self._until[mark] = now + interval
        return True

    def clear(self) -> None:
        self._until.clear()


gate: Final = Gate()


def note(request: HttpRequest, credential: APIKeyCredential, *, upgrade: tuple[str, str] | None = None) -> None:
    """Have the use written behind the response. ``upgrade`` is the stored hash and the one to take its place."""
    if upgrade is not None:
        _behind(request, partial(_upgrade, credential.id, *upgrade))
    now = hot()
    interval = now.last_used_interval
    if not interval:
        return
    # Believed only behind trusted proxies, and only there it tells two clients apart.
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "") if now.behind_proxies else ""
    if gate.passes((credential.id, request.META.get("REMOTE_ADDR", ""), forwarded), interval):
        _behind(request, partial(record, credential.id, client_address(request)))


def record(key_id: Any, address: Address | None) -> None:
    """Write the use of a key now, unless another process did within the interval. Never fails the caller."""
    try:
        _record(key_id, address)
    except Exception:  # a read-only database, a lock, a receiver: the request was answered
        logger.warning("The use of API key %s was not recorded.", key_id, exc_info=True)


def _record(key_id: Any, address: Address | None) -> None:
    model = get_api_key_model()
    using = router.db_for_write(model)
    rows = model._base_manager.using(using).filter(pk=key_id)
    found = rows.values("key_prefix", "organization_id", "last_used", "used_networks").first()
    if found is None:
        return
    now = timezone.now()
    network = neighbourhood(address) if address is not None else ""
    known = found["used_networks"].split()
    changes: dict[str, Any] = {"last_used": now, "last_used_ip": str(address) if address is not None else None}
    if not network or network in known:
        # Decided by the database: another process may have written since we read.
        due = now - timedelta(seconds=conf.LAST_USED_INTERVAL)
        rows.filter(Q(last_used=None) | Q(last_used__lte=due)).update(**changes)
        return
    changes["used_networks"] = " ".join([*known, network][-REMEMBERED:])
    with transaction.atomic(using=using):
        # Of two requests from one new network, one finds the column as both have read it.
        written = rows.filter(used_networks=found["used_networks"]).update(**changes)
        if written and known:
            events.emit_new_network(key_id, found, network=network, using=using)


def _upgrade(key_id: Any, stored_hash: str, new_hash: str) -> None:
    try:
        model = get_api_key_model()
        rows = model._base_manager.using(router.db_for_write(model))
        rows.filter(pk=key_id, hashed_key=stored_hash).update(hashed_key=new_hash)
    except Exception:  # as in record(): next time, then
        logger.warning("The hash of API key %s was not upgraded.", key_id, exc_info=True)


def _behind(request: HttpRequest, work: Callable[[], None]) -> None:
    """Do ``work`` when the response is closed.

    Django has the response close its request, on the thread of the view, before ``request_finished`` closes database
    connections. Not by that signal: it does not know the request, and comes when the connection may be gone.
    """
    close = request.close

    def close_and_work() -> None:
        try:
            close()
        finally:
            work()

    request.close = close_and_work  # type: ignore[method-assign]  # on this one request
