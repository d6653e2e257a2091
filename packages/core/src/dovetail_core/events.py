"""Domain events: a Django signal and a structured log line for each change that other packages may react to.

An event is sent inside the transaction of the change. The rows that a receiver writes (an audit record, an inbox row)
are committed or rolled back with it, and an exception in a receiver makes the change fail. Schedule effects outside
the database (mail, sockets, queues) with ``transaction.on_commit(function, using=event.using, robust=True)``.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any

from django.db.models import Model
from django.dispatch import Signal
from django.utils import timezone

from dovetail_core import context

logger = logging.getLogger("dovetail.events")

#: Sent with ``sender=Event`` and ``event=Event(…)``. Receivers select events by ``event.name``.
domain_event = Signal()

_NAME = re.compile(r"[a-z_]+\.[a-z_]+")
# Events are logged and sent to every receiver, so they must not contain credentials.
_SECRET_NAMES = frozenset({"api_key", "code", "key", "password", "raw_key", "refresh", "access", "secret", "token"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """A change that happened. Names are in the past tense: ``organization.created``, ``api_key.revoked``."""

    name: str
    actor: Any = None
    organization_id: Any = None
    target: Any = None
    data: Mapping[str, Any] = field(default_factory=dict)
    using: str | None = None
    request_id: str | None = None
    occurred_at: datetime = field(default_factory=timezone.now)


def emit(
    name: str,
    *,
    actor: object = None,
    organization_id: object = None,
    target: object = None,
    data: Mapping[str, Any] | None = None,
    using: str | None = None,
) -> Event:
    """Send an event to all receivers and log it.

    ``name`` has the form ``subject.happened``. ``actor`` is a principal; it and ``organization_id`` default to those of
    the context. ``target`` is the changed object, ``data`` holds JSON-compatible values without secrets, and ``using``
    is the database alias of the change. Raises ``ValueError`` for a malformed name or a key of ``data`` that names a
    secret, and any exception of a receiver.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"An event name must have the form 'subject.happened' in lower case; got {name!r}.")
    if keys := _SECRET_NAMES.intersection(data or ()):
        raise ValueError(f"The data of {name} contains a secret ({', '.join(sorted(keys))}). Pass an id or a prefix.")
    event = Event(
        name=name,
        actor=context.principal() if actor is None else actor,
        organization_id=context.organization_id() if organization_id is None else organization_id,
        target=target,
        data=MappingProxyType(dict(data or {})),
        using=using,
        request_id=context.request_id(),
    )
    domain_event.send(sender=Event, event=event)
    # Logged after the receivers, because an exception in one of them cancels the change.
    logger.info(
        name,
        extra={
            "event": name,
            "actor_id": _key(event.actor),
            "organization_id": _key(event.organization_id),
            "target": f"{target._meta.label}:{target.pk}" if isinstance(target, Model) else _key(target),
            "data": dict(event.data),
        },
    )
    return event


def _key(value: object) -> str | None:
    return None if value is None else str(getattr(value, "pk", value))
