"""The owner of an address, for any user model (see ``dovetail_core.accounts``)."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.http import HttpRequest

from dovetail_core.accounts import (
    accounts_with,
    address_of,
    create_passwordless_account,
    email_field,
    may_sign_in,
    normalize_address,
    required_fields,
    same_address,
)

__all__ = ["Owner", "address_key", "address_of", "create_user", "missing_fields", "owner_of"]

logger = logging.getLogger("dovetail.magiclink")

# Enough to see whether exactly one of them may sign in, without reading a table that is full of one address.
_LIMIT: Final = 10


@dataclass(frozen=True)
class Owner:
    """``user`` is the only one who may sign in with an address; ``taken`` tells whether any account has it."""

    user: Any = None
    taken: bool = False


def address_key(address: str) -> str:
    return hashlib.sha256(normalize_address(address).encode()).hexdigest()


def owner_of(address: str) -> Owner:
    """The account with this address in any case, by one query. An address of several active users has no owner."""
    accounts = accounts_with(address, limit=_LIMIT)
    # Databases fold more than case: PostgreSQL takes a dotless ı for I, MariaDB é for e. To a mail server, and to the
    # limits of an address, these are different ones.
    active = [user for user in accounts if may_sign_in(user) and same_address(user, address)]
    if len(active) > 1:
        logger.warning("Treated as unknown: several rows of %s have the address.", get_user_model()._meta.label)
    return Owner(user=active[0] if len(active) == 1 else None, taken=bool(accounts))


def create_user(*, email: str, request: HttpRequest | None) -> Any:
    """An account of the address without a usable password, saved. The address is its user name as well.

    Raises ``ValidationError`` where the user model requires more fields.
    """
    return create_passwordless_account(email)


def missing_fields() -> list[str]:
    """The fields of the user model that :func:`create_user` has no value for but would need one."""
    model: Any = get_user_model()
    field = email_field()
    if field is None:
        return [getattr(model, "EMAIL_FIELD", "email")]
    return sorted(required_fields(model) - {model.USERNAME_FIELD, field.name, "password"})
