"""Request a mail that signs a person in, and end or delete such requests."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from itertools import takewhile
from uuid import UUID

from django.conf import settings
from django.core.validators import validate_email
from django.db import IntegrityError, OperationalError, router, transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone, translation

from dovetail_core.accounts import normalize_address
from dovetail_core.commands import Progress, delete_in_batches
from dovetail_core.events import emit
from dovetail_magiclink import events, get_magic_link_model
from dovetail_magiclink.accounts import address_key
from dovetail_magiclink.base import AbstractMagicLink
from dovetail_magiclink.conf import conf
from dovetail_magiclink.mail import Mail, schedule, verify_page
from dovetail_magiclink.secrets.codes import draw
from dovetail_magiclink.services import limits

# MySQL and MariaDB end all but one of several transactions that insert the same key with this error.
_MYSQL_DEADLOCK = 1213


@dataclass(frozen=True)
class MagicLinkRequest:
    """``request_id`` names the link for :func:`verify`. ``debug_token`` is the code, in development only."""

    request_id: UUID
    debug_token: str | None = field(default=None, repr=False)


def request_magic_link(*, email: str, request: HttpRequest | None) -> MagicLinkRequest:
    """Mail a code and a link that sign in the owner of ``email``. Emit ``magic_link.requested``.

    The result does not depend on whether the address has an account: the owner is looked up after commit. Earlier codes
    and links of the address stop working.

    Raise ``RuntimeError`` if ``MAGIC_LINK_VERIFY_URL`` is missing or invalid, ``ValidationError`` if ``email`` is not
    an address, and ``TooManyRequests`` if a limit is exceeded. In each case nothing has changed.
    """
    verify_page()
    address = normalize_address(email)
    validate_email(address)
    limits.check_client(request)
    limits.count_new_code()
    model = get_magic_link_model()
    using = router.db_for_write(model)
    try:
        with transaction.atomic(using=using):
            link = _replace_link(model, address, request, using)
            emit(events.MAGIC_LINK_REQUESTED, target=link, data={"network": limits.network_of(request)}, using=using)
            secrets = draw(link, using) if settings.DEBUG and conf.DEBUG_ECHO_TOKEN is True else None
            schedule(Mail(link, translation.get_language(), secrets), using=using)
    except OperationalError as error:
        if error.args[:1] != (_MYSQL_DEADLOCK,):
            raise
        raise limits.TooManyRequests(1) from error
    return MagicLinkRequest(link.pk, secrets.code if secrets else None)


def supersede(links: QuerySet[AbstractMagicLink]) -> int:
    """End the pending links of a queryset and their codes, and return their number."""
    return links.exclude(pending_key=None).update(pending_key=None, code_hash=None, key_hash=None)


def purge_magic_links(*, batch_size: int = 1000, progress: Progress | None = None) -> int:
    """Delete links ``MAGIC_LINK_RETENTION_HOURS`` after they expire, and return their number. Each batch commits.

    Until then, the limits of an address need their requests and wrong guesses.
    """
    model = get_magic_link_model()
    before = timezone.now() - timedelta(hours=conf.RETENTION_HOURS)
    links = model._base_manager.using(router.db_for_write(model))
    expired = links.filter(expires_at__lte=before).order_by("expires_at")
    return delete_in_batches(expired, batch_size=batch_size, progress=progress)


def _replace_link(
    model: type[AbstractMagicLink], address: str, request: HttpRequest | None, using: str
) -> AbstractMagicLink:
    key, now = address_key(address), timezone.now()
    links = model._base_manager.using(using)
    # Write before reading: SQLite rejects a write after a read if another transaction has written in between. This also
    # stops guesses at the previous code, so the count that is read next is final.
    supersede(links.filter(pending_key=key))
    earlier = list(
        links.filter(address_key=key, created_at__gt=now - timedelta(days=1))
        .order_by("-created_at", "-pk")
        .values_list("created_at", "attempts", "used_at")
    )
    limits.check_address([created_at for created_at, _, _ in earlier], now)
    # Guesses since the last sign-in: a new code must not reset the count (NIST SP 800-63B, 3.2.2).
    failures = sum(attempts for _, attempts, _ in takewhile(lambda row: row[2] is None, earlier))
    link = model(
        email=address,
        address_key=key,
        pending_key=key,
        network=limits.wide_network(request) or "",
        prior_failures=failures,
        created_at=now,
        expires_at=now + timedelta(minutes=conf.EXPIRY_MINUTES),
    )
    try:
        with transaction.atomic(using=using):
            link.save(using=using, force_insert=True)
    except IntegrityError as error:
        # A parallel request for the same address won, and its mail is on its way.
        raise limits.TooManyRequests(1) from error
    return link
