"""APNs, tested with a local HTTP/2 server that checks tokens and headers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.utils import timezone

from dovetail_notify import get_notification_model, notify
from dovetail_notify.checks import check_transports
from dovetail_notify.models import Delivery, Device
from dovetail_notify.outbox.worker import deliver
from dovetail_notify.services import register_device
from dovetail_notify.transports.http.calls import clients
from dovetail_notify.transports.push.apns import provider_tokens
from dovetail_notify.types import registry
from tests.notify.factories import make_user
from tests.notify.push_services import Alarm, Reply, Request, Service, http2_service

pytestmark = pytest.mark.django_db

KEY = ec.generate_private_key(ec.SECP256R1())
PEM, OTHER = (
    key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    for key in (KEY, ec.generate_private_key(ec.SECP384R1()))
)


@pytest.fixture
def apple(pem: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    registry.add(Alarm)
    with http2_service(pem) as service:
        settings.NOTIFY_TRANSPORTS = {"push": "dovetail_notify.transports.push.PushTransport"}
        settings.NOTIFY_APNS_KEY = PEM
        settings.NOTIFY_APNS_KEY_ID, settings.NOTIFY_APNS_TEAM_ID = "ABC123DEFG", "DEF123GHIJ"
        settings.NOTIFY_APNS_TOPIC = "com.example.shop"
        settings.NOTIFY_APNS_URL = service.origin
        service.answer = lambda request: Reply(200, headers={"apns_id": request.headers["apns-id"]})
        yield service
        clients.close()
    registry.remove(Alarm)


def phone(user: Any, token: str = "a1b2") -> Device:
    return register_device(user=user, kind="apns", token=token)


def due() -> None:
    Delivery.objects.update(next_at=timezone.now() - timedelta(seconds=1))


def claims(request: Request) -> dict[str, Any]:
    scheme, _, token = request.headers["authorization"].partition(" ")
    header = jwt.get_unverified_header(token)
    assert (scheme, header["alg"], header["kid"]) == ("bearer", "ES256", "ABC123DEFG")
    payload: dict[str, Any] = jwt.decode(token, KEY.public_key(), algorithms=["ES256"])
    return payload


def refused(status: int, reason: str, **more: Any) -> Reply:
    return Reply.of(status, {"reason": reason, **more}, **{"Retry_After": "600"} if status >= 429 else {})


def test_request_has_the_headers_that_apple_requires(user, apple):
    device = phone(user)
    notify(Alarm(place="Hall"), to=user)
    assert deliver().sent == 1
    (request,) = apple.requests
    assert request.path == "/3/device/a1b2"
    row: Any = get_notification_model()._default_manager.get()
    assert request.json == {
        "aps": {"alert": {"title": "Alarm in Hall", "body": "Go and look."}},
        "id": str(row.pk),
        "type": "orders.alarm",
        "url": "https://app.example.com/alarms",
    }
    headers = request.headers
    assert (headers["apns-topic"], headers["apns-push-type"], headers["apns-priority"]) == (
        "com.example.shop",
        "alert",
        "10",
    )
    assert abs(int(headers["apns-expiration"]) - time.time() - 86400) < 60
    assert 0 < len(headers["apns-collapse-id"].encode()) <= 64
    assert Delivery.objects.get().provider_id == str(UUID(headers["apns-id"]))
    token_claims = claims(request)
    assert token_claims["iss"] == "DEF123GHIJ"
    assert abs(token_claims["iat"] - time.time()) < 60
    assert device.token not in repr(device)


def test_apns_id_is_stable_per_delivery_and_device(user, apple):
    phone(user, "a1")
    phone(user, "b2")
    apple.answer = lambda request: refused(503, "ServiceUnavailable")
    notify(Alarm(place="Hall"), to=user)
    for _ in range(2):
        assert deliver().retried == 1
        due()
    assert len(apple.requests) == 4
    assert len({(request.path, request.headers["apns-id"]) for request in apple.requests}) == 2
    assert len({request.headers["apns-id"] for request in apple.requests}) == 2


def test_many_devices_share_few_connections_and_one_token(apple, settings):
    settings.NOTIFY_PUSH_CONCURRENCY = 4
    users = [make_user() for _ in range(40)]
    for number, user in enumerate(users):
        phone(user, f"{number:04x}")
    notify(Alarm(place="Hall"), to=users)
    assert deliver().sent == 40
    assert len(apple.requests) == 40
    assert apple.connections <= 4
    assert len({request.headers["authorization"] for request in apple.requests}) == 1


def test_parallel_calls_use_separate_connections_that_later_calls_reuse(apple, settings):
    # An HTTP/2 connection of httpcore has no lock: in one of twenty runs, 15 of 40 parallel calls were sent twice.
    settings.NOTIFY_PUSH_CONCURRENCY = 4
    users = [make_user() for _ in range(4)]
    for number, user in enumerate(users):
        phone(user, f"{number:04x}")
    all_here = threading.Barrier(4)

    def answer(request: Request) -> Reply:
        all_here.wait(timeout=10)  # the server reads the next request of a connection only after its response
        return Reply(200)

    apple.answer = answer
    notify(Alarm(place="Hall"), to=users)
    assert deliver().sent == 4
    assert (len(apple.requests), apple.connections) == (4, 4)
    apple.answer = lambda request: Reply(200)
    notify(Alarm(place="Barn"), to=users[0])
    assert deliver().sent == 1
    assert (len(apple.requests), apple.connections) == (5, 4)


def test_closed_connection_is_reopened(user, apple):
    phone(user)
    apple.goes_away = True
    notify(Alarm(place="Hall"), to=user)
    assert deliver().sent == 1
    notify(Alarm(place="Hall"), to=user)
    assert deliver().sent == 1
    assert (len(apple.requests), apple.connections) == (2, 2)


def test_long_text_is_shortened(user, apple):
    phone(user)
    notify(Alarm(place="Hall", detail="ü" * 9000), to=user)
    assert deliver().sent == 1
    assert 4090 < len(apple.requests[0].body) <= 4096


@pytest.mark.parametrize(
    "reply", [refused(410, "Unregistered"), refused(410, "ExpiredToken"), refused(400, "BadDeviceToken")]
)
def test_gone_device_is_retired(user, apple, reply):
    device = phone(user)
    apple.answer = lambda request: reply
    notify(Alarm(place="Hall"), to=user)
    assert deliver().suppressed == 1
    device.refresh_from_db()
    assert device.retired_at is not None
    assert device.retired_reason == reply.body.decode().split('"')[3]


@pytest.mark.parametrize(("seconds", "retired"), [(-60, False), (60, True)])
def test_device_registered_since_is_not_retired(user, apple, seconds, retired):
    device = phone(user)
    at = round((device.registered_at + timedelta(seconds=seconds)).timestamp() * 1000)
    apple.answer = lambda request: refused(410, "Unregistered", timestamp=at)
    notify(Alarm(place="Hall"), to=user)
    report = deliver()
    assert (report.suppressed, report.retried) == ((1, 0) if retired else (0, 1))
    device.refresh_from_db()
    assert (device.retired_at is not None) is retired


@pytest.mark.parametrize(
    ("reply", "state"),
    [
        (refused(429, "TooManyRequests"), "pending"),
        (refused(500, "InternalServerError"), "pending"),
        (refused(503, "Shutdown"), "pending"),
        (Reply(500, b"[]"), "pending"),
        (Reply(500, b"<html>"), "pending"),
        (refused(403, "InvalidProviderToken"), "pending"),
        (refused(413, "PayloadTooLarge"), "dead"),
        (refused(400, "DeviceTokenNotForTopic"), "dead"),
        (refused(400, "BadTopic"), "dead"),
    ],
)
def test_other_responses_retire_no_device(user, apple, reply, state):
    device = phone(user)
    apple.answer = lambda request: reply
    notify(Alarm(place="Hall"), to=user)
    deliver()
    row = Delivery.objects.get()
    assert (row.state, len(apple.requests)) == (state, 1)
    if reply.headers:
        assert (row.next_at - timezone.now()).total_seconds() > 500
    device.refresh_from_db()
    assert device.retired_at is None


def test_expired_provider_token_is_renewed_once(user, apple, monkeypatch):
    phone(user)
    expired: set[str] = set()

    def answer(request: Request) -> Reply:
        expired.add(request.headers["authorization"])
        return Reply(200) if len(expired) > 1 else refused(403, "ExpiredProviderToken")

    apple.answer = answer
    notify(Alarm(place="Hall"), to=user)
    assert deliver().sent == 1
    assert len(expired) == 2
    # With a wrong clock every push would renew the token, which Apple forbids.
    apple.answer = lambda request: refused(403, "ExpiredProviderToken")
    for _ in range(3):
        notify(Alarm(place="Hall"), to=user)
    assert deliver().retried == 3
    assert {request.headers["authorization"] for request in apple.requests} == expired


def test_provider_token_is_used_for_forty_minutes(monkeypatch):
    tokens = provider_tokens(KEY, "ABC123DEFG", "DEF123GHIJ")
    now = time.monotonic()
    used = []
    for minutes in (0, 20, 39, 41, 60, 82):
        clock = SimpleNamespace(monotonic=lambda m=minutes: now + m * 60)
        monkeypatch.setattr("dovetail_notify.transports.push.base.time", clock)
        used.append(tokens.get())
    assert [used.index(token) for token in used] == [0, 0, 0, 3, 3, 5]


def test_invalid_device_token_never_reaches_a_path(user, apple):
    device = phone(user, "../../3/admin")
    notify(Alarm(place="Hall"), to=user)
    assert deliver().suppressed == 1
    assert apple.requests == []
    device.refresh_from_db()
    assert device.retired_reason == "not a token of APNs"


def test_logs_contain_no_key_and_no_token(user, apple, caplog):
    caplog.set_level("DEBUG")
    phone(user, "abcdef0123")
    apple.answer = lambda request: refused(500, "InternalServerError")
    notify(Alarm(place="Hall"), to=user)
    deliver()
    output = caplog.text + Delivery.objects.get().error
    token = apple.requests[0].headers["authorization"].partition(" ")[2]
    assert [secret for secret in ("abcdef0123", token, PEM[40:80]) if secret in output] == []


# --- Settings ---------------------------------------------------------------------------------------------------------


def test_key_can_be_a_file(apple, settings, tmp_path):
    path = tmp_path / "AuthKey.p8"
    path.write_text(PEM)
    for key in (PEM, str(path), path):
        settings.NOTIFY_APNS_KEY = key
        assert list(check_transports()) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KEY", "/nowhere/AuthKey.p8"),
        ("KEY", "-----BEGIN PRIVATE KEY-----\nSECRET\n-----END PRIVATE KEY-----"),
        ("KEY", 5),
        ("KEY", OTHER),
        ("KEY_ID", ""),
        ("KEY_ID", "abc"),
        ("TEAM_ID", "DEF123GHI"),
        ("TOPIC", ""),
        ("TOPIC", "com example"),
    ],
)
def test_invalid_setting_is_an_error(apple, settings, name, value):
    setattr(settings, f"NOTIFY_APNS_{name}", value)
    (message,) = check_transports()
    assert message.id == "dovetail_notify.E014"
    assert message.msg.startswith(f"NOTIFY_APNS_{name} ")
    assert "SECRET" not in f"{message.msg} {message.hint}"
