from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils import timezone

from dovetail_magiclink import accounts


def create_user(*, email: str, request: HttpRequest | None) -> Any:
    """The account of somebody who has read a mail to the address, and so has proven it."""
    user = accounts.create_user(email=email, request=request)
    user.email_verified_at = timezone.now()
    user.save(update_fields=["email_verified_at"])
    return user
