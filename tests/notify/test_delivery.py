"""The outbox: deliveries are claimed, sent and recorded."""

from __future__ import annotations

import smtplib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock

import pytest
from django.core import mail
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation

from dovetail_core.queues import CircuitBreaker
from dovetail_notify import get_notification_model, notify
from dovetail_notify.models import Delivery
from dovetail_notify.outbox.digests import send_digests
from dovetail_notify.outbox.worker import deliver, resend
from dovetail_notify.realtime.socket_authentication import issue_ticket
from dovetail_notify.services import purge_notifications, remove_notification, set_preference, update_notification
from dovetail_notify.transports import Outcome, Transport
from dovetail_notify.types import Rendered
from tests.notify.factories import make_user, make_users
from tests.notify.orders.notifications import OrderShipped, Quiet, SignedIn, Tip

pytestmark = pytest.mark.django_db

Notification: Any = get_notification_model()
SHIPPED = OrderShipped(number="A-1")


class Scripted(Transport):
    """Returns or raises the next entry of ``script`` on each call, and repeats the last one."""

    supports_digest = True
    script: list[Any] = []
    seen: list[Sequence[Delivery]] = []

    def send(self, deliveries: Sequence[Delivery]) -> Sequence[Outcome]:
        self.seen.append(deliveries)
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(step, Exception):
            raise step
        return [step] * len(deliveries)

    def send_digest(self, user: Any, deliveries: Sequence[Delivery]) -> Outcome:
        return self.send(deliveries)[0]


@pytest.fixture
def script(settings: Any) -> list[Any]:
    settings.NOTIFY_TRANSPORTS = {"email": Scripted}
    Scripted.script = [Outcome.sent("provider-1")]
    Scripted.seen = []
    return Scripted.script


def due(**fields: Any) -> None:
    Delivery.objects.update(next_at=timezone.now() - timedelta(seconds=1), **fields)


# --- The mail ---------------------------------------------------------------------------------------------------------


def test_mail_has_the_text_and_one_click_unsubscribe(user):
    notify(SHIPPED, to=user)
    assert deliver().sent == 1
    (message,) = mail.outbox
    assert (message.to, message.subject) == ([user.email], "Order A-1 was shipped")
    assert "It is on its way." in message.body
    assert "https://app.example.com/orders/A-1" in message.body
    headers = message.extra_headers
    delivery = Delivery.objects.get()
    assert headers["Message-ID"] == f"<{delivery.key}@localhost>"
    assert headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert headers["List-Unsubscribe"].startswith("<https://api.example.com/api/v1/notifications/unsubscribe/")
    # Anymail's own attributes.
    assert message.metadata == {"delivery": str(delivery.key)}  # type: ignore[attr-defined]
    assert (delivery.state, delivery.next_at, delivery.attempts) == ("sent", None, 1)
    assert deliver().total == 0


def test_required_mail_has_no_unsubscribe_header(user):
    notify(SignedIn(device="<b>Firefox</b>"), to=user)
    deliver()
    assert "List-Unsubscribe" not in mail.outbox[0].extra_headers
    html = mail.outbox[0].alternatives[0][0]
    assert "&lt;b&gt;Firefox&lt;/b&gt;" in str(html)


def test_user_without_address_is_suppressed(user):
    user.email = ""
    user.save()
    notify(SHIPPED, to=user)
    assert deliver().suppressed == 1
    assert Delivery.objects.get().error == "no address"


def test_deactivated_user_gets_nothing(user, script):
    other = make_user()
    notify(SHIPPED, to=[user, other])
    user.is_active = False
    user.save()
    report = deliver()
    assert (report.sent, report.suppressed) == (1, 1)
    assert [row.notification.recipient for row in Scripted.seen[0]] == [other]


