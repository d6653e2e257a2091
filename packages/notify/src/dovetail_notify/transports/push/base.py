"""What a push message contains, and what every push service implements."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final
from uuid import UUID

from django.core.checks import CheckMessage

from dovetail_core.secrets import keyed_hash
from dovetail_notify.conf import conf
from dovetail_notify.transports.base import Outcome
from dovetail_notify.transports.push.vapid import b64encode

if TYPE_CHECKING:
    from dovetail_notify.models import Device

_ELLIPSIS: Final = "…"


@dataclass(frozen=True, slots=True, kw_only=True)
class PushMessage:
    """The content of a push message. ``data`` is for the app: the texts ``id`` and ``type``."""

    #: The same on every attempt.
    key: UUID
    title: str
    body: str
    url: str
    collapse_key: str
    urgency: str
    #: The remaining seconds in which the message is worth showing.
    ttl: int
    data: Mapping[str, str] = field(default_factory=dict)

    @property
    def tag(self) -> str:
        """A device shows one notification per tag, so that a message that arrives twice is shown once."""
        return _topic(self.collapse_key or str(self.key))

    @property
    def topic(self) -> str:
        """A push service stores one waiting message per topic, and can read it. Empty without a collapse key."""
        return _topic(self.collapse_key) if self.collapse_key else ""

    @property
    def apns_priority(self) -> str:
        return {"very-low": "1", "low": "5"}.get(self.urgency, "10")

    def fitting(self, size: int, encode: Callable[[str, str, str], Any]) -> bytes:
        """Return ``encode(title, body, url)`` as JSON of at most ``size`` bytes: shorten the body, drop the URL."""

        def encoded(body: str, url: str) -> bytes:
            return json.dumps(encode(self.title, body, url), ensure_ascii=False, separators=(",", ":")).encode()

        if len(whole := encoded(self.body, self.url)) <= size:
            return whole
        url = self.url if len(encoded("", self.url)) <= size else ""
        least, most = 0, len(self.body)
        while least < most:
            middle = (least + most + 1) // 2
            if len(encoded(self.body[:middle] + _ELLIPSIS, url)) <= size:
                least = middle
            else:
                most = middle - 1
        return encoded(self.body[:least] + _ELLIPSIS if least else "", url)


def _topic(text: str) -> str:
    """Return 32 characters of URL-safe base64 (RFC 8030 5.4). A hash without a key could be reversed by guessing."""
    return b64encode(bytes.fromhex(keyed_hash("dovetail_notify.topic", text)))[:32]


@dataclass(frozen=True, slots=True)
class Result:
    """A push service's response for one device."""

    outcome: Outcome
    #: The reason to retire the device, if the service reports that it is gone.
    retired: str = ""

    @classmethod
    def gone(cls, reason: str) -> Result:
        return cls(Outcome.suppressed(reason), retired=reason)


class Sender:
    """Sends to the devices of one push service."""

    #: The kind of devices, one of ``Device.Kind``.
    kind: ClassVar[str]
    #: The setting, without its prefix, that configures the service.
    setting: ClassVar[str]

    @classmethod
    def is_configured(cls) -> bool:
        return bool(getattr(conf, cls.setting))

    @classmethod
    def check(cls) -> Iterable[CheckMessage]:
        """Return system check messages about the service's settings. No message shows a key."""
        return ()

    def send(self, device: Device, message: PushMessage) -> Result:
        """Send to one device. Runs in any thread, without the database. After an exception it is tried again."""
        raise NotImplementedError
