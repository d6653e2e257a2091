"""Tickets that open one socket.

A browser's WebSocket sends no Authorization header, and what stands in a URL stands in logs; so a signed-in request
asks for a ticket, and the socket shows it as a subprotocol. It is random, good for seconds and for one use, and only
its keyed hash is stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import router
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
    using = router.db_for_write(Ticket)
    rows = Ticket.objects.using(using).filter(digest__in=list(keyed_hashes(_PURPOSE, ticket)))
    row = rows.select_related("user").first()
    # Of two that show it at once, the one whose DELETE finds the row.
    if row is None or not Ticket.objects.using(using).filter(pk=row.pk)._raw_delete(using):
        return None
    user: Any = row.user
    if row.origin and origin is not None and row.origin != _origin(origin):
        return None
    if row.expires_at < timezone.now() or not getattr(user, "is_active", True):
        return None
    return Admission(user, row.organization_key, row.session, row.credential_expires_at)


def _origin(value: str | None) -> str:
    return (value or "").lower()[:200]
