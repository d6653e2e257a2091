"""The actions of ``users`` for any user model with ``is_active``."""

from __future__ import annotations

from typing import Any, Final

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import router, transaction

from dovetail_core.events import emit

USER_DEACTIVATED: Final = "user.deactivated"
USER_ACTIVATED: Final = "user.activated"


def deactivate_user(user: AbstractBaseUser, *, actor: object, reason: str = "") -> bool:
    """Refuse all further requests and sign-ins of a user. Return False if the user is inactive already."""
    return _set_active(user, False, USER_DEACTIVATED, actor, reason)


def activate_user(user: AbstractBaseUser, *, actor: object, reason: str = "") -> bool:
    """Let a user sign in again. Return False if the user is active already."""
    return _set_active(user, True, USER_ACTIVATED, actor, reason)


def _set_active(user: Any, is_active: bool, event: str, actor: object, reason: str) -> bool:
    using = router.db_for_write(type(user), instance=user)
    with transaction.atomic(using=using):
        # Compared in the database, so that of two parallel calls one changes the row and emits the event.
        rows = type(user)._base_manager.using(using).filter(pk=user.pk, is_active=not is_active)
        if not rows.update(is_active=is_active):
            return False
        user.is_active = is_active
        emit(event, actor=actor, target=user, data={"reason": reason}, using=using)
    return True
