"""How an invitation makes an account, unless ``TENANCY_INVITATION_CREATE_USER`` names another way."""

from __future__ import annotations

from typing import Any

from dovetail_tenancy.services.locks import email_field, user_model


def create_user(*, email: str, invitation: Any) -> Any:
    """An account of the address without a usable password, saved. The address is its user name as well.

    Raises ``ValidationError`` where the user model needs more than that.
    """
    model: Any = user_model()
    user = model(**{name: email for name in {model.USERNAME_FIELD, email_field()} if name})
    user.set_unusable_password()
    user.full_clean()
    user.save()
    return user
