"""What each type looks like on each channel, from its example. Nothing is stored or sent."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.utils import timezone

from dovetail_notify import get_notification_model, payloads
from dovetail_notify.models import Delivery
from dovetail_notify.preferences import channels_of
from dovetail_notify.transports import transport_for
from dovetail_notify.transports.email import EmailTransport
from dovetail_notify.types import IN_APP, NotificationType


@dataclass(frozen=True, slots=True)
class Preview:
    channel: str
    title: str
    text: str
    html: str = ""


def example_row(cls: type[NotificationType], user: Any) -> Any:
    """An unsaved notification of the type's example."""
    example = cls.from_example()
    rendered = example.render()
    return get_notification_model()(
        recipient=user,
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


def previews(cls: type[NotificationType], user: Any) -> Iterator[Preview]:
    """Raises what the type's ``render()`` or a template raises."""
    # Whoever looks may have no address, and without one there is no mail to see.
    reader = copy.copy(user)
    setattr(reader, getattr(user, "EMAIL_FIELD", "email"), "somebody@example.com")
    row = example_row(cls, reader)
    for channel in channels_of(cls):
        transport = None if channel == IN_APP else transport_for(channel)
        if isinstance(transport, EmailTransport):
            message = transport.compose(Delivery(notification=row, channel=channel))
            if message is not None:
                yield Preview(channel, str(message.subject), str(message.body), str(message.alternatives[0][0]))
        else:
            yield Preview(channel, row.title, row.body)
