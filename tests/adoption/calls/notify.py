"""The README's type of notification arrives in the person's inbox and by mail."""

from __future__ import annotations

from importlib import import_module

from callers import NOTIFICATIONS, client, person
from django.core import mail
from django.test.utils import setup_test_environment, teardown_test_environment

from dovetail_notify import notify

OrderShipped = import_module(NOTIFICATIONS).OrderShipped
setup_test_environment()
try:
    assert notify(OrderShipped(number="A-1"), to=person()).created == 1
    (message,) = mail.outbox
    assert message.to == [person().email]
finally:
    teardown_test_environment()
response = client().get("/api/v1/notifications/")
assert response.status_code == 200, response.content
assert [row["title"] for row in response.json()["data"]] == ["Order A-1 was shipped"]
