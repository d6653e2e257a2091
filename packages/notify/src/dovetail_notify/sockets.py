"""One open socket or stream, whatever carries it: what waits to be sent to it, and with what it ends."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import datetime

from django.utils import timezone

from dovetail_notify.conf import conf
from dovetail_notify.protocol import EXPIRED, EXPIRING_SECONDS, Refused, frame
from dovetail_notify.tickets import Admission

_RESYNC = frame("resync")


class Socket:
    """Frames are put in by the hub, which never waits, and taken out at the pace of whoever reads them.

    Of one that falls behind by more than ``NOTIFY_SOCKET_QUEUE`` frames they are dropped, and it is told to ``resync``:
    the memory that a slow reader costs is bounded, and others wait for nobody.
    """

    def __init__(self, admission: Admission, organizations: frozenset[str] | None) -> None:
        self.admission = admission
        self.user_key = str(admission.user.pk)
        self.organizations = organizations
        self.fingerprint = fingerprint(admission.user)
        self.closing: Refused | None = None
        #: Called once when the socket is to be closed, beside ``take``: whoever sends may be waiting for its peer.
        self.on_close: Callable[[], object] | None = None
        self._waiting: deque[str] = deque()
        self._limit = conf.SOCKET_QUEUE
        self._loop = asyncio.get_running_loop()
        self._wake: asyncio.Future[None] | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self.expire_at(admission.expires_at)

    def shows(self, organization: str | None) -> bool:
        if organization is None:
            return True
        bound = self.admission.organization_key
        return (bound is None or bound == organization) and (
            self.organizations is None or organization in self.organizations
        )

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
        """The next frame. Raises ``Refused`` once the socket is to be closed; what then still waited is not shown."""
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
        """A word ``EXPIRING_SECONDS`` before, and the end then."""
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
    """Changes with the password."""
    found = getattr(user, "get_session_auth_hash", None)
    return found() if found else ""


def _seconds_until(when: datetime | None) -> int | None:
    return None if when is None else max(0, int((when - timezone.now()).total_seconds()))
