"""Web Push, tested with a local push service and a client that decrypts."""

from __future__ import annotations

import socket
import threading
import time
from datetime import timedelta
from io import StringIO
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from django.core import mail
from django.core.management import CommandError, call_command
from django.utils import timezone

from dovetail_notify import get_notification_model, notify
from dovetail_notify.checks import check_transports
from dovetail_notify.exceptions import ForbiddenDestination
from dovetail_notify.models import Delivery, Device
from dovetail_notify.outbox.worker import deliver, resend
from dovetail_notify.services import register_device
from dovetail_notify.testing import FakePush
from dovetail_notify.transports import transport_for
from dovetail_notify.transports.email import EmailTransport
from dovetail_notify.transports.http import HttpResponse
from dovetail_notify.transports.http.calls import clients
from dovetail_notify.transports.push import PushMessage, Result
from dovetail_notify.transports.push.vapid import b64decode, generate
from dovetail_notify.transports.push.web_push import PLAINTEXT_BYTES, encrypt
from tests.notify.factories import make_user
from tests.notify.push_services import PUBLIC_ADDRESS, Alarm, Browser, Reply, Service, vapid_claims

pytestmark = pytest.mark.django_db

PRIVATE, PUBLIC = generate()
PUSH = "dovetail_notify.transports.push.PushTransport"


@pytest.fixture(autouse=True)
def web_push(service: Service, settings: Any) -> None:
    settings.NOTIFY_TRANSPORTS = {"push": PUSH}
    settings.NOTIFY_VAPID_PRIVATE_KEY = PRIVATE
    settings.NOTIFY_VAPID_SUBJECT = "mailto:ops@example.com"


@pytest.fixture
def browser() -> Browser:
    return Browser()


def subscribe(user: Any, service: Service, browser: Browser, name: str = "one") -> Device:
    return register_device(user=user, kind="web", token=f"{service.origin}/{name}", keys=browser.keys)


def due() -> None:
    Delivery.objects.update(next_at=timezone.now() - timedelta(seconds=1))


# --- Messages ----------------------------------------------------------------------------------------------


def test_browser_can_decrypt_and_identify_the_server(user, service, browser):
    subscribe(user, service, browser)
    notify(Alarm(place="Hall"), to=user)
    assert deliver().sent == 1
    (request,) = service.requests
    shown = browser.read(request)
    row: Any = get_notification_model()._default_manager.get()
    assert {name: shown[name] for name in ("id", "type", "title", "body", "url")} == {
        "id": str(row.pk),
        "type": "orders.alarm",
        "title": "Alarm in Hall",
        "body": "Go and look.",
        "url": "https://app.example.com/alarms",
    }
    claims = vapid_claims(request, PUBLIC)
    assert (claims["aud"], claims["sub"]) == (service.origin, "mailto:ops@example.com")
    assert 0 < claims["exp"] - time.time() <= 24 * 3600
    headers = request.headers
    assert (headers["urgency"], len(headers["topic"])) == ("high", 32)
    assert 86000 < int(headers["ttl"]) <= 86400
    assert headers["topic"] not in ("Hall", "alarm:Hall")


def test_message_without_collapse_key_has_no_topic(user, service, browser, monkeypatch):
    monkeypatch.setattr(Alarm, "collapse_key", lambda self: None)
    subscribe(user, service, browser)
    for _ in range(2):
        notify(Alarm(place="Hall"), to=user)
    rows = list(Delivery.objects.select_related("notification"))
    assert [outcome.state for outcome in transport_for("push").send(rows)] == ["sent"] * 2
    # The tag is the same on the next attempt.
    transport_for("push").send(rows)
    tags = [browser.read(request)["tag"] for request in service.requests]
    assert len(tags) == 4
    assert len(set(tags)) == 2
    assert all("topic" not in request.headers for request in service.requests)


def test_rfc_8291_example():
    private = ec.derive_private_key(
        int.from_bytes(b64decode("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"), "big"), ec.SECP256R1()
    )
    ciphertext = encrypt(
        b"When I grow up, I want to be a watermelon",
        b64decode("BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"),
        b64decode("BTBZMqHH6r4Tts7J_aSIgg"),
        private=private,
        salt=b64decode("DGv6ra1nlYgDCS1FRnbzlw"),
    )
    assert ciphertext == b64decode(
        "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3"
        "jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
    )


def test_long_text_is_shortened_and_sent(user, service, browser):
    subscribe(user, service, browser)
    notify(Alarm(place="Hall", detail='ü"\n' * 3000), to=user)
    assert deliver().sent == 1
    assert 4096 - 6 < len(service.requests[0].body) <= 4096
    shown = browser.read(service.requests[0])
    assert shown["body"].endswith("…")
    assert shown["title"] == "Alarm in Hall"


