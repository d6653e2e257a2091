"""What sockets are shown, read from the database: what is new, what was missed, how much is unread."""

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

from dovetail_notify import get_notification_model
from dovetail_notify.inbox import UNREAD_CAP, Unread, inbox, seen_by, unread, unread_of, visible
from dovetail_notify.protocol import frame
from dovetail_notify.tickets import Admission

#: Keys are not in the order of commits: a row of a transaction that took its time comes after later ones.
OVERLAP: Final = timedelta(seconds=60)
REPLAY: Final = 100

_CURSOR = re.compile(r"([0-9]{1,18})-([0-9]{1,13})", re.ASCII)
# More recipients than that are sorted out here rather than in a list of parameters.
_NAMED = 500


def cursor(key: int, at: datetime) -> str:
    return f"{key}-{int(at.timestamp() * 1000)}"


def parse_cursor(text: Any) -> tuple[int, datetime] | None:
    """Key and time; None for what no cursor of ours is."""
    found = _CURSOR.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    return int(found[1]), datetime.fromtimestamp(int(found[2]) / 1000, UTC)


@dataclass(frozen=True, slots=True)
class Opening:
    """Where a socket begins, or goes on."""

    cursor: str
    unread: int
    capped: bool


def opening(admission: Admission) -> Opening:
    return _opening(*_state(_rows_of(admission)), timezone.now())


def openings(asked: Sequence[tuple[Admission, frozenset[str] | None]]) -> list[Opening]:
    """Of each admission and the organizations that it tells of: one query for all that see the same ones."""
    now, using = timezone.now(), router.db_for_write(get_notification_model())
    seers: dict[tuple[frozenset[str] | None, str | None], set[Any]] = {}
    for admission, organizations in asked:
        seers.setdefault((organizations, admission.organization_key), set()).add(admission.user.pk)
    found: dict[tuple[Any, Any, Any], tuple[int | None, Unread]] = {}
    for (organizations, bound), keys in seers.items():
        if len(keys) == 1:  # two small queries are made sooner than the one for many
            (key,) = keys
            found[organizations, bound, key] = _state(seen_by(key, organizations, organization_key=bound, using=using))
            continue
        for key, last, beyond, count in _states(keys, visible(organizations, bound), using):
            found[organizations, bound, key] = (last, Unread(count or 0, beyond is not None))
    nothing = (None, Unread(0, capped=False))
    return [
        _opening(*found.get((organizations, admission.organization_key, admission.user.pk), nothing), now)
        for admission, organizations in asked
    ]


def _opening(last: int | None, count: Unread, now: datetime) -> Opening:
    return Opening(cursor(last or 0, now), count.count, count.capped)


def _state(rows: QuerySet[Any]) -> tuple[int | None, Unread]:
    last: int | None = rows.aggregate(last=Max("pk"))["last"]
    return last, unread(rows)


def _states(keys: Collection[Any], condition: Q, using: str) -> QuerySet[Any, tuple[Any, ...]]:
    """Of each user the key, that of the newest notification, that of the unread one at which the count stops, and how
    many unread ones are newer than it.

    The cap is a key and no LIMIT around what is counted: MariaDB lets no subquery with one look outside of itself.
    """
    rows = get_notification_model()._default_manager.using(using).filter(condition)
    last = rows.filter(recipient=OuterRef("pk")).order_by("-pk").values("pk")[:1]
    waiting = rows.filter(read_at=None).order_by()
    beyond = waiting.filter(recipient=OuterRef("pk")).order_by("-pk").values("pk")[UNREAD_CAP : UNREAD_CAP + 1]
    # One level further in.
    floor = waiting.filter(recipient=OuterRef(OuterRef("pk"))).order_by("-pk").values("pk")[UNREAD_CAP : UNREAD_CAP + 1]
    counted = waiting.filter(recipient=OuterRef("pk"), pk__gt=Coalesce(Subquery(floor), 0))
    users = get_user_model()._base_manager.using(using).filter(pk__in=keys).order_by()
    return users.values_list(
        "pk", Subquery(last), Subquery(beyond), Subquery(counted.values("recipient").values_list(Count("pk")))
    )


