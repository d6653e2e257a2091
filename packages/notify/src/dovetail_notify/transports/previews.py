"""Previews of a type's example on each channel, without storing or sending anything."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.utils import timezone

from dovetail_notify.base import get_notification_model
from dovetail_notify.models import Delivery
from dovetail_notify.transports import available_channels, transport_for
from dovetail_notify.transports.email import EmailTransport
from dovetail_notify.types import IN_APP, NotificationType, payloads

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser


@dataclass(frozen=True, slots=True)
class Preview:
    channel: str
    title: str
    text: str
    html: str = ""


def example_row(cls: type[NotificationType], user: AbstractBaseUser | AnonymousUser) -> Any:
    """Return an unsaved notification with the type's example."""
    example = cls.from_example()
    rendered = example.render()
    recipient: Any = user
    return get_notification_model()(
        recipient=recipient,
        type=cls.key,
        title=rendered.title,
        body=rendered.body,
        target_url=rendered.url,
        payload=payloads.encode(example),
        payload_version=cls.version,
        collapse_key=example.collapse_key() or "",
        batch=UUID(int=0),
        created_at=timezone.now(),
    )


def previews(cls: type[NotificationType], user: AbstractBaseUser | AnonymousUser) -> Iterator[Preview]:
    """Yield a preview for each channel. Raise any exception of the type's ``render()`` or of a template."""
    # The user may have no address, and without one no mail is composed.
    reader = copy.copy(user)
    setattr(reader, getattr(user, "EMAIL_FIELD", "email"), "somebody@example.com")
    row = example_row(cls, reader)
    for channel in available_channels(cls):
        transport = None if channel == IN_APP else transport_for(channel)
        if isinstance(transport, EmailTransport):
            message = transport.compose(Delivery(notification=row, channel=channel))
            if message is not None:
                yield Preview(channel, str(message.subject), str(message.body), str(message.alternatives[0][0]))
        else:
            yield Preview(channel, row.title, row.body)
