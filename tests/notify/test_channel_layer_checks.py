"""System checks for channel layers that lose messages."""

from __future__ import annotations

from typing import Any

import pytest

from dovetail_notify import checks as channel_checks

CORE = "channels_redis.core.RedisChannelLayer"
PUBSUB = "channels_redis.pubsub.RedisPubSubChannelLayer"


def check_ids(settings: Any, backend: str, **config: Any) -> list[str]:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend, "CONFIG": config}}
    messages = channel_checks.check_layers()
    assert all(message.hint for message in messages)
    return [str(message.id).removeprefix("dovetail_notify.") for message in messages]


@pytest.fixture(autouse=True)
def redis_8(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_checks, "version", lambda name: "8.1.0")


def test_core_layer_with_short_timeout_is_an_error(settings, monkeypatch):
    assert check_ids(settings, CORE, capacity=1000) == ["E007"]
    assert check_ids(settings, CORE, capacity=1000, hosts=["redis://localhost/4"]) == ["E007"]
    assert check_ids(settings, CORE, capacity=1000, hosts=[("localhost", 6379)]) == ["E007"]
    address = {"address": "redis://localhost/4"}
    for seconds, refused in ((5, ["E007"]), (True, ["E007"]), (None, []), (30, [])):
        assert check_ids(settings, CORE, capacity=1000, hosts=[{**address, "socket_timeout": seconds}]) == refused
    monkeypatch.setattr(channel_checks, "version", lambda name: "7.0.0")
    assert check_ids(settings, CORE, capacity=1000) == []


@pytest.mark.parametrize("capacity", [100, 999])
def test_small_capacity_is_an_error(settings, capacity):
    hosts = [{"address": "redis://localhost/4", "socket_timeout": None}]
    assert check_ids(settings, CORE, hosts=hosts) == ["E008"]
    assert check_ids(settings, CORE, hosts=hosts, capacity=capacity) == ["E008"]
    assert check_ids(settings, CORE, hosts=hosts, capacity=1000, group_expiry=60) == ["E009"]


def test_unused_hooks_are_a_warning(settings):
    assert check_ids(settings, PUBSUB, on_reconnect=print) == ["W004"]
    assert check_ids(settings, PUBSUB, hosts=[{"address": "redis://x", "on_disconnect": print}]) == ["W004"]
    assert check_ids(settings, PUBSUB, hosts=["redis://localhost"]) == []


def test_in_memory_layer_is_a_warning(settings, monkeypatch):
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)
    assert check_ids(settings, "channels.layers.InMemoryChannelLayer") == ["W005"]
    settings.DEBUG = True
    assert check_ids(settings, "channels.layers.InMemoryChannelLayer") == []
    monkeypatch.setenv("WEB_CONCURRENCY", "2")
    assert check_ids(settings, "channels.layers.InMemoryChannelLayer") == ["W005"]


def test_no_layers_give_no_messages(settings):
    assert channel_checks.check_layers() == []
    for shape in ({}, None, {"other": {}}, [], {"default": None}, {"default": {"BACKEND": "x.Y"}}):
        settings.CHANNEL_LAYERS = shape
        assert channel_checks.check_layers() == []


def test_missing_redis_gives_no_messages(settings, monkeypatch):
    def missing(name: str) -> str:
        raise channel_checks.PackageNotFoundError(name)

    monkeypatch.setattr(channel_checks, "version", missing)
    assert check_ids(settings, CORE, capacity=1000) == []
