"""Messages between processes over a channel layer, and an unreachable layer."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from typing import Any
from uuid import uuid4

import pytest

pytest.importorskip("channels", reason="Channels is not installed")

from dovetail_notify import get_notification_model, notify, realtime
from dovetail_notify.realtime import messages
from dovetail_notify.realtime.channels import layer as channels_layer
from dovetail_notify.realtime.hub import Hub
from tests.notify.cluster import free_port, wait_until
from tests.notify.factories import make_user
from tests.notify.orders.notifications import OrderShipped
from tests.notify.sockets import call, open_socket, run

pytestmark = pytest.mark.django_db(transaction=True)

SHIPPED = OrderShipped(number="A-1")
MEMORY = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}


def redis(url: str, layer: str = "core", **config: Any) -> dict[str, Any]:
    pytest.importorskip("channels_redis", reason="channels_redis is not installed")
    backend = {"core": "core.RedisChannelLayer", "pubsub": "pubsub.RedisPubSubChannelLayer"}[layer]
    hosts = [{"address": url, "socket_timeout": 20}] if layer == "core" else [url]
    return {"default": {"BACKEND": f"channels_redis.{backend}", "CONFIG": {"hosts": hosts, **config}}}


def test_in_memory_layer_is_not_used(settings, monkeypatch):
    settings.CHANNEL_LAYERS = MEMORY
    monkeypatch.setattr(channels_layer, "relay", lambda content: pytest.fail("relayed"))
    user = make_user()

    async def main() -> None:
        async with await open_socket(user) as socket:
            await socket.receive("hello")
            await call(notify, SHIPPED, to=user)
            assert (await socket.receive())["data"]["title"] == "Order A-1 was shipped"

    run(main)


@pytest.mark.parametrize("layer", ["core", "pubsub"])
def test_one_message_reaches_the_sockets_of_another_process(settings, monkeypatch, layer):
    if "REDIS_URL" not in os.environ:
        pytest.skip("REDIS_URL names no Redis")
    settings.CHANNEL_LAYERS = redis(os.environ["REDIS_URL"], layer, prefix=f"test_layer_{os.getpid()}")
    settings.NOTIFY_SOCKET_SWEEP_SECONDS = 3600
    users = [make_user() for _ in range(3)]
    sent: list[Any] = []
    relay = channels_layer.relay

    def relay_from_another_process(content: dict[str, Any]) -> None:
        sent.append(content)
        relay({**content, "origin": "another process"})

    def publish(contents: Any) -> None:
        relay_from_another_process({"messages": list(contents)})

    monkeypatch.setattr(messages, "publish", publish)

    async def main() -> None:
        async with await open_socket(users[0]) as one, await open_socket(users[1]) as two:
            for socket in (one, two):
                await socket.receive("hello")
            await call(notify, SHIPPED, to=users)
            for socket in (one, two):
                assert (await socket.receive("notification"))["data"]["title"] == "Order A-1 was shipped"
            await call(realtime.disconnect, user=users[1], reason="session_revoked")
            assert await two.closed() == (4403, "session_revoked")

    run(main)
    assert len(sent) == 2
    # Messages name recipients and rows, but contain no text of a notification.
    (message,) = sent[0]["messages"]
    assert message.keys() == {"type", "using", "after", "batch", "users"}


def test_unreachable_layer_does_not_delay_the_caller(settings, caplog):
    caplog.set_level(logging.DEBUG)
    settings.CHANNEL_LAYERS = redis(f"redis://:secret-of-redis@127.0.0.1:{free_port()}/4")
    before = realtime.statistics.failures
    user = make_user()
    begun = time.monotonic()
    for _ in range(20):
        notify(SHIPPED, to=user)
    assert time.monotonic() - begun < 5
    assert get_notification_model()._default_manager.count() == 20
    wait_until(lambda: realtime.statistics.failures > before)
    assert "The channel layer cannot be reached" in caplog.text
    assert "secret-of-redis" not in caplog.text

    async def main() -> None:
        async with await open_socket(user) as socket:
            assert (await socket.receive("hello"))["unread"] == 20
            await call(notify, OrderShipped(number="A-2"), to=user)
            assert (await socket.receive("notification"))["data"]["payload"]["number"] == "A-2"

    run(main)


def test_invalid_layer_does_not_fail_notify(settings, caplog):
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "nowhere.Layer"}}
    before = realtime.statistics.failures
    user = make_user()
    notify(SHIPPED, to=user)
    assert realtime.statistics.failures == before + 1

    async def main() -> None:
        async with await open_socket(user) as socket:
            assert (await socket.receive("hello"))["unread"] == 1

    run(main)


def test_dropped_messages_are_counted(settings, monkeypatch):
    settings.CHANNEL_LAYERS = redis(f"redis://127.0.0.1:{free_port()}/4")
    monkeypatch.setattr(channels_layer, "_QUEUE_SIZE", 5)
    # In this thread, because the sender's thread could create the layer after the setting has changed below.
    assert channels_layer.reaches_other_processes()
    sender = channels_layer.SenderThread()
    before = realtime.statistics.dropped
    for number in range(8):
        sender.put({"messages": [state_of(number)]})
    assert realtime.statistics.dropped - before == 3
    assert not sender.flush(0.05)
    settings.CHANNEL_LAYERS = MEMORY
    # A layer that reaches no other process needs no messages.
    assert sender.flush(20)


def state_of(*users: object) -> dict[str, Any]:
    return {"type": "frame", "users": [str(user) for user in users], "frame": {"type": "state"}}


class SlowLayer:
    """A layer that reaches other processes, whose sends wait until ``released`` is set."""

    def __init__(self) -> None:
        self.begun, self.released = threading.Event(), threading.Event()
        self.sent: list[Any] = []

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        self.begun.set()
        await asyncio.to_thread(self.released.wait)
        self.sent.append(message["messages"])


@pytest.fixture
def slow_layer(monkeypatch) -> Any:
    layer = SlowLayer()
    monkeypatch.setattr(channels_layer.layers, "get_channel_layer", lambda: layer)
    monkeypatch.setattr(channels_layer, "_QUEUE_SIZE", 5)
    return layer


def test_burst_beyond_the_queue_ends_with_one_message_for_its_users(slow_layer):
    close = {"type": "close", "user": "2", "session": None, "organization": None, "reason": "session_revoked"}
    sender = channels_layer.SenderThread()
    sender.put({"messages": [state_of(0)]})
    assert slow_layer.begun.wait(20)
    sender.put({"messages": [state_of(1, 2), close]})
    for _ in range(7):
        sender.put({"messages": [state_of(1)]})
    slow_layer.released.set()
    assert sender.flush(20)
    # The first message was being sent when it was dropped.
    assert slow_layer.sent == [
        [state_of(0)],
        *[[state_of(1)]] * 5,
        [close, {"type": "lost", "users": ["0", "1", "2"]}],
    ]


def hint(kind: str) -> dict[str, Any]:
    return {"type": "hint", "kind": kind, "organization": None}


def test_burst_beyond_the_queue_sends_its_hints_once(slow_layer):
    sender = channels_layer.SenderThread()
    for number in range(9):
        sender.put({"messages": [hint(("features", "prices")[number % 2])]})
    for _ in range(5):
        sender.put({"messages": [state_of(1)]})
    slow_layer.released.set()
    assert sender.flush(20)
    assert slow_layer.sent[-1] == [hint("features"), hint("prices"), {"type": "lost", "users": []}]


def test_burst_of_many_kinds_of_hints_ends_with_one_message_for_all(slow_layer):
    sender = channels_layer.SenderThread()
    for number in range(12):
        sender.put({"messages": [hint(f"kind-{number}")]})
    slow_layer.released.set()
    assert sender.flush(20)
    assert slow_layer.sent[-1] == [{"type": "lost", "users": None}]


@pytest.mark.parametrize("users", [None, [str(number) for number in range(6)]])
def test_burst_for_many_users_ends_with_one_message_for_all(slow_layer, users):
    sender = channels_layer.SenderThread()
    rows = {"type": "rows", "using": "default", "after": 0, "batch": str(uuid4()), "users": users}
    for _ in range(8):
        sender.put({"messages": [rows]})
    slow_layer.released.set()
    assert sender.flush(20)
    assert slow_layer.sent[-1] == [{"type": "lost", "users": None}]
    assert slow_layer.sent.count(slow_layer.sent[-1]) == 1


@pytest.mark.parametrize("everyone", [False, True])
def test_lost_messages_cause_one_resync_and_a_sweep(settings, monkeypatch, everyone):
    settings.NOTIFY_SOCKET_SWEEP_SECONDS = 3600
    monkeypatch.setattr(messages, "publish", lambda contents: None)
    user, other = make_user(), make_user()

    async def main() -> None:
        async with await open_socket(user) as socket, await open_socket(other) as unconcerned:
            await socket.receive("hello")
            await unconcerned.receive("hello")
            await call(notify, SHIPPED, to=[user, other])
            Hub.current().take({"type": "lost", "users": None if everyone else [str(user.pk)]})
            assert [(await socket.receive())["type"] for _ in range(2)] == ["resync", "notification"]
            expected = ["resync", "notification"] if everyone else ["notification"]
            assert [(await unconcerned.receive())["type"] for _ in expected] == expected

    run(main)