def missed(admission: Admission, since: tuple[int, datetime]) -> tuple[list[str] | None, Opening]:
    """The frames of everything after a cursor, oldest first, and where that ends; None of them for too many.

    What was written before the cursor within ``OVERLAP`` comes again: it may have been committed after it.
    """
    key, at = since
    # Read first: what is committed in between is then in what follows, or in the hint that the hub holds.
    end = opening(admission)
    rows = _rows_of(admission).filter(archived_at=None)
    newer = list(rows.filter(pk__gt=key).order_by("pk")[: REPLAY + 1])
    if len(newer) > REPLAY:
        return None, end
    late = list(rows.filter(pk__lte=key, created_at__gte=at - OVERLAP).order_by("-pk")[:REPLAY])
    return [notification_frame(row) for row in (*reversed(late), *newer)], end


def unread_frame(admission: Admission, **what: Any) -> str:
    count = unread_of(
        admission.user,
        organization_key=admission.organization_key,
        using=router.db_for_write(get_notification_model()),
    )
    return frame("state", **what, unread=count.count, capped=count.capped)


#: Whose key it is, of which organization it tells, and the frame. A plain tuple of texts: the collector forgets those,
#: where of objects as many as a fan-out has recipients it would go through all that a process with thousands of
#: sockets holds (0.4 seconds with 5 000, in which none of them is sent anything).
Addressed: TypeAlias = tuple[str, str | None, str]


def of_batches(
    batches: Collection[UUID], *, after: Any, recipients: Collection[Any] | None, using: str | None
) -> list[Addressed]:
    """The frames of batches whose keys are after ``after``; ``recipients`` are the keys of who listens here.

    Two queries. A batch says one thing to everybody, so that its text is made once.
    """
    rows = _all(using).filter(pk__gt=after, batch__in=batches, archived_at=None).order_by("pk")
    if recipients is not None and len(recipients) <= _NAMED:
        rows = rows.filter(recipient__in=recipients)
    # As the database writes it: a UUID of each row would be made and kept for nothing but to be told from others.
    found = list(rows.values_list("pk", "recipient_id", Cast("batch", CharField())))
    first: dict[str, int] = {}
    for key, _, batch in found:
        first.setdefault(batch, key)
    rows_by_key = _all(using).in_bulk(first.values())
    # Deleted between the two: nothing to show.
    texts = {batch: _Text(rows_by_key[key]) for batch, key in first.items() if key in rows_by_key}
    return [
        (str(recipient), texts[batch].organization, texts[batch].of(key))
        for key, recipient, batch in found
        if batch in texts
    ]


def last_key() -> int:
    return _all(None).aggregate(last=Max("pk"))["last"] or 0


def batches_after(key: int) -> list[UUID]:
    return list(_all(None).filter(pk__gt=key, archived_at=None).order_by().values_list("batch", flat=True).distinct())


def notification_frame(row: Any) -> str:
    return _Text(row).of(row.pk)


class _Text:
    """The frame of a batch's rows, whole but for what differs between them: the key, and the cursor that it makes."""

    def __init__(self, row: Any) -> None:
        from rest_framework.utils.encoders import JSONEncoder

        from dovetail_notify.api.serializers import NotificationSerializer

        data = dict(NotificationSerializer(row).data)
        data.pop("id")
        self.organization: str | None = row.organization_key
        self._at = int(row.created_at.timestamp() * 1000)
        self._rest = json.dumps(data, cls=JSONEncoder, ensure_ascii=False, separators=(",", ":"))[1:]

    def of(self, key: int) -> str:
        return f'{{"type":"notification","cursor":"{key}-{self._at}","data":{{"id":{key},{self._rest}}}'


def _rows_of(admission: Admission) -> QuerySet[Any]:
    return inbox(
        admission.user,
        organization_key=admission.organization_key,
        using=router.db_for_write(get_notification_model()),
    )


def _all(using: str | None) -> QuerySet[Any]:
    # Never a replica: the hint is faster than its copy.
    model = get_notification_model()
    return model._base_manager.using(using or router.db_for_write(model))
