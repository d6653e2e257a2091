"""End to end, and then everything that can break does: nothing is lost.

Two web processes, a worker, a scheduler, PostgreSQL, a Redis and a mail server of the test's own; the broker is that
Redis, or the lane's RabbitMQ behind a proxy that can be away.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection

from dovetail_core.queues import PAUSE
from tests.composed.browser import CHROMIUM, Tab, chromium
from tests.composed.journeys import sign_in
from tests.composed.listener import Listener
from tests.composed.processes import call, free_port, run, running, wait_until_up
from tests.composed.servers import REDIS, MailSink, Proxy, Redis, forget_queue
from tests.composed.settings import TEST_BROKER_URL
from tests.composed.test_console import UNREAD, _signed_in

ROOT = Path(__file__).parents[2]
EACH = 4
PAID = '[...document.querySelectorAll("#notifications li")].filter(item => item.innerText.includes("was paid")).length'

STATES = """
import json, django; django.setup()
from collections import Counter
from dovetail_notify import get_notification_model
from dovetail_notify.models import Delivery
inbox = get_notification_model().objects.filter(recipient__email="ada@example.com", type="invoices.paid")
deliveries = Delivery.objects.filter(notification__in=inbox, channel="email").select_related("notification")
print(json.dumps({"inbox": sorted(inbox.values_list("pk", flat=True)), "keys": [str(d.key) for d in deliveries],
                  "states": dict(Counter(d.state for d in deliveries))}))
"""


class Service:
    def __init__(self, folder: Path, database_url: str, broker: str) -> None:
        self.redis = Redis(folder, free_port())
        self.queue = f"dovetail_test_{uuid4().hex[:12]}"
        self.proxy = Proxy(TEST_BROKER_URL) if broker == "rabbitmq" else None
        self.sink = MailSink()
        self.api, self.sockets = free_port(), free_port()
        redis = f"redis://127.0.0.1:{self.redis.port}"
        self.environment = {
            "DJANGO_SETTINGS_MODULE": "tests.composed.fault_settings",
            "PYTHONPATH": f"{ROOT}:{ROOT / 'example_project'}",
            "DJANGO_DEBUG": "true",
            "WEBSOCKETS_ENABLED": "true",
            "DATABASE_URL": database_url,
            "REDIS_URL": f"{redis}/0",
            "CELERY_BROKER_URL": self.proxy.url if self.proxy else f"{redis}/1",
            "TEST_QUEUE": self.queue,
            "EMAIL_PROVIDER": "smtp",
            "EMAIL_HOST": "127.0.0.1",
            "EMAIL_PORT": str(self.sink.port),
            "EMAIL_USE_TLS": "false",
            "DEFAULT_FROM_EMAIL": "no-reply@example.com",
            "LOG_FORMAT": "json",
            "DJANGO_ALLOWED_HOSTS": "127.0.0.1",
            "THROTTLE_USER": "100000/min",
            "THROTTLE_ANON": "100000/min",
        }
        celery = [sys.executable, "-m", "celery", "-A", "example_project"]
        self.worker = [*celery, "worker", "-l", "info", "--concurrency", "1"]
        # Of its own, as the README has it: a worker's own scheduler (-B) outlives a worker that is killed, and the next
        # one's then shares the schedule's file with it, which from Python 3.13 is SQLite and may be locked.
        self.beat = [*celery, "beat", "-l", "info", "-s", str(folder / "beat")]
        self._web = [sys.executable, "-m", "uvicorn", "example_project.asgi:application", "--lifespan", "off", "--port"]

    def base(self, port: int) -> str:
        return f"http://127.0.0.1:{port}"

    @contextlib.contextmanager
    def web(self, port: int) -> Iterator[Any]:
        with running(*self._web, str(port), **self.environment) as process:
            wait_until_up(process, port)
            yield process

    def close(self) -> None:
        self.redis.stop()
        self.sink.shutdown()
        self.sink.server_close()
        if self.proxy is not None:
            self.proxy.stop()
            forget_queue(TEST_BROKER_URL, self.queue)

    def states(self) -> dict[str, Any]:
        done = run("-c", STATES, **self.environment)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


class Supervised:
    """A worker or scheduler and what restarts it, as systemd, Docker or Kubernetes do.

    Celery's worker ends where its Redis goes away while it holds a message that has not begun: kombu (5.7) then wants
    to give it back by a connection that is closed, and takes its own AttributeError for the end.
    """

    def __init__(self, command: list[str], service: Service, stack: contextlib.ExitStack) -> None:
        self._command, self._service, self._stack = command, service, stack
        self.ended = 0
        self.start()

    def start(self) -> None:
        self.process = self._stack.enter_context(running(*self._command, **self._service.environment))

    def supervised(self) -> bool:
        """True, always: to be asked while something of it is waited for."""
        if self.process.poll() is not None:
            self.ended += 1
            self.start()
        return True

    def said(self) -> str:
        return "\n".join(self.process.log.read_text().splitlines()[-80:])


class Payer:
    """Grace, who marks one invoice after another as paid, by the API's process."""

    def __init__(self, base: str) -> None:
        self.base = base
        grace = sign_in(base, "grace@example.com")
        organizations = call("GET", f"{base}/api/v1/organizations", **grace)[1]["data"]
        acme = next(row["id"] for row in organizations if row["name"] == "Acme")
        self.headers = {**grace, "X_Organization_ID": acme}
        rows = call("GET", f"{base}/api/v1/invoices", **self.headers)[1]["data"]
        self.waiting = [row["id"] for row in rows if row["status"] != "paid"]
        self.paid = 0

    def pay(self, number: int = EACH, **headers: str) -> list[float]:
        """The seconds that each took."""
        times = []
        for _ in range(number):
            address = f"{self.base}/api/v1/invoices/{self.waiting.pop()}"
            begun = time.monotonic()
            status, answer = call("PATCH", address, {"status": "paid"}, **self.headers, **headers)
            times.append(time.monotonic() - begun)
            assert status == 200, answer
            self.paid += 1
        return times