@pytest.mark.parametrize("character", ["x", "ü", "\U0001f514", "\x01", '"'])
def test_any_message_fits(character):
    message = PushMessage(
        key=UUID(int=0),
        title=character * 200,
        body=character * 5000,
        url=f"https://app.example.com/{character * 1000}",
        collapse_key="",
        urgency="normal",
        ttl=1,
    )
    encoded = message.fitting(PLAINTEXT_BYTES, lambda title, body, url: {"title": title, "body": body, "url": url})
    assert PLAINTEXT_BYTES - 12 < len(encoded) <= PLAINTEXT_BYTES


def test_many_devices_share_few_connections(user, service, browser, settings):
    settings.NOTIFY_PUSH_CONCURRENCY = 3
    for number in range(12):
        subscribe(user, service, browser, str(number))
    notify(Alarm(place="Hall"), to=user)
    assert deliver().sent == 1
    assert len(service.requests) == 12
    assert service.connections <= 3


def test_device_gets_messages_of_its_current_user(user, service, browser):
    subscribe(user, service, browser)
    notify(Alarm(place="Hall"), to=user)
    # Another user signs in on the phone before the message is sent.
    subscribe(make_user(), service, browser)
    assert deliver().suppressed == 1
    assert service.requests == []


def test_user_without_device_has_no_delivery(user, service):
    register_device(user=user, kind="fcm", token="abc")
    notify(Alarm(place="Hall"), to=user)
    assert not Delivery.objects.filter(channel="push").exists()


def test_expired_message_is_not_sent(user, service, browser):
    subscribe(user, service, browser)
    notify(Alarm(place="Hall"), to=user)
    get_notification_model()._default_manager.update(created_at=timezone.now() - timedelta(days=2))
    assert deliver().suppressed == 1
    assert (service.requests, Delivery.objects.get().error) == ([], "too old")


# --- Responses -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [404, 410])
def test_gone_device_is_retired_with_the_reason(user, service, browser, status):
    device = subscribe(user, service, browser)
    service.answer = lambda request: Reply(status)
    notify(Alarm(place="Hall"), to=user)
    assert deliver().suppressed == 1
    device.refresh_from_db()
    assert device.retired_at is not None
    assert device.retired_reason == f"status {status}"
    subscribe(user, service, browser)
    device.refresh_from_db()
    assert (device.retired_at, device.retired_reason) == (None, "")


def test_device_registered_meanwhile_is_not_retired(user, service, browser):
    device = subscribe(user, service, browser)
    service.answer = lambda request: Reply(410)
    notify(Alarm(place="Hall"), to=user)
    outcomes = transport_for("push").start(list(Delivery.objects.select_related("notification")))
    subscribe(user, service, browser)
    outcomes()
    device.refresh_from_db()
    assert device.retired_at is None


@pytest.mark.parametrize(
    ("status", "after", "expected"),
    [(429, "120", 120), (503, "7", 60), (500, None, 60), (403, None, 60), (429, "soon", 60), (429, "9" * 30, 86400)],
)
def test_busy_service_is_retried_after_its_retry_after(user, service, browser, status, after, expected):
    subscribe(user, service, browser)
    service.answer = lambda request: Reply(status, headers={"Retry-After": after} if after else {})
    notify(Alarm(place="Hall"), to=user)
    assert deliver().retried == 1
    row = Delivery.objects.get()
    assert (row.state, row.error) == ("pending", f"status {status}")
    assert abs((row.next_at - timezone.now()).total_seconds() - expected) < 30


@pytest.mark.parametrize("status", [400, 413, 302])
def test_permanent_refusal_is_given_up(user, service, browser, status, caplog):
    device = subscribe(user, service, browser)
    service.answer = lambda request: Reply(status, headers={"Location": f"{service.origin}/elsewhere"})
    notify(Alarm(place="Hall"), to=user)
    assert deliver().dead == 1
    # Redirects are not followed.
    assert [request.path for request in service.requests] == ["/one"]
    device.refresh_from_db()
    assert device.retired_at is None
    assert service.origin not in caplog.text


def test_retry_goes_only_to_remaining_devices(user, service, browser):
    for name in ("one", "busy", "gone"):
        subscribe(user, service, browser, name)
    answers = {"/one": Reply(201), "/busy": Reply(503), "/gone": Reply(410)}
    service.answer = lambda request: answers[request.path]
    notify(Alarm(place="Hall"), to=user)
    assert deliver().retried == 1
    assert sorted(request.path for request in service.requests) == ["/busy", "/gone", "/one"]
    answers["/busy"] = Reply(201)
    due()
    assert deliver().sent == 1
    assert [request.path for request in service.requests[3:]] == ["/busy"]
    # A resent delivery goes to all devices.
    resend(Delivery.objects.all())
    assert deliver().sent == 1
    assert sorted(request.path for request in service.requests[4:]) == ["/busy", "/one"]


