"""The request for a mail that signs a person in."""

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

from dovetail_core.accounts import normalize_address
from dovetail_core.events import emit
from dovetail_magiclink import events, get_magic_link_model
from dovetail_magiclink.accounts import address_key
from dovetail_magiclink.conf import conf
from dovetail_magiclink.limits.counters import network_of, wide_network
from dovetail_magiclink.limits.guesses import count_new_code
from dovetail_magiclink.limits.requests import TooManyRequests, check_address, check_client
from dovetail_magiclink.mail import Mail, schedule
from dovetail_magiclink.secrets.codes import draw
from dovetail_magiclink.secrets.links import verify_page

_DAY = timedelta(days=1)
# The error by which MySQL and MariaDB end all but one of several transactions that insert the same key, here of an
# address.
_MYSQL_DEADLOCK = 1213


@dataclass(frozen=True)
class MagicLinkRequest:
    """``request_id`` names the link for :func:`verify`. ``debug_token`` is the code, in development only."""

    request_id: UUID
    debug_token: str | None = field(default=None, repr=False)


def request_magic_link(*, email: str, request: HttpRequest | None) -> MagicLinkRequest:
    """Mail a code and a link that sign in the owner of ``email``. Emits ``magic_link.requested``.

    Nothing here depends on whether the address has an account: the owner is looked up after commit. Earlier codes and
    links of the address stop working. Raises ``RuntimeError`` without a page to link to, ``ValidationError`` for text
    that is not an address, and ``TooManyRequests``. Then nothing has changed.
    """
    verify_page()
    address = normalize_address(email)
    validate_email(address)
    check_client(request)
    count_new_code()
    model = get_magic_link_model()
    using = router.db_for_write(model)
    try:
        with transaction.atomic(using=using):
            link = _replace(model, address, request, using)
            emit(events.MAGIC_LINK_REQUESTED, target=link, data={"network": network_of(request)}, using=using)
            secrets = draw(link, using) if settings.DEBUG and conf.DEBUG_ECHO_TOKEN is True else None
            schedule(Mail(link, translation.get_language(), secrets), using=using)
    except OperationalError as error:
        if error.args[:1] != (_MYSQL_DEADLOCK,):
            raise
        raise TooManyRequests(1) from error
    return MagicLinkRequest(link.pk, secrets.code if secrets else None)


def supersede(links: Any) -> int:
    """End the pending links of a queryset, codes included, and return how many."""
    return int(links.exclude(pending_key=None).update(pending_key=None, code_hash=None, key_hash=None))


def _replace(model: Any, address: str, request: HttpRequest | None, using: str) -> Any:
    """Replace the pending link of the address, and return the new one."""
    key, now = address_key(address), timezone.now()
    rows = model._base_manager.using(using)
    # Written before anything is read: SQLite refuses a transaction that read first and was overtaken. It also stops
    # guesses at the former code, so the count that is read next is final.
    supersede(rows.filter(pending_key=key))
    earlier = list(
        rows.filter(address_key=key, created_at__gt=now - _DAY)
        .order_by("-created_at", "-pk")
        .values_list("created_at", "attempts", "used_at")
    )
    check_address([created_at for created_at, _, _ in earlier], now)
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
        # A parallel request for the address was first, and its mail is on its way.
        raise TooManyRequests(1) from error
    return link


def _failures(earlier: Sequence[tuple[datetime, int, datetime | None]]) -> int:
    """Guesses at the codes of an address since its last sign-in.

    A new code must not reset their count (NIST SP 800-63B, 3.2.2).
    """
    failures = 0
    for _, attempts, used_at in earlier:
        if used_at is not None:
            break
        failures += attempts
    return failures
