"""Announces keys that expire soon, once for each key and expiry."""

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
    """Emit ``api_key.expiring`` for each key that expires within ``API_KEYS_EXPIRY_NOTICE_DAYS``. Returns their number.

    A key is announced once per expiry, however many processes call this; a key with a new expiry is announced again.
    Each key has its own transaction: if a receiver fails, the next call announces that key again, and the other keys
    are not affected.
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


def _announce(api_key: Any, *, using: str) -> bool:
    rows = type(api_key)._base_manager.using(using).filter(pk=api_key.pk, expires_at=api_key.expires_at)
    with transaction.atomic(using=using):
        # Of two workers that have read the key, one writes. Neither does if the key was revoked or got a new expiry.
        written = rows.filter(_UNANNOUNCED, revoked_at=None).update(expiry_announced=F("expires_at"))
        if written:
            expires_at = api_key.expires_at.isoformat()
            events.emit_key(events.API_KEY_EXPIRING, api_key, actor=None, using=using, expires_at=expires_at)
    return bool(written)


def _due(rows: Any) -> Iterator[Any]:
    """The keys to announce, in pages: on SQLite, the writes in between would end a database cursor."""
    now = timezone.now()
    soon = now + timedelta(days=conf.EXPIRY_NOTICE_DAYS)
    due = rows.filter(_UNANNOUNCED, revoked_at=None, expires_at__gt=now, expires_at__lte=soon).order_by("pk")
    page = list(due[:_PAGE])
    while page:
        yield from page
        page = list(due.filter(pk__gt=page[-1].pk)[:_PAGE])


_UNANNOUNCED: Final = Q(expiry_announced=None) | ~Q(expiry_announced=F("expires_at"))
