"""The webhook transport: each delivery is a signed request to an endpoint that the project names."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

from django.core.checks import CheckMessage, Error
from django.core.serializers.json import DjangoJSONEncoder

from dovetail_notify.conf import conf
from dovetail_notify.exceptions import ForbiddenDestination
from dovetail_notify.transports.base import Outcome, Transport, check_extra
from dovetail_notify.transports.http.base import HttpResponse
from dovetail_notify.transports.http.calls import call_all, clients
from dovetail_notify.transports.http.ssrf import check_endpoint
from dovetail_notify.transports.webhook.signatures import WebhookEndpoint, endpoint_of, signature_headers

if TYPE_CHECKING:
    from dovetail_notify.models import Delivery

logger = logging.getLogger("dovetail.notify")


class _Job(NamedTuple):
    row: int
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
        """Return the content, which is sent as JSON. The same on every attempt, so that receivers can compare."""
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
        results: list[Outcome] = []
        for number, delivery in enumerate(deliveries):
            row = delivery.notification
            key = (row.recipient_id, row.organization_key)
            if key not in endpoints:
                endpoints[key] = _endpoint(row)
            endpoint = endpoints[key]
            if isinstance(endpoint, Outcome):
                results.append(endpoint)
            else:
                body = json.dumps(self.body(delivery), cls=DjangoJSONEncoder).encode()
                jobs.append(_Job(number, endpoint, str(delivery.key), body))
                results.append(_NO_ENDPOINT)
        wait = call_all(jobs, _call, on_failure=_retry, width=conf.PUSH_CONCURRENCY)

        def outcomes() -> Sequence[Outcome]:
            for job, outcome in zip(jobs, wait(), strict=True):
                results[job.row] = outcome
            return results

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


_NO_ENDPOINT: Final = Outcome.suppressed("no endpoint")


def _endpoint(row: Any) -> WebhookEndpoint | Outcome:
    try:
        return endpoint_of(conf.WEBHOOK_ENDPOINT, row.recipient, row.organization_key) or _NO_ENDPOINT
    except Exception as error:  # noqa: BLE001  # a hook that fails for one organization must not stop the others
        logger.warning("NOTIFY_WEBHOOK_ENDPOINT failed: %s.", type(error).__name__)
        return Outcome.retry(type(error).__name__)


def _call(job: _Job) -> Outcome:
    try:
        check_endpoint(job.endpoint.url)
    except ForbiddenDestination as error:
        return Outcome.dead(str(error))
    signature = signature_headers(job.endpoint, job.message_id, int(time.time()), job.body)
    headers = {"Content-Type": "application/json", "User-Agent": "dovetail-notify", **signature}
    return _outcome(clients.get(public=True).post(job.endpoint.url, headers=headers, content=job.body))


def _retry(job: _Job, reason: str) -> Outcome:
    return Outcome.retry(reason)


def _outcome(response: HttpResponse) -> Outcome:
    status, reason = response.status, f"status {response.status}"
    if 200 <= status < 300:
        return Outcome.sent()
    # In Standard Webhooks, 410 means "never again". Other refusals may come from a faulty release.
    if 300 <= status < 400 or status in (410, 413):
        return Outcome.dead(reason)
    return Outcome.retry(reason, response.retry_after)
