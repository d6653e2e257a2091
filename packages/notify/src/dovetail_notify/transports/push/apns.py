"""The Apple Push Notification service (APNs): HTTP/2 with a provider token (ES256)."""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from django.core.checks import CheckMessage, Error

from dovetail_notify.conf import conf
from dovetail_notify.models import Device
from dovetail_notify.transports.base import Outcome
from dovetail_notify.transports.http.base import HttpResponse
from dovetail_notify.transports.http.calls import clients
from dovetail_notify.transports.push.base import PushMessage, Result, Sender

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

_PAYLOAD_BYTES: Final = 4096
_TOKEN_LIFETIME: Final = 40 * 60
"""Seconds. Apple accepts no token older than 60 minutes, and no new token within 20 minutes."""
_MIN_RENEWAL: Final = 20 * 60


def load_key(source: Any) -> EllipticCurvePrivateKey:
    """Load the key from the text or the path of Apple's ``.p8`` file.

    Raises ``ValueError`` with a text that does not contain the key.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    if not isinstance(source, (str, Path)):
        raise ValueError("is neither PEM nor the path of a file")
    text = str(source)
    if not text.lstrip().startswith("-----BEGIN"):
        try:
            text = Path(source).read_text()
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
    setting: ClassVar[str] = "APNS_KEY"

    def __init__(self) -> None:
        self._url = f"{conf.APNS_URL.rstrip('/')}/3/device"
        self._tokens = ProviderTokens(load_key(conf.APNS_KEY), conf.APNS_KEY_ID, conf.APNS_TEAM_ID)

    def send(self, device: Device, message: PushMessage) -> Result:
        # The token becomes part of a path, and a row may bypass the API's validation.
        if not device.token.isalnum() or not device.token.isascii():
            return Result.gone("no token of APNs")
        content = message.fitting(_PAYLOAD_BYTES, lambda title, body, url: _payload(message, title, body, url))
        token = self._tokens.get()
        response = self._post(device, message, content, token)
        if response.status == 403 and _reason(response) == "ExpiredProviderToken":
            response = self._post(device, message, content, self._tokens.renewed(token))
        return _result(response, device)

    @classmethod
    def check(cls) -> Iterator[CheckMessage]:
        try:
            load_key(conf.APNS_KEY)
        except ValueError as error:
            yield Error(
                f"NOTIFY_APNS_KEY {error}.",
                hint="Take the .p8 file that Apple gives for a key of its push service: its path or its text.",
                id="dovetail_notify.E014",
            )
        for name, value in (("KEY_ID", conf.APNS_KEY_ID), ("TEAM_ID", conf.APNS_TEAM_ID)):
            if not re.fullmatch(r"[A-Z0-9]{10}", str(value)):
                yield Error(
                    f"NOTIFY_APNS_{name} is {value!r}; it must be ten capital letters and digits.",
                    hint="Apple's developer account shows it beside the key, or under membership.",
                    id="dovetail_notify.E014",
                )
        if not re.fullmatch(r"[A-Za-z0-9.-]+", str(conf.APNS_TOPIC)):
            yield Error(
                f"NOTIFY_APNS_TOPIC is {conf.APNS_TOPIC!r}; it must be the app's bundle id.",
                hint="Write it as Xcode shows it: com.example.shop.",
                id="dovetail_notify.E014",
            )

    def _post(self, device: Device, message: PushMessage, content: bytes, token: str) -> HttpResponse:
        headers = {
            "authorization": f"bearer {token}",
            "apns-topic": conf.APNS_TOPIC,
            "apns-push-type": "alert",
            "apns-priority": message.apns_priority,
            "apns-expiration": str(int(time.time()) + message.ttl),
            "apns-collapse-id": message.tag,
            # The same on every attempt.
            "apns-id": str(uuid.uuid5(message.key, str(device.pk))),
        }
        client = clients.get(public=False, http2=True)
        return client.post(f"{self._url}/{device.token}", headers=headers, content=content)


class ProviderTokens:
    """One provider token for all threads, for 40 minutes."""

    def __init__(self, key: EllipticCurvePrivateKey, key_id: str, team_id: str) -> None:
        self._key, self._key_id, self._team_id = key, key_id, team_id
        self._lock = threading.Lock()
        self._token = ""
        self._made_at = 0.0
        self._renewed_at: float | None = None

    def get(self) -> str:
        with self._lock:
            if not self._token or time.monotonic() - self._made_at > _TOKEN_LIFETIME:
                self._make()
            return self._token

    def renewed(self, expired: str) -> str:
        """Return a new token if Apple reports this one as expired. Apple allows no second one within 20 minutes."""
        with self._lock:
            now = time.monotonic()
            if self._token == expired and (self._renewed_at is None or now - self._renewed_at > _MIN_RENEWAL):
                self._renewed_at = now
                self._make()
            return self._token

    def _make(self) -> None:
        import jwt

        claims = {"iss": self._team_id, "iat": int(time.time())}
        self._token = jwt.encode(claims, self._key, algorithm="ES256", headers={"kid": self._key_id})
        self._made_at = time.monotonic()


def _payload(message: PushMessage, title: str, body: str, url: str) -> dict[str, Any]:
    return {"aps": {"alert": {"title": title, "body": body}}, **message.data, "url": url}


def _body(response: HttpResponse) -> dict[str, Any]:
    try:
        body = json.loads(response.body)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _reason(response: HttpResponse) -> str:
    return str(_body(response).get("reason") or "")


def _result(response: HttpResponse, device: Device) -> Result:
    status, apple_reason = response.status, _reason(response)
    if status == 200:
        return Result(Outcome.sent(response.headers.get("apns-id", "")))
    reason = f"status {status} {apple_reason}".strip()
    if apple_reason == "BadDeviceToken" or (status == 410 and not _registered_since(device, response)):
        return Result.gone(apple_reason or reason)
    # 403 means a wrong key, team or topic, which can be corrected before the last attempt.
    if status in (403, 408, 410, 429) or status >= 500:
        return Result(Outcome.retry(reason, response.retry_after))
    return Result(Outcome.dead(reason))


def _registered_since(device: Device, response: HttpResponse) -> bool:
    """Return whether the app has registered since the time at which Apple says that the device was gone."""
    at = _body(response).get("timestamp")
    if not isinstance(at, int) or not 0 < at < 10**14:
        return False
    return device.registered_at > datetime.fromtimestamp(at / 1000, UTC)
