"""Webhooks' signatures, by Standard Webhooks 1.0: for who sends, and for who receives."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from dovetail_core.secrets import keyed_hashes

_PREFIX: Final = "whsec_"
_LARGEST: Final = 1024 * 1024


class InvalidWebhook(ValueError):
    """The request was not signed with any of the secrets, or not lately. The text says which, and shows no secret."""


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """Where a webhook goes, and the secrets that sign it: one, or in a rotation the old one too.

    A secret is ``whsec_`` and 24 to 64 bytes in base64, as ``webhook_secrets()`` derives them. Raises ``ValueError``.
    """

    url: str = field(repr=False)
    secrets: Sequence[str] = field(repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.secrets, str) or not self.secrets:
            raise ValueError("A WebhookEndpoint takes a list of one or more secrets.")
        for secret in self.secrets:
            _key(secret)


def webhook_secrets(name: str) -> tuple[str, ...]:
    """The secrets of what ``name`` stands for, the newest first: nothing has to be stored, so nothing can be read.

    They are HMACs under ``DOVETAIL_SECRET_PEPPERS``, or where that is empty ``SECRET_KEY`` and
    ``SECRET_KEY_FALLBACKS``: one for each that is still accepted. Show the first to who receives. A new name is a new
    secret: ``webhook_secrets(f"{endpoint.pk}:{endpoint.version}")``.
    """
    hashes = keyed_hashes("dovetail_notify.webhook", name)
    return tuple(f"{_PREFIX}{base64.b64encode(bytes.fromhex(each)).decode()}" for each in hashes)


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """``v1,`` and HMAC-SHA256 in base64. Raises ``ValueError`` for what is no secret."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return f"v1,{base64.b64encode(hmac.new(_key(secret), signed, hashlib.sha256).digest()).decode()}"


def signature_headers(endpoint: WebhookEndpoint, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(sign(secret, message_id, timestamp, body) for secret in endpoint.secrets),
    }


def verify_webhook(
    body: bytes, headers: Mapping[str, str], secrets: Sequence[str], *, tolerance: int = 300, now: float | None = None
) -> Any:
    """What a webhook says, from the bytes of its body as they came and its headers (``request.headers``).

    Raises ``InvalidWebhook`` where no signature is of one of the ``secrets``, where it is older or newer than
    ``tolerance`` seconds, or where it is no JSON. One that is sent again has the same ``webhook-id``: keep those you
    have seen.
    """
    found = {name.lower(): value for name, value in headers.items()}
    try:
        message_id, timestamp, given = (found[f"webhook-{each}"] for each in ("id", "timestamp", "signature"))
    except KeyError as error:
        raise InvalidWebhook(f"The header {error.args[0]} is missing.") from None
    # At most 15 digits: int() of a million takes seconds.
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= 15) or len(body) > _LARGEST:
        raise InvalidWebhook("The timestamp is no number of seconds, or the body has more than 1 MiB.")
    signatures = given.split()[:20]
    expected = [sign(secret, message_id, int(timestamp), body).encode() for secret in secrets]
    # As bytes: compare_digest refuses texts that are not ASCII.
    if not any(hmac.compare_digest(each.encode(), one) for each in signatures for one in expected):
        raise InvalidWebhook("No signature is of a secret that is known here.")
    if abs((time.time() if now is None else now) - int(timestamp)) > tolerance:
        raise InvalidWebhook(f"It was signed more than {tolerance} seconds from now.")
    try:
        return json.loads(body)
    except ValueError:
        raise InvalidWebhook("The body is no JSON.") from None


def _key(secret: Any) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError, AttributeError):
        key = b""
    if not isinstance(secret, str) or not secret.startswith(_PREFIX) or not 24 <= len(key) <= 64:
        raise ValueError(f"A webhook's secret is {_PREFIX} and 24 to 64 bytes in base64.")
    return key


def endpoint_of(hook: Any, user: Any, organization_key: str | None) -> WebhookEndpoint | None:
    """What the project's hook says. Raises ``TypeError`` for anything else than it may."""
    found = hook(user, organization_key)
    if found is not None and not isinstance(found, WebhookEndpoint):
        raise TypeError(f"NOTIFY_WEBHOOK_ENDPOINT must return a WebhookEndpoint or None; got {type(found).__name__}.")
    return found
