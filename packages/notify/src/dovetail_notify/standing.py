"""Whether those who are connected still may be: looked up by itself, for whenever nobody said that they may not."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model

from dovetail_notify.conf import conf
from dovetail_notify.inbox import organization_keys
from dovetail_notify.sockets import fingerprint


@dataclass(frozen=True, slots=True)
class Standing:
    fingerprint: str
    organizations: frozenset[str] | None


def standings(keys: Collection[Any]) -> dict[str, Standing]:
    """Of those accounts that are there and active, by their keys as texts. One query, and what the hook makes."""
    model: Any = get_user_model()
    found: dict[str, Standing] = {}
    for user in model._default_manager.filter(pk__in=list(keys)):
        if getattr(user, "is_active", True):
            named = organization_keys(user)
            found[str(user.pk)] = Standing(fingerprint(user), None if named is None else frozenset(named))
    return found


def ended_sessions(sessions: Collection[str]) -> set[str]:
    """Those that are over, by what ``NOTIFY_ENDED_SESSIONS`` knows."""
    if conf.ENDED_SESSIONS is None or not sessions:
        return set()
    return {str(each) for each in conf.ENDED_SESSIONS(list(sessions))}
