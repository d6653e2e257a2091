"""Keys that expire soon, told of once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

from django.db import router, transaction
from django.db.models import F, Q
from django.utils import timezone

from dovetail_apikeys import events, get_api_key_model
from dovetail_apikeys.conf import conf

logger = logging.getLogger("dovetail.apikeys")

_PAGE: Final = 500


def announce_expiring_keys() -> int:
    """Emit ``api_key.expiring`` for each key that expires within ``API_KEYS_EXPIRY_NOTICE_DAYS``; how many there were.

    Once for a key and its expiry, in any number of processes; one that is given another expiry is told of again. Each
    key is a transaction of its own: a receiver that fails has its key told of at the next call, and keeps no other
    from being told of.
    """
    told = 0
    model = get_api_key_model()
    using = router.db_for_write(model)
    for api_key in _due(model._base_manager.using(using)):
        try:
            told += _announce(api_key, using=using)
        except Exception:  # of a project's receiver
            logger.exception("Nobody was told that API key %s expires soon.", api_key.key_prefix)
    return told


def _announce(api_key: Any, *, using: str) -> bool:
    rows = type(api_key)._base_manager.using(using).filter(pk=api_key.pk, expires_at=api_key.expires_at)
    with transaction.atomic(using=using):
        # Of two workers that have read the key one finds it as it was; nor was it revoked or prolonged meanwhile.
        written = rows.filter(_UNTOLD, revoked_at=None).update(expiry_announced=F("expires_at"))
        if written:
            expires_at = api_key.expires_at.isoformat()
            events.emit_key(events.API_KEY_EXPIRING, api_key, actor=None, using=using, expires_at=expires_at)
    return bool(written)


def _due(rows: Any) -> Iterator[Any]:
    """By pages of keys, not by a cursor: what is written in between would end it on SQLite."""
    now = timezone.now()
    soon = now + timedelta(days=conf.EXPIRY_NOTICE_DAYS)
    due = rows.filter(_UNTOLD, revoked_at=None, expires_at__gt=now, expires_at__lte=soon).order_by("pk")
    page = list(due[:_PAGE])
    while page:
        yield from page
        page = list(due.filter(pk__gt=page[-1].pk)[:_PAGE])


_UNTOLD: Final = Q(expiry_announced=None) | ~Q(expiry_announced=F("expires_at"))
