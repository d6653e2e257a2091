"""The rows of sessions of a user of any model.

Without simplejwt, which only processes that issue or verify tokens import: it takes 13 MB.
"""

from __future__ import annotations

from typing import TypedDict

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import router
from django.db.models import QuerySet
from django.utils import timezone

from dovetail_identity.models import Session


class Tokens(TypedDict):
    access: str
    refresh: str


def alias_of(user: AbstractBaseUser) -> str:
    return router.db_for_write(user.__class__, instance=user)


def sessions_of(user: AbstractBaseUser) -> QuerySet[Session]:
    return Session._base_manager.using(alias_of(user)).filter(user=user.pk)


def live_sessions(user: AbstractBaseUser) -> QuerySet[Session]:
    return sessions_of(user).filter(revoked_at=None, expires_at__gt=timezone.now())
