"""The inbox may be a project's own model, in an app before or after ours."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.swapped.project import Project

INBOX = """
import uuid

from django.db import models
from dovetail_notify.base import AbstractNotification


class Notification(AbstractNotification):
    colour = models.CharField(max_length=20, default="red")
    weight = models.IntegerField(null=True)
    reference = models.UUIDField(default=uuid.uuid4)
"""
SETTINGS = """
INSTALLED_APPS = [*INSTALLED_APPS, "dovetail_notify"]
NOTIFY_NOTIFICATION_MODEL = "{app}.Notification"
"""
USE = """
from django.contrib.auth.models import User
from dovetail_notify import NotificationType, Rendered, get_notification_model, notify
from dovetail_notify.models import Delivery


class Said(NotificationType, key="tests.said"):
    channels = {"in_app": True, "email": True}

    def render(self):
        return Rendered(title="Said")


user = User.objects.create(username="ada")
notify(Said(), to=user)
row = get_notification_model().objects.get()
print("row", type(row)._meta.label, row.colour, row.weight, Delivery.objects.get().notification == row)
notify(Said(), to=user)
notify(Said(), to=User.objects.all())
print("references", get_notification_model().objects.values("reference").distinct().count())
"""

DELIVERIES = """
from dovetail_notify.models import Delivery

print(sum(row.notification.title == "Said" for row in Delivery.objects.all()), "deliveries")
"""


@pytest.mark.parametrize("app", ["ainbox", "zinbox"])
def test_an_inbox_of_ones_own(project: Callable[..., Project], app: str) -> None:
    made = project({app: INBOX}, SETTINGS.format(app=app))
    made.steps(f"makemigrations {app} documents", "check --fail-level WARNING", "migrate", "makemigrations --check")
    said = made.run(USE)
    assert f"row {app}.Notification red None True" in said
    assert "references 3" in said
    made.steps("migrate dovetail_notify 0004", "migrate dovetail_notify")
    assert "3 deliveries" in made.run(DELIVERIES)
    tables = made.run("from django.db import connection; print(connection.introspection.table_names())")
    assert "dovetail_notify_notification" not in tables
    assert f"{app}_notification" in tables
    made.steps("flush --noinput", "migrate dovetail_notify zero", f"migrate {app} zero")
