"""Signatures of webhooks by Standard Webhooks 1.0: for senders and for receivers."""

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
    """The request has no valid signature or an old timestamp. The text gives the reason and shows no secret."""


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """A webhook's URL and the secrets that sign it: one, or several while secrets rotate.

    A secret is ``whsec_`` and 24 to 64 bytes in base64, as ``webhook_secrets()`` derives it. Raises ``ValueError`` for
    other secrets.
    """

    url: str = field(repr=False)
    secrets: Sequence[str] = field(repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.secrets, str) or not self.secrets:
            raise ValueError("A WebhookEndpoint takes a list of one or more secrets.")
        for secret in self.secrets:
            _key(secret)


def webhook_secrets(name: str) -> tuple[str, ...]:
    """Derive the secrets for ``name``, newest first. They need no storage, from which they could be stolen.

    A secret is an HMAC under one of ``DOVETAIL_SECRET_PEPPERS`` or, if that is empty, of ``SECRET_KEY`` and
    ``SECRET_KEY_FALLBACKS``. Give the first one to the receiver. A new name makes a new secret:
    ``webhook_secrets(f"{endpoint.pk}:{endpoint.version}")``.
    """
    hashes = keyed_hashes("dovetail_notify.webhook", name)
    return tuple(f"{_PREFIX}{base64.b64encode(bytes.fromhex(each)).decode()}" for each in hashes)


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """Return ``v1,`` and an HMAC-SHA256 in base64. Raises ``ValueError`` for an invalid secret."""
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
    """Verify a webhook and return its content. Pass the unchanged body and the headers (``request.headers``).

    Raises ``InvalidWebhook`` if no signature matches one of the ``secrets``, if the timestamp is more than
    ``tolerance`` seconds away, or if the body is not JSON. A repeated webhook has the same ``webhook-id``: store those
    that you have processed.
    """
    fields = {name.lower(): value for name, value in headers.items()}
    try:
        message_id, timestamp, signature = (fields[f"webhook-{name}"] for name in ("id", "timestamp", "signature"))
    except KeyError as error:
        raise InvalidWebhook(f"The header {error.args[0]} is missing.") from None
    # At most 15 digits: int() takes seconds for a million of them.
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= 15) or len(body) > _LARGEST:
        raise InvalidWebhook("The timestamp is no number of seconds, or the body has more than 1 MiB.")
    signatures = signature.split()[:20]
    expected = [sign(secret, message_id, int(timestamp), body).encode() for secret in secrets]
    # As bytes: compare_digest() refuses non-ASCII strings.
    if not any(hmac.compare_digest(item.encode(), valid) for item in signatures for valid in expected):
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
    """Call the project's hook. Raises ``TypeError`` if it returns anything but an endpoint or None."""
    endpoint = hook(user, organization_key)
    if endpoint is not None and not isinstance(endpoint, WebhookEndpoint):
        name = type(endpoint).__name__
        raise TypeError(f"NOTIFY_WEBHOOK_ENDPOINT must return a WebhookEndpoint or None; got {name}.")
    return endpoint