def test_refused_address_does_not_stop_others(user, monkeypatch):
    from django.core.mail.backends.locmem import EmailBackend

    send = EmailBackend.send_messages

    def refuse_first(self: Any, messages: Any) -> Any:
        if messages[0].to == [user.email]:
            raise smtplib.SMTPRecipientsRefused({user.email: (550, b"no such user")})
        return send(self, messages)

    monkeypatch.setattr(EmailBackend, "send_messages", refuse_first)
    notify(SHIPPED, to=[user, make_user()])
    report = deliver()
    assert (report.sent, report.dead) == (1, 1)
    # Without the address, which the server's reply contains.
    assert Delivery.objects.get(state="dead").error == "SMTPRecipientsRefused 550"


def test_claim_opens_one_mail_connection(monkeypatch):
    from django.core.mail.backends.locmem import EmailBackend

    opened: list[int] = []
    monkeypatch.setattr(EmailBackend, "open", lambda self: opened.append(1))
    notify(SHIPPED, to=make_users(30))
    assert deliver().sent == 30
    assert len(opened) == 1
    assert len({message.extra_headers["Message-ID"] for message in mail.outbox}) == 30


# --- Claim and record -------------------------------------------------------------------------------------------------


def test_failure_is_retried_with_backoff_then_given_up(user, script, settings, caplog):
    settings.NOTIFY_BACKOFF_SECONDS = [60, 300, 900]
    script[:] = [RuntimeError("to ada@example.com"), Outcome.retry("busy", after=700), Outcome.retry("x", after=1)]
    notify(SHIPPED, to=user)
    waits = []
    for _ in range(3):
        assert deliver().retried == 1
        assert deliver().total == 0
        waits.append(round((Delivery.objects.get().next_at - timezone.now()).total_seconds()))
        due()
    # A service can ask for a longer wait than the backoff, but not for a shorter one.
    assert waits == [60, 700, 900]
    assert deliver().dead == 1
    row = Delivery.objects.get()
    assert (row.state, row.next_at, row.attempts, row.error) == ("dead", None, 4, "x")
    assert "ada@example.com" not in caplog.text
    assert {delivery.key for call in Scripted.seen for delivery in call} == {row.key}


def test_dead_delivery_can_be_resent(user, script):
    script[:] = [Outcome.dead("no"), Outcome.sent()]
    notify(SHIPPED, to=user)
    assert deliver().dead == 1
    assert resend(Delivery.objects.all()) == 1
    assert deliver().sent == 1
    assert resend(Delivery.objects.filter(state="pending")) == 0


def test_expired_lease_is_taken_over_by_another_worker(user, script, monkeypatch):
    notify(SHIPPED, to=user)

    def dies(*args: Any, **kwargs: Any) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr("dovetail_notify.outbox.worker.record", dies)
        with pytest.raises(SystemExit):
            deliver()
    assert deliver().total == 0
    due()
    assert deliver().sent == 1
    first, second = (call[0] for call in Scripted.seen)
    assert first.key == second.key
    assert Delivery.objects.get().attempts == 2


def test_worker_with_lost_lease_does_not_record(user, script, monkeypatch):
    notify(SHIPPED, to=user)

    class Slow(Scripted):
        def send(self, deliveries: Sequence[Delivery]) -> Sequence[Outcome]:
            # Another worker has taken over the delivery.
            Delivery.objects.update(lease="00000000-0000-0000-0000-000000000001")
            return [Outcome.sent()] * len(deliveries)

    monkeypatch.setattr(Scripted, "send", Slow.send)
    deliver()
    assert Delivery.objects.get().state == "pending"


def test_deliver_inside_a_transaction_raises(transactional_db, script):
    notify(SHIPPED, to=make_user())
    Delivery.objects.update(state="pending", next_at=timezone.now(), attempts=0)
    with transaction.atomic(), pytest.raises(RuntimeError, match="durable"):
        deliver()
    assert Delivery.objects.get().attempts == 0


def test_claim_query_count_does_not_grow_with_size(user, script):
    counts = []
    for number in (2, 90):
        notify(SHIPPED, to=make_users(number))
        with CaptureQueriesContext(connection) as queries:
            assert deliver(limit=100).sent == number
        counts.append(len([query for query in queries if "SAVEPOINT" not in query["sql"]]))
    assert counts == [5, 5]