def test_mail_is_sent_while_push_waits(user, service, browser, settings):
    settings.NOTIFY_TRANSPORTS = {"push": PUSH, "email": "dovetail_notify.transports.email.EmailTransport"}
    subscribe(user, service, browser)
    mailed = threading.Event()

    def answer(request: Any) -> Reply:
        # Responds at once if the mail is sent meanwhile. If mail waits for this response, the test fails.
        return Reply(201 if mailed.wait(5) else 500)

    service.answer = answer
    notify(Alarm(place="Hall"), to=user)
    send = EmailTransport.send
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EmailTransport, "send", lambda self, rows: (send(self, rows), mailed.set())[0])
        assert deliver().sent == 2
    assert len(mail.outbox) == 1


def test_call_that_did_not_start_in_time_is_retried(user, service, browser, monkeypatch):
    subscribe(user, service, browser)
    monkeypatch.setattr("dovetail_notify.transports.http.calls.BATCH_SECONDS", -1)
    notify(Alarm(place="Hall"), to=user)
    assert deliver().retried == 1
    assert (service.requests, Delivery.objects.get().error) == ([], "not started in time")


def test_forked_process_opens_its_own_connections(service, monkeypatch):
    mine = clients.get(public=True)
    assert clients.get(public=True) is mine
    monkeypatch.setattr("os.getpid", lambda: -1)
    assert clients.get(public=True) is not mine


def test_endless_response_is_cut_off(service, monkeypatch):
    service.answer = lambda request: Reply(200, b"x" * 1_000_000)
    answer = clients.get(public=True).post(f"{service.origin}/", headers={}, content=b"{}")
    assert len(answer.body) == 64 * 1024


def test_dripping_response_is_cut_off(pem, settings, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    monkeypatch.setattr("dovetail_notify.transports.http.client.CALL_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        origin = f"http://127.0.0.1:{server.getsockname()[1]}"
        settings.NOTIFY_INSIDE_ORIGINS = [origin]
        bytes_sent: list[int] = []

        def drip() -> None:
            connection, _ = server.accept()
            with connection:
                # Each single read ends within its timeout.
                try:
                    for each in b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 5000:
                        connection.sendall(bytes([each]))
                        bytes_sent.append(each)
                        time.sleep(0.02)
                except OSError:
                    return

        thread = threading.Thread(target=drip)
        thread.start()
        with pytest.raises(Exception, match="Timeout") as caught:
            clients.get(public=True).post(f"{origin}/", headers={}, content=b"")
        thread.join()
        clients.close()
    assert type(caught.value).__name__ == "Unreachable"
    assert len(bytes_sent) < 1000


@pytest.mark.parametrize(
    ("header", "seconds"), [("Wed, 21 Oct 2015 07:28:00 GMT", 1), ("0", 1), ("", None), ("-1", None)]
)
def test_retry_after_can_be_a_date(header, seconds):
    assert HttpResponse(429, {"retry-after": header}, b"").retry_after == seconds


# --- Destinations ----------------------------------------------------------------------------------------------------


def post(url: str) -> Any:
    return clients.get(public=True).post(url, headers={}, content=b"")


def test_client_connects_to_the_checked_address(resolver):
    # DNS rebinding: the name resolves to a public address first and to an internal one later.
    resolver.answers = [[PUBLIC_ADDRESS], ["127.0.0.1"]]
    with pytest.raises(Exception, match="ConnectError"):
        post("https://push.example.com/x")
    assert (resolver.lookups, resolver.connected) == (["push.example.com"], [PUBLIC_ADDRESS])


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["10.1.2.3"],
        ["169.254.169.254"],
        ["100.64.0.1"],
        ["0.0.0.0"],
        ["224.0.0.1"],
        ["::1"],
        ["fe80::1"],
        ["fd00:ec2::254"],
        ["::ffff:10.0.0.1"],
        ["::127.0.0.1"],
        ["64:ff9b::a9fe:a9fe"],
        ["64:ff9b:1::a00:1"],
        ["2002:7f00:1::"],
        ["fec0::1"],
        [PUBLIC_ADDRESS, "192.168.0.1"],
    ],
)
def test_name_with_internal_address_is_not_called(resolver, addresses):
    resolver.answers = [addresses]
    with pytest.raises(ForbiddenDestination):
        post("https://push.example.com/x")
    assert resolver.connected == []


