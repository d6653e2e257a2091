"""An inbox for every user, kept in the database and delivered in real time and by e-mail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dovetail_notify.types import NotificationType, Rendered

if TYPE_CHECKING:
    from django.db.models import Model

    from dovetail_notify.fanout import Sent

__all__ = ["NotificationType", "Rendered", "get_notification_model", "notify"]


def get_notification_model() -> type[Model]:
    """The model that ``NOTIFY_NOTIFICATION_MODEL`` names. Models must be loaded."""
    from django.apps import apps

    from dovetail_core.fields import named_model

    return apps.get_model(named_model("NOTIFY_NOTIFICATION_MODEL"))


def notify(
    notification: NotificationType,
    *,
    to: Any,
    organization: Any = None,
    actor: Any = None,
    dedupe: str | None = None,
    using: str | None = None,
) -> Sent:
    """Put a notification into the inbox of everyone in ``to`` and into the outbox of their other channels.

    ``to`` is a user, a user's key, an iterable of either, or a queryset of users; inactive ones are left out.
    ``organization`` is an organization or its key, ``actor`` who did it, ``dedupe`` a key of at most 150 characters: a
    recipient who has a notification with it gets no second one. ``using`` is the database alias of the inbox.

    At most four statements however many recipients there are, in the caller's transaction: rolled back, nothing was
    said to anybody. Returns a ``Sent`` with ``batch``, ``created`` and ``skipped``. Raises ``TypeError`` or
    ``ValueError`` for arguments of another shape, and ``ForeignRecipient`` where a named recipient is not of the
    organization (``NOTIFY_MEMBERS``); then nothing was written.
    """
    from dovetail_notify import fanout

    return fanout.notify(notification, to=to, organization=organization, actor=actor, dedupe=dedupe, using=using)
