"""Compare sockets of one server process with a stock Channels consumer: deliveries per second, latency, reconnects.

    python bench/notify_sockets.py                                   # SQLite, 1 000 and 5 000 sockets, pub/sub layer
    python bench/notify_sockets.py --sockets 1000 --layer core
    python bench/notify_sockets.py --sockets 1000 --connect          # only the time until all are connected
    DATABASE_URL=postgres://… python bench/notify_sockets.py         # creates and drops test_<name>

Needs channels, channels-redis, uvicorn and a redis-server to start on a free port. The stock consumer follows Channels'
documentation: one consumer per socket, one group per user, and a ``group_send`` for each recipient in one event loop
over one connection, which favors it (``async_to_sync`` would open a connection for each). The inbox rows of both are
committed in advance. The time of a delivery begins when the layer is notified; our server still reads the rows from the
database. Both send the same frame, without compression. Burst: every user is notified several times without a pause.
Drop: every user is notified every quarter of a second while Redis is down for two seconds. Delivered are the messages
that arrive within ten seconds without ``resume``, and then those after it.

Two quiet cores, SQLite, pub/sub layer, 20 000 deliveries in a burst:

    stock  1 000 sockets   6 058/s  p50 1.15 s  p99 1.70 s  lost 0; of 16 000 over the drop 8 000 arrive
    ours   1 000 sockets  93 165/s  p50 0.14 s  p99 0.21 s  lost 0; of 16 000 over the drop all arrive by themselves
    stock  5 000 sockets   2 678/s  p50 3.68 s  p99 6.44 s  lost 0
    ours   5 000 sockets  68 168/s  p50 0.19 s  p99 0.29 s  lost 0
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]
MARK = b'"number":"'
PUBLISH: Any = None


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
            self.group = "user." + self.scope["path"].rsplit("/", 1)[1]
            await self.channel_layer.group_add(self.group, self.channel_name)
            await self.accept("notify.v1")

        async def disconnect(self, code: int) -> None:
            await self.channel_layer.group_discard(self.group, self.channel_name)

        async def notification(self, event: dict[str, Any]) -> None:
            await self.send(text_data=event["text"])

    return StockConsumer.as_asgi()


# --- The clients ------------------------------------------------------------------------------------------------------


class Client(asyncio.Protocol):
    """A minimal WebSocket client that only reads, so that the server is the bottleneck."""

    def __init__(self, path: str, protocols: str) -> None:
        self.path, self.protocols = path, protocols
        self.buffer = bytearray()
        self.open: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.upgraded = False
        self.cursor = ""
        self.seen: dict[bytes, float] = {}

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            f"GET {self.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Protocol: {self.protocols}\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if not self.upgraded:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            assert self.buffer.startswith(b"HTTP/1.1 101"), bytes(self.buffer[:end])
            self.upgraded = True
            del self.buffer[: end + 4]
            if "ticket" not in self.protocols:
                self.open.set_result(None)
        while (frame := self.frame()) is not None:
            self.heard(*frame)

    def frame(self) -> tuple[int, bytes] | None:
        if len(self.buffer) < 2:
            return None
        size, start = self.buffer[1], 2
        if size == 126:
            if len(self.buffer) < 4:
                return None
            size, start = struct.unpack("!H", self.buffer[2:4])[0], 4
        if len(self.buffer) < start + size:
            return None
        opcode, text = self.buffer[0] & 15, bytes(self.buffer[start : start + size])
        del self.buffer[: start + size]
        return opcode, text

    def heard(self, opcode: int, text: bytes) -> None:
        if opcode == 9:
            self.say(10, text)
        elif (at := text.find(MARK)) >= 0:
            stamp = text[at + len(MARK) : text.index(b'"', at + len(MARK))]
            self.seen.setdefault(stamp, time.time())
        elif b'"hello"' in text:
            self.cursor = json.loads(text)["cursor"]
            self.open.set_result(None)

    def say(self, opcode: int, text: bytes) -> None:
        self.transport.write(bytes([128 | opcode, 128 | len(text), 0, 0, 0, 0]) + text)


async def clients(port: int, addresses: list[list[str]]) -> None:
    loop = asyncio.get_running_loop()
    some = asyncio.Semaphore(int(os.environ["BENCH_AT_ONCE"]))
    begun = time.monotonic()

    async def one(path: str, protocols: str) -> Client:
        async with some:
            _, client = await loop.create_connection(lambda: Client(path, protocols), "127.0.0.1", port)
            await asyncio.wait_for(client.open, 120)
            return client

    found = await asyncio.gather(*(one(*each) for each in addresses))
    print(json.dumps({"connected": round(time.monotonic() - begun, 1)}), flush=True)
    while line := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
        if line == "count":
            print(json.dumps(sum(len(each.seen) for each in found)), flush=True)
        elif line == "resume":
            for each in found:
                each.say(1, json.dumps({"type": "resume", "cursor": each.cursor}).encode())
            print("null", flush=True)
        else:
            told = {label.encode(): at for label, at in json.loads(line).items()}
            times = sorted(at - told[label] for each in found for label, at in each.seen.items())
            last = max((at for each in found for at in each.seen.values()), default=0)
            first = min(told.values())
            share = [times[int(len(times) * part)] for part in (0.5, 0.99)] if times else [0, 0]
            print(
                json.dumps({"count": len(times), "seconds": last - first, "p50": share[0], "p99": share[1]}), flush=True
            )
            for each in found:
                each.seen.clear()


# --- The measurement --------------------------------------------------------------------------------------------------


class Run:
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
        command = [sys.executable, __file__, "--clients", str(self.port), str(addresses)]
        self.clients = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
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

    def rows(self) -> tuple[str, Any]:
        """Notify every user. Return the label, and the message to send: a hint, or the stock consumer's text."""
        from django.contrib.auth import get_user_model

        from dovetail_notify import get_notification_model, notify
        from dovetail_notify.realtime import messages
        from dovetail_notify.realtime.frames import notification_frame
        from tests.notify.orders.notifications import OrderShipped

        label = str(time.monotonic_ns())
        hints: list[Any] = []
        messages.publish = hints.extend  # type: ignore[assignment]
        everybody = get_user_model()._default_manager.filter(pk__lte=self.users[-1].pk)
        notify(OrderShipped(number=label), to=everybody)
        if self.variant == "ours":
            return label, hints
        return label, notification_frame(get_notification_model()._default_manager.order_by("-pk").first())

    async def stock(self, text: str) -> None:
        from channels.layers import get_channel_layer

        layer = get_channel_layer()
        for user in self.users:
            try:
                await layer.group_send(f"user.{user.pk}", {"type": "notification", "text": text})
            except Exception:  # noqa: BLE001  # Redis is away: what a stock sender loses
                return

    def send(self, loop: asyncio.AbstractEventLoop, label: str, what: Any) -> None:
        self.told[label] = time.time()
        if self.variant == "stock":
            loop.run_until_complete(self.stock(what))
        else:
            PUBLISH(what)

    def report(self) -> dict[str, Any]:
        told, self.told = self.told, {}
        return dict(self.tell(json.dumps(told)))

    def settle(self, expected: int, seconds: float) -> int:
        end, count = time.monotonic() + seconds, 0
        while time.monotonic() < end and count < expected:
            time.sleep(0.2)
            count = self.tell("count")
        return count

    def burst(self, loop: asyncio.AbstractEventLoop, rounds: int) -> dict[str, Any]:
        for row in [self.rows() for _ in range(rounds)]:
            self.send(loop, *row)
        self.settle(rounds * self.sockets, 90)
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
            self.send(loop, *self.rows())
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
    parser.add_argument("--sockets", type=int, nargs="+", default=[1000, 5000])
    parser.add_argument("--layer", choices=["core", "pubsub"], default="pubsub")
    parser.add_argument("--deliveries", type=int, default=20_000)
    parser.add_argument("--connect", action="store_true", help="measure handshakes alone")
    parser.add_argument("--at-once", type=int, default=1000, help="how many connect at a time")
    parser.add_argument("--clients", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if chosen.clients:
        asyncio.run(clients(int(chosen.clients[0]), json.loads(Path(chosen.clients[1]).read_text())))
        return
    with tempfile.TemporaryDirectory() as name:
        measure(Path(name), chosen)


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

    from dovetail_notify import realtime

    global PUBLISH
    PUBLISH = realtime.publish
    model = get_user_model()
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    os.environ["BENCH_DATABASE"] = str(settings.DATABASES["default"]["NAME"])
    model._default_manager.bulk_create([model(username=f"user{n}") for n in range(max(chosen.sockets))])
    loop = asyncio.new_event_loop()
    try:
        for sockets in chosen.sockets:
            for variant in ("stock", "ours"):
                run = Run(variant, sockets, folder, redis, 3600)
                connected = (
                    f"{variant:<6}{sockets:>5} sockets let in within {run.connected} s, {chosen.at_once} at a time"
                )
                print(f"{chosen.layer:<7}{connected}", flush=True)
                if chosen.connect:
                    run.close()
                    continue
                run.burst(loop, 1)
                burst = run.burst(loop, max(2, chosen.deliveries // sockets))
                size, drop = run.close(), {}
                if sockets <= 1000:
                    dropped = Run(variant, sockets, folder, redis, 5)
                    drop = dropped.drop(loop)
                    dropped.close()
                print(
                    f"{chosen.layer:<7}{variant:<6}{sockets:>5} sockets  {burst['count'] / burst['seconds']:>8.0f}/s  "
                    f"p50 {burst['p50'] * 1000:>7.0f} ms  p99 {burst['p99'] * 1000:>7.0f} ms  lost {burst['lost']}  "
                    f"RSS {size} MB  {drop}",
                    flush=True,
                )
    finally:
        redis.stop_redis()
        connection.creation.destroy_test_db("", verbosity=0)


if __name__ == "__main__":
    main()