def test_delivery_of_removed_channel_is_given_up(user, script, settings):
    notify(SHIPPED, to=user)
    settings.NOTIFY_TRANSPORTS = {"push": Scripted}
    assert deliver().dead == 1


def test_delivery_without_notification_is_given_up_and_blocks_nothing(user, script, settings, caplog):
    settings.NOTIFY_CLAIM_SIZE = 2
    for _ in range(3):
        notify(SHIPPED, to=user)
    notifications = Notification.objects.order_by("pk")
    notifications.filter(pk__in=list(notifications.values_list("pk", flat=True)[:2]))._raw_delete("default")
    report = deliver()
    assert (report.sent, report.dead) == (1, 2)
    states = Delivery.objects.order_by("pk").values_list("state", "next_at", "lease", "error")
    assert list(states[:2]) == [("dead", None, None, "the notification is gone")] * 2
    assert states[2][0] == "sent"
    assert "2 deliveries were given up: their notifications are gone." in caplog.text
    assert deliver().total == 0


def test_delivery_has_no_foreign_key_in_the_database(db):
    with connection.cursor() as cursor:
        constraints = connection.introspection.get_constraints(cursor, Delivery._meta.db_table)
    # A foreign key would lock each inbox row when a fan-out commits.
    assert not [name for name, each in constraints.items() if each["foreign_key"]]


def test_deleting_a_user_deletes_deliveries(user):
    notify(SHIPPED, to=[user, make_user()])
    user.delete()
    assert Notification.objects.count() == Delivery.objects.count() == 1


@pytest.mark.parametrize(
    ("language", "texts"),
    [
        ("de", ("Keine solchen E-Mails mehr", "2 Benachrichtigungen")),
        ("en", ("Stop mail like this", "2 notifications")),
    ],
)
def test_mail_frame_uses_the_language_of_the_sending_process(user, settings, language, texts):
    settings.LANGUAGE_CODE = "de"
    stop, digest = texts
    with translation.override(language):
        notify(SHIPPED, to=user)
        assert deliver().sent == 1
        set_preference(user=user, channel="email", mode="hourly")
        for number in ("1", "2"):
            notify(OrderShipped(number=number), to=user)
        due()
        assert send_digests().sent == 2
    single, several = mail.outbox
    assert f"{stop}: https://" in single.body
    assert f">{stop}</a>" in str(single.alternatives[0][0])
    assert several.subject == digest


def test_mail_is_in_the_language_and_time_zone_of_its_recipient(user, settings, monkeypatch):
    settings.LANGUAGES = [("en", "English"), ("de", "German")]
    monkeypatch.setattr(type(user), "language", "de", raising=False)
    monkeypatch.setattr(
        OrderShipped, "render", lambda self: Rendered(title=f"{translation.get_language()} {self.number}")
    )
    with translation.override("en"):
        notify(SHIPPED, to=user)
        assert deliver().sent == 1
    (message,) = mail.outbox
    assert message.subject == f"de {SHIPPED.number}"
    assert "Keine solchen E-Mails mehr: https://" in message.body
    assert '<html lang="de">' in message.alternatives[0][0]
    assert Notification.objects.get().title == f"en {SHIPPED.number}"


def test_mail_keeps_the_stored_text_if_the_type_cannot_render(user, settings, monkeypatch, caplog):
    settings.LANGUAGES = [("en", "English"), ("de", "German")]
    notify(SHIPPED, to=user)
    monkeypatch.setattr(type(user), "language", "de", raising=False)
    monkeypatch.setattr(OrderShipped, "render", Mock(side_effect=KeyError("secret")))
    assert deliver().sent == 1
    assert mail.outbox[0].subject == Notification.objects.get().title
    assert "did not render for a mail: KeyError." in caplog.text
    assert "secret" not in caplog.text


# --- After commit -----------------------------------------------------------------------------------------------------


