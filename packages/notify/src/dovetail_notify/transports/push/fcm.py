"""Firebase Cloud Messaging (FCM) with its HTTP v1 API and a service account (OAuth 2, RFC 7523)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import quote, urlencode

from django.core.checks import CheckMessage, Error

from dovetail_notify.conf import conf
from dovetail_notify.models import Device
from dovetail_notify.transports import Outcome
from dovetail_notify.transports.http import HttpResponse, Unreachable
from dovetail_notify.transports.http.calls import clients
from dovetail_notify.transports.push.base import PushMessage, Result, Sender, TokenCache, read_text

_SCOPE: Final = "https://www.googleapis.com/auth/firebase.messaging"
_GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_PAYLOAD_BYTES: Final = 4000
"""The size limit of notification and data. FCM allows 4096 bytes of keys and values."""
_RENEW_BEFORE: Final = 300
"""Access tokens are renewed this many seconds before they expire."""
_PAUSE_AFTER_REFUSAL: Final = 10
"""Seconds without a token request after a refusal. Otherwise each delivery of a claim would request a token."""


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    project_id: str
    client_email: str
    private_key: str = field(repr=False)
    token_uri: str

    @classmethod
    def load(cls, source: object) -> ServiceAccount:
        """Load Google's JSON file from its dict, its text or its path. Raise ``ValueError`` without showing the key."""
        if isinstance(source, str | Path):
            try:
                source = json.loads(read_text(source, "{"))
            except json.JSONDecodeError:
                raise ValueError("is not JSON") from None
        if not isinstance(source, Mapping):
            raise ValueError("is not a service account: a dict, its JSON or the path of its file")
        names = ("project_id", "client_email", "private_key", "token_uri")
        if missing := [name for name in names if not isinstance(source.get(name), str) or not source[name]]:
            raise ValueError(f"lacks {', '.join(missing)}")
        return cls(**{name: source[name] for name in names})

    def assertion(self) -> str:
        """Return the assertion to exchange for an access token. Raise ``ValueError`` for an invalid private key."""
        import jwt

        now = int(time.time())
        claims = {"iss": self.client_email, "scope": _SCOPE, "aud": self.token_uri, "iat": now, "exp": now + 3600}
        try:
            return jwt.encode(claims, self.private_key, algorithm="RS256")
        except (ValueError, TypeError, jwt.PyJWTError):
            raise ValueError("has a private_key that is not an RSA key in PEM") from None