def until(condition: Callable[[], bool], seconds: float, what: str) -> float:
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        if condition():
            return time.monotonic() - begun
        time.sleep(0.05)
    raise AssertionError(f"{what}, not after {seconds} s")


def kill(process: Any) -> None:
    """-9, and its children, which do the work."""
    for child in _children(process.pid):
        os.kill(child, signal.SIGKILL)
    process.send_signal(signal.SIGKILL)
    process.wait()


def _children(parent: int) -> list[int]:
    # Of Linux; where there is none, the children end when their pipe does.
    path = Path(f"/proc/{parent}/task/{parent}/children")
    return [int(child) for child in path.read_text().split()] if path.exists() else []


def mailed(sink: MailSink) -> Counter[str]:
    return Counter(m["Message-ID"] for m in sink.messages if "was paid" in str(m["Subject"]))


@pytest.mark.postgres
@pytest.mark.skipif(CHROMIUM is None or REDIS is None, reason="no Chromium or no redis-server")
@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
def test_faults_lose_no_notifications(demo_database_url, tmp_path, broker):
    if connection.vendor != "postgresql":
        pytest.skip("DATABASE_URL names no PostgreSQL")
    if broker == "rabbitmq" and not TEST_BROKER_URL.startswith("amqp"):
        pytest.skip("CELERY_BROKER_URL names no RabbitMQ")
    service = Service(tmp_path, demo_database_url, broker)
    with contextlib.ExitStack() as stack:
        stack.callback(service.close)
        service.redis.start()
        stack.enter_context(service.web(service.api))
        web = stack.enter_context(contextlib.ExitStack())
        web.enter_context(service.web(service.sockets))
        # Entered first, left last: whichever process the worker has then, its log is still there to be read.
        processes = stack.enter_context(contextlib.ExitStack())
        worker = Supervised(service.worker, service, processes)
        beat = Supervised(service.beat, service, processes)
        # Of a failure it is these that have the story.
        stack.callback(lambda: print(worker.said(), beat.said(), sep="\n"))
        base = service.base(service.sockets)
        listener = Listener(base, "ada@example.com")
        stack.callback(listener.stop)
        # A browser is the slowest of all to start: what it shows does not depend on the broker.
        tabs: list[Tab] = []
        if broker == "redis":
            open_tab = stack.enter_context(chromium(tmp_path / "profile"))
            tabs = [_signed_in(open_tab(f"{base}/console/")) for _ in range(2)]
            # Of their own sign-ins, on a device that was new.
            tabs[0].evaluate('document.querySelector("#read-all").click()')
            for tab in tabs:
                tab.wait_for(f'{UNREAD} === ""')
        payer = Payer(service.base(service.api))

        _end_to_end(service, payer, listener, worker.process)
        if tabs:
            _in_two_tabs(payer, tabs)
        else:
            payer.pay(EACH - 1)

        if service.proxy is not None:
            publishes_again = _without_broker(service.proxy, payer, listener)
            until(lambda: len(mailed(service.sink)) == payer.paid, 75, "mailed after the broker came back")
            # Beat may have been faster. Until then, it would also have to send the next mail.
            time.sleep(max(0, publishes_again - time.monotonic()))
        # Redis, which is layer, cache and perhaps broker, is away for 5 seconds; what happens meanwhile is committed.
        # The worker has two messages then, of which one has begun.
        _held(service, payer, number=2)
        service.redis.stop()
        service.sink.go_on.set()
        begun = time.monotonic()
        _notify_while_away(service, EACH - 2)
        payer.paid += EACH - 2
        time.sleep(max(0, 5 - (time.monotonic() - begun)))
        service.redis.start()
        after = until(lambda: len(listener.heard) == payer.paid, 40, "heard")
        print(f"Redis away: heard {after:.1f} s after its return")
        until(
            lambda: worker.supervised() and len(mailed(service.sink)) == payer.paid, 75, "mailed after Redis came back"
        )
        print(f"Redis away: all mailed; the worker ended by itself {worker.ended} times")
        assert worker.ended <= 1
        assert beat.process.poll() is None, beat.said()

        # The worker is killed when a mail has been taken and nothing recorded.
        _held(service, payer, number=EACH)
        kill(worker.process)
        service.sink.go_on.set()
        worker.start()
        after = until(lambda: len(mailed(service.sink)) == payer.paid, 60, "mailed")
        print(f"Worker killed: all mailed after {after:.1f} s")

        # The web process with the sockets is restarted, and more happens before it is back.
        web.close()
        payer.pay()
        web.enter_context(service.web(service.sockets))
        after = until(lambda: len(listener.heard) == payer.paid, 40, "heard")
        print(f"Web restarted: heard {after:.1f} s after its return")
        if tabs:
            tabs[0].wait_for(f"{PAID} === {payer.paid}", 60)
        until(lambda: service.states()["states"] == {"sent": payer.paid}, 60, "all recorded")
        _count(service, payer, listener, spare=1 + worker.ended)


