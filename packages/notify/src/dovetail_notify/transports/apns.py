"""Apple's push service: HTTP/2, with a provider token (ES256)."""

from __future__ import annotations

import json
import threading
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from dovetail_notify.conf import conf
from dovetail_notify.models import Device
from dovetail_notify.transports.base import Outcome
from dovetail_notify.transports.calls import Answer, callers
from dovetail_notify.transports.push import PushMessage, Result, Sender

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

_SIZE: Final = 4096
_RENEW: Final = 40 * 60
"""Seconds: Apple takes no token older than 60 minutes, and no new one within 20."""
_LEAST: Final = 20 * 60


def load_key(given: Any) -> EllipticCurvePrivateKey:
    """From the text of Apple's ``.p8`` file, or its path. Raises ``ValueError``, which shows no key."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    if not isinstance(given, (str, Path)):
        raise ValueError("is neither PEM nor the path of a file")
    text = str(given)
    if not text.lstrip().startswith("-----BEGIN"):
        try:
            text = Path(given).read_text()
        except (OSError, ValueError) as error:
            raise ValueError(f"names a file that cannot be read ({type(error).__name__})") from None
    try:
        key = serialization.load_pem_private_key(text.encode(), password=None)
    except (ValueError, TypeError):
        raise ValueError("is PEM that cannot be read") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
        raise ValueError("is no key on the curve P-256")
    return key


class ApnsSender(Sender):
    kind: ClassVar[str] = Device.Kind.APNS

    def __init__(self) -> None:
        self._url = f"{conf.APNS_URL.rstrip('/')}/3/device"
        self._tokens = ProviderTokens(load_key(conf.APNS_KEY), conf.APNS_KEY_ID, conf.APNS_TEAM_ID)

    def send(self, device: Device, message: PushMessage) -> Result:
        # It becomes part of a path; rows of before the rule, of a shell, of an import.
        if not device.token.isalnum() or not device.token.isascii():
            return Result.gone("no token of APNs")
        content = message.fitting(_SIZE, lambda title, body, url: _shown(message, title, body, url))
        token = self._tokens.get()
        answer = self._post(device, message, content, token)
        if answer.status == 403 and _reason(answer) == "ExpiredProviderToken":
            answer = self._post(device, message, content, self._tokens.renewed(token))
        return _result(answer, device)

    def _post(self, device: Device, message: PushMessage, content: bytes, token: str) -> Answer:
        headers = {
            "authorization": f"bearer {token}",
            "apns-topic": conf.APNS_TOPIC,
            "apns-push-type": "alert",
            "apns-priority": message.apns_priority,
            "apns-expiration": str(int(time.time()) + message.ttl),
            "apns-collapse-id": message.tag,
            # The same at every attempt.
            "apns-id": str(uuid.uuid5(message.key, str(device.pk))),
        }
        caller = callers.get(public=False, http2=True)
        return caller.post(f"{self._url}/{device.token}", headers=headers, content=content)


class ProviderTokens:
    """One for all threads, for 40 minutes."""

    def __init__(self, key: EllipticCurvePrivateKey, key_id: str, team_id: str) -> None:
        self._key, self._key_id, self._team_id = key, key_id, team_id
        self._lock = threading.Lock()
        self._token = ""
        self._made_at = 0.0
        self._renewed_at: float | None = None

    def get(self) -> str:
        with self._lock:
            if not self._token or time.monotonic() - self._made_at > _RENEW:
                self._make()
            return self._token

    def renewed(self, expired: str) -> str:
        """Another than the one that Apple calls expired; not again within 20 minutes, which Apple forbids."""
        with self._lock:
            now = time.monotonic()
            if self._token == expired and (self._renewed_at is None or now - self._renewed_at > _LEAST):
                self._renewed_at = now
                self._make()
            return self._token

    def _make(self) -> None:
        import jwt

        claims = {"iss": self._team_id, "iat": int(time.time())}
        self._token = jwt.encode(claims, self._key, algorithm="ES256", headers={"kid": self._key_id})
        self._made_at = time.monotonic()


def _shown(message: PushMessage, title: str, body: str, url: str) -> dict[str, Any]:
    return {"aps": {"alert": {"title": title, "body": body}}, **message.data, "url": url}


def _said(answer: Answer) -> dict[str, Any]:
    try:
        said = json.loads(answer.body)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _reason(answer: Answer) -> str:
    return str(_said(answer).get("reason") or "")


def _result(answer: Answer, device: Device) -> Result:
    status, said = answer.status, _reason(answer)
    if status == 200:
        return Result(Outcome.sent(answer.headers.get("apns-id", "")))
    reason = f"status {status} {said}".strip()
    if said == "BadDeviceToken" or (status == 410 and not _registered_since(device, answer)):
        return Result.gone(said or reason)
    # 403 is our own key, team or topic: that can be set right within the time of the attempts.
    if status in (403, 408, 410, 429) or status >= 500:
        return Result(Outcome.retry(reason, answer.retry_after))
    return Result(Outcome.dead(reason))


def _registered_since(device: Device, answer: Answer) -> bool:
    """Whether the app has told of its token after Apple last knew it to be gone (milliseconds)."""
    at = _said(answer).get("timestamp")
    if not isinstance(at, int) or not 0 < at < 10**14:
        return False
    return device.registered_at > datetime.fromtimestamp(at / 1000, UTC)
