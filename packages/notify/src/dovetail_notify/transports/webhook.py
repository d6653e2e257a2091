"""Webhooks according to Standard Webhooks 1.0, for senders and for receivers.

A receiving project can import this module without ``dovetail_notify`` in ``INSTALLED_APPS``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

from django.core.checks import CheckMessage, Error
from django.core.serializers.json import DjangoJSONEncoder

from dovetail_core.secrets import keyed_hashes
from dovetail_notify.conf import conf
from dovetail_notify.exceptions import ForbiddenDestination
from dovetail_notify.transports import Outcome, Transport, check_extra
from dovetail_notify.transports.http.calls import call_all, clients
from dovetail_notify.transports.http.ssrf import check_endpoint

if TYPE_CHECKING:
    from dovetail_notify.base import AbstractNotification
    from dovetail_notify.models import Delivery

logger = logging.getLogger("dovetail.notify")

_PREFIX: Final = "whsec_"
_MAX_BODY_BYTES: Final = 1024 * 1024


class InvalidWebhook(ValueError):
    """The request has no valid signature or an old timestamp. The message gives the reason and shows no secret."""


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """A webhook's URL and the secrets that sign it: one, or several while secrets rotate.

    A secret is ``whsec_`` and 24 to 64 bytes in base64, as ``webhook_secrets()`` returns. Raise ``ValueError`` for any
    other secret.
    """

    url: str = field(repr=False)
    secrets: Sequence[str] = field(repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.secrets, str) or not self.secrets:
            raise ValueError("A WebhookEndpoint takes a list of one or more secrets.")
        for secret in self.secrets:
            _key(secret)


def webhook_secrets(name: str) -> tuple[str, ...]:
    """Return the secrets for ``name``, newest first. Give the first one to the receiver.

    A secret is an HMAC of ``name`` under one of ``DOVETAIL_SECRET_PEPPERS`` or, if that is empty, of ``SECRET_KEY`` and
    ``SECRET_KEY_FALLBACKS``. It is derived and not stored, so that it cannot be stolen from the database. For a new
    secret, change the name: ``webhook_secrets(f"{endpoint.pk}:{endpoint.version}")``.
    """
    hashes = keyed_hashes("dovetail_notify.webhook", name)
    return tuple(f"{_PREFIX}{base64.b64encode(bytes.fromhex(each)).decode()}" for each in hashes)


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """Return ``v1,`` and an HMAC-SHA256 in base64. Raise ``ValueError`` for an invalid secret."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return f"v1,{base64.b64encode(hmac.new(_key(secret), signed, hashlib.sha256).digest()).decode()}"


def verify_webhook(
    body: bytes, headers: Mapping[str, str], secrets: Sequence[str], *, tolerance: int = 300, now: float | None = None
) -> Any:
    """Verify a webhook and return its content. Pass the unchanged body and the headers (``request.headers``).

    Raise ``InvalidWebhook`` if no signature matches one of the ``secrets``, if the timestamp is more than ``tolerance``
    seconds away, or if the body is not JSON. A repeated webhook has the same ``webhook-id``, so store the ids that you
    have processed.
    """
    fields = {name.lower(): value for name, value in headers.items()}
    try:
        message_id, timestamp, signature = (fields[f"webhook-{name}"] for name in ("id", "timestamp", "signature"))
    except KeyError as error:
        raise InvalidWebhook(f"The header {error.args[0]} is missing.") from None
    # At most 15 digits, because int() takes seconds for a million digits.
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= 15) or len(body) > _MAX_BODY_BYTES:
        raise InvalidWebhook("The timestamp is not a number of seconds, or the body is larger than 1 MiB.")
    signatures = signature.split()[:20]
    expected = [sign(secret, message_id, int(timestamp), body).encode() for secret in secrets]
    # As bytes, because compare_digest() refuses non-ASCII strings.
    if not any(hmac.compare_digest(item.encode(), valid) for item in signatures for valid in expected):
        raise InvalidWebhook("No signature matches one of the secrets.")
    if abs((time.time() if now is None else now) - int(timestamp)) > tolerance:
        raise InvalidWebhook(f"The timestamp differs from the current time by more than {tolerance} seconds.")
    try:
        return json.loads(body)
    except ValueError:
        raise InvalidWebhook("The body is not JSON.") from None


