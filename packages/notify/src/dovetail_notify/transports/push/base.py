"""Push messages, and the base class of senders, one for each push service."""

from __future__ import annotations

import json
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

from django.core.checks import CheckMessage

from dovetail_core.secrets import keyed_hash
from dovetail_notify.conf import conf
from dovetail_notify.transports import Outcome
from dovetail_notify.transports.push.vapid import b64encode

if TYPE_CHECKING:
    from dovetail_notify.models import Device


def read_text(source: str | Path, start: str) -> str:
    """Return ``source`` if it begins with ``start``, else the text of the file that it names. Raise ``ValueError``."""
    text = str(source)
    try:
        return text if text.lstrip().startswith(start) else Path(source).read_text()
    except (OSError, ValueError) as error:
        raise ValueError(f"names a file that cannot be read ({type(error).__name__})") from None


class TokenCache:
    """A token of this server that all threads share until it expires.

    ``issue`` returns a new token and the seconds for which to use it.
    """

    def __init__(self, issue: Callable[[], tuple[str, float]], *, pause: float = 0) -> None:
        self._issue, self._pause = issue, pause
        self._lock = threading.Lock()
        self._token = ""
        self._expires_at = self._replaceable_at = 0.0

    def get(self, *, replace: str = "") -> str:
        """Return a token other than ``replace``, but do not replace a second one within ``pause`` seconds."""
        with self._lock:
            now = time.monotonic()
            if self._token and self._token == replace and now >= self._replaceable_at:
                self._token, self._replaceable_at = "", now + self._pause
            if not self._token or now >= self._expires_at:
                self._token, seconds = self._issue()
                self._expires_at = now + seconds
            return self._token


@dataclass(frozen=True, slots=True, kw_only=True)
class PushMessage:
    """The content of a push message. ``data`` has the strings ``id`` and ``type`` for the app."""

    #: Identifies the delivery on every attempt.
    key: UUID
    title: str
    body: str
    url: str
    collapse_key: str
    urgency: str
    #: The remaining seconds during which the message is worth showing.
    ttl: int
    data: Mapping[str, str] = field(default_factory=dict)

    @property
    def tag(self) -> str:
        """The tag under which a device shows one notification, so that a message that arrives twice is shown once."""
        return _topic(self.collapse_key or str(self.key))

    @property
    def topic(self) -> str:
        """The topic, of which a push service stores only the newest message. Empty without a collapse key."""
        return _topic(self.collapse_key) if self.collapse_key else ""

    @property
    def apns_priority(self) -> str:
        return {"very-low": "1", "low": "5"}.get(self.urgency, "10")

    def fitting(self, size: int, encode: Callable[[str, str, str], Any]) -> bytes:
        """Return ``encode(title, body, url)`` as JSON of at most ``size`` bytes. Drop the URL and shorten the body."""

        def encoded(body: str, url: str) -> bytes:
            return json.dumps(encode(self.title, body, url), ensure_ascii=False, separators=(",", ":")).encode()

        if len(whole := encoded(self.body, self.url)) <= size:
            return whole
        url = self.url if len(encoded("", self.url)) <= size else ""
        lengths = range(1, len(self.body) + 1)
        length = bisect_right(lengths, size, key=lambda end: len(encoded(f"{self.body[:end]}…", url)))
        return encoded(f"{self.body[:length]}…" if length else "", url)


def _topic(text: str) -> str:
    """Return 32 characters of URL-safe base64 (RFC 8030 5.4). Push services could guess the text of a plain hash."""
    return b64encode(bytes.fromhex(keyed_hash("dovetail_notify.topic", text)))[:32]


@dataclass(frozen=True, slots=True)
class Result:
    outcome: Outcome
    #: The reason to retire the device, or an empty string.
    retired: str = ""

    @classmethod
    def retry(cls, reason: str, after: int | None = None) -> Result:
        return cls(Outcome.retry(reason, after))

    @classmethod
    def gone(cls, reason: str) -> Result:
        return cls(Outcome.suppressed(reason), retired=reason)


class Sender:
    """Sends to the devices of one push service."""

    #: The kind of the devices, one of ``Device.Kind``.
    kind: ClassVar[str]
    #: The name, without its prefix, of the setting that enables the service.
    setting: ClassVar[str]

    @classmethod
    def is_configured(cls) -> bool:
        return bool(getattr(conf, cls.setting))

    @classmethod
    def check(cls) -> Iterable[CheckMessage]:
        """Return system check messages about the service's settings. Messages must not contain keys."""
        return ()

    def send(self, device: Device, message: PushMessage) -> Result:
        """Send to one device. Runs in any thread, without the database. After an exception it is retried."""
        raise NotImplementedError
