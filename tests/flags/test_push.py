"""Changes reach other processes at once by Redis or a channel layer."""

from __future__ import annotations

import os
import threading
import time

import pytest

from dovetail_flags import flags
from dovetail_flags.checks import check_invalidation

REDIS_URL = os.environ.get("REDIS_URL", "")


def listening(invalidation):
    """Start a channel, and return its event after the announcement that it is connected."""
    changed = threading.Event()
    invalidation.start(changed.set)
    assert changed.wait(60)
    changed.clear()
    return changed


@pytest.fixture
def redis_channel():
    pytest.importorskip("redis", reason="redis is not installed")
    if not REDIS_URL:
        pytest.skip("no Redis: set REDIS_URL")
    from dovetail_flags.contrib.redis import RedisInvalidation

    channels = [RedisInvalidation(REDIS_URL), RedisInvalidation(REDIS_URL)]
    yield channels
    for channel in channels:
        channel.close()


def test_redis_announces_each_change(redis_channel):
    receiver, sender = redis_channel
    changed = listening(receiver)
    for _ in range(3):
        sender.publish()
        # Nothing else sets it, and a busy machine may take long.
        assert changed.wait(60)
        changed.clear()


def test_redis_listener_connects_again(redis_channel, monkeypatch):
    import redis

    monkeypatch.setattr("dovetail_flags.contrib.redis.RETRY_SECONDS", 0.1)
    receiver, sender = redis_channel
    changed = listening(receiver)
    with redis.Redis.from_url(REDIS_URL) as client:
        for connection in client.client_list(_type="pubsub"):
            if connection["db"] == str(client.connection_pool.connection_kwargs["db"]):
                client.client_kill_filter(_id=connection["id"])
    # A change may have been missed meanwhile, so the flags are read again.
    assert changed.wait(60)
    changed.clear()
    sender.publish()
    assert changed.wait(60)


def test_closed_listener_ends_its_thread(redis_channel):
    before = set(threading.enumerate())
    receiver, _ = redis_channel
    listening(receiver)
    (thread,) = set(threading.enumerate()) - before
    receiver.close()
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.django_db(transaction=True)
def test_missing_redis_does_not_break_a_change(settings, make):
    pytest.importorskip("redis", reason="redis is not installed")
    settings.FLAGS_INVALIDATION_LOCATION = "redis://127.0.0.1:9/0"
    settings.FLAGS_INVALIDATION = "dovetail_flags.contrib.redis.RedisInvalidation"
    begun = time.monotonic()
    make("new-checkout", default_variant="on")
    assert flags.enabled("new-checkout") is True
    assert time.monotonic() - begun < 30


@pytest.fixture
def layer(settings):
    pytest.importorskip("channels_redis", reason="channels_redis is not installed")
    if not REDIS_URL:
        pytest.skip("no Redis: set REDIS_URL")
    settings.CHANNEL_LAYERS = {
        "default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [REDIS_URL]}}
    }


def test_channel_layer_announces_a_change(layer):
    from dovetail_flags.contrib.channels import ChannelsInvalidation

    receiver, sender = ChannelsInvalidation(), ChannelsInvalidation()
    changed = listening(receiver)
    sender.publish()
    assert changed.wait(60)
    receiver.close()


def test_missing_channel_layer_is_logged_once(settings, caplog, monkeypatch):
    pytest.importorskip("channels", reason="channels is not installed")
    monkeypatch.setattr("dovetail_flags.contrib.channels.RETRY_SECONDS", 0.01)
    settings.CHANNEL_LAYERS = {}
    from dovetail_flags.contrib.channels import ChannelsInvalidation

    receiver = ChannelsInvalidation()
    receiver.start(lambda: None)
    deadline = time.monotonic() + 60
    while not caplog.records:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.2)
    assert len([record for record in caplog.records if "do not arrive" in record.getMessage()]) == 1
    receiver.close()


def test_check_requires_the_location_of_redis(settings):
    pytest.importorskip("redis", reason="redis is not installed")
    assert list(check_invalidation()) == []
    settings.FLAGS_INVALIDATION = "dovetail_flags.contrib.redis.RedisInvalidation"
    (message,) = check_invalidation()
    assert (message.id, "redis://" in message.hint) == ("dovetail_flags.E005", True)
    settings.FLAGS_INVALIDATION_LOCATION = "redis://localhost:6379/0"
    assert list(check_invalidation()) == []
