"""Open sockets and streams: their queues of frames, their expiry, and checks that they still have access."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from django.contrib.auth import get_user_model
from django.utils import timezone

from dovetail_core.accounts import may_sign_in
from dovetail_notify.conf import conf
from dovetail_notify.inbox.reading import organization_keys
from dovetail_notify.realtime.database_thread import in_database_thread
from dovetail_notify.realtime.protocol import EXPIRED, EXPIRING_SECONDS, FORBIDDEN, Refused, frame
from dovetail_notify.realtime.socket_authentication import Admission

_RESYNC = frame("resync")
_CHUNK = 200


class Socket:
    """A queue of frames. The hub adds frames without waiting, and the consumer takes them at the client's pace.

    If more than ``NOTIFY_SOCKET_QUEUE`` frames wait, ``resync`` replaces them. A slow client therefore uses a limited
    amount of memory and does not delay other clients.
    """

    def __init__(self, admission: Admission, organizations: frozenset[str] | None) -> None:
        self.admission = admission
        self.user_key = str(admission.user.pk)
        self.organizations = organizations
        self.fingerprint = fingerprint(admission.user)
        self.closing: Refused | None = None
        #: Called once when the socket closes. The task that calls ``take()`` may then be waiting for the client.
        self.on_close: Callable[[], object] | None = None
        self._waiting: deque[str] = deque()
        self._limit = conf.SOCKET_QUEUE
        self._loop = asyncio.get_running_loop()
        self._wake: asyncio.Future[None] | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self.expire_at(admission.expires_at)

    def shows(self, organization: str | None) -> bool:
        """Return whether the socket shows notifications of the organization; None stands for personal ones."""
        if organization is None:
            return True
        if self.admission.organization_key not in (None, organization):
            return False
        return self.organizations is None or organization in self.organizations

    @property
    def expires_in(self) -> int | None:
        return _seconds_until(self.admission.expires_at)

    def put(self, text: str) -> None:
        if self.closing is not None:
            return
        if len(self._waiting) >= self._limit:
            self._waiting.clear()
            text = _RESYNC
        self._waiting.append(text)
        self._wake_up()

    def put_once(self, text: str) -> None:
        """Add a frame, unless an equal one is waiting."""
        if text not in self._waiting:
            self.put(text)

    @property
    def idle(self) -> bool:
        return not self._waiting

    async def take(self) -> str:
        """Return the next frame. Raise ``Refused`` when the socket closes; frames in the queue are dropped."""
        while True:
            if self.closing is not None:
                raise self.closing
            if self._waiting:
                return self._waiting.popleft()
            self._wake = self._loop.create_future()
            await self._wake

    def close(self, code: int, reason: str) -> None:
        if self.closing is None:
            self.closing = Refused(code, reason)
            self._waiting.clear()
            self.release()
            self._wake_up()
            if self.on_close is not None:
                self.on_close()

    def release(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers = []

    def expire_at(self, when: datetime | None) -> None:
        """Close the socket at this time, and announce it ``EXPIRING_SECONDS`` earlier."""
        self.release()
        seconds = _seconds_until(when)
        if seconds is None or self.closing is not None:
            return
        self._timers = [self._loop.call_later(seconds, self.close, EXPIRED, "expired")]
        if seconds > EXPIRING_SECONDS:
            text = frame("expiring", expires_in=EXPIRING_SECONDS)
            self._timers.append(self._loop.call_later(seconds - EXPIRING_SECONDS, self.put, text))

    def _wake_up(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)


def fingerprint(user: object) -> str:
    """Return a hash that changes with the user's password."""
    session_auth_hash = getattr(user, "get_session_auth_hash", None)
    return session_auth_hash() if session_auth_hash else ""


def _seconds_until(when: datetime | None) -> int | None:
    return None if when is None else max(0, int((when - timezone.now()).total_seconds()))


async def revalidate(sockets: Sequence[Socket]) -> None:
    """Close sockets that may not stay open, and update the organizations that the other ones show.

    Called periodically, for changes that no message announced.
    """
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
    if conf.ENDED_SESSIONS is None or not sessions:
        return set()
    return {str(session) for session in conf.ENDED_SESSIONS(list(sessions))}
