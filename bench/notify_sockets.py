"""Compare sockets of one server process with a stock Channels consumer: deliveries per second, latency, reconnects.

    python bench/notify_sockets.py                                   # SQLite, 1 000 sockets, pub/sub layer
    python bench/notify_sockets.py --sockets 1000 5000 --layer core
    python bench/notify_sockets.py --sockets 1000 --connect          # only the time until all are connected
    DATABASE_URL=postgres://… python bench/notify_sockets.py         # creates and drops test_<name>

Needs channels, channels-redis, uvicorn and a redis-server to start on a free port. The stock consumer follows Channels'
documentation: one consumer per socket, in one group per user and one of all users. The inbox rows of both are committed
in advance. The time of a delivery begins when the layer is notified; our server still reads the rows from the database.
Both send the same frame, without compression.

Two designs are measured in the same way for both, and each is compared with the same design of the other:

- one message to all: one ``notify()`` for all users; the stock sender sends once, to the group of all users.
- one message per user: a ``notify()`` for each user; the stock sender sends to the group of each user, in one event
  loop over one connection, which favors it (``async_to_sync`` would open a connection for each).

Burst: every user is notified several times without a pause; rates are medians of three bursts, by turns. Drop: every
user is notified every quarter of a second while Redis is down for two seconds. Delivered are the messages that arrive
within ten seconds without ``resume``, and then those after it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, ClassVar

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]
PUBLISH: Any = None
EVERYBODY = "everybody"
DESIGNS = ("one message to all", "one message per user")


# --- The server -------------------------------------------------------------------------------------------------------


def set_up() -> None:
    import django
    from django.conf import settings

    from tests.databases import databases

    found = databases()
    if found["default"]["ENGINE"].endswith("sqlite3"):
        found["default"]["TEST"] = {"NAME": os.environ["BENCH_FILE"]}
        found["default"]["OPTIONS"] = {"timeout": 60, "init_command": "PRAGMA journal_mode=WAL"}
    if "BENCH_DATABASE" in os.environ:
        found["default"]["NAME"] = os.environ["BENCH_DATABASE"]
    url = os.environ["BENCH_REDIS"]
    layers = {
        "core": ("core.RedisChannelLayer", {"hosts": [{"address": url, "socket_timeout": 20}], "capacity": 10_000}),
        "pubsub": ("pubsub.RedisPubSubChannelLayer", {"hosts": [url]}),
    }
    backend, config = layers[os.environ["BENCH_LAYER"]]
    settings.configure(
        SECRET_KEY="a-key-for-measuring-only-of-32-characters",
        DATABASES=found,
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "rest_framework",
            "dovetail_notify",
            "tests.notify.orders",
        ],
        CHANNEL_LAYERS={"default": {"BACKEND": f"channels_redis.{backend}", "CONFIG": config}},
        NOTIFY_RUNNER="dovetail_notify.outbox.runner.wait",
        # In the burst no look at the database may find before its time what is written and not told of yet.
        NOTIFY_SOCKET_SWEEP_SECONDS=int(os.environ.get("BENCH_SWEEP", "5")),
        USE_TZ=True,
    )
    django.setup()


def server() -> Any:
    set_up()
    if os.environ["BENCH_VARIANT"] == "ours":
        from dovetail_notify.contrib.channels import application

        return application
    from channels.generic.websocket import AsyncWebsocketConsumer

    class StockConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]
        async def connect(self) -> None:
            self.groups = ["user." + self.scope["path"].rsplit("/", 1)[1], EVERYBODY]
            for group in self.groups:
                await self.channel_layer.group_add(group, self.channel_name)
            await self.accept("notify.v1")

        async def disconnect(self, code: int) -> None:
            for group in self.groups:
                await self.channel_layer.group_discard(group, self.channel_name)

        async def notification(self, event: dict[str, Any]) -> None:
            await self.send(text_data=event["text"])

    return StockConsumer.as_asgi()


# --- The measurement --------------------------------------------------------------------------------------------------


class Run:
    processes: ClassVar[list[subprocess.Popen[Any]]] = []

    def __init__(self, variant: str, sockets: int, folder: Path, cluster: Any, sweep: int) -> None:
        self.variant, self.sockets, self.cluster = variant, sockets, cluster
        self.told: dict[str, float] = {}
        from django.contrib.auth import get_user_model

        self.users = list(get_user_model()._default_manager.order_by("pk")[:sockets])
        environment = {**os.environ, "BENCH_VARIANT": variant, "PYTHONPATH": str(ROOT), "BENCH_SWEEP": str(sweep)}
        self.port = cluster.free_port()
        options = [
            "--log-level",
            "warning",
            "--no-access-log",
            "--ws-per-message-deflate",
            "false",
            "--lifespan",
            "off",
        ]
        command = [
            sys.executable,
            "-m",
            "uvicorn",
            "--factory",
            "bench.notify_sockets:server",
            "--port",
            str(self.port),
        ]
        # The layers write whole tracebacks while Redis is away.
        self.server = subprocess.Popen([*command, *options], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
        cluster.wait_until(lambda: cluster.listens(self.port), 60)
        addresses = folder / f"{variant}.json"
        addresses.write_text(json.dumps(self.addresses()))
        command = [sys.executable, str(Path(__file__).parent / "_notify_clients.py"), str(self.port), str(addresses)]
        self.clients = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.processes += [self.server, self.clients]
        self.connected = self.read()["connected"]

    def addresses(self) -> list[list[str]]:
        if self.variant == "stock":
            return [[f"/stock/{user.pk}", "notify.v1"] for user in self.users]
        from datetime import timedelta

        from django.utils import timezone

        from dovetail_core.secrets import keyed_hash, random_token
        from dovetail_notify.models import Ticket
        from dovetail_notify.realtime import socket_authentication

        # As issue_ticket() makes them, by one statement.
        until = timezone.now() + timedelta(hours=1)
        texts = [random_token() for _ in self.users]
        Ticket.objects.bulk_create(
            Ticket(digest=keyed_hash(socket_authentication._PURPOSE, text), user=user, expires_at=until)
            for text, user in zip(texts, self.users, strict=True)
        )
        return [["/ws/notifications/", f"notify.v1, ticket.{text}"] for text in texts]

    def tell(self, command: str) -> Any:
        assert self.clients.stdin is not None
        self.clients.stdin.write(command + "\n")
        self.clients.stdin.flush()
        return self.read()

    def read(self) -> Any:
        assert self.clients.stdout is not None
        return json.loads(self.clients.stdout.readline())

    def rows(self, design: str) -> tuple[str, Any]:
        """Notify every user. Return the label, and what to send: lists of messages, or the stock consumer's text."""
        from django.db import transaction

        from dovetail_notify import get_notification_model, notify
        from dovetail_notify.realtime import messages
        from dovetail_notify.realtime.frames import FrameTemplate
        from tests.notify.orders.notifications import OrderShipped

        label = str(time.monotonic_ns())
        published: list[Any] = []
        messages.publish = published.append  # type: ignore[assignment]
        # One commit, which only shortens the preparation: the messages are published after it, one list for each call.
        with transaction.atomic():
            for recipients in [self.users] if design == DESIGNS[0] else self.users:
                notify(OrderShipped(number=label), to=recipients)
        if self.variant == "ours":
            return label, published
        row = get_notification_model()._default_manager.latest("pk")
        return label, FrameTemplate(row).frame(row.pk)

    async def stock(self, text: str, design: str) -> None:
        from channels.layers import get_channel_layer

        layer = get_channel_layer()
        groups = [EVERYBODY] if design == DESIGNS[0] else [f"user.{user.pk}" for user in self.users]
        for group in groups:
            try:
                await layer.group_send(group, {"type": "notification", "text": text})
            except Exception:  # noqa: BLE001  # Redis is away: what a stock sender loses
                return

    def send(self, loop: asyncio.AbstractEventLoop, label: str, what: Any, design: str) -> None:
        self.told[label] = time.time()
        if self.variant == "stock":
            loop.run_until_complete(self.stock(what, design))
        else:
            for messages in what:
                PUBLISH(messages)

    def report(self) -> dict[str, Any]:
        told, self.told = self.told, {}
        return dict(self.tell(json.dumps(told)))

    def settle(self, expected: int, seconds: float, *, quiet: float = 90) -> int:
        """Wait until all have arrived, for at most ``seconds``, or until nothing has arrived for ``quiet`` seconds."""
        end, count, last = time.monotonic() + seconds, 0, time.monotonic()
        while time.monotonic() < min(end, last + quiet) and count < expected:
            time.sleep(0.2)
            before, count = count, self.tell("count")
            if count != before:
                last = time.monotonic()
        return count

    def burst(self, loop: asyncio.AbstractEventLoop, rounds: int, design: str) -> dict[str, Any]:
        for row in [self.rows(design) for _ in range(rounds)]:
            self.send(loop, *row, design)
        self.settle(rounds * self.sockets, 90, quiet=4)
        report = self.report()
        return {**report, "lost": rounds * self.sockets - report["count"]}

    def drop(self, loop: asyncio.AbstractEventLoop) -> dict[str, Any]:
        rounds, begun = 16, time.monotonic()
        for number in range(rounds):
            if number == 4:
                self.cluster.stop_redis()
            elif number == 12:
                self.cluster.start_redis()
            time.sleep(max(0, begun + number / 4 - time.monotonic()))
            self.send(loop, *self.rows(DESIGNS[0]), DESIGNS[0])
        expected = rounds * self.sockets
        itself = self.settle(expected, 10)
        if self.variant == "ours" and itself < expected:
            self.tell("resume")
            self.settle(expected, 15)
        return {"expected": expected, "by itself": itself, "after resume": self.report()["count"]}

    def close(self) -> int:
        status = Path(f"/proc/{self.server.pid}/status").read_text()
        self.clients.kill()
        self.clients.wait()
        self.server.kill()
        self.server.wait()
        return int(status.split("VmRSS:")[1].split()[0]) // 1024


