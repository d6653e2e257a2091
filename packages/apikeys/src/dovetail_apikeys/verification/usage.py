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
from collections.abc import Callable, Hashable
from datetime import timedelta
from typing import Any, Final

from django.db import router, transaction
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone

from dovetail_apikeys import events, get_api_key_model
from dovetail_apikeys.conf import conf
from dovetail_apikeys.principal import APIKeyCredential
from dovetail_apikeys.restrictions.networks import surrounding_network
from dovetail_core.net import Address, client_address

logger = logging.getLogger("dovetail.apikeys")

#: The number of networks stored per key. Beyond it, the oldest are dropped, and count as new when they return.
MAX_NETWORKS: Final = 20


class Gate:
    """Lets the same value pass once per interval, so that one of many threads writes."""

    SIZE: Final = 4096

    def __init__(self) -> None:
        self._until: dict[Hashable, float] = {}
        self._lock = threading.Lock()

    def passes(self, value: Hashable, interval: float) -> bool:
        now = time.monotonic()
        if self._until.get(value, 0.0) > now:
            return False
        with self._lock:
            if self._until.get(value, 0.0) > now:
                return False
            if len(self._until) >= self.SIZE:
                pending = {key: until for key, until in self._until.items() if until > now}
                self._until = pending if len(pending) < self.SIZE else {}
            self._until[value] = now + interval
        return True

    def clear(self) -> None:
        self._until.clear()


gate: Final = Gate()


def record_after_response(
    request: HttpRequest,
    credential: APIKeyCredential,
    upgrade: tuple[str, str] | None,
    *,
    interval: float,
) -> None:
    """Record the use of a key when the response is closed, once per ``interval`` in seconds; 0 disables it.

    ``upgrade`` is the stored hash and the hash that replaces it.
    """
    if upgrade is not None:
        _after_response(request, _upgrade, credential.id, *upgrade)
    if not interval:
        return
    # Not by the header itself: a client that varies the part that it writes would cause a write with each request.
    address = client_address(request)
    if gate.passes((credential.id, address), interval):
        _after_response(request, record, credential.id, address)


def record(key_id: Any, address: Address | None) -> None:
    """Write the use of a key now, unless another process has within the interval."""
    model = get_api_key_model()
    using = router.db_for_write(model)
    rows = model._base_manager.using(using).filter(pk=key_id)
    api_key = rows.only("key_prefix", "organization_id", "used_networks").first()
    if api_key is None:
        return
    now = timezone.now()
    changes: dict[str, Any] = {"last_used": now, "last_used_ip": str(address) if address is not None else None}
    network = surrounding_network(address) if address is not None else ""
    known = api_key.used_networks.split()
    if not network or network in known:
        # The condition is in the UPDATE, because another process may have written since the read.
        due = now - timedelta(seconds=conf.LAST_USED_INTERVAL)
        rows.filter(Q(last_used=None) | Q(last_used__lte=due)).update(**changes)
        return
    changes["used_networks"] = " ".join([*known, network][-MAX_NETWORKS:])
    with transaction.atomic(using=using):
        # Of two requests from the same new network, the second finds the column changed and writes nothing.
        written = rows.filter(used_networks=api_key.used_networks).update(**changes)
        if written and known:
            name, target = events.API_KEY_USED_FROM_NEW_NETWORK, str(key_id)
            events.emit_key(name, api_key, target=target, using=using, network=network)


def _upgrade(key_id: Any, stored_hash: str, new_hash: str) -> None:
    model = get_api_key_model()
    rows = model._base_manager.using(router.db_for_write(model))
    rows.filter(pk=key_id, hashed_key=stored_hash).update(hashed_key=new_hash)


def _after_response(request: HttpRequest, write: Callable[..., None], key_id: object, *arguments: object) -> None:
    """Call ``write(key_id, *arguments)`` when the response is closed. Log errors, and never raise.

    Django's response closes its request on the thread of the view, before ``request_finished`` closes database
    connections. That signal is no alternative: it does not name the request, and an earlier receiver may have closed
    the connection.
    """
    close = request.close

    def close_and_write() -> None:
        try:
            close()
        finally:
            try:
                write(key_id, *arguments)
            except Exception:  # a read-only database, a lock, an event receiver: the request was successful
                logger.warning("The use of API key %s was not recorded.", key_id, exc_info=True)

    request.close = close_and_write  # type: ignore[method-assign]  # on this one request