def test_runner_is_called_once_per_transaction(user, settings, django_capture_on_commit_callbacks):
    calls: list[str] = []
    settings.NOTIFY_RUNNER = calls.append
    with django_capture_on_commit_callbacks(execute=True):
        notify(SHIPPED, to=user)
        notify(SHIPPED, to=user)
        assert calls == []
    assert calls == ["default"]


def test_rolled_back_rows_are_not_announced_with_next_commit(user, transactional_db, monkeypatch):
    published: list[Any] = []
    monkeypatch.setattr("dovetail_notify.outbox.runner.messages.publish", published.extend)
    for _ in range(3):
        with transaction.atomic():
            notify(OrderShipped(number="A-0"), to=user)
            transaction.set_rollback(True)
    assert len(connection._dovetail_notify) == 1  # of the last call, until the next one
    with transaction.atomic():
        first = notify(OrderShipped(number="A-1"), to=user)
        with transaction.atomic():
            notify(OrderShipped(number="A-2"), to=user)
            transaction.set_rollback(True)
        last = notify(OrderShipped(number="A-3"), to=user)
        with transaction.atomic():
            notify(OrderShipped(number="A-4"), to=user)
            transaction.set_rollback(True)
    assert [row["batch"] for row in published] == [str(first.batch), str(last.batch)]
    assert connection._dovetail_notify == []


def test_rolled_back_savepoint_keeps_the_other_announcement(settings, transactional_db):
    calls: list[str] = []
    settings.NOTIFY_RUNNER = calls.append
    user = make_user()
    with transaction.atomic():
        with transaction.atomic():
            notify(SHIPPED, to=user)
            transaction.set_rollback(True)
        notify(SHIPPED, to=user)
    assert calls == ["default"]


def test_failing_runner_fails_nothing_and_is_paused(settings, transactional_db, caplog, monkeypatch):
    monkeypatch.setattr("dovetail_notify.outbox.runner._circuit", CircuitBreaker())
    calls: list[str] = []

    def broker_is_down(using: str) -> None:
        calls.append(using)
        raise ConnectionError("amqp://user:secret@broker")

    settings.NOTIFY_RUNNER = broker_is_down
    after: list[int] = []
    with transaction.atomic():
        notify(SHIPPED, to=make_user())
        transaction.on_commit(lambda: after.append(1))
    assert after == [1]
    assert "ConnectionError" in caplog.text
    assert "secret" not in caplog.text
    notify(SHIPPED, to=make_user())
    # A broker's client takes seconds to fail, so the runner is not called again; workers look at the outbox anyway.
    assert calls == ["default"]
    assert deliver().sent == 2


def test_default_runner_sends_after_commit(transactional_db):
    with transaction.atomic():
        notify(SHIPPED, to=make_user())
        assert mail.outbox == []
    assert len(mail.outbox) == 1


# --- Digests ----------------------------------------------------------------------------------------------------------


def test_hourly_digest_is_one_mail_of_unread_notifications(user):
    set_preference(user=user, channel="email", mode="hourly")
    for number in ("1", "1", "2", "3"):
        notify(OrderShipped(number=number), to=user)
    assert send_digests().total == 0
    assert deliver().total == 0
    update_notification(notification=Notification.objects.get(payload__number="3"), read=True)
    due()
    report = send_digests()
    assert (report.sent, report.suppressed) == (3, 1)
    (message,) = mail.outbox
    # The two notifications with the same collapse key count once.
    assert message.subject == "2 notifications"
    assert message.body.count("was shipped") == 2
    assert "Order 3" not in message.body
    assert send_digests().total == 0


def test_digest_of_read_notifications_is_not_sent(user):
    set_preference(user=user, channel="email", mode="hourly")
    notify(SHIPPED, to=user)
    update_notification(notification=Notification.objects.get(), read=True)
    due()
    assert send_digests().suppressed == 1
    assert mail.outbox == []


