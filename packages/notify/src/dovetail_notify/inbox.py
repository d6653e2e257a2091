"""Reading an inbox."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from django.db.models import Q, QuerySet, Value

from dovetail_notify import get_notification_model
from dovetail_notify.conf import conf

UNREAD_CAP: Final = 100


@dataclass(frozen=True, slots=True)
class Unread:
    """How many are unread; ``capped`` where there are more than ``UNREAD_CAP``, of which ``count`` then tells."""

    count: int
    capped: bool


class _Whoever(Value):
    """A recipient's key that PostgreSQL plans for without knowing whose it is.

    Of one who has a good part of the table it would expect some of their rows anywhere, walk the primary key backwards
    and, where theirs are old, pass all newer ones by: 62 ms in place of 0.25 ms among 600 000.
    """

    def __init__(self, key: Any) -> None:
        recipient: Any = get_notification_model()._meta.get_field("recipient")
        super().__init__(key, output_field=recipient.target_field)

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        sql, parameters = super().as_sql(compiler, connection)
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
    count = rows.filter(read_at=None).order_by()[: UNREAD_CAP + 1].count()
    return Unread(min(count, UNREAD_CAP), count > UNREAD_CAP)
