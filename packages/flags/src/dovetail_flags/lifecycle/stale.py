"""Flags that are to be removed from the code and archived.

A flag is stale if it is expired, or if it is temporary and nobody has changed it for ``FLAGS_STALE_DAYS``. Archived
flags are not stale.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Q
from django.utils import timezone

from dovetail_flags.base import AbstractFlag
from dovetail_flags.conf import conf


def stale(*, now: datetime | None = None) -> Q:
    """Return the condition of stale flags. ``now`` is an aware time, by default the present."""
    now = now or timezone.now()
    unchanged = Q(temporary=True, updated_at__lte=now - timedelta(days=conf.STALE_DAYS))
    return Q(archived_at=None) & (Q(expires_at__lte=now) | unchanged)


def is_stale(flag: AbstractFlag, *, now: datetime | None = None) -> bool:
    """Return what the condition of :func:`stale` says of a row."""
    now = now or timezone.now()
    expired = flag.expires_at is not None and flag.expires_at <= now
    unchanged = flag.temporary and flag.updated_at <= now - timedelta(days=conf.STALE_DAYS)
    return flag.archived_at is None and (expired or unchanged)
