"""Notifications for the project's own users: REST and mail, with no queue, no sockets, under WSGI."""

from __future__ import annotations

from accounts.models import User
from archive.models import ArchivedOrder
from companies.models import Company
from django.core import mail
from django.db import transaction
from django.test import Client
from django.test.utils import setup_test_environment, teardown_test_environment

from dovetail_notify import NotificationType, Rendered, get_notification_model, notify
from dovetail_notify.outbox.worker import deliver
from dovetail_notify.services import set_preference

Notification = get_notification_model()


class OrderReady(NotificationType, key="orders.ready"):
    number: str

    channels = {"in_app": True, "email": True}
    example = {"number": "1"}

    def render(self):
        return Rendered(title=f"Order {self.number} is ready", url="/orders/1")


setup_test_environment()
try:
    miller = User.objects.get(username="miller")
    company = Company.objects.get(name="Old Mill")
    with transaction.atomic():
        assert (
            notify(OrderReady(number="1"), to=User.objects.all(), organization=company, dedupe="order:1").created == 3
        )
        assert mail.outbox == []
    # Two people share one address, and one has none.
    assert sorted(message.to[0] for message in mail.outbox) == ["shared@example.com", "shared@example.com"]
    assert notify(OrderReady(number="1"), to=[miller, miller.pk], dedupe="order:1").created == 0
    set_preference(user=miller, channel="email", mode="off")
    with transaction.atomic():
        notify(OrderReady(number="2"), to=miller)
        transaction.set_rollback(True)
    assert deliver().total == 0
finally:
    teardown_test_environment()

client = Client(SERVER_NAME="localhost")
assert client.get("/api/v1/notifications/").status_code in {401, 403}
client.force_login(miller)
answer = client.get("/api/v1/notifications/")
assert answer.status_code == 200, answer.content
(shown,) = answer.json()["data"]
assert (shown["title"], shown["organization"]) == ("Order 1 is ready", str(company.pk))
assert client.get("/api/v1/notifications/unread-count/").json() == {"unread": 1, "capped": False}
assert client.post(f"/api/v1/notifications/{shown['id']}/read/").status_code == 200
assert client.get("/api/v1/notifications/unread-count/").json() == {"unread": 0, "capped": False}
assert client.get("/api/v1/notifications/stream/").status_code == 501
assert client.post("/api/v1/notifications/ticket/").status_code == 201
choice = {"type": "orders.ready", "channel": "email", "mode": "daily"}
answer = client.patch("/api/v1/notification-preferences/", choice, content_type="application/json")
assert answer.status_code == 200, answer.content
other = Notification.objects.exclude(recipient=miller)[0]
assert client.get(f"/api/v1/notifications/{other.pk}/").status_code == 404
assert ArchivedOrder.objects.using("archive").count() >= 0
assert client.delete(f"/api/v1/notifications/{shown['id']}/").status_code == 204
Notification.objects.all().delete()
