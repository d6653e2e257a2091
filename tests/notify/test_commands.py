from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core import mail
from django.core.management import call_command
from django.utils import timezone

from dovetail_core import queues
from dovetail_notify import get_notification_model, notify
from dovetail_notify.models import Delivery
from dovetail_notify.testing import FakeTransport, sent_notifications
from tests.notify.factories import make_user
from tests.notify.orders.notifications import OrderShipped, Quiet

pytestmark = pytest.mark.django_db


def output(command: str, *arguments: str) -> str:
    out = StringIO()
    call_command(command, *arguments, stdout=out)
    return out.getvalue().strip()


def test_notify_deliver_sends_due_deliveries(user):
    notify(OrderShipped(number="1"), to=user)
    assert output("notify_deliver") == "1 sent, 0 to be retried, 0 given up"
    assert output("notify_deliver") == "0 sent, 0 to be retried, 0 given up"
    assert len(mail.outbox) == 1


def test_purge_deletes_old_notifications(user):
    notify(Quiet(), to=user)
    get_notification_model()._default_manager.update(created_at=timezone.now() - timedelta(days=366))
    assert output("purge_notifications") == "1 notifications deleted."


def test_loop_ends_on_signal(tmp_path):
    database = f"sqlite:///{tmp_path / 'db.sqlite3'}"
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.notify.settings", "DATABASE_URL": database}
    command = [sys.executable, "-m", "django"]
    root = Path(__file__).parents[2]
    environment["PYTHONPATH"] = str(root)
    subprocess.run([*command, "migrate", "-v0"], env=environment, cwd=root, check=True)
    with subprocess.Popen(
        [*command, "notify_deliver", "--loop", "--interval", "60"],
        env=environment,
        cwd=root,
        stdout=subprocess.PIPE,
        text=True,
    ) as loop:
        assert loop.stdout is not None
        assert loop.stdout.readline().startswith("Checking for due deliveries every 60 seconds")
        loop.send_signal(signal.SIGTERM)
        assert loop.wait(timeout=20) == 0


def test_testing_helpers(user, settings):
    settings.NOTIFY_TRANSPORTS = {"email": "dovetail_notify.testing.FakeTransport"}
    FakeTransport.sent.clear()
    other = make_user()
    notify(OrderShipped(number="1"), to=[user, other])
    notify(Quiet(), to=user)
    call_command("notify_deliver", stdout=StringIO())
    assert [delivery.notification.recipient for delivery in FakeTransport.sent] == [user, other]
    assert [row.title for row in sent_notifications(to=user)] == ["Order 1 was shipped", "Quiet"]
    assert len(sent_notifications(OrderShipped)) == 2


@pytest.mark.parametrize("lane", ["celery", "tasks"])
def test_runners_send(user, settings, monkeypatch, lane):
    published: list[Any] = []
    if lane == "celery":
        pytest.importorskip("celery")
        from dovetail_notify.contrib import celery as runner

        monkeypatch.setattr(runner.deliver, "apply_async", lambda args, **options: published.append(args))
    else:
        pytest.importorskip("django.tasks")
        runner = import_module("dovetail_notify.contrib.tasks")
    notify(OrderShipped(number="1"), to=user)
    runner.run("default")
    for args in published:  # by a worker
        runner.deliver.apply(args=args)
    assert Delivery.objects.get().state == "sent"


@pytest.mark.parametrize("scheme", ["amqp", "redis"])
def test_refusing_broker_is_tried_at_most_twice_without_pause(monkeypatch, scheme):
    celery = pytest.importorskip("celery")
    if scheme == "redis":
        pytest.importorskip("redis")
    from dovetail_notify.contrib import celery as runner

    def pause(seconds: float) -> None:
        raise AssertionError(f"A request waits for {seconds} s.")

    monkeypatch.setattr(queues, "circuit", queues.CircuitBreaker())
    # Otherwise Celery would use this broker instead.
    monkeypatch.delenv("CELERY_BROKER_URL", raising=False)
    with refusing_broker() as (port, accepted):
        app = celery.Celery(broker=f"{scheme}://127.0.0.1:{port}//", set_as_current=False)
        monkeypatch.setattr(runner, "deliver", app.tasks[runner.deliver.name])
        monkeypatch.setattr("kombu.utils.functional.sleep", pause)
        with pytest.raises(queues.Unavailable, match="OperationalError"):
            runner.run("default")
        app.close()
    assert 1 <= len(accepted) <= 4


@contextlib.contextmanager
def refusing_broker() -> Iterator[tuple[int, list[Any]]]:
    """Yield a port that closes every connection at once, and the list of accepted connections."""
    accepted: list[Any] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, address = server.accept()
                    accepted.append(address)
                    connection.close()

        thread = threading.Thread(target=refuse, daemon=True)
        thread.start()
        yield server.getsockname()[1], accepted
        server.shutdown(socket.SHUT_RDWR)
    thread.join(timeout=10)
