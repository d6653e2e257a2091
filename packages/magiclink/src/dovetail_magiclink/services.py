"""Every rule that writes. Works with any ``AUTH_USER_MODEL``."""

from __future__ import annotations

from datetime import timedelta

from django.db import router
from django.utils import timezone

from dovetail_core.commands import Progress, delete_in_batches
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


def purge_magic_links(*, batch_size: int = 1000, progress: Progress | None = None) -> int:
    """Delete the links that expired ``MAGIC_LINK_RETENTION_HOURS`` ago, and return their number. Each batch commits.

    Not sooner: they hold the requests and wrong guesses that the limits of an address count.
    """
    model = get_magic_link_model()
    before = timezone.now() - timedelta(hours=conf.RETENTION_HOURS)
    links = model._base_manager.using(router.db_for_write(model))
    expired = links.filter(expires_at__lte=before).order_by("expires_at")
    return delete_in_batches(expired, batch_size=batch_size, progress=progress)
