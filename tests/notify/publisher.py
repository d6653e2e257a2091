"""A process that creates the database and executes commands. Commands and results are lines of JSON."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client

from dovetail_notify import get_notification_model, notify, realtime, services
from dovetail_notify.realtime.socket_authentication import issue_ticket
from tests.notify.orders.notifications import OrderShipped

User: Any = get_user_model()


def user(name: str) -> Any:
    return User.objects.get_or_create(username=name)[0]


def _notify(name: str, number: str) -> float:
    begun = time.monotonic()
    notify(OrderShipped(number=number), to=user(name))
    return time.monotonic() - begun


def _session(name: str) -> str:
    client = Client()
    client.force_login(user(name))
    return str(client.cookies["sessionid"].value)


COMMANDS: dict[str, Any] = {
    "database": lambda: str(settings.DATABASES["default"]["NAME"]),
    "ticket": lambda name: issue_ticket(user=user(name)),
    "notify": _notify,
    "read": lambda name, ids: services.mark_read(user=user(name), ids=ids),
    "ids": lambda name: list(
        get_notification_model()._default_manager.filter(recipient=user(name)).order_by("pk").values_list("pk", flat=1)
    ),
    "session": _session,
    "deactivate": lambda name: User.objects.filter(username=name).update(is_active=False),
    "disconnect": lambda name: realtime.disconnect(user=user(name)),
    "broadcast": lambda kind: realtime.broadcast(kind),
    "statistics": lambda: [realtime.statistics.relayed, realtime.statistics.failures, realtime.statistics.dropped],
}


def main() -> None:
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        for line in sys.stdin:
            name, *arguments = json.loads(line)
            print(json.dumps(COMMANDS[name](*arguments)), flush=True)
    finally:
        connection.creation.destroy_test_db("", verbosity=0)