class Redis:
    """The parts of the tests' Redis cluster that this needs."""

    def __init__(self, folder: Path) -> None:
        from tests.notify import cluster

        self.folder = folder
        self.free_port, self.wait_until, self.listens = cluster.free_port, cluster.wait_until, cluster.listens
        self.redis_port = self.free_port()
        self.start_redis()

    def start_redis(self) -> None:
        command = [shutil.which("redis-server") or "redis-server", "--port", str(self.redis_port), "--save", ""]
        self.redis = subprocess.Popen([*command, "--dir", str(self.folder)], stdout=subprocess.DEVNULL)
        self.wait_until(lambda: self.listens(self.redis_port))

    def stop_redis(self) -> None:
        self.redis.kill()
        self.redis.wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sockets", type=int, nargs="+", default=[1000])
    parser.add_argument("--layer", choices=["core", "pubsub"], default="pubsub")
    parser.add_argument("--deliveries", type=int, default=5_000)
    parser.add_argument("--connect", action="store_true", help="measure handshakes alone")
    parser.add_argument("--at-once", type=int, default=1000, help="how many connect at a time")
    chosen = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as name:
        measure(Path(name), chosen)


def compare(loop: asyncio.AbstractEventLoop, sockets: int, folder: Path, redis: Redis, chosen: Any) -> None:
    runs = {}
    for variant in ("stock", "ours"):
        runs[variant] = Run(variant, sockets, folder, redis, 3600)
        arrived = f"{sockets} sockets let in within {runs[variant].connected} s, {chosen.at_once} at a time"
        print(f"{chosen.layer}, {variant}: {arrived}", flush=True)
    for design in () if chosen.connect else DESIGNS:
        bursts: dict[str, list[dict[str, Any]]] = {variant: [] for variant in runs}
        for turn in range(4):
            for variant in list(runs)[:: 1 if turn % 2 else -1]:
                burst = runs[variant].burst(loop, max(2, chosen.deliveries // sockets), design)
                if turn:  # the first warms up
                    bursts[variant].append(burst)
        report(f"{chosen.layer}, {sockets} sockets, {design}", bursts)
    from dovetail_notify.realtime import statistics as sent

    print(f"{chosen.layer}, {sockets} sockets: our sender dropped {sent.dropped} messages, which a sweep would find")
    for variant, run in runs.items():
        print(f"{chosen.layer}, {variant}, {sockets} sockets: RSS {run.close()} MB", flush=True)
    if sockets <= 1000 and not chosen.connect:
        for variant in runs:
            dropped = Run(variant, sockets, folder, redis, 5)
            print(f"{chosen.layer}, {variant}, while Redis is down: {dropped.drop(loop)}", flush=True)
            dropped.close()


def report(title: str, bursts: dict[str, list[dict[str, Any]]]) -> None:
    rates = {variant: [burst["count"] / burst["seconds"] for burst in each] for variant, each in bursts.items()}
    for variant, each in bursts.items():
        p50, p99 = (statistics.median(burst[name] for burst in each) * 1000 for name in ("p50", "p99"))
        rate, lost = statistics.median(rates[variant]), sum(burst["lost"] for burst in each)
        print(f"{title}, {variant}: {rate:.0f}/s, p50 {p50:.0f} ms, p99 {p99:.0f} ms, lost {lost}", flush=True)
    ratios = sorted(mine / theirs for mine, theirs in zip(rates["ours"], rates["stock"], strict=True))
    shown = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    print(f"{title}: deliveries per second of ours, compared with the same by the stock consumer: {shown}", flush=True)


def measure(folder: Path, chosen: Any) -> None:
    redis = Redis(folder)
    os.environ |= {
        "BENCH_FILE": str(folder / "bench.sqlite3"),
        "BENCH_REDIS": f"redis://127.0.0.1:{redis.redis_port}/4",
        "BENCH_LAYER": chosen.layer,
        "BENCH_AT_ONCE": str(chosen.at_once),
    }
    set_up()
    from django.conf import settings
    from django.contrib.auth import get_user_model
    from django.db import connection

    from dovetail_notify.realtime import messages

    global PUBLISH
    PUBLISH = messages.publish
    model = get_user_model()
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    os.environ["BENCH_DATABASE"] = str(settings.DATABASES["default"]["NAME"])
    model._default_manager.bulk_create([model(username=f"user{n}") for n in range(max(chosen.sockets))])
    loop = asyncio.new_event_loop()
    try:
        for sockets in chosen.sockets:
            compare(loop, sockets, folder, redis, chosen)
    finally:
        for process in Run.processes:
            process.kill()
        redis.stop_redis()
        connection.creation.destroy_test_db("", verbosity=0)


if __name__ == "__main__":
    main()
