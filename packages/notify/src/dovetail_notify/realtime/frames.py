"""The content of frames, read from the database: new and missed notifications, and unread counts."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import router
from django.db.models import CharField, Count, Max, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Cast, Coalesce
from django.utils import timezone

from dovetail_notify.base import get_notification_model
from dovetail_notify.inbox.reading import (
    UNREAD_CAP,
    Unread,
    inbox,
    inbox_of_key,
    unread,
    unread_of,
    visible_organizations,
)
from dovetail_notify.inbox.representation import represent, timestamp_format
from dovetail_notify.realtime.protocol import frame
from dovetail_notify.realtime.tickets import Admission

#: Keys are not in the order of commits: a slow transaction commits its rows after rows with later keys.
OVERLAP: Final = timedelta(seconds=60)
REPLAY: Final = 100

_CURSOR = re.compile(r"([0-9]{1,18})-([0-9]{1,13})", re.ASCII)
# With more connected users than this, rows are filtered in Python instead of by a list of parameters.
_MAX_RECIPIENT_PARAMETERS = 500


def cursor(key: int, at: datetime) -> str:
    return f"{key}-{int(at.timestamp() * 1000)}"


def parse_cursor(text: Any) -> tuple[int, datetime] | None:
    """Return the key and the time of a cursor, or None if it is not one."""
    match = _CURSOR.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    return int(match[1]), datetime.fromtimestamp(int(match[2]) / 1000, UTC)


@dataclass(frozen=True, slots=True)
class Opening:
    """The cursor and unread count with which a socket starts or resumes."""

    cursor: str
    unread: int
    capped: bool


def opening(admission: Admission) -> Opening:
    return _opening(*_state(_visible_rows(admission)), timezone.now())


def openings(admissions: Sequence[tuple[Admission, frozenset[str] | None]]) -> list[Opening]:
    """Return the opening for each admission and its organizations; one query for all with the same organizations."""
    now, using = timezone.now(), router.db_for_write(get_notification_model())
    groups: dict[tuple[frozenset[str] | None, str | None], set[Any]] = {}
    for admission, organizations in admissions:
        groups.setdefault((organizations, admission.organization_key), set()).add(admission.user.pk)
    states: dict[tuple[Any, Any, Any], tuple[int | None, Unread]] = {}
    for (organizations, bound), keys in groups.items():
        if len(keys) == 1:  # two small queries are faster than the query for many users
            (key,) = keys
            rows = inbox_of_key(key, organizations, organization_key=bound, using=using)
            states[organizations, bound, key] = _state(rows)
            continue
        for key, last, beyond_cap, count in _states(keys, visible_organizations(organizations, bound), using):
            states[organizations, bound, key] = (last, Unread(count or 0, beyond_cap is not None))
    empty = (None, Unread(0, capped=False))
    return [
        _opening(*states.get((organizations, admission.organization_key, admission.user.pk), empty), now)
        for admission, organizations in admissions
    ]


def _opening(last: int | None, count: Unread, now: datetime) -> Opening:
    return Opening(cursor(last or 0, now), count.count, count.capped)


def _state(rows: QuerySet[Any]) -> tuple[int | None, Unread]:
    last: int | None = rows.aggregate(last=Max("pk"))["last"]
    return last, unread(rows)


def _states(keys: Collection[Any], condition: Q, using: str) -> QuerySet[Any, tuple[Any, ...]]:
    """Return for each user: the key, the newest notification's key, the key of the first unread row beyond the cap, and
    the number of unread rows newer than that.

    The cap is a key instead of a LIMIT, because on MariaDB a subquery with LIMIT cannot refer to the outer query.
    """
    rows = get_notification_model()._default_manager.using(using).filter(condition)
    last = rows.filter(recipient=OuterRef("pk")).order_by("-pk").values("pk")[:1]
    unread_rows = rows.filter(read_at=None).order_by()
    beyond_cap = unread_rows.filter(recipient=OuterRef("pk")).order_by("-pk").values("pk")[UNREAD_CAP : UNREAD_CAP + 1]
    # This subquery is nested one level deeper.
    floor = (
        unread_rows.filter(recipient=OuterRef(OuterRef("pk"))).order_by("-pk").values("pk")[UNREAD_CAP : UNREAD_CAP + 1]
    )
    counted = unread_rows.filter(recipient=OuterRef("pk"), pk__gt=Coalesce(Subquery(floor), 0))
    users = get_user_model()._base_manager.using(using).filter(pk__in=keys).order_by()
    return users.values_list(
        "pk", Subquery(last), Subquery(beyond_cap), Subquery(counted.values("recipient").values_list(Count("pk")))
    )


def missed(admission: Admission, since: tuple[int, datetime]) -> tuple[list[str] | None, Opening]:
    """Return the frames after a cursor, oldest first, and the new opening; None instead of too many frames.

    Rows written within ``OVERLAP`` before the cursor are repeated: they may have been committed after it.
    """
    key, at = since
    # Read first: rows that are committed in between are then in the queries below or in a message to the hub.
    end = opening(admission)
    rows = _visible_rows(admission).filter(archived_at=None)
    newer = list(rows.filter(pk__gt=key).order_by("pk")[: REPLAY + 1])
    if len(newer) > REPLAY:
        return None, end
    late = list(rows.filter(pk__lte=key, created_at__gte=at - OVERLAP).order_by("-pk")[:REPLAY])
    return [notification_frame(row) for row in (*reversed(late), *newer)], end


def state_frame(admission: Admission, **changes: Any) -> str:
    count = unread_of(
        admission.user,
        organization_key=admission.organization_key,
        using=router.db_for_write(get_notification_model()),
    )
    return frame("state", **changes, unread=count.count, capped=count.capped)


#: The recipient's key, the organization and the frame. A tuple of strings, which Python's garbage collector does not
#: track. As many tracked objects as a fan-out has recipients would trigger a full collection: 0.4 seconds in a process
#: with 5 000 sockets, during which none of them gets a frame.
Addressed: TypeAlias = tuple[str, str | None, str]


def frames_of_batches(
    batches: Collection[UUID], *, after: Any, recipients: Collection[Any] | None, using: str | None
) -> list[Addressed]:
    """Return the frames of batches with keys after ``after``, for the connected users in ``recipients``.

    Two queries. All rows of a batch have the same content, which is encoded once.
    """
    rows = _all(using).filter(pk__gt=after, batch__in=batches, archived_at=None).order_by("pk")
    if recipients is not None and len(recipients) <= _MAX_RECIPIENT_PARAMETERS:
        rows = rows.filter(recipient__in=recipients)
    # As text: a UUID object for each row would only be compared.
    keys = list(rows.values_list("pk", "recipient_id", Cast("batch", CharField())))
    first: dict[str, int] = {}
    for key, _, batch in keys:
        first.setdefault(batch, key)
    rows_by_key = _all(using).in_bulk(first.values())
    # A row may have been deleted between the two queries.
    templates = {batch: _FrameTemplate(rows_by_key[key]) for batch, key in first.items() if key in rows_by_key}
    return [
        (str(recipient), templates[batch].organization, templates[batch].frame(key))
        for key, recipient, batch in keys
        if batch in templates
    ]


def last_key() -> int:
    return _all(None).aggregate(last=Max("pk"))["last"] or 0


def batches_after(key: int) -> list[UUID]:
    return list(_all(None).filter(pk__gt=key, archived_at=None).order_by().values_list("batch", flat=True).distinct())


def notification_frame(row: Any) -> str:
    return _FrameTemplate(row).frame(row.pk)


class _FrameTemplate:
    """The frame of a batch's rows, which differ only in the key and in the cursor that contains it."""

    def __init__(self, row: Any) -> None:
        from rest_framework.utils.encoders import JSONEncoder

        data = represent(row, timestamp_format())
        del data["id"]
        self.organization: str | None = row.organization_key
        self._milliseconds = int(row.created_at.timestamp() * 1000)
        self._rest = json.dumps(data, cls=JSONEncoder, ensure_ascii=False, separators=(",", ":"))[1:]

    def frame(self, key: int) -> str:
        return f'{{"type":"notification","cursor":"{key}-{self._milliseconds}","data":{{"id":{key},{self._rest}}}'


def _visible_rows(admission: Admission) -> QuerySet[Any]:
    return inbox(
        admission.user,
        organization_key=admission.organization_key,
        using=router.db_for_write(get_notification_model()),
    )


def _all(using: str | None) -> QuerySet[Any]:
    # Never a replica: a message can arrive before the row is replicated.
    model = get_notification_model()
    return model._base_manager.using(using or router.db_for_write(model))
