"""The Apple Push Notification service (APNs), over HTTP/2 with a provider token (ES256)."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from django.core.checks import CheckMessage, Error

from dovetail_notify.conf import conf
from dovetail_notify.models import Device
from dovetail_notify.transports import Outcome
from dovetail_notify.transports.http import HttpResponse
from dovetail_notify.transports.http.calls import clients
from dovetail_notify.transports.push.base import PushMessage, Result, Sender, TokenCache, read_text
from dovetail_notify.transports.push.vapid import load_pem_key

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

_PAYLOAD_BYTES: Final = 4096
#: Seconds. Apple accepts no token older than 60 minutes, and no new token within 20 minutes.
_TOKEN_LIFETIME: Final = 40 * 60
_MIN_RENEWAL: Final = 20 * 60


def load_key(source: object) -> EllipticCurvePrivateKey:
    """Load the key from the text or the path of Apple's ``.p8`` file. Raise ``ValueError`` without showing the key."""
    if not isinstance(source, str | Path):
        raise ValueError("is neither PEM nor the path of a file")
    return load_pem_key(read_text(source, "-----BEGIN"))


def provider_tokens(key: EllipticCurvePrivateKey, key_id: str, team_id: str) -> TokenCache:
    def issue() -> tuple[str, float]:
        import jwt

        claims = {"iss": team_id, "iat": int(time.time())}
        return jwt.encode(claims, key, algorithm="ES256", headers={"kid": key_id}), _TOKEN_LIFETIME

    return TokenCache(issue, pause=_MIN_RENEWAL)


class ApnsSender(Sender):
    kind: ClassVar[str] = Device.Kind.APNS
    setting: ClassVar[str] = "APNS_KEY"

    def __init__(self) -> None:
        self._url = f"{conf.APNS_URL.rstrip('/')}/3/device"
        self._tokens = provider_tokens(load_key(conf.APNS_KEY), conf.APNS_KEY_ID, conf.APNS_TEAM_ID)

    def send(self, device: Device, message: PushMessage) -> Result:
        # The token becomes part of a URL, and a row may bypass the API's validation.
        if not device.token.isalnum() or not device.token.isascii():
            return Result.gone("not a token of APNs")

        def payload(title: str, body: str, url: str) -> dict[str, Any]:
            return {"aps": {"alert": {"title": title, "body": body}}, **message.data, "url": url}

        content = message.fitting(_PAYLOAD_BYTES, payload)
        token = self._tokens.get()
        response = self._post(device, message, content, token)
        if response.status == 403 and response.json().get("reason") == "ExpiredProviderToken":
            response = self._post(device, message, content, self._tokens.get(replace=token))
        return _result(response, device)

    @classmethod
    def check(cls) -> Iterator[CheckMessage]:
        try:
            load_key(conf.APNS_KEY)
        except ValueError as error:
            yield Error(
                f"NOTIFY_APNS_KEY {error}.",
                hint="Set it to the path or the text of the .p8 file of Apple's key for push notifications.",
                id="dovetail_notify.E014",
            )
        for name, value in (("KEY_ID", conf.APNS_KEY_ID), ("TEAM_ID", conf.APNS_TEAM_ID)):
            if not re.fullmatch(r"[A-Z0-9]{10}", str(value)):
                yield Error(
                    f"NOTIFY_APNS_{name} is {value!r}; it must consist of ten capital letters and digits.",
                    hint="Find it in your Apple developer account, next to the key or under membership.",
                    id="dovetail_notify.E014",
                )
        if not re.fullmatch(r"[A-Za-z0-9.-]+", str(conf.APNS_TOPIC)):
            yield Error(
                f"NOTIFY_APNS_TOPIC is {conf.APNS_TOPIC!r}; it must be the app's bundle id.",
                hint="Set it to the bundle identifier in Xcode, such as com.example.shop.",
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
            # The same id on every attempt.
            "apns-id": str(uuid.uuid5(message.key, str(device.pk))),
        }
        client = clients.get(public=False, http2=True)
        return client.post(f"{self._url}/{device.token}", headers=headers, content=content)


def _result(response: HttpResponse, device: Device) -> Result:
    status, apple_reason = response.status, str(response.json().get("reason") or "")
    if status == 200:
        return Result(Outcome.sent(response.headers.get("apns-id", "")))
    reason = f"status {status} {apple_reason}".strip()
    if apple_reason == "BadDeviceToken" or (status == 410 and not _registered_since(device, response)):
        return Result.gone(apple_reason or reason)
    # 403 means a wrong key, team or topic, which can be corrected before the last attempt.
    if status in (403, 408, 410, 429) or status >= 500:
        return Result.retry(reason, response.retry_after)
    return Result(Outcome.dead(reason))


def _registered_since(device: Device, response: HttpResponse) -> bool:
    """Return whether the app has registered since the time at which Apple noticed that the device was gone."""
    at = response.json().get("timestamp")
    if not isinstance(at, int) or not 0 < at < 10**14:
        return False
    return device.registered_at > datetime.fromtimestamp(at / 1000, UTC)
