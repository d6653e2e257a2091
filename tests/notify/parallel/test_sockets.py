"""Sockets, from the ticket to the close code."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.utils import timezone

pytest.importorskip("channels")

from dovetail_notify import get_notification_model, hub, notify, realtime
from dovetail_notify.services import mark_read, remove_notification
from dovetail_notify.testing import NotificationSocket
from dovetail_notify.tickets import issue_ticket
from tests.asynchronous import run
from tests.notify.factories import make_user
from tests.notify.orders.notifications import OrderShipped, Quiet

pytestmark = pytest.mark.django_db(transaction=True)
Notification: Any = get_notification_model()
ticket_for = sync_to_async(issue_ticket)
send = sync_to_async(notify)


def asynchronously(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def wrapped(settings: Any) -> None:
        settings.NOTIFY_RUNNER = "dovetail_notify.runner.wait"
        run(test(make_user(), settings))

    wrapped.__name__ = test.__name__
    return wrapped


def fill(user: Any, number: int, **fields: Any) -> list[int]:
    given = {"type": "orders.quiet", "title": "Quiet", "batch": "0" * 32, "created_at": timezone.now(), **fields}
    Notification.objects.bulk_create(Notification(recipient=user, **given) for _ in range(number))
    return list(Notification.objects.filter(recipient=user).order_by("pk").values_list("pk", flat=True))[-number:]


async def refusal(*args: Any, **kwargs: Any) -> int | None:
    async with NotificationSocket(*args, **kwargs) as socket:
        assert await socket.receive() is None
        return socket.code


# --- Coming in --------------------------------------------------------------------------------------------------------


@asynchronously
async def test_a_ticket_opens_a_socket_once(user: Any, settings: Any) -> None:
    ticket = await ticket_for(user=user)
    async with NotificationSocket(ticket) as socket:
        # The ticket's own protocol must not come back: scripts of the page could read it.
        assert socket.protocol == "notify.v1"
        assert await socket.receive() == {
            "type": "hello",
            "cursor": 0,
            "unread": 0,
            "capped": False,
            "expires_in": None,
        }
    assert await refusal(ticket) == hub.UNAUTHENTICATED


@asynchronously
async def test_every_refusal_has_its_code(user: Any, settings: Any) -> None:
    assert await refusal() == hub.UNAUTHENTICATED
    assert await refusal("x" * 43) == hub.UNAUTHENTICATED
    assert await refusal("\ud800".encode("utf-8", "replace").decode()) == hub.UNAUTHENTICATED
    assert await refusal(await ticket_for(user=user), protocols=()) == hub.BAD_PROTOCOL
    assert await refusal(await ticket_for(user=user), protocols=["chat"]) == hub.BAD_PROTOCOL
    foreign = [(b"origin", b"https://evil.example")]
    assert await refusal(await ticket_for(user=user), headers=foreign) == hub.FORBIDDEN
    two = ["notify.v1", f"ticket.{await ticket_for(user=user)}"]
    assert await refusal(await ticket_for(user=user), protocols=two) == hub.UNAUTHENTICATED
    assert await refusal(None, headers=[(b"authorization", b"Bearer x")]) == hub.UNAUTHENTICATED
    # Cookies prove nothing here: another site's page sends them too.
    assert await refusal(None, headers=[(b"cookie", b"sessionid=x")]) == hub.UNAUTHENTICATED
    late = await ticket_for(user=user)
    from dovetail_notify.models import Ticket

    await Ticket.objects.aupdate(expires_at=timezone.now() - timedelta(seconds=1))
    assert await refusal(late) == hub.UNAUTHENTICATED
    gone = await ticket_for(user=user)
    await get_user_model().objects.aupdate(is_active=False)
    assert await refusal(gone) == hub.UNAUTHENTICATED


@asynchronously
async def test_a_ticket_of_another_organization_is_refused(user: Any, settings: Any) -> None:
    ticket = await ticket_for(user=user, organization_key="globex")
    assert await refusal(ticket, query="organization=acme") == hub.FORBIDDEN
    async with NotificationSocket(
        await ticket_for(user=user, organization_key="acme"), query="organization=acme"
    ) as socket:
        await socket.receive()
        await send(Quiet(), to=user, organization="globex")
        await send(Quiet(), to=user, organization="acme")
        assert (await socket.receive())["data"]["organization"] == "acme"
        assert await socket.nothing()


@asynchronously
async def test_pages_of_allowed_hosts_come_in(user: Any, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["api.example.com"]
    settings.CORS_ALLOWED_ORIGINS = ["https://app.example.com"]
    for origin in (b"https://api.example.com", b"https://app.example.com", None):
        headers = [(b"origin", origin)] if origin else []
        async with NotificationSocket(await ticket_for(user=user), headers=headers) as socket:
            assert (await socket.receive())["type"] == "hello"


@asynchronously
async def test_the_eleventh_socket_is_too_many(user: Any, settings: Any) -> None:
    sockets = [NotificationSocket(await ticket_for(user=user)) for _ in range(10)]
    for socket in sockets:
        await socket.__aenter__()
        await socket.receive()
    assert await refusal(await ticket_for(user=user)) == hub.TOO_MANY
    await sockets.pop().__aexit__()
    async with NotificationSocket(await ticket_for(user=user)) as socket:
        assert (await socket.receive())["type"] == "hello"
    for socket in sockets:
        await socket.__aexit__()
    assert not hub.current_hub().members
    assert not hub.current_hub()._tasks


# --- Hearing ----------------------------------------------------------------------------------------------------------


@asynchronously
async def test_a_notification_comes_as_the_list_shows_it(user: Any, settings: Any) -> None:
    from rest_framework.test import APIClient

    async with NotificationSocket(await ticket_for(user=user)) as socket:
        await socket.receive()
        await send(OrderShipped(number="é"), to=[user, await sync_to_async(make_user)()], organization=7)
        frame = await socket.receive()
        assert await socket.nothing()
    client = APIClient()
    client.force_authenticate(user)
    (listed,) = (await sync_to_async(client.get)("/api/v1/notifications/")).json()["data"]
    shown = frame["data"]
    assert shown.keys() == listed.keys()
    assert {**shown, "created_at": None} == {**listed, "created_at": None}
    assert frame["cursor"] == listed["id"]


@asynchronously
async def test_reading_in_one_tab_is_told_to_the_other(user: Any, settings: Any) -> None:
    first, second = await sync_to_async(fill)(user, 2)
    async with NotificationSocket(await ticket_for(user=user)) as socket:
        assert (await socket.receive())["unread"] == 2
        await sync_to_async(mark_read)(user=user, ids=[first])
        state = await socket.receive()
        assert (state["type"], state["ids"], state["unread"], state["capped"]) == ("state", [first], 1, False)
        assert state["read_at"]
        row = await Notification.objects.select_related("recipient").aget(pk=second)
        await sync_to_async(remove_notification)(notification=row)
        state = await socket.receive()
        assert (state["removed"], state["ids"], state["unread"]) == (True, [second], 0)


@asynchronously
async def test_nobody_hears_of_anothers_or_of_what_was_rolled_back(user: Any, settings: Any) -> None:
    from django.db import transaction

    def rolled_back() -> None:
        with transaction.atomic():
            notify(Quiet(), to=user)
            transaction.set_rollback(True)

    async with NotificationSocket(await ticket_for(user=user)) as socket:
        await socket.receive()
        await send(Quiet(), to=await sync_to_async(make_user)())
        await sync_to_async(rolled_back)()
        assert await socket.nothing()


@asynchronously
async def test_what_no_message_told_of_is_found_by_the_sweep(user: Any, settings: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hub, "SWEEP_SECONDS", 0.1)
        async with NotificationSocket(await ticket_for(user=user)) as socket:
            await socket.receive()
            await asyncio.sleep(0.15)
            patch.setattr(realtime, "publish", lambda messages: None)
            await send(Quiet(), to=user)
            assert (await socket.receive())["type"] == "notification"
            assert await socket.nothing(0.5)


@asynchronously
async def test_a_slow_socket_is_told_to_read_anew_and_delays_nobody(user: Any, settings: Any) -> None:
    slow = hub.Member(hub.Admission(user, None, "", None), None)
    quick = hub.Member(hub.Admission(user, None, "", None), None)
    here = hub.current_hub()
    here.members = {str(user.pk): {slow, quick}}
    heard = []
    for number in range(200):
        here.take({"type": "frame", "users": [str(user.pk)], "frame": {"type": "state", "n": number}})
        heard.append(json.loads(str(quick.queue.get_nowait()))["n"])
        assert slow.queue.qsize() <= hub.QUEUE
    here.members = {}
    assert heard == list(range(200))
    waiting = [json.loads(str(slow.queue.get_nowait())) for _ in range(slow.queue.qsize())]
    # The first says that something is missing; what comes after it is whole.
    assert waiting[0] == {"type": "resync"}
    assert [frame["n"] for frame in waiting[1:]] == list(range(200 - len(waiting) + 1, 200))


# --- Coming back ------------------------------------------------------------------------------------------------------


@asynchronously
async def test_resuming_replays_what_was_missed(user: Any, settings: Any) -> None:
    long_ago = timezone.now() - timedelta(hours=1)
    await sync_to_async(fill)(user, 2, created_at=long_ago - timedelta(seconds=61))
    (last_seen,) = await sync_to_async(fill)(user, 1, created_at=long_ago)
    missed = await sync_to_async(fill)(user, 100)
    await sync_to_async(fill)(user, 1, archived_at=timezone.now(), read_at=timezone.now())
    async with NotificationSocket(await ticket_for(user=user)) as socket:
        await socket.receive()
        await socket.send({"type": "resume", "cursor": last_seen})
        assert [(await socket.receive())["cursor"] for _ in missed] == missed
        assert await socket.nothing()


@asynchronously
async def test_more_than_a_hundred_is_read_anew(user: Any, settings: Any) -> None:
    await sync_to_async(fill)(user, 101)
    async with NotificationSocket(await ticket_for(user=user)) as socket:
        await socket.receive()
        await socket.send({"type": "resume", "cursor": 0})
        assert await socket.receive() == {"type": "resync"}


@asynchronously
async def test_a_row_that_committed_after_a_later_key_is_not_missed(user: Any, settings: Any) -> None:
    first, second, third = await sync_to_async(fill)(user, 3)
    async with NotificationSocket(await ticket_for(user=user)) as socket:
        await socket.receive()
        # The client saw the third while the second's transaction was still open.
        await socket.send({"type": "resume", "cursor": third})
        assert [(await socket.receive())["cursor"] for _ in range(2)] == [first, second]


# --- What clients send ------------------------------------------------------------------------------------------------


@asynchronously
async def test_frames_that_are_none_are_told_so(user: Any, settings: Any) -> None:
    async with NotificationSocket(await ticket_for(user=user)) as socket:
        await socket.receive()
        for text in (
            "",
            "x",
            "[]",
            "5",
            "{}",
            '{"type":[]}',
            '{"type":"x"}',
            '{"type":"resume"}',
            "[" * 4000,
            '{"type":"resume","cursor":-1}',
            '{"type":"resume","cursor":true}',
            '{"type":"resume","cursor":1e3}',
            '{"type":"resume","cursor":99999999999999999999}',
        ):
            await socket.send_text(text)
            assert await socket.receive() == {"type": "error", "code": "malformed"}, text
        await socket.send({"type": "ping"})
        assert await socket.receive() == {"type": "pong"}


@asynchronously
async def test_floods_and_large_frames_end_a_socket(user: Any, settings: Any) -> None:
    async with NotificationSocket(await ticket_for(user=user)) as socket:
        await socket.receive()
        await socket.send_text("x" * 4097)
        assert await socket.receive() is None
        assert socket.code == 1009
    async with NotificationSocket(await ticket_for(user=user)) as socket:
        await socket.receive()
        for _ in range(21):
            await socket.send({"type": "ping"})
        while await socket.receive():
            pass
        assert socket.code == hub.TOO_MANY


# --- Ending -----------------------------------------------------------------------------------------------------------


@asynchronously
async def test_a_socket_ends_with_its_credential_unless_it_gets_another(user: Any, settings: Any) -> None:
    soon = timezone.now() + timedelta(seconds=2)
    async with NotificationSocket(await ticket_for(user=user, expires_at=soon)) as socket:
        assert (await socket.receive())["expires_in"] <= 2
        assert (await socket.receive())["type"] == "expiring"
        later = timezone.now() + timedelta(hours=1)
        await socket.send({"type": "auth", "ticket": await ticket_for(user=user, expires_at=later)})
        assert (await socket.receive())["expires_in"] > 3000
        hub.current_hub()._all()[0].expires_at = timezone.now()
        assert await socket.receive() is None
        assert socket.code == hub.EXPIRED


@asynchronously
async def test_another_persons_ticket_does_not_renew_it(user: Any, settings: Any) -> None:
    other = await sync_to_async(make_user)()
    for ticket, code in (
        (await ticket_for(user=other), hub.FORBIDDEN),
        ("x", hub.UNAUTHENTICATED),
        (5, hub.UNAUTHENTICATED),
    ):
        async with NotificationSocket(await ticket_for(user=user)) as socket:
            await socket.receive()
            await socket.send({"type": "auth", "ticket": ticket})
            assert await socket.receive() is None
            assert socket.code == code


@asynchronously
async def test_who_is_signed_out_is_cut_off(user: Any, settings: Any) -> None:
    async with (
        NotificationSocket(await ticket_for(user=user, session="one")) as first,
        NotificationSocket(await ticket_for(user=user, session="two")) as second,
    ):
        await first.receive()
        await second.receive()
        await sync_to_async(realtime.disconnect)(session="one")
        assert await first.receive() is None
        assert first.code == hub.FORBIDDEN
        assert await second.nothing()
        await sync_to_async(realtime.disconnect)(user=user)
        assert await second.receive() is None
        assert second.code == hub.FORBIDDEN


@asynchronously
async def test_an_account_that_is_deactivated_is_cut_off(user: Any, settings: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hub, "SWEEP_SECONDS", 0.1)
        async with NotificationSocket(await ticket_for(user=user)) as socket:
            await socket.receive()
            await get_user_model().objects.filter(pk=user.pk).aupdate(is_active=False)
            assert await socket.receive() is None
            assert socket.code == hub.FORBIDDEN


@asynchronously
async def test_signing_out_of_a_django_session_ends_its_sockets(user: Any, settings: Any) -> None:
    from django.test import Client

    client = Client()
    await sync_to_async(client.force_login)(user)
    answer = await sync_to_async(client.post)("/api/v1/notifications/ticket/")
    assert answer.status_code == 201, answer.content
    async with NotificationSocket(answer.json()["ticket"]) as socket:
        assert (await socket.receive())["expires_in"] > 0
        await sync_to_async(client.logout)()
        assert await socket.receive() is None
        assert socket.code == hub.FORBIDDEN


def test_no_secret_is_logged(caplog: Any, settings: Any) -> None:
    caplog.set_level("DEBUG")
    user = make_user()
    ticket = issue_ticket(user=user)

    async def use() -> None:
        async with NotificationSocket(ticket) as socket:
            await socket.receive()
        await refusal(ticket)

    run(use())
    assert ticket not in caplog.text