def _key(secret: object) -> bytes:
    try:
        key = base64.b64decode(str(secret).removeprefix(_PREFIX), validate=True)
    except ValueError:
        key = b""
    if not isinstance(secret, str) or not secret.startswith(_PREFIX) or not 24 <= len(key) <= 64:
        raise ValueError(f"A webhook's secret is {_PREFIX} and 24 to 64 bytes in base64.")
    return key


class _Job(NamedTuple):
    endpoint: WebhookEndpoint
    message_id: str
    body: bytes


class WebhookTransport(Transport):
    """Sends to the endpoint that ``NOTIFY_WEBHOOK_ENDPOINT`` returns for a recipient and an organization.

    Every delivery has its own ``webhook-id``, which is the same on every attempt.
    """

    concurrent: ClassVar[bool] = True

    def send(self, deliveries: Sequence[Delivery]) -> Sequence[Outcome]:
        return self.start(deliveries)()

    def body(self, delivery: Delivery) -> dict[str, Any]:
        """Return the content, which is sent as JSON and is the same on every attempt."""
        row = delivery.notification
        return {
            "type": row.type,
            "timestamp": row.created_at,
            "data": {
                "id": row.pk,
                "title": row.title,
                "body": row.body,
                "target_url": row.target_url,
                "payload": row.payload,
                "organization": row.organization_key,
                "actor": row.actor_key or None,
                "recipient": str(row.recipient_id),
                "collapse_key": row.collapse_key,
            },
        }

    def start(self, deliveries: Sequence[Delivery]) -> Callable[[], Sequence[Outcome]]:
        endpoints: dict[tuple[object, str | None], WebhookEndpoint | Outcome] = {}
        steps: list[_Job | Outcome] = []
        for delivery in deliveries:
            row = delivery.notification
            key = (row.recipient_id, row.organization_key)
            if key not in endpoints:
                endpoints[key] = _endpoint(row)
            endpoint = endpoints[key]
            if isinstance(endpoint, WebhookEndpoint):
                body = json.dumps(self.body(delivery), cls=DjangoJSONEncoder).encode()
                steps.append(_Job(endpoint, str(delivery.key), body))
            else:
                steps.append(endpoint)
        jobs = [step for step in steps if isinstance(step, _Job)]
        wait = call_all(jobs, _call, on_failure=Outcome.retry, width=conf.PUSH_CONCURRENCY)

        def outcomes() -> Sequence[Outcome]:
            results = iter(wait())
            return [next(results) if isinstance(step, _Job) else step for step in steps]

        return outcomes

    def check(self) -> Iterable[CheckMessage]:
        if missing := check_extra(self.channel, ("h2", "httpcore")):
            yield missing
        if conf.declared()["WEBHOOK_ENDPOINT"].problem() is None and conf.WEBHOOK_ENDPOINT is None:
            yield Error(
                f"NOTIFY_TRANSPORTS[{self.channel!r}] sends webhooks, but NOTIFY_WEBHOOK_ENDPOINT is not set.",
                hint="Set it to a function of a user and an organization's key that returns a WebhookEndpoint or None.",
                id="dovetail_notify.E015",
            )


def _endpoint(row: AbstractNotification) -> WebhookEndpoint | Outcome:
    """Call the project's hook. Return an outcome if it returns no endpoint or fails."""
    try:
        endpoint = conf.WEBHOOK_ENDPOINT(row.recipient, row.organization_key)
        if endpoint is not None and not isinstance(endpoint, WebhookEndpoint):
            raise TypeError("not a WebhookEndpoint")
    except Exception as error:  # noqa: BLE001  # a hook that fails for one organization must not stop the others
        logger.warning("NOTIFY_WEBHOOK_ENDPOINT failed: %s.", type(error).__name__)
        return Outcome.retry(type(error).__name__)
    return endpoint or Outcome.suppressed("no endpoint")


def _call(job: _Job) -> Outcome:
    endpoint, timestamp = job.endpoint, int(time.time())
    try:
        check_endpoint(endpoint.url)
    except ForbiddenDestination as error:
        return Outcome.dead(str(error))
    signatures = [sign(secret, job.message_id, timestamp, job.body) for secret in endpoint.secrets]
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "dovetail-notify",
        "webhook-id": job.message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }
    response = clients.get(public=True).post(endpoint.url, headers=headers, content=job.body)
    status, reason = response.status, f"status {response.status}"
    if 200 <= status < 300:
        return Outcome.sent()
    # In Standard Webhooks, 410 asks to send no more webhooks. Other refusals may come from a faulty release.
    if 300 <= status < 400 or status in (410, 413):
        return Outcome.dead(reason)
    return Outcome.retry(reason, response.retry_after)
