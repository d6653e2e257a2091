"""Reading an inbox."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from django.db.models import Q, QuerySet, Value

from dovetail_notify import get_notification_model
from dovetail_notify.conf import conf
from dovetail_notify.kept import Place, fetch

UNREAD_CAP: Final = 100


@dataclass(frozen=True, slots=True)
class Unread:
    """How many are unread; ``capped`` where there are more than ``UNREAD_CAP``, of which ``count`` then tells."""

    count: int
    capped: bool


@dataclass(frozen=True, slots=True)
class Shown:
    """Which of an inbox a list shows: of each of those that are not None."""

    archived: bool = False
    unread: bool | None = None
    type: Any = None
    types: tuple[Any, ...] | None = None

    def narrow(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        wanted = {"archived_at__isnull": not self.archived}
        if self.unread is not None:
            wanted["read_at__isnull"] = self.unread
        rows = rows.filter(**wanted)
        if self.type is not None:
            rows = rows.filter(type=self.type)
        return rows if self.types is None else rows.filter(type__in=self.types)


class _Whoever(Value):
    """A recipient's key that PostgreSQL plans for without knowing whose it is.

    Of one who has a good part of the table it would expect some of their rows anywhere, walk the primary key backwards
    and, where theirs are old, pass all newer ones by: 62 ms in place of 0.25 ms among 600 000.
    """

    def __init__(self, key: Any) -> None:
        recipient: Any = get_notification_model()._meta.get_field("recipient")
        super().__init__(key, output_field=recipient.target_field)

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        return compiler.compile(self.value) if isinstance(self.value, Place) else super().as_sql(compiler, connection)

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        sql, parameters = self.as_sql(compiler, connection)
        return f"(SELECT ({sql})::{self.output_field.rel_db_type(connection)})", parameters


def organization_keys(user: Any) -> list[str] | None:
    """The organizations whose notifications the user may see; None for all."""
    return None if conf.ORGANIZATIONS is None else [str(key) for key in conf.ORGANIZATIONS(user)]


def inbox(user: Any, *, organization_key: str | None = None, using: str | None = None) -> QuerySet[Any]:
    """The user's notifications: their own matters, and those of organizations that they are (still) of.

    With ``organization_key`` their own and those of that one. One query where ``NOTIFY_ORGANIZATIONS`` makes one.
    """
    return seen_by(user.pk, organization_keys(user), organization_key=organization_key, using=using)


def seen_by(
    key: Any, keys: Iterable[str] | None, *, organization_key: str | None = None, using: str | None = None
) -> QuerySet[Any]:
    """The inbox of whose ``key`` it is, where the organizations that they may see are known; asks nothing."""
    rows: QuerySet[Any] = get_notification_model()._default_manager.using(using).filter(recipient=_Whoever(key))
    condition = visible(keys, organization_key)
    return rows.filter(condition) if condition else rows


def page(
    user: Any,
    *,
    shown: Shown,
    limit: int,
    organization_key: str | None = None,
    lookup: str | None = None,
    key: Any = None,
) -> list[Any]:
    """At most ``limit`` of the user's notifications, newest first, by one query whose SQL is made once.

    With ``lookup`` those whose key is less (lt, lte) than ``key``, or greater (gt, gte): the latter oldest first.
    """
    constants = (shown.archived, shown.unread, lookup, limit)
    values = (*_whose(user, organization_key), ("type", shown.type), ("type", shown.types), ("pk", key))
    return fetch(get_notification_model(), _page, constants, values)


def _whose(user: Any, organization_key: str | None) -> tuple[tuple[str, Any], ...]:
    """The values of ``seen_by`` and what they are compared with."""
    keys = organization_keys(user)
    return (
        ("recipient", user.pk),
        ("organization_key", None if keys is None else tuple(keys)),
        ("organization_key", organization_key),
    )


def _page(
    archived: bool,  # positions, as they are kept by
    unread: bool | None,
    lookup: str | None,
    limit: int,
    recipient: Any,
    keys: Any,
    organization_key: Any,
    type_key: Any,
    types: Any,
    key: Any,
) -> QuerySet[Any]:
    rows = Shown(archived, unread, type_key, types).narrow(seen_by(recipient, keys, organization_key=organization_key))
    if lookup is not None:
        rows = rows.filter(**{f"pk__{lookup}": key})
    return rows.order_by("pk" if lookup in {"gt", "gte"} else "-pk")[:limit]


def visible(keys: Iterable[str] | None, organization_key: str | None) -> Q:
    condition = Q() if keys is None else Q(organization_key=None) | Q(organization_key__in=keys)
    return (
        condition
        if organization_key is None
        else condition & (Q(organization_key=None) | Q(organization_key=organization_key))
    )


def unread(rows: QuerySet[Any]) -> Unread:
    """Counted from the rows each time, over an index of unread ones only, and no further than the cap.

    A counter beside them would be a lock in every transaction that notifies, and drift with every bulk write.
    """
    return _capped(rows.filter(read_at=None).order_by()[: UNREAD_CAP + 1].count())


def unread_of(user: Any, *, organization_key: str | None = None, using: str | None = None) -> Unread:
    """``unread`` of ``inbox`` with the same arguments, by SQL that is made once: what a badge asks all day long."""
    found = fetch(get_notification_model(), _unread_keys, (), _whose(user, organization_key), using=using)
    return _capped(len(found))


def _unread_keys(recipient: Any, keys: Any, organization_key: Any) -> QuerySet[Any, Any]:
    # As many keys as are counted at most: the database reads them in either case.
    rows = seen_by(recipient, keys, organization_key=organization_key)
    return rows.filter(read_at=None).order_by().values_list("pk")[: UNREAD_CAP + 1]


def _capped(count: int) -> Unread:
    return Unread(min(count, UNREAD_CAP), count > UNREAD_CAP)
