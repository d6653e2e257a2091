from __future__ import annotations

from typing import Any

from django.utils import timezone

from dovetail_tenancy.services import accounts


def create_user(*, email: str, invitation: Any) -> Any:
    """Create the account of an invited person, whose e-mail address is verified by the link."""
    user = accounts.create_user(email=email, invitation=invitation)
    user.email_verified_at = timezone.now()
    user.save(update_fields=["email_verified_at"])
    return user
