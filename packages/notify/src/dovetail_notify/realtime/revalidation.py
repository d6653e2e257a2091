"""Re-checking open sockets periodically, for changes that no message announced."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from django.contrib.auth import get_user_model

from dovetail_core.accounts import may_sign_in
from dovetail_notify.conf import conf
from dovetail_notify.inbox.reading import organization_keys
from dovetail_notify.realtime.database_thread import in_database_thread
from dovetail_notify.realtime.protocol import FORBIDDEN
from dovetail_notify.realtime.sockets import Socket, fingerprint

_CHUNK = 200


async def revalidate(sockets: Sequence[Socket]) -> None:
    """Close sockets that may not stay open, and update the organizations that the other ones show."""
    for start in range(0, len(sockets), _CHUNK):
        chunk = sockets[start : start + _CHUNK]
        accounts = await in_database_thread(_active_accounts, {socket.admission.user.pk for socket in chunk})
        sessions = {socket.admission.session for socket in chunk if socket.admission.session}
        ended = await in_database_thread(_ended_sessions, sessions)
        for socket in chunk:
            account, organization = accounts.get(socket.user_key), socket.admission.organization_key
            if account is None:
                socket.close(FORBIDDEN, "account_inactive")
            elif account.fingerprint != socket.fingerprint or socket.admission.session in ended:
                socket.close(FORBIDDEN, "session_revoked")
            elif organization and account.organizations is not None and organization not in account.organizations:
                socket.close(FORBIDDEN, "membership_removed")
            else:
                socket.organizations = account.organizations


class _Account(NamedTuple):
    fingerprint: str
    organizations: frozenset[str] | None


def _active_accounts(keys: Collection[object]) -> dict[str, _Account]:
    """Return active accounts by their keys as text. One query, and those of ``NOTIFY_ORGANIZATIONS``."""
    users = get_user_model()._default_manager.filter(pk__in=list(keys))
    return {str(user.pk): _Account(fingerprint(user), organization_keys(user)) for user in users if may_sign_in(user)}


def _ended_sessions(sessions: Collection[str]) -> set[str]:
    """Return the sessions that ``NOTIFY_ENDED_SESSIONS`` reports as ended."""
    if conf.ENDED_SESSIONS is None or not sessions:
        return set()
    return {str(session) for session in conf.ENDED_SESSIONS(list(sessions))}
