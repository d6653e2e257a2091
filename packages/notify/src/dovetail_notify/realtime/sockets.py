"""An open socket or stream: its queue of frames and its expiry."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import datetime

from django.utils import timezone

from dovetail_notify.conf import conf
from dovetail_notify.realtime.protocol import EXPIRED, EXPIRING_SECONDS, Refused, frame
from dovetail_notify.realtime.tickets import Admission

_RESYNC = frame("resync")


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
