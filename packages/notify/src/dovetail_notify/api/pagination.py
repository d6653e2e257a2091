"""Keyset pagination of this package's lists by primary key (see ``dovetail_core.rest.pagination``).

``created_at`` is not unique: one call creates a thousand notifications with the same time. Projects name their own
paginator in ``NOTIFY_PAGINATION_CLASS``.
"""

from __future__ import annotations

from typing import Any

from rest_framework.request import Request

from dovetail_core.rest.pagination import Cursor, KeysetPagination
from dovetail_notify.base import get_notification_model
from dovetail_notify.inbox.reading import InboxFilter, page

__all__ = ["Cursor", "CursorPagination"]


class CursorPagination(KeysetPagination):
    default_limit = 20
    max_limit = 100

    def paginate_inbox(self, request: Request, *, shown: InboxFilter, organization_key: str | None) -> list[Any]:
        def fetch(cursor: Cursor | None, limit: int) -> list[Any]:
            user: Any = request.user
            lookup, key = (None, None) if cursor is None else (cursor.lookup, cursor.key)
            return page(user, shown=shown, organization_key=organization_key, lookup=lookup, key=key, limit=limit)

        return self.paginate(get_notification_model(), request, fetch)
