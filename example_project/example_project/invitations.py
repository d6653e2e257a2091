from __future__ import annotations

from typing import Any

from django.utils import timezone

from dovetail_tenancy.services import accounts


def create_user(*, email: str, invitation: Any) -> Any:
    """The account of somebody who followed an invitation, and so has proven the address."""
    user = accounts.create_user(email=email, invitation=invitation)
    user.email_verified_at = timezone.now()
    user.save(update_fields=["email_verified_at"])
    return user
