"""Domain events: one Django signal and one structured log line for every change that another package may care about.

An event is sent inside the transaction that makes the change, so that what a receiver writes (an audit record, an
inbox row) commits or rolls back with it; a receiver that raises fails the change. A receiver whose effect leaves the
database (mail, socket, queue) schedules it with ``transaction.on_commit(function, using=event.using, robust=True)``.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any

from django.dispatch import Signal
from django.utils import timezone

from dovetail_core import context

logger = logging.getLogger("dovetail.events")

#: Sent with ``sender=Event`` and ``event=Event(…)``. Receivers tell events apart by ``event.name``.
domain_event = Signal()

_NAME = re.compile(r"[a-z_]+\.[a-z_]+")
# An event goes to the log and to whoever listens: what opens a door must not be on it.
_SECRET_NAMES = frozenset({"api_key", "code", "key", "password", "raw_key", "refresh", "access", "secret", "token"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Something that happened, in the past tense: ``organization.created``, ``api_key.revoked``."""

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
    actor: Any = None,
    organization_id: Any = None,
    target: Any = None,
    data: Mapping[str, Any] | None = None,
    using: str | None = None,
) -> Event:
    """Send an event to all receivers and log it.

    ``name`` is ``subject.happened``; ``actor`` the principal (default: the context's), ``target`` the object it
    happened to, ``data`` plain JSON-compatible values without secrets, ``using`` the database alias of the change.
    Raises ``ValueError`` for a malformed name or a secret in ``data``, and whatever a receiver raises.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"An event's name reads 'subject.happened' in lower case; got {name!r}.")
    if secret := _SECRET_NAMES.intersection(data or ()):
        raise ValueError(f"The data of {name} names a secret ({', '.join(sorted(secret))}). Pass an id or a prefix.")
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
    # After the receivers: a change that one of them refused did not happen.
    logger.info(
        name,
        extra={
            "event": name,
            "actor_id": _key(event.actor),
            "organization_id": _key(event.organization_id),
            "target": f"{target._meta.label}:{target.pk}" if hasattr(target, "_meta") else _key(target),
            "data": dict(event.data),
        },
    )
    return event


def _key(value: Any) -> str | None:
    return None if value is None else str(getattr(value, "pk", value))
