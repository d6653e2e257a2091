"""Firebase Cloud Messaging by its HTTP v1 API, as a service account (OAuth 2, RFC 7523)."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import quote, urlencode

from dovetail_notify.conf import conf
from dovetail_notify.models import Device
from dovetail_notify.transports.base import Outcome
from dovetail_notify.transports.calls import Answer, Unreachable, callers
from dovetail_notify.transports.push import PushMessage, Result, Sender

_SCOPE: Final = "https://www.googleapis.com/auth/firebase.messaging"
_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_SIZE: Final = 4000
"""Bytes of notification and data: FCM takes 4096 of keys and values."""
_EARLY: Final = 300
"""Seconds before its end at which an access token is renewed."""
_PAUSE: Final = 10
"""Seconds in which who was refused a token does not ask again: a claim of a hundred would ask a hundred times."""


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    project_id: str
    client_email: str
    private_key: str = field(repr=False)
    token_uri: str

    @classmethod
    def load(cls, given: Any) -> ServiceAccount:
        """From the dict of Google's JSON file, its text, or its path. Raises ``ValueError``, which shows no key."""
        if isinstance(given, (str, Path)) and not str(given).lstrip().startswith("{"):
            try:
                given = Path(given).read_text()
            except OSError as error:
                raise ValueError(f"names a file that cannot be read ({type(error).__name__})") from None
        if isinstance(given, str):
            try:
                given = json.loads(given)
            except ValueError:
                raise ValueError("is no JSON") from None
        if not isinstance(given, Mapping):
            raise ValueError("is no service account: a dict, its JSON or the path of its file")
        names = ("project_id", "client_email", "private_key", "token_uri")
        if missing := [name for name in names if not isinstance(given.get(name), str) or not given[name]]:
            raise ValueError(f"lacks {', '.join(missing)}")
        return cls(**{name: given[name] for name in names})

    def assertion(self) -> str:
        """What is exchanged for an access token. Raises ``ValueError`` where the private key is none."""
        import jwt

        now = int(time.time())
        claims = {"iss": self.client_email, "scope": _SCOPE, "aud": self.token_uri, "iat": now, "exp": now + 3600}
        try:
            return jwt.encode(claims, self.private_key, algorithm="RS256")
        except (ValueError, TypeError, jwt.PyJWTError):
            raise ValueError("has a private_key that is no RSA key in PEM") from None


class FcmSender(Sender):
    kind: ClassVar[str] = Device.Kind.FCM

    def __init__(self) -> None:
        self._account = ServiceAccount.load(conf.FCM_SERVICE_ACCOUNT_KEY)
        project = quote(self._account.project_id, safe="")
        self._url = f"{conf.FCM_URL.rstrip('/')}/v1/projects/{project}/messages:send"
        self._tokens = AccessTokens(self._account)

    def send(self, device: Device, message: PushMessage) -> Result:
        content = json.dumps({"message": {"token": device.token, **_content(message)}}).encode()
        token = self._tokens.get()
        answer = self._post(content, token)
        if answer.status == 401 and _code(_error(answer)) != "THIRD_PARTY_AUTH_ERROR":
            # Revoked before its time, or the clocks differ.
            answer = self._post(content, self._tokens.get(not_this=token))
        return _result(answer)

    def _post(self, content: bytes, token: str) -> Answer:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        return callers.get(public=False).post(self._url, headers=headers, content=content)


class AccessTokens:
    """One token for all threads, until five minutes before it ends."""

    def __init__(self, account: ServiceAccount) -> None:
        self._account = account
        self._lock = threading.Lock()
        self._token = ""
        self._until = 0.0
        self._refused = ("", 0.0)

    def get(self, *, not_this: str = "") -> str:
        """Raises ``Unreachable`` where there is none to have."""
        with self._lock:
            now = time.monotonic()
            if self._token and self._token != not_this and now < self._until:
                return self._token
            reason, again = self._refused
            if now < again:
                raise Unreachable(reason)
            try:
                self._token, seconds = self._ask()
            except Unreachable as error:
                self._refused = (str(error), now + _PAUSE)
                raise
            self._until = now + max(seconds - _EARLY, 60)
            return self._token

    def _ask(self) -> tuple[str, int]:
        content = urlencode({"grant_type": _GRANT, "assertion": self._account.assertion()}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = callers.get(public=False).post(self._account.token_uri, headers=headers, content=content)
        try:
            given = json.loads(answer.body) if answer.status == 200 else {}
            return str(given["access_token"]), int(given["expires_in"])
        except (ValueError, KeyError, TypeError):
            raise Unreachable(f"no access token: status {answer.status}") from None


def _content(message: PushMessage) -> dict[str, Any]:
    """Everything but the token."""

    def parts(title: str, body: str, url: str) -> dict[str, Any]:
        return {"notification": {"title": title, "body": body}, "data": {**message.data, "url": url}}

    fitted: dict[str, Any] = json.loads(message.fitting(_SIZE, parts))
    high = message.urgency == "high"
    android: dict[str, Any] = {
        "priority": "HIGH" if high else "NORMAL",
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


def _error(answer: Answer) -> dict[str, Any]:
    try:
        error = json.loads(answer.body)["error"]
    except (ValueError, KeyError, TypeError):
        return {}
    return error if isinstance(error, dict) else {}


def _details(error: dict[str, Any], kind: str) -> dict[str, Any]:
    details = error.get("details")
    found = [each for each in details if isinstance(each, dict)] if isinstance(details, list) else []
    return next((each for each in found if str(each.get("@type", "")).endswith(kind)), {})


def _code(error: dict[str, Any]) -> str:
    """FCM's own code, or the general one of Google's APIs."""
    return str(_details(error, "FcmError").get("errorCode") or error.get("status") or "")


def _is_of_the_token(error: dict[str, Any]) -> bool:
    """Whether the argument that is invalid is the device's token, and not what we say to it."""
    violations = _details(error, "BadRequest").get("fieldViolations")
    if isinstance(violations, list):
        return any(isinstance(each, dict) and each.get("field") == "message.token" for each in violations)
    return "registration token" in str(error.get("message"))


def _result(answer: Answer) -> Result:
    if answer.status == 200:
        try:
            return Result(Outcome.sent(str(json.loads(answer.body)["name"])))
        except (ValueError, KeyError, TypeError):
            return Result(Outcome.sent())
    error = _error(answer)
    code = _code(error)
    reason = f"status {answer.status} {code}".strip()
    # Not every 404: one of a project that is misspelt would retire everybody's devices.
    if code == "UNREGISTERED" or (code == "INVALID_ARGUMENT" and _is_of_the_token(error)):
        return Result.gone(code)
    if answer.status in (401, 403, 404, 408, 429) or answer.status >= 500:
        if code == "SENDER_ID_MISMATCH":
            return Result(Outcome.dead(reason))
        return Result(Outcome.retry(reason, answer.retry_after))
    return Result(Outcome.dead(reason))