def _end_to_end(service: Service, payer: Payer, listener: Listener, worker: Any) -> None:
    payer.pay(1, X_Request_ID="paid-by-the-client")
    heard = until(lambda: len(listener.heard) == 1, 30, "heard")
    arrived = until(lambda: len(mailed(service.sink)) == 1, 30, "the mail")
    print(f"\nheard {heard:.2f} s after the answer, mail {arrived:.2f} s after that")

    def logged() -> set[str]:
        lines = [json.loads(line) for line in worker.log.read_text().splitlines() if line.startswith("{")]
        return {line["logger"] for line in lines if line.get("request_id") == "paid-by-the-client"}

    # The worker says of its task, by the id that the client gave its request, that it has succeeded.
    until(lambda: "celery.app.trace" in logged(), 10, "the request's id in the worker's log")


def _in_two_tabs(payer: Payer, tabs: list[Tab]) -> None:
    for tab in tabs:
        tab.wait_for(f"{PAID} === 1")
    tabs[1].wait_for(f'{UNREAD} === "1"')
    tabs[0].evaluate('document.querySelector("#notifications li button").click()')
    tabs[1].wait_for(f'{UNREAD} === ""')
    payer.pay(1)
    shown = max(tab.wait_for(f"{PAID} === 2") for tab in tabs)
    print(f"shown in both tabs {shown:.2f} s after the answer")
    payer.pay(EACH - 2)


def _held(service: Service, payer: Payer, *, number: int) -> None:
    """So many are paid, and the mail of the first is taken but not answered: until ``sink.go_on`` is set."""
    until(lambda: len(mailed(service.sink)) == payer.paid, 30, "mailed before")
    service.sink.go_on.clear()
    taken = len(service.sink.messages)
    payer.pay(number)
    until(lambda: len(service.sink.messages) > taken, 30, "a mail under way")


def _without_broker(proxy: Proxy, payer: Payer, listener: Listener) -> float:
    """The broker is away for 5 seconds, between two commits of one process and before others.

    Return the monotonic time from which the web process publishes again.
    """
    proxy.stop()
    begun = time.monotonic()
    times = payer.pay()
    publishes_again = time.monotonic() + PAUSE
    # Sockets need no broker.
    heard = until(lambda: len(listener.heard) == payer.paid, 10, "heard without a broker")
    print(f"Broker away: requests of {min(times):.2f} to {max(times):.2f} s, heard {heard:.2f} s after the last")
    time.sleep(max(0, 5 - (time.monotonic() - begun)))
    proxy.start()
    return publishes_again


def _notify_while_away(service: Service, number: int) -> None:
    """By a process without throttles, whose counters are in that same Redis: each commits while its broker is away."""
    code = f"""
import django; django.setup()
from django.contrib.auth import get_user_model
from django.db import transaction
from console.notifications import InvoicePaid
from dovetail_notify import notify
ada = get_user_model().objects.get(email="ada@example.com")
for number in range({number}):
    with transaction.atomic():
        notify(InvoicePaid(number=f"away-{{number}}"), to=ada)
"""
    done = run("-c", code, **service.environment)
    assert done.returncode == 0, done.stderr
    assert "NOTIFY_RUNNER failed" in done.stderr or service.proxy is not None


def _count(service: Service, payer: Payer, listener: Listener, *, spare: int) -> None:
    states, sent = service.states(), mailed(service.sink)
    print(
        f"{payer.paid} notifications: {len(states['inbox'])} in the inbox, {len(listener.heard)} by the socket "
        f"({listener.connections} connections), {len(sent)} mailed ({sum(sent.values())} messages), "
        f"{payer.paid - len(states['inbox'])} lost"
    )
    assert len(states["inbox"]) == payer.paid == EACH * (4 if service.proxy is None else 5)
    assert sorted(listener.heard) == states["inbox"]
    assert sorted(sent) == sorted(f"<{key}@example.com>" for key in states["keys"])
    # At most one too many of each worker that ended, and by the Message-ID that it had the first time.
    assert payer.paid <= sum(sent.values()) <= payer.paid + spare
