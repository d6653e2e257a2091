"""Find and create the account of an address, for any user model (see ``dovetail_core.accounts``)."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model
from django.http import HttpRequest

from dovetail_core.accounts import (
    accounts_with,
    address_fields,
    create_passwordless_account,
    email_field,
    may_sign_in,
    normalize_address,
    required_fields,
    same_address,
)

logger = logging.getLogger("dovetail.magiclink")


@dataclass(frozen=True)
class Owner:
    """``user`` is the only account that may sign in with an address, if any. ``taken``: whether any account has it."""

    user: Any = None
    taken: bool = False


def address_key(address: str) -> str:
    return hashlib.sha256(normalize_address(address).encode()).hexdigest()


def owner_of(address: str) -> Owner:
    """Find the owner of an address, ignoring case, in one query. An address of several active users has no owner."""
    # The limit keeps a table in which all accounts share one address from being loaded.
    accounts = accounts_with(address, limit=10)
    # Databases fold more than case: PostgreSQL treats a dotless ı as I, MariaDB é as e. Mail servers and the limits per
    # address distinguish them.
    active = [user for user in accounts if may_sign_in(user) and same_address(user, address)]
    if len(active) > 1:
        logger.warning("Treated as unknown: several rows of %s have the address.", get_user_model()._meta.label)
    return Owner(user=active[0] if len(active) == 1 else None, taken=bool(accounts))


def create_user(*, email: str, request: HttpRequest | None) -> Any:
    """Create and return a user without a usable password, whose user name is the address.

    Raise ``ValidationError`` if the user model requires more fields.
    """
    return create_passwordless_account(email)


def missing_fields() -> list[str]:
    model: Any = get_user_model()
    field = email_field()
    if field is None:
        return [getattr(model, "EMAIL_FIELD", "email")]
    provided = address_fields(model) | ({"password"} if hasattr(model, "set_unusable_password") else set())
    return sorted(required_fields(model) - provided)
