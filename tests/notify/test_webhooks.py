"""Signed webhooks, tested with a local server."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from dovetail_notify import get_notification_model, notify
from dovetail_notify.models import Delivery
from dovetail_notify.outbox.worker import deliver, resend
from dovetail_notify.transports.webhook import InvalidWebhook, WebhookEndpoint, sign, verify_webhook, webhook_secrets
from tests.notify.factories import make_user
from tests.notify.push_services import Alarm, Reply, Service

SECRET = webhook_secrets("7:2")[0]
OLD = webhook_secrets("7:1")[0]


@pytest.fixture
def endpoint(service: Service, settings: Any) -> Service:
    settings.NOTIFY_TRANSPORTS = {"webhook": "dovetail_notify.transports.webhook.WebhookTransport"}
    settings.NOTIFY_WEBHOOK_ENDPOINT = lambda user, key: WebhookEndpoint(f"{service.origin}/hook", [SECRET, OLD])
    return service


def due() -> None:
    Delivery.objects.update(next_at=timezone.now() - timedelta(seconds=1))


# --- Requests ---------------------------------------------------------------------------------------------


def test_receiver_can_verify_and_read_a_webhook(user, endpoint):
    notify(Alarm(place="Hall"), to=user, organization="acme", actor="9")
    assert deliver().sent == 1
    (request,) = endpoint.requests
    row: Any = get_notification_model()._default_manager.get()
    for secrets in ([SECRET], [OLD], ["whsec_" + "A" * 32, SECRET]):
        assert verify_webhook(request.body, request.headers, secrets) == {
            "type": "orders.alarm",
            "timestamp": row.created_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "data": {
                "id": row.pk,
                "title": "Alarm in Hall",
                "body": "Go and look.",
                "target_url": "/alarms",
                "payload": {"place": "Hall", "detail": "Go and look."},
                "organization": "acme",
                "actor": "9",
                "recipient": str(user.pk),
                "collapse_key": "alarm:Hall",
            },
        }
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-id"] == str(Delivery.objects.get().key)


def test_id_and_body_are_the_same_on_every_attempt(user, endpoint):
    endpoint.answer = lambda request: Reply(503)
    notify(Alarm(place="Hall"), to=user)
    assert deliver().retried == 1
    get_notification_model()._default_manager.update(read_at=timezone.now())
    endpoint.answer = lambda request: Reply(200)
    due()
    assert deliver().sent == 1
    resend(Delivery.objects.all())
    assert deliver().sent == 1
    assert len({(request.headers["webhook-id"], request.body) for request in endpoint.requests}) == 1
    assert len(endpoint.requests) == 3


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (204, "sent"),
        *((each, "dead") for each in (301, 307, 410, 413)),
        *((each, "pending") for each in (400, 404, 429, 500, 503)),
    ],
)
def test_status_decides_the_outcome(user, endpoint, status, state):
    endpoint.answer = lambda request: Reply(status, headers={"Retry-After": "900", "Location": "/elsewhere"})
    notify(Alarm(place="Hall"), to=user)
    deliver()
    row = Delivery.objects.get()
    assert (row.state, row.attempts) == (state, 1)
    assert [request.path for request in endpoint.requests] == ["/hook"]
    if state == "pending":
        assert (row.next_at - timezone.now()).total_seconds() > 800


def test_endpoint_hook_is_called_once_per_user_and_organization(db, service, settings):
    settings.NOTIFY_TRANSPORTS = {"webhook": "dovetail_notify.transports.webhook.WebhookTransport"}
    ada, ben = make_user(), make_user()
    calls: list[Any] = []

    def endpoint(user: Any, organization_key: str | None) -> WebhookEndpoint | None:
        calls.append((user, organization_key))
        if organization_key is None:
            return None
        if organization_key == "broken":
            raise LookupError("https://user:secret@example.com")
        return WebhookEndpoint(f"{service.origin}/{organization_key}/{user.pk}", [SECRET])

    settings.NOTIFY_WEBHOOK_ENDPOINT = endpoint
    for organization in ("acme", "acme", None, "broken"):
        notify(Alarm(place="Hall"), to=[ada, ben], organization=organization)
    report = deliver()
    assert (report.sent, report.suppressed, report.retried) == (4, 2, 2)
    assert sorted(request.path for request in service.requests) == [
        f"/acme/{user.pk}" for user in (ada, ben) for _ in range(2)
    ]
    assert len(calls) == 6
    assert set(Delivery.objects.filter(state="pending").values_list("error", flat=True)) == {"LookupError"}


@pytest.mark.parametrize(
    "url", ["https://169.254.169.254/", "http://example.com/", "https://localhost/", "x", "https://[::1]/"]
)
def test_internal_address_is_not_called(user, endpoint, settings, url):
    settings.NOTIFY_WEBHOOK_ENDPOINT = lambda user, key: WebhookEndpoint(url, [SECRET])
    notify(Alarm(place="Hall"), to=user)
    assert deliver().dead == 1
    assert "169.254" not in Delivery.objects.get().error


def test_name_with_internal_address_is_not_called(user, endpoint, settings, resolver):
    resolver.answers = [["10.0.0.7"]]
    settings.NOTIFY_WEBHOOK_ENDPOINT = lambda user, key: WebhookEndpoint("https://push.example.com/", [SECRET])
    notify(Alarm(place="Hall"), to=user)
    assert deliver().retried == 1
    assert (resolver.connected, Delivery.objects.get().error) == ([], "ForbiddenDestination")


def test_invalid_hook_result_is_retried_and_logged(user, endpoint, settings, caplog):
    settings.NOTIFY_WEBHOOK_ENDPOINT = lambda user, key: {"url": "https://example.com/token"}
    notify(Alarm(place="Hall"), to=user)
    assert deliver().retried == 1
    assert "TypeError" in caplog.text
    assert "example.com" not in caplog.text


# --- Signatures -------------------------------------------------------------------------------------------------------


def test_signature_matches_the_standards_example():
    # The example in the reference libraries of the specification.
    secret, at = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", 1614265330
    body = b'{"test": 2432232314}'
    assert sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", at, body) == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def signed(body: bytes = b"{}", *, at: float | None = None, **changed: str) -> dict[str, str]:
    stamp = int(time.time() if at is None else at)
    headers = {
        "Webhook-Id": "m1",
        "Webhook-Timestamp": str(stamp),
        "Webhook-Signature": sign(SECRET, "m1", stamp, body),
    }
    return headers | changed


def test_header_names_are_case_insensitive():
    assert verify_webhook(b"{}", signed(), [SECRET]) == {}
    assert verify_webhook(b"{}", {k.upper(): v for k, v in signed().items()}, [SECRET]) == {}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        signed(**{"Webhook-Id": "m2"}),
        signed(**{"Webhook-Timestamp": str(int(time.time()) - 1)}),
        signed(**{"Webhook-Timestamp": "soon"}),
        signed(**{"Webhook-Timestamp": "9" * 5000}),
        signed(**{"Webhook-Timestamp": "-1"}),
        signed(**{"Webhook-Signature": ""}),
        signed(**{"Webhook-Signature": "v1,é v2,x"}),
        signed(**{"Webhook-Signature": signed()["Webhook-Signature"].replace("v1,", "v1a,")}),
        signed(b"[]"),
        signed(at=time.time() - 10**6),
        signed(at=time.time() + 10**6),
    ],
)
def test_wrong_signature_or_timestamp_is_refused(headers):
    with pytest.raises(InvalidWebhook):
        verify_webhook(b"{}", headers, [SECRET])


def test_other_secret_and_invalid_json_are_refused():
    with pytest.raises(InvalidWebhook):
        verify_webhook(b"{}", signed(), [OLD])
    with pytest.raises(InvalidWebhook):
        verify_webhook(b"{}", signed(), [])
    with pytest.raises(InvalidWebhook, match="JSON"):
        verify_webhook(b"{", signed(b"{"), [SECRET])


def test_receiver_chooses_the_tolerance():
    old = signed(at=time.time() - 400)
    assert verify_webhook(b"{}", old, [SECRET], tolerance=500) == {}
    stamp = int(old["Webhook-Timestamp"])
    for apart in (-300, 300):
        assert verify_webhook(b"{}", old, [SECRET], now=stamp + apart) == {}
    for apart in (-301, 301):
        with pytest.raises(InvalidWebhook, match="300 seconds"):
            verify_webhook(b"{}", old, [SECRET], now=stamp + apart)


def test_derived_secrets_survive_secret_key_rotation(settings):
    before = webhook_secrets("7:2")
    assert before == webhook_secrets("7:2") != webhook_secrets("7:3")
    key = base64.b64decode(before[0].removeprefix("whsec_"))
    assert len(key) == 32
    stamp, body = int(time.time()), json.dumps({"a": 1}).encode()
    mac = base64.b64encode(hmac.new(key, f"m.{stamp}.".encode() + body, hashlib.sha256).digest()).decode()
    assert sign(before[0], "m", stamp, body) == f"v1,{mac}"
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another-secret-key-of-32-characters!"
    after = webhook_secrets("7:2")
    assert len(after) == 2
    assert (after[0] != before[0], after[1]) == (True, before[0])


@pytest.mark.parametrize("secrets", [[], "whsec_x", ["x" * 40], ["whsec_short"], ["whsec_" + "é" * 40], [None], [5]])
def test_endpoint_with_invalid_secret_is_refused(secrets):
    with pytest.raises(ValueError, match="secret") as caught:
        WebhookEndpoint("https://example.com/", secrets)
    assert "short" not in str(caught.value)


def test_endpoint_repr_shows_no_url_and_no_secret():
    assert repr(WebhookEndpoint("https://example.com/token", [SECRET])) == "WebhookEndpoint()"
