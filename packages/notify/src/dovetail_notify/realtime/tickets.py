"""Tickets, each of which opens one socket.

A browser's WebSocket cannot send an Authorization header, and URLs are logged. Therefore a signed-in request gets a
ticket, and the socket sends it as a subprotocol. A ticket is random and valid once, for seconds. Only its keyed hash is
stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import chain
from typing import Final, NamedTuple

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import DatabaseError, router, transaction
from django.utils import timezone

from dovetail_core.accounts import may_sign_in
from dovetail_core.secrets import keyed_hash, keyed_hashes, random_token
from dovetail_notify.models import Ticket

TICKET_SECONDS: Final = 30

_PURPOSE = "dovetail_notify.ticket"


class Admission(NamedTuple):
    """A socket's user and organization (None: all of the user's), and the session and time at which it ends."""

    user: AbstractBaseUser
    organization_key: str | None
    session: str
    expires_at: datetime | None


def issue_ticket(
    *,
    user: AbstractBaseUser,
    organization_key: str | None = None,
    session: str | None = None,
    expires_at: datetime | None = None,
    origin: str | None = None,
) -> str:
    """Return a new ticket, valid for ``TICKET_SECONDS``.

    The socket ends with ``session`` and at ``expires_at``. With ``origin``, the ticket is only valid for pages of this
    origin.
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
    """Use a ticket. Return None if it is unknown, used or expired, for another origin, or of an inactive account."""
    return redeem_tickets([(ticket, origin)])[0]


def redeem_tickets(tickets: Sequence[tuple[str, str | None]]) -> list[Admission | None]:
    """Use several tickets, each with the origin of its page, like ``redeem_ticket()``. Two queries in all."""
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


def _delete(keys: list[int], using: str) -> set[int]:
    """Return the keys of the rows that this call has deleted. If two processes use a ticket, one of them deletes it."""
    rows = Ticket.objects.using(using)
    if len(keys) > 1:
        # suppress() also ends a deadlock of two processes with the same tickets in a different order.
        with suppress(DatabaseError), transaction.atomic(using=using):
            if rows.filter(pk__in=keys)._raw_delete(using) == len(keys):
                return set(keys)
            # Another process has just used one of the tickets, and a row count does not tell which one. Delete them one
            # by one, so that a ticket that is used twice does not refuse other sockets.
            transaction.set_rollback(True, using=using)
    return {key for key in keys if rows.filter(pk=key)._raw_delete(using)}


def _admission(row: Ticket, origin: str | None) -> Admission | None:
    if row.origin and origin is not None and row.origin != _origin(origin):
        return None
    if row.expires_at < timezone.now() or not may_sign_in(row.user):
        return None
    return Admission(row.user, row.organization_key, row.session, row.credential_expires_at)


def _origin(value: str | None) -> str:
    return (value or "").lower()[:200]
