"""Reading an inbox."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from django.db.models import Q, QuerySet

from dovetail_notify import get_notification_model
from dovetail_notify.conf import conf

UNREAD_CAP: Final = 100


@dataclass(frozen=True, slots=True)
class Unread:
    """How many are unread; ``capped`` where there are more than ``UNREAD_CAP``, of which ``count`` then tells."""

    count: int
    capped: bool


def organization_keys(user: Any) -> list[str] | None:
    """The organizations whose notifications the user may see; None for all."""
    return None if conf.ORGANIZATIONS is None else [str(key) for key in conf.ORGANIZATIONS(user)]


def inbox(user: Any, *, organization_key: str | None = None, using: str | None = None) -> QuerySet[Any]:
    """The user's notifications: their own matters, and those of organizations that they are (still) of.

    With ``organization_key`` their own and those of that one. One query where ``NOTIFY_ORGANIZATIONS`` makes one.
    """
    rows: QuerySet[Any] = get_notification_model()._default_manager.using(using).filter(recipient=user.pk)
    return rows.filter(visible(organization_keys(user), organization_key))


def visible(keys: list[str] | None, organization_key: str | None) -> Q:
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
