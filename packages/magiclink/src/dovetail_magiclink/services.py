"""Every rule that writes. Works with any ``AUTH_USER_MODEL``."""

from __future__ import annotations

from datetime import timedelta

from django.db import router
from django.utils import timezone

from dovetail_magiclink import get_magic_link_model
from dovetail_magiclink.conf import conf
from dovetail_magiclink.limits.requests import TooManyRequests
from dovetail_magiclink.sign_in.requests import MagicLinkRequest, request_magic_link, supersede
from dovetail_magiclink.sign_in.verification import SignIn, last_magic_sign_in, sign_in, verify

__all__ = [
    "MagicLinkRequest",
    "SignIn",
    "TooManyRequests",
    "last_magic_sign_in",
    "purge_magic_links",
    "request_magic_link",
    "sign_in",
    "supersede",
    "verify",
]


def purge_magic_links(*, batch: int = 1000) -> int:
    """Delete links ``MAGIC_LINK_RETENTION_HOURS`` after they expire, ``batch`` rows at a time, and return how many.

    Not sooner: they hold the requests and wrong guesses that the limits of an address count.
    """
    model = get_magic_link_model()
    rows = model._base_manager.using(router.db_for_write(model))
    expired = rows.filter(expires_at__lte=timezone.now() - timedelta(hours=conf.RETENTION_HOURS)).order_by("expires_at")
    deleted = 0
    while keys := list(expired.values_list("pk", flat=True)[:batch]):
        deleted += rows.filter(pk__in=keys).delete()[0]
    return deleted