def test_device_with_rebound_name_is_not_called(user, service, browser, resolver):
    resolver.answers = [["127.0.0.1"]]
    register_device(user=user, kind="web", token="https://push.example.com/x", keys=browser.keys)
    notify(Alarm(place="Hall"), to=user)
    assert deliver().retried == 1
    assert (resolver.connected, Delivery.objects.get().error) == ([], "ForbiddenDestination")


def test_invalid_stored_endpoint_is_not_called(user, service, browser, settings):
    subscribe(user, service, browser)
    settings.NOTIFY_INSIDE_ORIGINS = []
    notify(Alarm(place="Hall"), to=user)
    assert deliver().retried == 1
    assert service.connections == 0


def test_unresolvable_name_is_retried(user, service, browser, resolver):
    resolver.answers = [[]]
    register_device(user=user, kind="web", token="https://push.example.com/x", keys=browser.keys)
    notify(Alarm(place="Hall"), to=user)
    assert deliver().retried == 1
    assert Delivery.objects.get().error == "ConnectError"


def test_debug_mode_allows_no_internal_address(user, service, browser, settings):
    settings.NOTIFY_INSIDE_ORIGINS, settings.DEBUG = [], True
    with pytest.raises(ForbiddenDestination):
        subscribe(user, service, browser)


def test_untrusted_certificate_is_refused(service, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(Exception, match="ConnectError"):
        post(f"{service.origin}/")
    assert service.requests == []


def test_invalid_keys_retire_the_device(user, service, browser):
    device = subscribe(user, service, browser)
    for keys in (
        {},
        {"p256dh": "é", "auth": "x"},
        {**browser.keys, "p256dh": "BA" + "A" * 85},  # a point that is not on the curve
        {**browser.keys, "auth": "AAAA"},
        {"p256dh": 5, "auth": 6},
    ):
        Device.objects.update(keys=keys, retired_at=None, retired_reason="")
        notify(Alarm(place="Hall"), to=user)
        assert deliver().suppressed == 1
        device.refresh_from_db()
        assert device.retired_reason == "unusable keys"
    assert service.requests == []


# --- In a project's own tests -----------------------------------------------------------------------------------------


def test_fake_push_records_messages_of_every_device(user, service, settings):
    settings.NOTIFY_TRANSPORTS = {"push": "dovetail_notify.testing.FakePush"}
    settings.NOTIFY_VAPID_PRIVATE_KEY = ""
    assert list(check_transports()) == []
    phone = register_device(user=user, kind="fcm", token="phone")
    gone = register_device(user=user, kind="apns", token="aa")
    FakePush.sent.clear()
    FakePush.results = {"aa": Result.gone("Unregistered")}
    notify(Alarm(place="Hall"), to=user)
    assert deliver().sent == 1
    assert {device for device, _ in FakePush.sent} == {phone, gone}
    assert {message.title for _, message in FakePush.sent} == {"Alarm in Hall"}
    gone.refresh_from_db()
    assert gone.retired_reason == "Unregistered"
    FakePush.results = {}


# --- Keys -------------------------------------------------------------------------------------------------------------


def test_command_makes_a_key_pair(api, settings):
    out, err = StringIO(), StringIO()
    call_command("notify_vapid_keys", stdout=out, stderr=err)
    name, _, private = out.getvalue().strip().partition("=")
    assert name == "NOTIFY_VAPID_PRIVATE_KEY"
    settings.NOTIFY_VAPID_PRIVATE_KEY = private
    answer = api.get("/api/v1/push-devices/web-push-key/")
    assert answer.status_code == 200
    public = answer.json()["public_key"]
    assert len(b64decode(public)) == 65
    assert public in err.getvalue()
    assert private not in answer.content.decode()
    settings.NOTIFY_VAPID_PRIVATE_KEY = ""
    assert api.get("/api/v1/push-devices/web-push-key/").status_code == 404


def test_command_without_cryptography_names_the_extra(monkeypatch):
    monkeypatch.setattr("dovetail_notify.management.commands.notify_vapid_keys.find_spec", lambda name: None)
    with pytest.raises(CommandError, match=r"dovetail-notify\[push\]"):
        call_command("notify_vapid_keys")


def test_logs_and_repr_contain_no_endpoint(user, service, browser, caplog):
    caplog.set_level("DEBUG")
    device = subscribe(user, service, browser, "secret-path")
    for reply in (Reply(410), Reply(500), Reply(400), Reply(201)):
        service.answer = lambda request, reply=reply: reply  # type: ignore[misc]
        Device.objects.update(retired_at=None)
        notify(Alarm(place="Hall"), to=user)
        deliver()
    assert len(service.requests) == 4
    output = caplog.text + repr(device) + str(device)
    for secret in ("secret-path", PRIVATE, *browser.keys.values()):
        assert secret not in output
