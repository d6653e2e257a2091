from __future__ import annotations

from typing import Any

from django.utils import timezone

from dovetail_tenancy.services import accounts


def create_user(*, email: str, invitation: Any) -> Any:
    """Create an invited person's account with a verified e-mail address: they have opened the mailed link."""
    user = accounts.create_user(email=email, invitation=invitation)
    user.email_verified_at = timezone.now()
    user.save(update_fields=["email_verified_at"])
    return user
