"""Asking for a mail that signs in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.validators import validate_email
from django.db import IntegrityError, OperationalError, router, transaction
from django.http import HttpRequest
from django.utils import timezone, translation

from dovetail_core.events import emit
from dovetail_magiclink import events, get_magic_link_model, limits
from dovetail_magiclink.accounts import address_key, normalize
from dovetail_magiclink.codes import draw
from dovetail_magiclink.conf import conf
from dovetail_magiclink.limits import TooManyRequests
from dovetail_magiclink.links import verify_page
from dovetail_magiclink.mail import Mail, schedule
from dovetail_magiclink.networks import wide_network

_DAY = timedelta(days=1)
# How MySQL and MariaDB end all but one of several transactions that insert the same key: here, for the same address.
_MYSQL_DEADLOCK = 1213


@dataclass(frozen=True)
class MagicLinkRequest:
    """``request_id`` names the link for :func:`verify`. ``debug_token`` is the code, in development only."""

    request_id: UUID
    debug_token: str | None = field(default=None, repr=False)


def request_magic_link(*, email: str, request: HttpRequest | None) -> MagicLinkRequest:
    """Mail a code and a link that sign in whoever reads ``email``. Emits ``magic_link.requested``.

    Nothing here depends on whether the address has an account; who it belongs to is asked after commit. What was mailed
    to it before works no more. Raises ``RuntimeError`` without a page to link to, ``ValidationError`` for what is no
    address, and ``TooManyRequests``; then nothing has changed.
    """
    verify_page()
    address = normalize(email)
    validate_email(address)
    limits.admit_request(request)
    limits.note_request()
    model = get_magic_link_model()
    using = router.db_for_write(model)
    try:
        with transaction.atomic(using=using):
            link = _replace(model, address, request, using)
            network = limits.network_of(request)
            emit(events.MAGIC_LINK_REQUESTED, target=link, data={"network": network}, using=using)
            secrets = draw(link, using) if settings.DEBUG and conf.DEBUG_ECHO_TOKEN is True else None
            schedule(Mail(link, translation.get_language(), secrets), using=using)
    except OperationalError as error:
        if error.args[:1] != (_MYSQL_DEADLOCK,):
            raise
        raise TooManyRequests(1) from error
    return MagicLinkRequest(link.pk, secrets.code if secrets else None)


def supersede(links: Any) -> int:
    """End pending links of a query, so that neither code nor link work, and tell how many."""
    return int(links.exclude(pending_key=None).update(pending_key=None, code_hash=None, key_hash=None))


def _replace(model: Any, address: str, request: HttpRequest | None, using: str) -> Any:
    """The address's new pending link, in the place of the one before."""
    key, now = address_key(address), timezone.now()
    rows = model._base_manager.using(using)
    # Written before anything is read: SQLite refuses a transaction that read first and was overtaken. It also stops
    # guesses at the former code, so that those which were counted are all there are.
    supersede(rows.filter(pending_key=key))
    earlier = list(
        rows.filter(address_key=key, created_at__gt=now - _DAY)
        .order_by("-created_at", "-pk")
        .values_list("created_at", "attempts", "used_at")
    )
    limits.admit_address([created_at for created_at, _, _ in earlier], now)
    link = model(
        email=address,
        address_key=key,
        pending_key=key,
        network=wide_network(request) or "",
        prior_failures=_failures(earlier),
        created_at=now,
        expires_at=now + timedelta(minutes=conf.EXPIRY_MINUTES),
    )
    try:
        with transaction.atomic(using=using):
            link.save(using=using, force_insert=True)
    except IntegrityError as error:
        # Another request for the address was a moment earlier, and its mail is on its way.
        raise TooManyRequests(1) from error
    return link


def _failures(earlier: Sequence[tuple[datetime, int, datetime | None]]) -> int:
    """Guesses at the codes of an address since one was used: a new code must not begin at none (NIST 800-63B 3.2.2)."""
    failures = 0
    for _, attempts, used_at in earlier:
        if used_at is not None:
            break
        failures += attempts
    return failures
