"""The content of frames, read from the database: new and missed notifications, and unread counts."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, TypeAlias
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import router
from django.db.models import CharField, Count, Max, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Cast, Coalesce
from django.utils import timezone

from dovetail_notify.base import AbstractNotification, get_notification_model
from dovetail_notify.inbox import reading
from dovetail_notify.inbox.reading import UNREAD_CAP, Unread
from dovetail_notify.realtime.protocol import encode, frame
from dovetail_notify.realtime.socket_authentication import Admission

#: Keys are not in the order of commits: a slow transaction commits its rows after rows with later keys.
OVERLAP: Final = timedelta(seconds=60)
REPLAY: Final = 100

_CURSOR = re.compile(r"([0-9]{1,18})-([0-9]{1,13})", re.ASCII)
# With more connected users than this, rows are filtered in Python instead of by a list of parameters.
_MAX_RECIPIENT_PARAMETERS = 500


def cursor(key: int, at: datetime) -> str:
    return f"{key}-{int(at.timestamp() * 1000)}"


def parse_cursor(text: object) -> tuple[int, datetime] | None:
    """Return the key and the time of a cursor, or None if it is invalid."""
    match = _CURSOR.fullmatch(text) if isinstance(text, str) else None
    return None if match is None else (int(match[1]), datetime.fromtimestamp(int(match[2]) / 1000, UTC))


class Opening(NamedTuple):
    """The cursor and unread count with which a socket starts or resumes. The fields are those of the frames."""

    cursor: str
    unread: int
    capped: bool


def openings(admissions: Sequence[tuple[Admission, frozenset[str] | None]]) -> list[Opening]:
    """Return the opening for each admission and its organizations.

    Admissions with the same organizations share one query.
    """
    now, using = timezone.now(), _primary()
    groups: dict[tuple[frozenset[str] | None, str | None], set[Any]] = {}
    for admission, organizations in admissions:
        groups.setdefault((organizations, admission.organization_key), set()).add(admission.user.pk)
    states: dict[tuple[Any, Any, Any], tuple[int | None, Unread]] = {}
    for (organizations, bound), keys in groups.items():
        if len(keys) == 1:  # two small queries are faster than the query for many users
            (key,) = keys
            rows = reading.inbox_of_key(key, organizations, organization_key=bound, using=using)
            states[organizations, bound, key] = rows.aggregate(last=Max("pk"))["last"], reading.unread(rows)
            continue
        for key, last, beyond_cap, count in _states(keys, reading.visible_organizations(organizations, bound), using):
            states[organizations, bound, key] = (last, Unread(count or 0, beyond_cap is not None))
    result = []
    for admission, organizations in admissions:
        state = states.get((organizations, admission.organization_key, admission.user.pk))
        last, unread = state or (None, Unread(0, capped=False))
        result.append(Opening(cursor(last or 0, now), *unread))
    return result


def opening(admission: Admission) -> Opening:
    return openings([(admission, reading.organization_keys(admission.user))])[0]


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


def missed(admission: Admission, since: tuple[int, datetime]) -> list[str]:
    """Return the frames after a cursor, oldest first, and ``resumed``; ``resync`` alone if there are too many frames.

    Rows written within ``OVERLAP`` before the cursor are repeated: they may have been committed after it.
    """
    key, at = since
    # Read first: rows that are committed in between are then in the queries below or in a message to the hub.
    end = opening(admission)._asdict()
    rows = reading.inbox(admission.user, organization_key=admission.organization_key, using=_primary())
    rows = rows.filter(archived_at=None)
    newer = list(rows.filter(pk__gt=key).order_by("pk")[: REPLAY + 1])
    if len(newer) > REPLAY:
        return [frame("resync", **end)]
    late = list(rows.filter(pk__lte=key, created_at__gte=at - OVERLAP).order_by("-pk")[:REPLAY])
    frames = [FrameTemplate(row).frame(row.pk) for row in (*reversed(late), *newer)]
    return [*frames, frame("resumed", **end, replayed=len(frames))]


def state_frame(admission: Admission, **changes: object) -> str:
    unread = reading.unread_of(admission.user, organization_key=admission.organization_key, using=_primary())
    return frame("state", **changes, **unread._asdict())


#: The recipient's key, the organization and the frame. A tuple of strings, which Python's garbage collector does not
#: track. As many tracked objects as a fan-out has recipients would trigger a full collection: 0.4 seconds in a process
#: with 5 000 sockets, during which none of them gets a frame.
Addressed: TypeAlias = tuple[str, str | None, str]


def frames_of_batches(
    batches: Collection[UUID], *, after: int, recipients: Collection[object] | None, using: str | None
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
    templates = {batch: FrameTemplate(rows_by_key[key]) for batch, key in first.items() if key in rows_by_key}
    return [
        (str(recipient), templates[batch].organization, templates[batch].frame(key))
        for key, recipient, batch in keys
        if batch in templates
    ]


def last_key() -> int:
    return _all(None).aggregate(last=Max("pk"))["last"] or 0


def batches_after(key: int) -> list[UUID]:
    return list(_all(None).filter(pk__gt=key, archived_at=None).order_by().values_list("batch", flat=True).distinct())


class FrameTemplate:
    """The frame of a batch's rows, which differ only in the key and in the cursor that contains it."""

    def __init__(self, row: AbstractNotification) -> None:
        data = reading.represent(row, reading.timestamp_format())
        del data["id"]
        self.organization = row.organization_key
        self._milliseconds = int(row.created_at.timestamp() * 1000)
        self._rest = encode(data)[1:]

    def frame(self, key: int) -> str:
        return f'{{"type":"notification","cursor":"{key}-{self._milliseconds}","data":{{"id":{key},{self._rest}}}'


def _primary() -> str:
    # Never a replica: a message can arrive before the row is replicated.
    return router.db_for_write(get_notification_model())


def _all(using: str | None) -> QuerySet[Any]:
    return get_notification_model()._base_manager.using(using or _primary())
