from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils import timezone

from dovetail_magiclink import accounts


def create_user(*, email: str, request: HttpRequest | None) -> Any:
    """Create an account with a verified e-mail address: the user has received a mail there."""
    user = accounts.create_user(email=email, request=request)
    user.email_verified_at = timezone.now()
    user.save(update_fields=["email_verified_at"])
    return user
