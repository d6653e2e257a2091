"""Messages between processes over a channel layer, and an unreachable layer."""

from __future__ import annotations

import logging
import os
import time
from typing import Any

import pytest

pytest.importorskip("channels", reason="Channels is not installed")

from dovetail_notify import get_notification_model, notify, realtime
from dovetail_notify.realtime import messages
from dovetail_notify.realtime.channels import layer as channels_layer
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
        sender.put({"messages": [number]})
    assert realtime.statistics.dropped - before == 3
    assert not sender.flush(0.05)
    settings.CHANNEL_LAYERS = MEMORY
    # A layer that reaches no other process needs no messages.
    assert sender.flush(20)
