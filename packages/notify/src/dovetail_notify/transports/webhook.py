"""Webhooks: a delivery as a signed request to where the project says."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, NamedTuple

from django.core.checks import CheckMessage, Error
from django.core.serializers.json import DjangoJSONEncoder

from dovetail_notify.conf import conf
from dovetail_notify.destinations import ForbiddenDestination, check_endpoint
from dovetail_notify.models import Delivery
from dovetail_notify.transports.base import Outcome, Transport
from dovetail_notify.transports.calls import Answer, call_all, callers
from dovetail_notify.transports.push_checks import check_extra
from dovetail_notify.webhooks import WebhookEndpoint, endpoint_of, signature_headers

logger = logging.getLogger("dovetail.notify")


class _Job(NamedTuple):
    row: int
    endpoint: WebhookEndpoint
    message_id: str
    body: bytes


class WebhookTransport(Transport):
    """By Standard Webhooks to the endpoint that ``NOTIFY_WEBHOOK_ENDPOINT`` gives for a recipient and an organization.

    ``webhook-id`` is the delivery's own and the same at every attempt.
    """

    concurrent: ClassVar[bool] = True

    def send(self, deliveries: Sequence[Delivery]) -> Sequence[Outcome]:
        return self.start(deliveries)()

    def body(self, delivery: Delivery) -> dict[str, Any]:
        """What is sent, as JSON. The same at every attempt: a receiver may compare."""
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
        endpoints: dict[Any, WebhookEndpoint | Outcome] = {}
        jobs: list[_Job] = []
        found: list[Outcome] = []
        for number, delivery in enumerate(deliveries):
            row = delivery.notification
            key = (row.recipient_id, row.organization_key)
            if key not in endpoints:
                endpoints[key] = _ask(row)
            endpoint = endpoints[key]
            if isinstance(endpoint, Outcome):
                found.append(endpoint)
            else:
                body = json.dumps(self.body(delivery), cls=DjangoJSONEncoder).encode()
                jobs.append(_Job(number, endpoint, str(delivery.key), body))
                found.append(_NONE)
        wait = call_all(jobs, _call, otherwise=_otherwise, width=conf.PUSH_CONCURRENCY)

        def outcomes() -> Sequence[Outcome]:
            for job, outcome in zip(jobs, wait(), strict=True):
                found[job.row] = outcome
            return found

        return outcomes

    def check(self) -> Iterable[CheckMessage]:
        if missing := check_extra(self.channel, ("h2", "httpcore")):
            yield missing
        if conf.declared()["WEBHOOK_ENDPOINT"].problem() is None and conf.WEBHOOK_ENDPOINT is None:
            yield Error(
                f"NOTIFY_TRANSPORTS[{self.channel!r}] sends webhooks, and NOTIFY_WEBHOOK_ENDPOINT does not say where.",
                hint="Name a function of a user and an organization's key that returns a WebhookEndpoint or None.",
                id="dovetail_notify.E015",
            )


_NONE = Outcome.suppressed("no endpoint")


def _ask(row: Any) -> WebhookEndpoint | Outcome:
    try:
        return endpoint_of(conf.WEBHOOK_ENDPOINT, row.recipient, row.organization_key) or _NONE
    except Exception as error:  # noqa: BLE001  # a project's code that fails for one organization must not stop others
        logger.warning("NOTIFY_WEBHOOK_ENDPOINT failed: %s.", type(error).__name__)
        return Outcome.retry(type(error).__name__)


def _call(job: _Job) -> Outcome:
    try:
        check_endpoint(job.endpoint.url)
    except ForbiddenDestination as error:
        return Outcome.dead(str(error))
    signed = signature_headers(job.endpoint, job.message_id, int(time.time()), job.body)
    headers = {"Content-Type": "application/json", "User-Agent": "dovetail-notify", **signed}
    return _outcome(callers.get(public=True).post(job.endpoint.url, headers=headers, content=job.body))


def _otherwise(job: _Job, reason: str) -> Outcome:
    return Outcome.retry(reason)


def _outcome(answer: Answer) -> Outcome:
    status, reason = answer.status, f"status {answer.status}"
    if 200 <= status < 300:
        return Outcome.sent()
    # 410 is how Standard Webhooks says "never again". Any other refusal may be a release that went wrong.
    if 300 <= status < 400 or status in (410, 413):
        return Outcome.dead(reason)
    return Outcome.retry(reason, answer.retry_after)
