"""Keyset pagination of this package's lists by primary key (see ``dovetail_core.rest.pagination``).

``created_at`` is not unique: one call creates a thousand notifications with the same time. Projects name their own
paginator in ``NOTIFY_PAGINATION_CLASS``.
"""

from __future__ import annotations

from typing import Any, TypeGuard

from rest_framework.request import Request

from dovetail_core.rest.pagination import Cursor, KeysetPagination
from dovetail_notify.base import get_notification_model
from dovetail_notify.inbox.reading import InboxFilter, count, page

__all__ = ["Cursor", "CursorPagination"]


class CursorPagination(KeysetPagination):
    default_limit = 20
    max_limit = 100


def fetches_pages(paginator: object) -> TypeGuard[KeysetPagination]:
    """Whether the paginator's ``paginate()`` does the same as its ``paginate_queryset()``.

    A project's subclass may override the second one only.
    """
    if not isinstance(paginator, KeysetPagination):
        return False
    names = ("paginate", "paginate_queryset")
    return len({next(cls for cls in type(paginator).__mro__ if name in vars(cls)) for name in names}) == 1


def paginate_inbox(
    paginator: KeysetPagination, request: Request, *, shown: InboxFilter, organization_key: str | None
) -> list[Any]:
    """Return a page of the inbox, with a statement that is compiled once and passes over no rows."""

    user: Any = request.user

    def fetch(cursor: Cursor | None, limit: int) -> list[Any]:
        lookup, key = (None, None) if cursor is None else (cursor.lookup, cursor.key)
        return page(user, shown=shown, organization_key=organization_key, lookup=lookup, key=key, limit=limit)

    def count_rows(limit: int) -> int:
        return count(user, shown=shown, organization_key=organization_key, limit=limit)

    return paginator.paginate(get_notification_model(), request, fetch, count=count_rows)