class FcmSender(Sender):
    kind: ClassVar[str] = Device.Kind.FCM
    setting: ClassVar[str] = "FCM_SERVICE_ACCOUNT_KEY"

    def __init__(self) -> None:
        self._account = ServiceAccount.load(conf.FCM_SERVICE_ACCOUNT_KEY)
        project = quote(self._account.project_id, safe="")
        self._url = f"{conf.FCM_URL.rstrip('/')}/v1/projects/{project}/messages:send"
        self._tokens = TokenCache(self._request_token)
        self._refusal, self._refused_until = "", 0.0

    def send(self, device: Device, message: PushMessage) -> Result:
        content = json.dumps({"message": {"token": device.token, **_content(message)}}).encode()
        token = self._tokens.get()
        response = self._post(content, token)
        if response.status == 401 and _code(_error(response)) != "THIRD_PARTY_AUTH_ERROR":
            # The token was revoked before it expired, or the clocks differ.
            response = self._post(content, self._tokens.get(replace=token))
        return _result(response)

    @classmethod
    def check(cls) -> Iterator[CheckMessage]:
        try:
            ServiceAccount.load(conf.FCM_SERVICE_ACCOUNT_KEY).assertion()
        except ValueError as error:
            yield Error(
                f"NOTIFY_FCM_SERVICE_ACCOUNT_KEY {error}.",
                hint="Set it to the path, the text or the dict of a service account's JSON file from Firebase.",
                id="dovetail_notify.E013",
            )

    def _request_token(self) -> tuple[str, float]:
        """Exchange an assertion for an access token (RFC 7523). Raise ``Unreachable`` if Google does not issue one."""
        if time.monotonic() < self._refused_until:
            raise Unreachable(self._refusal)
        content = urlencode({"grant_type": _GRANT_TYPE, "assertion": self._account.assertion()}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        try:
            response = clients.get(public=False).post(self._account.token_uri, headers=headers, content=content)
            body = response.json() if response.status == 200 else {}
            try:
                return str(body["access_token"]), max(int(body["expires_in"]) - _RENEW_BEFORE, 60)
            except (ValueError, KeyError, TypeError):
                raise Unreachable(f"no access token: status {response.status}") from None
        except Unreachable as error:
            self._refusal, self._refused_until = str(error), time.monotonic() + _PAUSE_AFTER_REFUSAL
            raise

    def _post(self, content: bytes, token: str) -> HttpResponse:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        return clients.get(public=False).post(self._url, headers=headers, content=content)


def _content(message: PushMessage) -> dict[str, Any]:
    def parts(title: str, body: str, url: str) -> dict[str, Any]:
        return {"notification": {"title": title, "body": body}, "data": {**message.data, "url": url}}

    fitted: dict[str, Any] = json.loads(message.fitting(_PAYLOAD_BYTES, parts))
    android: dict[str, Any] = {
        "priority": "HIGH" if message.urgency == "high" else "NORMAL",
        "ttl": f"{message.ttl}s",
        "notification": {"tag": message.tag},
    }
    if message.topic:
        android["collapse_key"] = message.topic
    headers = {"TTL": str(message.ttl), "Urgency": message.urgency}
    webpush: dict[str, Any] = {"headers": headers, "notification": {"tag": message.tag}}
    if fitted["data"]["url"].startswith("https://"):
        webpush["fcm_options"] = {"link": fitted["data"]["url"]}
    apns = {
        "apns-collapse-id": message.tag,
        "apns-priority": message.apns_priority,
        "apns-expiration": str(int(time.time()) + message.ttl),
    }
    return {**fitted, "android": android, "webpush": webpush, "apns": {"headers": apns}}


def _error(response: HttpResponse) -> dict[str, Any]:
    error = response.json().get("error")
    return error if isinstance(error, dict) else {}


def _details(error: dict[str, Any], kind: str) -> dict[str, Any]:
    details = error.get("details")
    objects = [detail for detail in details if isinstance(detail, dict)] if isinstance(details, list) else []
    return next((detail for detail in objects if str(detail.get("@type", "")).endswith(kind)), {})


def _code(error: dict[str, Any]) -> str:
    """Return FCM's own error code, else the general code of Google's APIs."""
    return str(_details(error, "FcmError").get("errorCode") or error.get("status") or "")


def _is_invalid_token(error: dict[str, Any]) -> bool:
    """Return whether the invalid argument is the device's token, and not another part of the message."""
    violations = _details(error, "BadRequest").get("fieldViolations")
    if isinstance(violations, list):
        return any(isinstance(item, dict) and item.get("field") == "message.token" for item in violations)
    return "registration token" in str(error.get("message"))


def _result(response: HttpResponse) -> Result:
    if response.status == 200:
        return Result(Outcome.sent(str(response.json().get("name") or "")))
    error = _error(response)
    code = _code(error)
    reason = f"status {response.status} {code}".strip()
    # Not for every 404, because a misspelled project id would retire all devices.
    if code == "UNREGISTERED" or (code == "INVALID_ARGUMENT" and _is_invalid_token(error)):
        return Result.gone(code)
    temporary = response.status in (401, 403, 404, 408, 429) or response.status >= 500
    if temporary and code != "SENDER_ID_MISMATCH":
        return Result.retry(reason, response.retry_after)
    return Result(Outcome.dead(reason))