def test_digest_without_inbox_channel_is_sent(user):
    set_preference(user=user, channel="email", mode="hourly")
    set_preference(user=user, channel="in_app", mode="off")
    notify(SHIPPED, to=user)
    due()
    assert send_digests().sent == 1


def test_daily_digest_is_sent_in_the_users_morning(user, settings):
    from zoneinfo import ZoneInfo

    settings.NOTIFY_TIME_ZONE = lambda user: ZoneInfo("Asia/Tokyo")
    set_preference(user=user, channel="email", mode="daily")
    notify(SHIPPED, to=user)
    assert send_digests().total == 0
    due_at = Delivery.objects.get().next_at
    assert due_at.astimezone(ZoneInfo("Asia/Tokyo")).hour == 8
    assert timedelta(0) < due_at - timezone.now() <= timedelta(days=1)
    Notification.objects.update(created_at=timezone.now() - timedelta(days=2))
    due()
    assert send_digests().sent == 1


def test_failed_digest_is_retried(user, script):
    script[:] = [RuntimeError(), Outcome.sent()]
    set_preference(user=user, channel="email", mode="hourly")
    notify(SHIPPED, to=user)
    due()
    assert send_digests().retried == 1
    assert Delivery.objects.get().state == "held"
    due()
    assert send_digests().sent == 1


def test_invalid_time_zone_falls_back_to_the_projects(user):
    from dovetail_notify.outbox.digests import time_zone_of

    user.timezone = "Nowhere/At_All"
    assert time_zone_of(user) == timezone.get_default_timezone()
    user.timezone = "Europe/Berlin"
    assert datetime(2026, 7, 1, 12, tzinfo=UTC).astimezone(time_zone_of(user)).hour == 14


# --- Pruning ----------------------------------------------------------------------------------------------------------


def test_purge_deletes_old_notifications_in_batches(user):
    now = timezone.now()
    for age, read, cls in (
        (100, True, Quiet()),
        (100, False, Quiet()),
        (400, False, SHIPPED),
        (10, True, Tip()),
        (10, True, Quiet()),
    ):
        notify(cls, to=user)
        newest = Notification.objects.order_by("-pk")[:1].get()
        newest.created_at = now - timedelta(days=age)
        newest.read_at = now if read else None
        newest.save()
    issue_ticket(user=user)
    from dovetail_notify.models import Ticket

    Ticket.objects.update(expires_at=now - timedelta(seconds=1))
    assert purge_notifications(batch=2) == 3
    rows = Notification.objects.order_by("pk").values_list("type", "read_at")
    assert [(kind, read_at is None) for kind, read_at in rows] == [("orders.quiet", True), ("orders.quiet", False)]
    assert Delivery.objects.count() == 0
    assert Ticket.objects.count() == 0
    assert purge_notifications() == 0


def test_purge_deletes_deliveries_without_notification(user):
    notify(SHIPPED, to=make_users(3))
    assert deliver().sent == 3
    first, second, third = Notification.objects.order_by("pk").values_list("pk", flat=True)
    Notification.objects.filter(pk=second)._raw_delete("default")
    assert purge_notifications() == 0
    assert set(Delivery.objects.values_list("notification", flat=True)) == {first, third}


def test_purge_and_delete_lock_in_the_same_order(user):
    notify(SHIPPED, to=[user, make_user()])
    Notification.objects.update(created_at=timezone.now() - timedelta(days=400))

    def deleted(queries: CaptureQueriesContext) -> list[bool]:
        outbox = f"DELETE FROM {connection.ops.quote_name(Delivery._meta.db_table)}"
        return [each["sql"].startswith(outbox) for each in queries if each["sql"].startswith("DELETE")]

    with CaptureQueriesContext(connection) as one:
        remove_notification(notification=Notification.objects.get(recipient=user))
    with CaptureQueriesContext(connection) as queries:
        assert purge_notifications() == 1
    assert deleted(one) == [True, False]
    # The first statement deletes tickets.
    assert deleted(queries) == [False, True, False]
    assert not Delivery.objects.exists()
