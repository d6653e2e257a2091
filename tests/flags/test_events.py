"""Event streams under ASGI: tickets, announcements, and their end."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser, User
from django.db import connection, connections
from django.test import AsyncClient, Client

from dovetail_flags import flags, services
from dovetail_flags.api import events
from dovetail_flags.api.ofrep import EvaluationView
from dovetail_flags.types.context import Context
from tests import asynchronous
from tests.flags.api_world import KeyAuthentication, flag

pytestmark = pytest.mark.django_db(transaction=True)
URL = "/ofrep/v1/evaluate/flags"


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    monkeypatch.setattr(EvaluationView, "authentication_classes", [KeyAuthentication])
    monkeypatch.setattr(events, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(events._Look, "due", 0.0)


async def offer(**headers):
    headers = {"Authorization": "Key A", **headers}
    return await AsyncClient().post(URL, "{}", content_type="application/json", headers=headers)


async def stream_url():
    (stream,) = (await offer()).json()["eventStreams"]
    assert stream["type"] == "sse"
    return stream["endpoint"]["requestUri"]


async def read(response):
    return await anext(response.streaming_content)


def switch_off(row):
    try:
        services.set_enabled(flag=row, enabled=False)
    finally:
        connections.close_all()


def test_stream_announces_a_change(settings):
    settings.FLAGS_REFRESH_SECONDS = 0
    row = flag()

    async def run():
        response = await AsyncClient().get(await stream_url())
        assert (response.status_code, response.headers["Content-Type"]) == (200, "text/event-stream")
        assert await read(response) == b": keep-alive\n\n"
        await asyncio.to_thread(switch_off, row)
        message = await asyncio.wait_for(read(response), 10)
        await response.streaming_content.aclose()
        return json.loads(message.removeprefix(b"data: "))

    message = asynchronous.run(run())
    assert message == {"type": "refetchEvaluation", "etag": flags.token()}
    assert events._streams == {}


def test_stream_lets_clients_ask_for_scheduled_rules(monkeypatch):
    """With a stream, the web client stops polling, and no event announces that the time of a rule begins."""
    monkeypatch.setattr(events, "ASK_SECONDS", 0.05)
    flag()

    async def run():
        response = await AsyncClient().get(await stream_url())
        parts = [await asyncio.wait_for(read(response), 10) for _ in range(3)]
        await response.streaming_content.aclose()
        return parts

    assert [part.startswith(b"data: ") for part in asynchronous.run(run())] == [False, True, True]


def test_ticket_opens_one_stream():
    async def run():
        url = await stream_url()
        first = await AsyncClient().get(url)
        second = await AsyncClient().get(url)
        first.close()
        return first.status_code, second.status_code

    assert asynchronous.run(run()) == (200, 403)


@pytest.mark.parametrize("change", ["", "x", "expired"])
def test_invalid_tickets_are_refused(change, monkeypatch):
    async def run():
        url = await stream_url()
        if change == "expired":
            monkeypatch.setattr(events, "TICKET_SECONDS", -1)
        else:
            url = url.partition("=")[0] + "=" + change
        return await AsyncClient().get(url)

    response = asynchronous.run(run())
    assert (response.status_code, response.json()["errorCode"]) == (403, "GENERAL")


def test_tag_does_not_depend_on_the_ticket():
    flag()

    async def run():
        first, second = await offer(), await offer()
        assert first.json()["eventStreams"] != second.json()["eventStreams"]
        return await offer(**{"If-None-Match": first.headers["ETag"]})

    assert asynchronous.run(run()).status_code == 304


def test_caller_has_a_limited_number_of_streams(monkeypatch):
    monkeypatch.setattr(events, "STREAMS", 2)

    async def run():
        responses = [await AsyncClient().get(await stream_url()) for _ in range(3)]
        for response in responses:
            await read(response)
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(read(responses[0]), 10)
        for response in responses[1:]:
            await response.streaming_content.aclose()

    asynchronous.run(run())
    assert events._streams == {}


def kinds():
    machine = SimpleNamespace(is_authenticated=True, pk=7)
    context = Context("7")
    return [events.caller_of(caller, context) for caller in (User(pk=7), machine, AnonymousUser())]


def test_callers_of_different_kinds_differ():
    """An anonymous client could otherwise end the streams of a user by sending its primary key as the targeting key."""
    assert kinds() == ["user:7", "machine:7", "anonymous:7"]
    assert events.caller_of(SimpleNamespace(is_authenticated=True), Context("7")) == "machine:7"


async def opened(*callers):
    """Open streams of the callers in this order, and return those that are open."""
    parts = [events._stream(caller) for caller in callers]
    for part in parts:
        await anext(part, None)
    still_open = list(events._streams.values())
    for part in parts:
        await part.aclose()
    return still_open


@pytest.mark.parametrize(
    ("callers", "expected"),
    [
        (["anonymous:1", "anonymous:2", "anonymous:3"], ["anonymous:1", "anonymous:2"]),
        (["anonymous:1", "anonymous:2", "user:1"], ["anonymous:2", "user:1"]),
        (["user:1", "anonymous:1", "user:2", "user:3"], ["user:1", "user:2"]),
        (["user:1", "machine:1", "user:1"], ["user:1", "machine:1"]),
    ],
)
def test_process_has_a_limited_number_of_streams(monkeypatch, callers, expected):
    """Anonymous clients can be any number of callers, and would hold all connections."""
    monkeypatch.setattr(events, "ALL_STREAMS", 2)
    assert asynchronous.run(opened(*callers)) == expected
    assert events._streams == {}


def test_full_process_lets_clients_poll(monkeypatch):
    async def run():
        url = await stream_url()
        monkeypatch.setattr(events, "ALL_STREAMS", 0)
        return await AsyncClient().get(url), await offer()

    refused, offered = asynchronous.run(run())
    assert (refused.status_code, refused.json()["errorCode"]) == (503, "GENERAL")
    assert "eventStreams" not in offered.json()


def test_stream_ends_after_its_time(monkeypatch):
    monkeypatch.setattr(events, "STREAM_SECONDS", 0.05)

    async def run():
        response = await AsyncClient().get(await stream_url())
        return [part async for part in response.streaming_content]

    assert asynchronous.run(asyncio.wait_for(run(), 10)) == [b": keep-alive\n\n"]


def test_wsgi_offers_no_streams():
    answer = Client().post(URL, "{}", content_type="application/json", headers={"Authorization": "Key A"})
    assert answer.json().keys() == {"flags"}
    assert events.streams(SimpleNamespace(), "A") == []


def test_other_methods_are_not_allowed():
    assert asynchronous.run(AsyncClient().post("/ofrep/v1/events")).status_code == 405


def test_stream_holds_no_connection_to_the_database(settings):
    settings.FLAGS_REFRESH_SECONDS = 0
    flag()

    async def run():
        response = await AsyncClient().get(await stream_url())
        await read(response)
        opened = await sync_to_async(lambda: [item for item in connections.all() if item.connection is not None])()
        await response.streaming_content.aclose()
        return opened

    connections.close_all()
    assert asynchronous.run(run()) == [] or connection.vendor == "sqlite"
