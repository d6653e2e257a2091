"""Sockets in one process: frames, authentication and close codes."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import threading
from contextlib import AsyncExitStack
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from unittest import mock
from uuid import uuid4

import pytest
from django.contrib.auth import get_user_model
from django.db import OperationalError, connection, transaction
from django.test import Client
from django.utils import timezone

pytest.importorskip("channels", reason="Channels is not installed")

from dovetail_core.events import emit
from dovetail_notify import get_notification_model, notify, realtime, services
from dovetail_notify.contrib.channels import application
from dovetail_notify.inbox.reading import visible_organizations
from dovetail_notify.models import Ticket
from dovetail_notify.realtime import frames, messages, protocol, socket_authentication, sockets
from dovetail_notify.realtime.channels import consumer
from dovetail_notify.realtime.credentials import object_session, session_hash
from dovetail_notify.realtime.database_thread import Batcher, in_database_thread
from dovetail_notify.realtime.hub import Hub
from dovetail_notify.realtime.socket_authentication import Admission, issue_ticket, redeem_ticket, redeem_tickets
from dovetail_notify.realtime.sockets import revalidate
from dovetail_notify.testing import NotificationSocket
from tests.notify.factories import make_user, make_users
from tests.notify.orders.notifications import OrderShipped, Tip
from tests.notify.sockets import call, open_socket, run

pytestmark = pytest.mark.django_db(transaction=True)

SHIPPED = OrderShipped(number="A-1")
Notification: Any = get_notification_model()


@pytest.fixture
def user() -> Any:
    return make_user()


async def hello(socket: NotificationSocket) -> dict[str, Any]:
    return await socket.receive("hello")


# --- Frames -----------------------------------------------------------------------------------------------------------


def test_committed_row_is_sent_as_the_list_shows_it(user):
    async def main() -> None:
        async with await open_socket(user) as socket:
            assert socket.protocol == "notify.v1"
            first = await hello(socket)
            assert (first["unread"], first["capped"], first["expires_in"]) == (0, False, None)
            await call(notify, SHIPPED, to=user)
            frame = await socket.receive()
        client = Client()
        await call(client.force_login, user)
        answer = await call(client.get, "/api/v1/notifications/")
        rows = answer.json()
        rows = rows.get("data") or rows["results"]
        assert frame == {"type": "notification", "cursor": frame["cursor"], "data": rows[0]}
        assert frame["cursor"].startswith(f"{rows[0]['id']}-")

    run(main)


def test_users_get_their_own_rows_from_one_encoded_frame(user, monkeypatch):
    others = list(make_users(5))
    templates = []
    template = frames.FrameTemplate
    monkeypatch.setattr(frames, "FrameTemplate", lambda row: templates.append(row) or template(row))

    async def main() -> None:
        async with AsyncExitStack() as stack:
            opened = [(each, await stack.enter_async_context(await open_socket(each))) for each in [*others, user]]
            for _, socket in opened:
                await hello(socket)
            await call(notify, SHIPPED, to=others)
            rows = dict(await call(lambda: list(Notification.objects.values_list("recipient", "pk"))))
            for each, socket in opened[:-1]:
                assert (await socket.receive())["data"]["id"] == rows[each.pk]
            assert await opened[-1][1].nothing()

    run(main)
    assert len(templates) == 1


def test_rollback_sends_nothing(user):
    def fail() -> None:
        with transaction.atomic():
            notify(SHIPPED, to=user)
            transaction.set_rollback(True)

    async def main() -> None:
        async with await open_socket(user) as socket:
            await hello(socket)
            await call(fail)
            assert await socket.nothing()

    run(main)


def test_reading_updates_other_tabs(user):
    notify(SHIPPED, to=user)
    row = Notification.objects.get()

    async def main() -> None:
        async with await open_socket(user) as one, await open_socket(user) as two:
            assert [(await hello(each))["unread"] for each in (one, two)] == [1, 1]
            await call(services.mark_read, user=user, ids=[row.pk])
            for each in (one, two):
                state = await each.receive("state")
                assert (state["ids"], state["unread"], state["capped"]) == ([row.pk], 0, False)
                assert state["read_at"]

    run(main)


def test_organization_socket_shows_and_counts_only_its_organization(user):
    async def main() -> None:
        async with await open_socket(user, organization_key="acme") as bound, await open_socket(user) as free:
            await hello(bound)
            await hello(free)
            await call(notify, SHIPPED, to=user, organization="globex")
            await call(notify, Tip(), to=user, organization="acme")
            assert (await bound.receive("notification"))["data"]["organization"] == "acme"
            assert (await free.receive("notification"))["data"]["organization"] == "globex"
            await call(services.mark_read, user=user, upto=2**62)
            assert (await bound.receive("state"))["unread"] == 0
            await call(notify, SHIPPED, to=user, organization="globex")
            row = await call(Notification.objects.earliest, "pk")
            await call(services.mark_unread, user=user, ids=[row.pk])
            assert (await bound.receive("state"))["unread"] == 0
            assert (await free.receive("state"))["unread"] == 0
            assert (await free.receive("state"))["unread"] == 2

    run(main)


def test_sweep_finds_unannounced_rows(user, monkeypatch):
    monkeypatch.setattr(messages, "publish", lambda _: None)

    async def main() -> None:
        async with await open_socket(user) as socket:
            await hello(socket)
            await Hub.current().sweep()
            await call(notify, SHIPPED, to=user)
            await Hub.current().sweep()
            assert (await socket.receive())["data"]["title"] == "Order A-1 was shipped"
            await Hub.current().sweep()
            assert await socket.nothing()

    run(main)


def test_hub_stops_with_the_last_socket(user):
    async def main() -> None:
        async with await open_socket(user) as socket:
            await hello(socket)
            hub = Hub.current()
            assert messages.listeners
        assert (hub.sockets, hub._tasks, messages.listeners) == ({}, set(), {})

    run(main)


# --- Hints ------------------------------------------------------------------------------------------------------------


def test_hint_reaches_the_sockets_of_its_organization(user, settings):
    member = make_user()
    settings.NOTIFY_ORGANIZATIONS = lambda account: ["acme", "globex"] if account == user else ["globex"]

    async def main() -> None:
        async with (
            await open_socket(user) as free,
            await open_socket(user, organization_key="acme") as bound,
            await open_socket(user, organization_key="globex") as elsewhere,
            await open_socket(member) as stranger,
        ):
            for socket in (free, bound, elsewhere, stranger):
                await hello(socket)
            await call(realtime.broadcast, "features", organization="acme")
            await call(realtime.broadcast, "prices")
            features, prices = ({"type": "hint", "kind": kind} for kind in ("features", "prices"))
            for socket in (free, bound):
                assert [await socket.receive() for _ in range(2)] == [features, prices]
            # Frames are in the order of the hints, so these sockets have missed the first one.
            for socket in (elsewhere, stranger):
                assert await socket.receive() == prices

    run(main)


def test_equal_hints_of_a_transaction_are_published_once(monkeypatch):
    published: list[Any] = []
    monkeypatch.setattr(messages, "publish", published.extend)
    with transaction.atomic():
        for _ in range(1000):
            realtime.broadcast("features")
            realtime.broadcast("features", organization=7)
        assert published == []
    assert published == [
        {"type": "hint", "kind": "features", "organization": None},
        {"type": "hint", "kind": "features", "organization": "7"},
    ]
    realtime.broadcast("features")
    assert len(published) == 3


def test_hints_of_a_rollback_are_not_published(monkeypatch):
    published: list[Any] = []
    monkeypatch.setattr(messages, "publish", published.extend)
    with transaction.atomic():
        realtime.broadcast("features")
        transaction.set_rollback(True)
    with transaction.atomic():
        with transaction.atomic():
            realtime.broadcast("features")
            realtime.broadcast("prices")
            transaction.set_rollback(True)
        realtime.broadcast("prices")
    assert [message["kind"] for message in published] == ["prices"]


def test_burst_of_hints_is_one_frame(user):
    async def main() -> None:
        async with await open_socket(user) as socket:
            await hello(socket)
            for number in range(1000):
                for organization in (None, str(number)):
                    Hub.current().take({"type": "hint", "kind": "features", "organization": organization})
            Hub.current().take({"type": "hint", "kind": "prices", "organization": None})
            assert [(await socket.receive())["kind"] for _ in range(2)] == ["features", "prices"]
            Hub.current().take({"type": "hint", "kind": "features", "organization": None})
            assert (await socket.receive())["kind"] == "features"

    run(main)


def test_waiting_hint_is_not_added_again(user):
    admission = Admission(user, None, "", None)

    async def main() -> None:
        socket = sockets.Socket(admission, None)
        for text in ("hint", "state", "hint"):
            socket.put_once(text)
        assert [await socket.take() for _ in range(2)] == ["hint", "state"]
        assert socket.idle
        socket.put_once("hint")
        assert await socket.take() == "hint"

    run(main)


def test_hint_after_the_last_socket_starts_no_task(user):
    async def main() -> None:
        async with await open_socket(user) as socket:
            await hello(socket)
            hub = Hub.current()
        hub.take({"type": "hint", "kind": "features", "organization": None})
        assert hub._tasks == set()

    run(main)


@pytest.mark.parametrize("kind", ["", "Features", "features ", "features\n", "-x", "x--y", "ä", "a" * 51])
def test_invalid_kind_of_a_hint_is_refused(kind):
    with pytest.raises(ValueError, match="lower-case name of at most 50 characters"):
        realtime.broadcast(kind)


# --- Resuming ---------------------------------------------------------------------------------------------------------


def test_resume_replays_missed_rows_at_least_once(user):
    async def main() -> None:
        async with await open_socket(user) as socket:
            cursor = (await hello(socket))["cursor"]
        for number in range(5):
            await call(notify, OrderShipped(number=str(number)), to=user)
        async with await open_socket(user) as socket:
            assert (await hello(socket))["unread"] == 5
            await socket.send(type="resume", cursor=cursor)
            shown = [(await socket.receive())["data"]["payload"]["number"] for _ in range(5)]
            end = await socket.receive()
            assert shown == ["0", "1", "2", "3", "4"]
            assert (end["type"], end["replayed"], end["unread"]) == ("resumed", 5, 5)
            await call(notify, SHIPPED, to=user)
            last = await socket.receive("notification")
            await socket.send(type="resume", cursor=last["cursor"])
            # Rows of the last minute are repeated, because keys are not in the order of commits.
            assert [(await socket.receive())["data"]["id"] for _ in range(6)][-1] == last["data"]["id"]

    run(main)


def test_late_commit_with_earlier_key_is_replayed(user):
    notify(SHIPPED, to=user)
    notify(Tip(), to=user)
    early, late = Notification.objects.order_by("pk")

    async def main() -> None:
        from dovetail_notify.realtime.frames import cursor

        async with await open_socket(user) as socket:
            await hello(socket)
            await socket.send(type="resume", cursor=cursor(late.pk, late.created_at))
            assert (await socket.receive())["data"]["id"] == early.pk
            await call(Notification.objects.filter(pk=early.pk).update, created_at=timezone.now() - timedelta(hours=1))
            await socket.receive("resumed")
            await socket.send(type="resume", cursor=cursor(late.pk, late.created_at))
            assert (await socket.receive())["data"]["id"] == late.pk

    run(main)


def test_more_than_100_missed_rows_cause_a_resync(user):
    now = timezone.now()
    rows = [
        Notification(recipient=user, type="orders.tip", title=str(n), batch=uuid4(), created_at=now) for n in range(101)
    ]
    Notification.objects.bulk_create(rows)

    async def main() -> None:
        async with await open_socket(user) as socket:
            first = await hello(socket)
            assert (first["unread"], first["capped"]) == (100, True)
            await socket.send(type="resume", cursor="0-0")
            answer = await socket.receive()
            assert (answer["type"], answer["unread"]) == ("resync", 100)

    run(main)


@pytest.mark.parametrize("wrong", [None, 5, "", "x", "1", "-1-1", "99999999999999999999-1", "1-99999999999999", ["1"]])
def test_invalid_cursor_gets_an_error_frame(user, wrong):
    async def main() -> None:
        async with await open_socket(user) as socket:
            await hello(socket)
            await socket.send(type="resume", cursor=wrong)
            assert (await socket.receive())["type"] == "error"
            await socket.send(type="ping")
            assert (await socket.receive())["type"] == "pong"

    run(main)


# --- Slow clients -----------------------------------------------------------------------------------------------------


def test_slow_socket_gets_resync_and_delays_no_other(user, settings):
    settings.NOTIFY_SOCKET_QUEUE = 4
    quick = make_user()

    async def main() -> None:
        reads = asyncio.Event()

        async def slow(scope: Any, receive: Any, send: Any) -> None:
            async def held(message: Any) -> None:
                if "notification" in message.get("text", ""):
                    await reads.wait()
                await send(message)

            await application(scope, receive, held)

        ticket = await call(issue_ticket, user=user)
        async with NotificationSocket(ticket, application=slow) as stuck, await open_socket(quick) as other:
            await hello(stuck)
            await hello(other)
            for number in range(12):
                await call(notify, OrderShipped(number=str(number)), to=[user, quick])
                assert (await other.receive())["data"]["payload"]["number"] == str(number)
            reads.set()
            frames = [await stuck.receive() for _ in range(2)]
            assert [frame["type"] for frame in frames] == ["notification", "resync"]
            assert frames[0]["data"]["payload"]["number"] == "0"

    run(main)


def test_client_that_does_not_read_cannot_delay_the_close(user, monkeypatch):
    monkeypatch.setattr(consumer, "LAST_SEND_SECONDS", 0.1)

    async def main() -> None:
        async def stuck(scope: Any, receive: Any, send: Any) -> None:
            async def held(message: Any) -> None:
                if "notification" in message.get("text", ""):
                    await asyncio.sleep(60)
                await send(message)

            await application(scope, receive, held)

        async with NotificationSocket(await call(issue_ticket, user=user), application=stuck) as socket:
            await hello(socket)
            await call(notify, SHIPPED, to=user)
            await asyncio.sleep(0.1)
            await call(realtime.disconnect, user=user)
            assert await socket.closed() == (4403, "session_revoked")

    run(main)


def test_idle_socket_gets_a_heartbeat(user, settings, monkeypatch):
    from dovetail_notify.realtime import hub

    monkeypatch.setattr(hub, "HEARTBEAT_SECONDS", 0.05)

    async def main() -> None:
        async with await open_socket(user) as socket:
            await hello(socket)
            assert (await socket.receive())["type"] == "ping"
            await socket.send(type="pong")
            assert (await socket.receive())["type"] == "ping"

    run(main)


# --- Authentication ---------------------------------------------------------------------------------------------------


async def refusal(**opening: Any) -> tuple[int | None, str]:
    async with NotificationSocket(**opening) as socket:
        return await socket.closed()


def test_ticket_opens_one_socket_once(user):
    async def main() -> None:
        ticket = await call(issue_ticket, user=user)
        async with NotificationSocket(ticket=ticket) as socket:
            await hello(socket)
        assert await refusal(ticket=ticket) == (4401, "unauthenticated")

    run(main)


def test_ticket_tolerates_half_a_minute_of_clock_skew(user):
    """A server whose clock is 30 seconds ahead refused every ticket of the others."""
    for seconds, accepted in ((55, True), (65, False)):
        ticket = issue_ticket(user=user)
        with mock.patch("django.utils.timezone.now", return_value=timezone.now() + timedelta(seconds=seconds)):
            assert (redeem_ticket(ticket) is not None) is accepted


def test_invalid_tickets_are_refused(user):
    late = issue_ticket(user=user)
    Ticket.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    inactive = make_user()
    of_inactive = issue_ticket(user=inactive)
    get_user_model().objects.filter(pk=inactive.pk).update(is_active=False)

    async def main() -> None:
        for ticket in (late, of_inactive, "x" * 43, "ü", "a" * 5000, ""):
            protocols = ["notify.v1", f"ticket.{ticket}"]
            assert await refusal(protocols=protocols) == (4401, "unauthenticated"), ticket
        good = await call(issue_ticket, user=user)
        assert await refusal(protocols=["notify.v1", f"ticket.{good}", "ticket.x"]) == (4401, "unauthenticated")
        assert await refusal() == (4401, "unauthenticated")
        assert await refusal(protocols=[f"ticket.{good}"]) == (4406, "protocol")
        assert await refusal(query=f"ticket={good}&token={good}") == (4401, "unauthenticated")
        # None of these attempts has used the ticket.
        assert await call(redeem_ticket, good)

    run(main)


def test_ticket_is_bound_to_its_origin(user):
    async def main() -> None:
        ticket = await call(issue_ticket, user=user, origin="https://app.example.com")
        headers = {"Origin": "https://evil.example"}
        assert await refusal(ticket=ticket, headers=headers) == (4401, "unauthenticated")
        ticket = await call(issue_ticket, user=user, origin="https://app.example.com")
        async with NotificationSocket(ticket=ticket, headers={"Origin": "https://App.example.com"}) as socket:
            await hello(socket)

    run(main)


def test_api_issues_tickets_to_signed_in_users(user, api):
    api.force_authenticate(None)
    api.force_login(user)
    answer = api.post("/api/v1/notifications/ticket/", HTTP_ORIGIN="https://app.example.com")
    assert answer.status_code == 201
    assert answer["Cache-Control"] == "no-store"
    admission = redeem_ticket(answer.json()["ticket"], origin="https://app.example.com")
    assert admission is not None
    assert (admission.user, admission.session) == (user, session_hash(api.session.session_key))
    assert Client().post("/api/v1/notifications/ticket/").status_code in (401, 403)


def test_ticket_for_a_former_organization_is_refused(user, settings):
    settings.NOTIFY_ORGANIZATIONS = lambda user: ["acme"]

    async def main() -> None:
        ticket = await call(issue_ticket, user=user, organization_key="globex")
        assert await refusal(ticket=ticket) == (4403, "membership_removed")
        ticket = await call(issue_ticket, user=user, organization_key="acme")
        async with NotificationSocket(ticket=ticket) as socket:
            await hello(socket)

    run(main)


def test_cookie_is_accepted_only_from_trusted_origins(user, settings):
    settings.CSRF_TRUSTED_ORIGINS = ["https://*.example.com"]
    client = Client()
    client.force_login(user)
    cookie = f"sessionid={client.cookies['sessionid'].value}"

    async def main() -> None:
        for origin in (None, "https://evil.example", "null", "https://example.com.evil.example", "ftp://testserver"):
            headers = {"Cookie": cookie, **({"Origin": origin} if origin else {})}
            assert await refusal(headers=headers) == (4403, "origin"), origin
        for origin in ("http://testserver", "https://app.example.com"):
            async with NotificationSocket(headers={"Cookie": cookie, "Origin": origin}) as socket:
                assert (await hello(socket))["expires_in"] > 0
        headers = {"Cookie": "sessionid=none", "Origin": "http://testserver"}
        assert await refusal(headers=headers) == (4401, "unauthenticated")

    run(main)


def test_authorization_header_uses_the_projects_authentication(user):
    import base64

    from rest_framework.authentication import BasicAuthentication
    from rest_framework.settings import api_settings

    user.set_password("pass")
    user.save()
    valid = base64.b64encode(f"{user.username}:pass".encode()).decode()
    wrong = base64.b64encode(f"{user.username}:word".encode()).decode()

    async def main() -> None:
        async with NotificationSocket(headers={"Authorization": f"Basic {valid}"}) as socket:
            await hello(socket)
        for header in (f"Basic {wrong}", "Basic ü", "Bearer x", "Basic"):
            assert await refusal(headers={"Authorization": header}) == (4401, "unauthenticated"), header

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api_settings, "DEFAULT_AUTHENTICATION_CLASSES", [BasicAuthentication], raising=False)
        run(main)


def test_eleventh_socket_of_a_user_is_refused(user, settings):
    settings.NOTIFY_SOCKETS_PER_USER = 2

    async def main() -> None:
        async with await open_socket(user) as one, await open_socket(user) as two:
            await hello(one)
            await hello(two)
            async with await open_socket(user) as three:
                assert await three.closed() == (4429, "too_many_sockets")
            async with await open_socket(await call(make_user)) as other:
                await hello(other)
        async with await open_socket(user) as again:
            await hello(again)

    run(main)


# --- Frames from the client -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("{", (4400, "malformed")),
        ("[]", (4400, "malformed")),
        ("", (4400, "malformed")),
        ("[" * 4000, (4400, "malformed")),
        ("x" * 4097, (1009, "too_big")),
        ('{"type":"' + "ü" * 2100 + '"}', (1009, "too_big")),
    ],
)
def test_malformed_frame_closes_the_socket(user, text, end):
    async def main() -> None:
        async with await open_socket(user) as socket:
            await hello(socket)
            await socket.send_text(text)
            assert await socket.closed() == end

    run(main)


def test_unknown_frame_gets_an_error_and_a_flood_is_closed(user):
    async def main() -> None:
        async with await open_socket(user) as socket:
            await hello(socket)
            for number in range(20):
                await socket.send(type=["ping", None, 5, "nothing", {"a": 1}][number % 5])
                assert (await socket.receive())["type"] == ("pong" if number % 5 == 0 else "error")
            await socket.send(type="ping")
            assert await socket.closed() == (4429, "too_many_frames")

    run(main)


# --- Expiry and revocation --------------------------------------------------------------------------------------------


def test_socket_announces_expiry_and_closes(user, monkeypatch):
    monkeypatch.setattr(sockets, "EXPIRING_SECONDS", 1)

    async def main() -> None:
        soon = timezone.now() + timedelta(seconds=4)
        async with await open_socket(user, expires_at=soon) as socket:
            assert 0 < (await hello(socket))["expires_in"] < 4
            assert (await socket.receive())["type"] == "expiring"
            assert await socket.closed() == (4408, "expired")
        async with await open_socket(user, expires_at=timezone.now()) as socket:
            assert await socket.closed() == (4408, "expired")

    run(main)


def test_new_ticket_renews_the_socket(user):
    async def main() -> None:
        soon = timezone.now() + timedelta(seconds=50)
        async with await open_socket(user, expires_at=soon, session="old") as socket:
            await hello(socket)
            later = timezone.now() + timedelta(hours=1)
            await socket.send(type="auth", ticket=await call(issue_ticket, user=user, expires_at=later, session="new"))
            assert (await socket.receive("authenticated"))["expires_in"] > 3500
            await call(realtime.disconnect, session="old")
            (there,) = Hub.current().all()
            timers = [timer.when() - asyncio.get_running_loop().time() for timer in there._timers]
            assert min(timers) > 3000
            assert await socket.nothing()
            await call(realtime.disconnect, session="new")
            assert await socket.closed() == (4403, "session_revoked")

    run(main)


@pytest.mark.parametrize(
    ("ticket", "end"),
    [
        ({"user": "another"}, (4403, "other_account")),
        ({"organization_key": "globex"}, (4403, "other_account")),
        ({"organization_key": None}, (4403, "other_account")),
        (None, (4401, "unauthenticated")),
    ],
)
def test_ticket_of_another_user_or_organization_closes_the_socket(user, ticket, end):
    other = make_user()

    async def main() -> None:
        async with await open_socket(user, organization_key="acme") as socket:
            await hello(socket)
            shown: Any = 5
            if ticket is not None:
                fields = {"user": user, "organization_key": "acme", **ticket}
                fields["user"] = other if fields["user"] == "another" else user
                shown = await call(issue_ticket, **fields)
            await socket.send(type="auth", ticket=shown)
            assert await socket.closed() == end

    run(main)


def test_domain_events_close_the_socket(user):
    other = make_user()

    async def closes(name: str, end: tuple[int, str], target: Any = None, **data: Any) -> None:
        organization = data.pop("organization_id", None)
        async with (
            await open_socket(user, organization_key="acme", session=data.pop("session", "")) as socket,
            await open_socket(other, organization_key="globex", session="elsewhere") as stays,
        ):
            await hello(socket)
            await hello(stays)
            await call(emit, name, target=target, organization_id=organization, data=data)
            assert await socket.closed() == end, name
            assert await stays.nothing(0.05), name

    async def main() -> None:
        await closes("session.revoked", (4403, "session_revoked"), session="s1", session_ids=["s0", "s1"])
        gone = (4403, "membership_removed")
        await closes("member.removed", gone, organization_id="acme", user_id=str(user.pk))
        await closes("membership.removed", gone, organization_id="acme", user_id=user.pk)
        await closes("organization.deleted", gone, organization_id="acme")
        # The credential and the revoked row may be objects of two classes.
        key = await call(make_user)
        session = object_session(SimpleNamespace(id=key.pk))
        await closes("api_key.revoked", (4403, "session_revoked"), target=key, session=session)

    run(main)


def test_rolled_back_event_closes_nothing(user):
    def fail() -> None:
        with transaction.atomic():
            emit("session.revoked", data={"session_ids": ["s1"]})
            transaction.set_rollback(True)

    async def main() -> None:
        async with await open_socket(user, session="s1") as socket:
            await hello(socket)
            await call(fail)
            assert await socket.nothing()

    run(main)


def test_leaving_an_organization_hides_it_at_once(user, settings):
    memberships = ["acme", "globex"]
    settings.NOTIFY_ORGANIZATIONS = lambda user: list(memberships)

    async def main() -> None:
        async with await open_socket(user) as socket:
            await hello(socket)
            await call(notify, SHIPPED, to=user, organization="acme")
            assert (await socket.receive())["data"]["organization"] == "acme"
            memberships.remove("acme")
            await call(emit, "member.removed", organization_id="acme", data={"user_id": str(user.pk)})
            await revalidate([*Hub.current().all()])
            await call(notify, SHIPPED, to=user, organization="acme")
            await call(notify, SHIPPED, to=user, organization="globex")
            assert (await socket.receive())["data"]["organization"] == "globex"
            memberships.append("initech")
            await call(emit, "member.added", organization_id="initech", data={"user_id": str(user.pk)})
            assert await socket.nothing(0.05)
            await call(notify, SHIPPED, to=user, organization="initech")
            assert (await socket.receive())["data"]["organization"] == "initech"

    run(main)


def test_logout_deactivation_and_deletion_close_the_socket(user):
    client = Client()
    client.force_login(user)

    async def main() -> None:
        session = session_hash(await call(lambda: client.session.session_key))
        async with await open_socket(user, session=session) as one, await open_socket(user, session="s") as two:
            await hello(one)
            await hello(two)
            await call(client.logout)
            assert await one.closed() == (4403, "session_revoked")
            assert await two.nothing(0.05)
            user.is_active = False
            await call(user.save)
            assert await two.closed() == (4403, "account_inactive")
        other = await call(make_user)
        async with await open_socket(other) as socket:
            await hello(socket)
            await call(other.delete)
            assert await socket.closed() == (4403, "account_inactive")

    run(main)


def test_revalidation_finds_unannounced_changes(user, settings):
    settings.NOTIFY_ENDED_SESSIONS = lambda sessions: [each for each in sessions if each == "over"]
    memberships = ["acme"]
    settings.NOTIFY_ORGANIZATIONS = lambda user: list(memberships)
    users = get_user_model().objects

    async def closes(end: tuple[int, str], change: Any, **ticket: Any) -> None:
        async with await open_socket(user, **ticket) as socket:
            await hello(socket)
            hub = Hub.current()
            await revalidate([*hub.all()])
            assert "session" in ticket or await socket.nothing(0.05)
            await call(change)
            await revalidate([*hub.all()])
            assert await socket.closed() == end

    async def main() -> None:
        await closes((4403, "session_revoked"), lambda: None, session="over")
        await closes((4403, "membership_removed"), memberships.clear, organization_key="acme")
        await closes((4403, "session_revoked"), lambda: users.filter(pk=user.pk).update(password="other"))
        await call(user.refresh_from_db)
        await closes((4403, "account_inactive"), lambda: users.filter(pk=user.pk).update(is_active=False))

    run(main)


# --- Logs, documentation and queries ----------------------------------------------------------------------------------


def test_tickets_and_cookies_are_not_logged(user, caplog):
    caplog.set_level(logging.DEBUG)
    client = Client()
    client.force_login(user)
    secret = client.cookies["sessionid"].value
    ticket = issue_ticket(user=user)

    async def main() -> None:
        async with NotificationSocket(ticket=ticket) as socket:
            await hello(socket)
            await socket.send(type="auth", ticket=ticket)
            await socket.closed()
        await refusal(headers={"Cookie": f"sessionid={secret}"})

    run(main)
    assert ticket not in caplog.text
    assert secret not in caplog.text


def test_protocol_is_fully_documented():
    documented = protocol.__doc__ or ""
    codes = [value for name, value in vars(protocol).items() if name.isupper() and isinstance(value, int)]
    for code in (code for code in codes if code > 1000 and code != protocol.FRAME_BYTES):
        assert f"\n{code}  ``" in documented
    kinds = "hello notification state hint resumed resync expiring authenticated ping error"
    for kind in kinds.split():
        assert f"\n``{kind}``" in documented
    assert json.loads(protocol.frame("ping")) == {"type": "ping"}


def test_disconnect_requires_an_argument():
    with pytest.raises(TypeError, match="user=, session= or organization="):
        realtime.disconnect()


@pytest.mark.parametrize("number", [1, 50])
def test_new_rows_take_two_queries_for_any_number_of_sockets(django_assert_num_queries, number):
    users = list(make_users(number))
    batch = notify(SHIPPED, to=users).batch
    keys = [each.pk for each in users]
    with django_assert_num_queries(2):
        addressed = frames.frames_of_batches([batch], after=0, recipients=keys, using=None)
    assert {user for user, _, _ in addressed} == {str(key) for key in keys}


def test_frames_are_not_tracked_by_the_garbage_collector():
    # 20 000 tracked objects triggered a full collection: with 5 000 sockets, it stopped all of them for 0.4 seconds.
    users = list(make_users(20))
    batches = [notify(SHIPPED, to=users).batch for _ in range(2)]
    addressed = frames.frames_of_batches(batches, after=0, recipients=None, using=None)
    gc.collect()
    assert len(addressed) == 40
    assert not any(map(gc.is_tracked, addressed))


def test_opening_and_resuming_query_counts_do_not_grow(user, django_assert_num_queries):
    admission = redeem_ticket(issue_ticket(user=user))
    assert admission is not None
    for number in (1, 60):
        Notification.objects.bulk_create(
            Notification(recipient=user, type="orders.tip", title="x", batch=uuid4(), created_at=timezone.now())
            for _ in range(number)
        )
        with django_assert_num_queries(2):
            frames.opening(admission)
        with django_assert_num_queries(4):
            frames.missed(admission, (0, timezone.now()))


# --- Many sockets at once ---------------------------------------------------------------------------------------------


class Statements:
    """Statements that are executed, without BEGIN and COMMIT."""

    def __init__(self) -> None:
        self.executed: list[str] = []

    def __call__(self, execute: Any, sql: str, *arguments: Any) -> Any:
        if sql.startswith(("SELECT", "DELETE", "INSERT", "UPDATE")):
            self.executed.append(sql)
        return execute(sql, *arguments)


def scope(ticket: str, *, origin: str = "") -> dict[str, Any]:
    headers = [(b"origin", origin.encode())] if origin else []
    return {"subprotocols": ["notify.v1", f"ticket.{ticket}"], "headers": headers}


def test_hundred_simultaneous_sockets_take_few_statements():
    users = list(make_users(100))
    issued = [issue_ticket(user=each) for each in users]
    Notification.objects.bulk_create(
        Notification(recipient=users[7], type="orders.tip", title="x", batch=uuid4(), created_at=timezone.now())
        for _ in range(101)
    )
    statements, held = Statements(), threading.Event()

    async def main() -> None:
        async with AsyncExitStack() as stack:
            opened = [NotificationSocket(each) for each in issued]
            # The database thread is busy until all sockets wait, so that their order does not depend on timing.
            busy = asyncio.create_task(in_database_thread(held.wait, 30))
            await asyncio.gather(*(stack.enter_async_context(each) for each in opened))
            held.set()
            assert await busy
            shown = [await hello(each) for each in opened]
            assert [(each["unread"], each["capped"]) for each in shown[6:9]] == [(0, False), (100, True), (0, False)]

    with connection.execute_wrapper(statements):
        run(main)
    # At most two batches, each with two statements on tickets.
    on_tickets = [sql.split()[0] for sql in statements.executed if Ticket._meta.db_table in sql]
    assert on_tickets in (["SELECT", "DELETE"], ["SELECT", "DELETE"] * 2)
    # The number of batches of openings depends on the event loop. The hub also sweeps once.
    assert len(statements.executed) < 40


@pytest.mark.parametrize("number", [2, 100])
def test_admission_statement_count_does_not_grow(number):
    issued = [issue_ticket(user=each) for each in make_users(number)]
    statements = Statements()
    with connection.execute_wrapper(statements):
        admitted = socket_authentication.admit_all([scope(each) for each in issued])
        frames.openings(admitted)
    assert [sql.split()[0] for sql in statements.executed] == ["SELECT", "DELETE", "SELECT"]
    assert Ticket.objects.count() == 0


def test_error_of_one_socket_affects_no_other(user, settings):
    settings.NOTIFY_ORGANIZATIONS = lambda user: 1 / 0 if user.username == "broken" else ["acme"]
    late, gone = issue_ticket(user=user), issue_ticket(user=make_user(is_active=False))
    Ticket.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    twice, foreign = issue_ticket(user=user), issue_ticket(user=user, organization_key="globex")
    elsewhere = issue_ticket(user=user, origin="https://app.example.com")
    expired = issue_ticket(user=user, expires_at=timezone.now() - timedelta(seconds=1))
    broken = issue_ticket(user=make_user(username="broken"))
    shown = [late, gone, twice, twice, foreign, expired, broken, "x" * 43, "ü"]
    scopes = [scope(each) for each in shown]
    scopes += [scope(elsewhere, origin="https://evil.example"), {"subprotocols": [], "headers": []}]
    results = socket_authentication.admit_all(scopes)
    outcomes = [(item.code, item.reason) if isinstance(item, protocol.Refused) else type(item) for item in results]
    unauthenticated = (4401, "unauthenticated")
    assert outcomes == [
        unauthenticated,
        unauthenticated,
        tuple,
        unauthenticated,
        (4403, "membership_removed"),
        (4408, "expired"),
        ZeroDivisionError,
        unauthenticated,
        unauthenticated,
        unauthenticated,
        (4406, "protocol"),
    ]
    assert Ticket.objects.count() == 0


def test_ticket_used_elsewhere_refuses_no_other_socket(user, monkeypatch):
    shared, *own = [issue_ticket(user=user) for _ in range(3)]
    (first,) = Ticket.objects.order_by("pk")[:1]
    delete = socket_authentication._delete_tickets

    def delete_after_another_process(keys: list[Any], using: str) -> set[Any]:
        assert Ticket.objects.filter(pk=first.pk)._raw_delete(using) == 1
        return delete(keys, using)

    monkeypatch.setattr(socket_authentication, "_delete_tickets", delete_after_another_process)
    admitted = redeem_tickets([(own[0], None), (shared, None), (own[1], None)])
    assert [each is not None for each in admitted] == [True, False, True]
    assert Ticket.objects.count() == 0


def test_openings_match_each_users_inbox(user):
    other = make_user()
    now = timezone.now()
    for recipient, organization, number, read in (
        (user, None, 3, None),
        (user, "acme", 2, None),
        (user, "globex", 102, None),
        (user, "acme", 4, now),
        (other, None, 100, None),
    ):
        fields = {
            "type": "orders.tip",
            "title": "x",
            "created_at": now,
            "read_at": read,
            "organization_key": organization,
        }
        Notification.objects.bulk_create(
            Notification(recipient=recipient, batch=uuid4(), **fields) for _ in range(number)
        )
    admissions = [
        (Admission(user, None, "", None), None),
        (Admission(user, "acme", "", None), None),
        (Admission(user, None, "", None), frozenset({"acme"})),
        (Admission(user, "globex", "", None), frozenset({"acme", "globex"})),
        (Admission(user, None, "", None), frozenset()),
        (Admission(other, None, "", None), None),
        (Admission(make_user(), None, "", None), None),
    ]
    openings = frames.openings(admissions)
    assert [(opening.unread, opening.capped) for opening in openings] == [
        (100, True),
        (5, False),
        (5, False),
        (100, True),
        (3, False),
        (100, False),
        (0, False),
    ]
    for (admission, organizations), opening in zip(admissions, openings, strict=True):
        (alone,) = frames.openings([(admission, organizations)])
        assert (alone.unread, alone.capped) == (opening.unread, opening.capped)
        assert alone.cursor.split("-")[0] == opening.cursor.split("-")[0]
        condition = visible_organizations(
            None if organizations is None else list(organizations), admission.organization_key
        )
        rows = Notification.objects.filter(condition, recipient=admission.user).order_by("pk")
        last = rows.last()
        assert frames.parse_cursor(opening.cursor)[0] == (last.pk if last else 0)


def test_frames_do_not_close_the_shared_connection(user, monkeypatch):
    turns: list[object] = []

    async def close() -> None:
        turns.append(None)

    monkeypatch.setattr("channels.consumer.aclose_old_connections", close)

    async def main() -> None:
        async with await open_socket(user) as socket:
            await hello(socket)
            await socket.send(type="ping")
            assert await socket.receive() == {"type": "pong"}

    run(main)
    assert turns == []


def test_closed_sockets_are_removed_from_the_batch():
    batches: list[list[int]] = []
    held = threading.Event()

    def work(items: Any) -> Any:
        batches.append(list(items))
        return items

    async def main() -> None:
        batcher = Batcher(work)
        busy = asyncio.create_task(in_database_thread(held.wait, 30))
        calls = []
        for number in range(4):
            calls.append(asyncio.create_task(batcher(number)))
            for _ in range(5):  # until it waits, and the first item is in work
                await asyncio.sleep(0)
        calls[2].cancel()
        await asyncio.sleep(0)
        held.set()
        assert await asyncio.gather(busy, calls[0], calls[1], calls[3]) == [True, 0, 1, 3]

    run(main)
    assert batches == [[0], [1, 3]]


def test_database_failure_closes_waiting_sockets(user, monkeypatch):
    ticket = issue_ticket(user=user)

    def fail(*arguments: Any) -> Any:
        raise OperationalError("The database is down.")

    monkeypatch.setattr(socket_authentication, "redeem_tickets", fail)

    async def main() -> None:
        assert await refusal(ticket=ticket) == (4500, "unavailable")

    run(main)
    assert Ticket.objects.count() == 1
