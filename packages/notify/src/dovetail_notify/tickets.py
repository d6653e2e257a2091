"""Tickets that open one socket.

A browser's WebSocket sends no Authorization header, and what stands in a URL stands in logs; so a signed-in request
asks for a ticket, and the socket shows it as a subprotocol. It is random, good for seconds and for one use, and only
its keyed hash is stored.
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
    """Whose socket it is, for which organization (None: all of the user's), and with what it ends."""

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
    """A ticket, good for ``TICKET_SECONDS``. ``session`` and ``expires_at`` end the socket that it opens.

    ``origin`` is that of the page that asks; then no page of another one can use it.
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
    """What the ticket admits to, once; None for one that is unknown, used or late, of an inactive account, or shown by
    a page of another origin than the one that asked for it."""
    return redeem_tickets([(ticket, origin)])[0]


def redeem_tickets(shown: Sequence[tuple[str, str | None]]) -> list[Admission | None]:
    """As ``redeem_ticket``, for each ticket and the origin that shows it. Two queries for any number."""
    using = router.db_for_write(Ticket)
    digests = [list(keyed_hashes(_PURPOSE, ticket)) for ticket, _ in shown]
    rows = Ticket.objects.using(using).filter(digest__in=list(chain(*digests))).select_related("user")
    found = {row.digest: row for row in rows}
    # Each row for the first that shows it: the same ticket may be among them twice.
    mine = [next((found.pop(each) for each in candidates if each in found), None) for candidates in digests]
    taken = _taken(sorted(row.pk for row in mine if row is not None), using)
    return [
        _admission(row, origin) if row is not None and row.pk in taken else None
        for row, (_, origin) in zip(mine, shown, strict=True)
    ]


def _taken(keys: list[Any], using: str) -> set[Any]:
    """Those of ``keys`` that this call has deleted: of two that show one at once, the one whose DELETE finds it."""
    rows = Ticket.objects.using(using)
    if len(keys) > 1:
        # A deadlock of two that show the same ones in another order ends here as well.
        with suppress(DatabaseError), transaction.atomic(using=using):
            if rows.filter(pk__in=keys)._raw_delete(using) == len(keys):
                return set(keys)
            # Another process was shown one of them at this moment, and a number does not say which: one by one then,
            # so that whoever shows a ticket twice turns nobody else away.
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
