"""FCM, tested with a local server that checks assertions and tokens like Google's."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from django.utils import timezone

from dovetail_notify import get_notification_model, notify
from dovetail_notify.checks import check_transports
from dovetail_notify.models import Delivery, Device
from dovetail_notify.outbox.worker import deliver
from dovetail_notify.services import register_device
from dovetail_notify.transports.push.fcm import ServiceAccount
from tests.notify.factories import make_user
from tests.notify.push_services import Alarm, Reply, Request, Service

pytestmark = pytest.mark.django_db

KEY = rsa.generate_private_key(65537, 2048)
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()
SEND = "/v1/projects/shop-1/messages:send"


def failure(status: int, general: str, code: str = "", *, field: str = "", message: str = "", **headers: str) -> Reply:
    google = "type.googleapis.com/google"
    details: list[Any] = [{"@type": f"{google}.firebase.fcm.v1.FcmError", "errorCode": code}] if code else []
    if field:
        details.append({"@type": f"{google}.rpc.BadRequest", "fieldViolations": [{"field": field, "description": "x"}]})
    error = {"code": status, "message": message, "status": general, "details": details}
    return Reply.of(status, {"error": error}, **headers)


class Google:
    """Exchanges assertions for access tokens, and accepts messages with the newest token."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.tokens = 0
        self.expires_in = 3600
        self.refuses: Reply | None = None
        self.answer: Callable[[Any], Reply] = lambda message: Reply.of(200, {"name": "projects/shop-1/messages/7"})
        service.answer = self._answer

    def _answer(self, request: Request) -> Reply:
        if request.path == "/token":
            return self.refuses or self._token(request)
        assert request.path == SEND
        if request.headers["authorization"] != f"Bearer token-{self.tokens}":
            return failure(401, "UNAUTHENTICATED")
        return self.answer(request.json["message"])

    def _token(self, request: Request) -> Reply:
        form = parse_qs(request.body.decode())
        assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
        claims = jwt.decode(
            form["assertion"][0], KEY.public_key(), algorithms=["RS256"], audience=f"{self.service.origin}/token"
        )
        assert claims["iss"] == "push@shop-1.iam.gserviceaccount.com"
        assert claims["scope"] == "https://www.googleapis.com/auth/firebase.messaging"
        assert claims["exp"] - claims["iat"] <= 3600
        self.tokens += 1
        return Reply.of(200, {"access_token": f"token-{self.tokens}", "expires_in": self.expires_in})

    @property
    def messages(self) -> list[Any]:
        return [request.json["message"] for request in self.service.requests if request.path == SEND]


@pytest.fixture
def google(service: Service, settings: Any) -> Google:
    settings.NOTIFY_TRANSPORTS = {"push": "dovetail_notify.transports.push.PushTransport"}
    settings.NOTIFY_FCM_URL = service.origin
    settings.NOTIFY_FCM_SERVICE_ACCOUNT_KEY = {
        "project_id": "shop-1",
        "client_email": "push@shop-1.iam.gserviceaccount.com",
        "private_key": PEM,
        "token_uri": f"{service.origin}/token",
    }
    return Google(service)


def phone(user: Any, token: str = "phone") -> Device:
    return register_device(user=user, kind="fcm", token=token)


def due() -> None:
    Delivery.objects.update(next_at=timezone.now() - timedelta(seconds=1))


def test_message_has_notification_and_data(user, google):
    phone(user)
    notify(Alarm(place="Hall"), to=user)
    assert deliver().sent == 1
    assert Delivery.objects.get().provider_id == "projects/shop-1/messages/7"
    (message,) = google.messages
    row: Any = get_notification_model()._default_manager.get()
    url = "https://app.example.com/alarms"
    assert message["token"] == "phone"
    assert message["notification"] == {"title": "Alarm in Hall", "body": "Go and look."}
    assert message["data"] == {"id": str(row.pk), "type": "orders.alarm", "url": url}
    android, headers = message["android"], message["apns"]["headers"]
    assert (android["priority"], headers["apns-priority"]) == ("HIGH", "10")
    assert android["collapse_key"] == android["notification"]["tag"] == headers["apns-collapse-id"]
    assert 86000 < int(android["ttl"].removesuffix("s")) <= 86400
    assert abs(int(headers["apns-expiration"]) - time.time() - 86400) < 60
    assert message["webpush"]["fcm_options"] == {"link": url}


def test_success_does_not_depend_on_the_body(user, google):
    phone(user)
    google.answer = lambda message: Reply(200, b"<ok>")
    notify(Alarm(place="Hall"), to=user)
    assert deliver().sent == 1


def test_long_text_is_shortened(user, google):
    phone(user)
    notify(Alarm(place="Hall", detail="ü" * 9000), to=user)
    assert deliver().sent == 1
    (message,) = google.messages
    sent = json.dumps([message["notification"], message["data"]], ensure_ascii=False).encode()
    assert 3900 < len(sent) < 4096
    assert message["notification"]["body"].endswith("…")


def test_all_messages_share_one_access_token(google):
    users = [make_user() for _ in range(25)]
    for user in users:
        phone(user, f"phone-{user.pk}")
    notify(Alarm(place="Hall"), to=users)
    assert deliver().sent == 25
    assert (google.tokens, len(google.messages)) == (1, 25)


