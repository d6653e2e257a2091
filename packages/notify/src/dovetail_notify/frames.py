"""What sockets and streams are told: JSON texts of the protocol ``notify.v1``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import QuerySet

from dovetail_notify import get_notification_model
from dovetail_notify.inbox import unread, visible

PROTOCOL: Final = "notify.v1"
REPLAY: Final = 100
#: Keys are given out before their transactions commit: one that was slow appears below a cursor that is there already.
OVERLAP: Final = timedelta(seconds=60)
_BATCH_OF_USERS: Final = 500


class Frame(NamedTuple):
    """A notification for a socket: its row's key, whose it is, of which organization, and the text."""

    pk: int
    user_key: str
    organization_key: str | None
    text: str


def encode(frame: dict[str, Any]) -> str:
    return json.dumps(frame, cls=DjangoJSONEncoder, separators=(",", ":"))


def rows_after(after: int, users: list[str], using: str) -> Iterator[Frame]:
    """Inbox rows with a greater key, of these users, the oldest first; two queries for 500 users."""
    rows = _inbox_rows(using)
    for start in range(0, len(users), _BATCH_OF_USERS):
        yield from _frames(rows.filter(pk__gt=after, recipient__in=users[start : start + _BATCH_OF_USERS]), using)


def replay(
    user: Any, cursor: int, keys: list[str] | None, organization_key: str | None, using: str
) -> list[str] | None:
    """What came after ``cursor``, and again what came shortly before it; None where that is more than ``REPLAY``."""
    rows = _inbox_rows(using).filter(visible(keys, organization_key), recipient=user.pk)
    last = rows.filter(pk=cursor).values_list("created_at", flat=True).first()
    parts = [rows.filter(pk__gt=cursor)]
    if last is not None:
        parts.append(rows.filter(pk__lt=cursor, created_at__gt=last - OVERLAP))
    found: list[int] = []
    for part in parts:
        keys_of_part = list(part.order_by("-pk").values_list("pk", flat=True)[: REPLAY + 1])
        if len(keys_of_part) > REPLAY:
            return None
        found += keys_of_part
    return [frame.text for frame in _frames(rows.filter(pk__in=found), using)]


def hello(user: Any, keys: list[str] | None, organization_key: str | None, using: str) -> dict[str, Any]:
    rows = (
        get_notification_model()._base_manager.using(using).filter(visible(keys, organization_key), recipient=user.pk)
    )
    count = unread(rows)
    cursor = rows.order_by("-pk").values_list("pk", flat=True).first()
    return {"type": "hello", "cursor": cursor or 0, "unread": count.count, "capped": count.capped}


def last_key(using: str) -> int:
    rows = get_notification_model()._base_manager.using(using).order_by("-pk")
    return rows.values_list("pk", flat=True).first() or 0


def _inbox_rows(using: str) -> QuerySet[Any]:
    return get_notification_model()._base_manager.using(using).filter(archived_at=None)


def _frames(rows: QuerySet[Any], using: str) -> Iterator[Frame]:
    found = list(rows.order_by("pk").values_list("pk", "recipient", "organization_key", "batch", "read_at", "seen_at"))
    # Rows of one batch differ in nothing that is shown but their keys and times of reading: one is loaded and encoded.
    first = {row[3]: row[0] for row in reversed(found)}
    loaded: QuerySet[Any] = get_notification_model()._base_manager.using(using).filter(pk__in=first.values())
    common: dict[UUID, str] = {row.batch: _common(row) for row in loaded}
    for pk, recipient, organization_key, batch, read_at, seen_at in found:
        if batch not in common:
            continue  # deleted between the two queries
        times = encode({"seen_at": seen_at, "read_at": read_at})[1:-1]
        text = f'{{"type":"notification","cursor":{pk},"data":{{"id":{pk},{times},{common[batch]}}}}}'
        yield Frame(pk, str(recipient), organization_key, text)


def _common(row: Any) -> str:
    shown = {
        "type": row.type,
        "title": row.title,
        "body": row.body,
        "message": row.message,
        "target_url": row.target_url,
        "payload": row.payload,
        "organization": row.organization_key,
        "actor": row.actor_key or None,
        "collapse_key": row.collapse_key,
        "created_at": row.created_at,
        "archived_at": None,
    }
    return encode(shown)[1:-1]
