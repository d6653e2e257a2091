"""The pages of this package's lists: keyset pagination by primary key (see ``dovetail_core.rest.pagination``).

By primary key, because ``created_at`` is not unique: one call creates a thousand notifications with the same time.
Projects with conventions of their own name their paginator in ``NOTIFY_PAGINATION_CLASS``; the contract package's,
which also sorts by other fields, can replace this one.
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
        """The page of the inbox of the signed-in user."""

        def fetch(cursor: Cursor | None, limit: int) -> list[Any]:
            lookup, key = (None, None) if cursor is None else (cursor.lookup, cursor.key)
            return page(
                request.user, shown=shown, organization_key=organization_key, lookup=lookup, key=key, limit=limit
            )

        return self.paginate(get_notification_model(), request, fetch)