def test_access_token_is_renewed_before_expiry(user, google, monkeypatch):
    phone(user)
    notify(Alarm(place="Hall"), to=user)
    deliver()
    now = time.monotonic()
    for later, tokens in ((3200, 1), (3400, 2)):
        clock = SimpleNamespace(monotonic=lambda later=later: now + later)
        monkeypatch.setattr("dovetail_notify.transports.push.base.time", clock)
        notify(Alarm(place="Hall"), to=user)
        assert deliver().sent == 1
        assert google.tokens == tokens


def test_revoked_access_token_is_renewed_once(user, google):
    phone(user)
    notify(Alarm(place="Hall"), to=user)
    deliver()
    google.tokens += 1  # the token that was issued is no longer valid
    notify(Alarm(place="Hall"), to=user)
    assert deliver().sent == 1
    google.answer = lambda message: failure(401, "UNAUTHENTICATED")
    notify(Alarm(place="Hall"), to=user)
    before = len(google.messages)
    assert deliver().retried == 1
    assert len(google.messages) - before == 1 + 1


def test_refused_access_token_is_not_requested_per_device(google):
    google.refuses = Reply.of(400, {"error": "invalid_grant"})
    users = [make_user() for _ in range(12)]
    for user in users:
        phone(user, f"phone-{user.pk}")
    notify(Alarm(place="Hall"), to=users)
    assert deliver().retried == 12
    assert len(google.service.requests) == 1
    assert set(Delivery.objects.values_list("error", flat=True)) == {"no access token: status 400"}


@pytest.mark.parametrize(
    "reply",
    [
        failure(404, "NOT_FOUND", "UNREGISTERED"),
        failure(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", field="message.token"),
        failure(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", message="The registration token is not a valid FCM one"),
    ],
)
def test_gone_device_is_retired(user, google, reply):
    device = phone(user)
    google.answer = lambda message: reply
    notify(Alarm(place="Hall"), to=user)
    assert deliver().suppressed == 1
    device.refresh_from_db()
    assert device.retired_at is not None
    assert device.retired_reason in ("UNREGISTERED", "INVALID_ARGUMENT")


@pytest.mark.parametrize(
    ("reply", "state"),
    [
        (failure(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", Retry_After="600"), "pending"),
        (failure(503, "UNAVAILABLE", "UNAVAILABLE", Retry_After="600"), "pending"),
        (failure(500, "INTERNAL", "INTERNAL", Retry_After="600"), "pending"),
        (Reply(502, b"<html>", {"Retry-After": "600"}), "pending"),
        (Reply(500, b'{"error": "x"}', {"Retry-After": "600"}), "pending"),
        (Reply(500, b'{"error": {"details": [5, {"@type": 7}]}}', {"Retry-After": "600"}), "pending"),
        # A missing Apple certificate in Firebase and a misspelled project are errors of settings, not of the device.
        (failure(401, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR", Retry_After="600"), "pending"),
        (failure(404, "NOT_FOUND", Retry_After="600"), "pending"),
        (failure(403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH"), "dead"),
        (failure(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", field="message.android.ttl"), "dead"),
        (failure(400, "INVALID_ARGUMENT", message="Request contains an invalid argument."), "dead"),
    ],
)
def test_other_responses_retire_no_device(user, google, reply, state):
    device = phone(user)
    google.answer = lambda message: reply
    notify(Alarm(place="Hall"), to=user)
    deliver()
    row = Delivery.objects.get()
    assert (row.state, len(google.messages)) == (state, 1)
    if state == "pending":
        assert (row.next_at - timezone.now()).total_seconds() > 500
    device.refresh_from_db()
    assert device.retired_at is None


def test_logs_and_repr_contain_no_key_and_no_token(user, google, caplog):
    caplog.set_level("DEBUG")
    phone(user, "phone-secret")
    google.answer = lambda message: Reply(500)
    notify(Alarm(place="Hall"), to=user)
    deliver()
    output = caplog.text + Delivery.objects.get().error
    output += repr(ServiceAccount("shop-1", "push@example.com", PEM, "https://example.com/token"))
    assert [secret for secret in ("phone-secret", "token-1", "BEGIN", PEM[40:80]) if secret in output] == []


# --- Settings ---------------------------------------------------------------------------------------------------------


def account(**changed: Any) -> dict[str, Any]:
    fields = {"project_id": "p", "client_email": "e", "private_key": PEM, "token_uri": "https://example.com/token"}
    return fields | changed


def test_service_account_can_be_dict_text_or_file(google, settings, tmp_path):
    path = tmp_path / "firebase.json"
    path.write_text(json.dumps(account()))
    for source in (account(), json.dumps(account()), str(path), path):
        settings.NOTIFY_FCM_SERVICE_ACCOUNT_KEY = source
        assert list(check_transports()) == []


@pytest.mark.parametrize(
    "source",
    [
        "/nowhere/firebase.json",
        "{",
        "{}",
        5,
        ["SECRET"],
        account(private_key="SECRET"),
        account(private_key="-----BEGIN PRIVATE KEY-----\nSECRET\n-----END PRIVATE KEY-----"),
        account(project_id=""),
        account(token_uri=None),
    ],
)
def test_invalid_service_account_is_an_error_without_the_key(google, settings, source):
    settings.NOTIFY_FCM_SERVICE_ACCOUNT_KEY = source
    (message,) = check_transports()
    assert message.id == "dovetail_notify.E013"
    assert "SECRET" not in f"{message.msg} {message.hint}"
