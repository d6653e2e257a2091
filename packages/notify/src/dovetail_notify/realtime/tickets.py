"""Tickets, each of which opens one socket.

A browser's WebSocket cannot send an Authorization header, and URLs are logged. So a signed-in request asks for a
ticket, and the socket passes it as a subprotocol. A ticket is random, valid for seconds and for one use, and only its
keyed hash is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, Final

from django.db import DatabaseError, router, transaction
from django.utils import timezone

from dovetail_core.secrets import keyed_hash, keyed_hashes, random_token
from dovetail_notify.models import Ticket

TICKET_SECONDS: Final = 30

_PURPOSE = "dovetail_notify.ticket"


@dataclass(frozen=True, slots=True)
class Admission:
    """A socket's user and organization (None: all of the user's), and the session and time with which it ends."""

    user: Any
    organization_key: str | None
    session: str
    expires_at: datetime | None


def issue_ticket(
    *,
    user: Any,
    organization_key: str | None = None,
    session: str | None = None,
    expires_at: datetime | None = None,
    origin: str | None = None,
) -> str:
    """Return a new ticket, valid for ``TICKET_SECONDS``.

    The socket ends with ``session`` and at ``expires_at``. ``origin`` is the origin of the requesting page; pages of
    other origins then cannot use the ticket.
    """
    ticket = random_token()
    Ticket(
        digest=keyed_hash(_PURPOSE, ticket),
        user_id=user.pk,
        organization_key=organization_key,
        session=session or "",
        origin=_origin(origin),
        credential_expires_at=expires_at,
        expires_at=timezone.now() + timedelta(seconds=TICKET_SECONDS),
    ).save(using=router.db_for_write(Ticket), force_insert=True)
    return ticket


def redeem_ticket(ticket: str, *, origin: str | None = None) -> Admission | None:
    """Use a ticket. None if it is unknown, used or expired, its account inactive, or the page's origin different."""
    return redeem_tickets([(ticket, origin)])[0]


def redeem_tickets(tickets: Sequence[tuple[str, str | None]]) -> list[Admission | None]:
    """Use each of several tickets with the origin of its page, like ``redeem_ticket()``. Two queries in all."""
    using = router.db_for_write(Ticket)
    digests = [list(keyed_hashes(_PURPOSE, ticket)) for ticket, _ in tickets]
    rows = Ticket.objects.using(using).filter(digest__in=list(chain(*digests))).select_related("user")
    by_digest = {row.digest: row for row in rows}
    # Only the first of several equal tickets gets the row.
    matches = [
        next((by_digest.pop(digest) for digest in candidates if digest in by_digest), None) for candidates in digests
    ]
    deleted = _delete(sorted(row.pk for row in matches if row is not None), using)
    return [
        _admission(row, origin) if row is not None and row.pk in deleted else None
        for row, (_, origin) in zip(matches, tickets, strict=True)
    ]


def _delete(keys: list[Any], using: str) -> set[Any]:
    """Return the keys that this call has deleted. Of two processes with one ticket, only one deletes its row."""
    rows = Ticket.objects.using(using)
    if len(keys) > 1:
        # Also ends a deadlock of two processes with the same tickets in a different order.
        with suppress(DatabaseError), transaction.atomic(using=using):
            if rows.filter(pk__in=keys)._raw_delete(using) == len(keys):
                return set(keys)
            # Another process used one of the tickets at this moment, and a row count does not say which one. Delete one
            # by one then, so that a ticket that is used twice refuses no other socket.
            transaction.set_rollback(True, using=using)
    return {key for key in keys if rows.filter(pk=key)._raw_delete(using)}


def _admission(row: Ticket, origin: str | None) -> Admission | None:
    user: Any = row.user
    if row.origin and origin is not None and row.origin != _origin(origin):
        return None
    if row.expires_at < timezone.now() or not getattr(user, "is_active", True):
        return None
    return Admission(user, row.organization_key, row.session, row.credential_expires_at)


def _origin(value: str | None) -> str:
    return (value or "").lower()[:200]
