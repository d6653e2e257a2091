"""Announces keys that expire soon, once for each key and expiry."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from django.db import router, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from dovetail_apikeys import events, get_api_key_model
from dovetail_apikeys.base import AbstractAPIKey
from dovetail_apikeys.conf import conf

logger = logging.getLogger("dovetail.apikeys")

_PAGE: Final = 500
_UNANNOUNCED: Final = Q(expiry_announced=None) | ~Q(expiry_announced=F("expires_at"))


def announce_expiring_keys() -> int:
    """Emit ``api_key.expiring`` for each key that expires within ``API_KEYS_EXPIRY_NOTICE_DAYS``. Return their number.

    A key is announced once per expiry, even if several processes call this; a key with a new expiry is announced again.
    Each key has its own transaction: if a receiver fails, the next call announces that key again, and other keys are
    not affected.
    """
    announced = 0
    model = get_api_key_model()
    using = router.db_for_write(model)
    for api_key in _due(model._base_manager.using(using)):
        try:
            announced += _announce(api_key, using=using)
        except Exception:  # of an event receiver of the project
            logger.exception("The expiry of API key %s was not announced.", api_key.key_prefix)
    return announced


def _announce(api_key: AbstractAPIKey, *, using: str) -> bool:
    rows = type(api_key)._base_manager.using(using).filter(pk=api_key.pk, expires_at=api_key.expires_at)
    with transaction.atomic(using=using):
        # One of two workers that have read the key updates it. Neither does if it was revoked or its expiry changed.
        updated = rows.filter(_UNANNOUNCED, revoked_at=None).update(expiry_announced=F("expires_at"))
        if updated and api_key.expires_at:
            expires_at = api_key.expires_at.isoformat()
            events.emit_key(events.API_KEY_EXPIRING, api_key, using=using, expires_at=expires_at)
    return bool(updated)


def _due(rows: QuerySet[AbstractAPIKey]) -> Iterator[AbstractAPIKey]:
    """Yield the keys to announce, read in pages: on SQLite, the writes in between would end a database cursor."""
    now = timezone.now()
    soon = now + timedelta(days=conf.EXPIRY_NOTICE_DAYS)
    due = rows.filter(_UNANNOUNCED, revoked_at=None, expires_at__gt=now, expires_at__lte=soon).order_by("pk")
    page = list(due[:_PAGE])
    while page:
        yield from page
        page = list(due.filter(pk__gt=page[-1].pk)[:_PAGE])
