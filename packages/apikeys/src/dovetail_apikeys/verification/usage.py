"""Records when and from which address a key was last used: at most once a minute, outside the request's transaction.

An UPDATE under ``ATOMIC_REQUESTS`` locks the key's row until the response is ready, so that all requests of one key
wait for each other (measured: 39 requests per second instead of 307). An ``on_commit`` hook is lost if the view raises,
because REST framework rolls back then. So the write happens when the response is closed: after the transaction, however
it ends, and after the client has the response, but before the server closes the database connection.
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
from dovetail_apikeys.principal.api_key import APIKeyCredential
from dovetail_apikeys.restrictions.networks import neighbourhood
from dovetail_apikeys.verification.request_settings import hot
from dovetail_core.net import Address, client_address

logger = logging.getLogger("dovetail.apikeys")

#: The networks that one key remembers. Beyond that, the oldest are dropped and count as new when they return.
REMEMBERED: Final = 20


class Gate:
    """Passes the same value once per interval, so that one of many threads writes."""

    SIZE: Final = 4096

    def __init__(self) -> None:
        self._until: dict[Any, float] = {}
        self._lock = threading.Lock()

    def passes(self, value: Any, interval: float) -> bool:
        now = time.monotonic()
        if self._until.get(value, 0.0) > now:
            return False
        with self._lock:
            if self._until.get(value, 0.0) > now:
                return False
            if len(self._until) >= self.SIZE:
                self._until = {key: until for key, until in self._until.items() if until > now}
            if len(self._until) >= self.SIZE:
                self._until.clear()
            self._until[value] = now + interval
        return True

    def clear(self) -> None:
        self._until.clear()


gate: Final = Gate()


def record_after_response(
    request: HttpRequest, credential: APIKeyCredential, *, upgrade: tuple[str, str] | None = None
) -> None:
    """Record the use of a key when the response is closed.

    ``upgrade`` is the stored hash and the hash that replaces it.
    """
    if upgrade is not None:
        _after_response(request, partial(_upgrade, credential.id, *upgrade))
    settings = hot()
    interval = settings.last_used_interval
    if not interval:
        return
    # The header is trusted only behind trusted proxies, and only there does it tell two clients apart.
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "") if settings.behind_proxies else ""
    if gate.passes((credential.id, request.META.get("REMOTE_ADDR", ""), forwarded), interval):
        _after_response(request, partial(record, credential.id, client_address(request)))


def record(key_id: Any, address: Address | None) -> None:
    """Write the use of a key now, unless another process has within the interval. Logs errors, and never raises."""
    try:
        _record(key_id, address)
    except Exception:  # a read-only database, a lock, an event receiver: the request was successful
        logger.warning("The use of API key %s was not recorded.", key_id, exc_info=True)


def _record(key_id: Any, address: Address | None) -> None:
    model = get_api_key_model()
    using = router.db_for_write(model)
    rows = model._base_manager.using(using).filter(pk=key_id)
    row = rows.values("key_prefix", "organization_id", "last_used", "used_networks").first()
    if row is None:
        return
    now = timezone.now()
    network = neighbourhood(address) if address is not None else ""
    known = row["used_networks"].split()
    changes: dict[str, Any] = {"last_used": now, "last_used_ip": str(address) if address is not None else None}
    if not network or network in known:
        # The database decides: another process may have written since the read.
        due = now - timedelta(seconds=conf.LAST_USED_INTERVAL)
        rows.filter(Q(last_used=None) | Q(last_used__lte=due)).update(**changes)
        return
    changes["used_networks"] = " ".join([*known, network][-REMEMBERED:])
    with transaction.atomic(using=using):
        # Of two requests from one new network, only the first still sees the column as both have read it.
        written = rows.filter(used_networks=row["used_networks"]).update(**changes)
        if written and known:
            events.emit_new_network(key_id, row, network=network, using=using)


def _upgrade(key_id: Any, stored_hash: str, new_hash: str) -> None:
    try:
        model = get_api_key_model()
        rows = model._base_manager.using(router.db_for_write(model))
        rows.filter(pk=key_id, hashed_key=stored_hash).update(hashed_key=new_hash)
    except Exception:  # as in record(): the next use tries again
        logger.warning("The hash of API key %s was not upgraded.", key_id, exc_info=True)


def _after_response(request: HttpRequest, work: Callable[[], None]) -> None:
    """Call ``work`` when the response is closed.

    In Django the response closes its request on the thread of the view, before ``request_finished`` closes database
    connections. The signal itself is no alternative: it does not know the request, and the connection may be closed.
    """
    close = request.close

    def close_and_work() -> None:
        try:
            close()
        finally:
            work()

    request.close = close_and_work  # type: ignore[method-assign]  # on this one request
