"""One process: what a socket is told, how it is let in, and how it ends."""

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
from uuid import uuid4

import pytest
from django.contrib.auth import get_user_model
from django.db import OperationalError, connection, transaction
from django.test import Client
from django.utils import timezone

pytest.importorskip("channels", reason="Channels is not installed")

from dovetail_core.events import emit
from dovetail_notify import (
    arrivals,
    frames,
    get_notification_model,
    handshake,
    notify,
    protocol,
    realtime,
    services,
    sockets,
    tickets,
)
from dovetail_notify.contrib import channels
from dovetail_notify.contrib.channels import application
from dovetail_notify.credentials import object_session, session_hash
from dovetail_notify.hub import Hub, in_thread
from dovetail_notify.inbox import visible
from dovetail_notify.models import Ticket
from dovetail_notify.testing import NotificationSocket
from dovetail_notify.tickets import Admission, issue_ticket, redeem_ticket, redeem_tickets
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


# --- What it is told --------------------------------------------------------------------------------------------------


def test_what_is_committed_is_shown_as_the_list_shows_it(user):
    async def main() -> None:
        async with await open_socket(user) as socket:
            assert socket.protocol == "notify.v1"
            first = await hello(socket)
            assert (first["unread"], first["capped"], first["expires_in"]) == (0, False, None)
            await call(notify, SHIPPED, to=user)
            found = await socket.receive()
        client = Client()
        await call(client.force_login, user)
        answer = await call(client.get, "/api/v1/notifications/")
        rows = answer.json()
        rows = rows.get("data") or rows["results"]
        assert found == {"type": "notification", "cursor": found["cursor"], "data": rows[0]}
        assert found["cursor"].startswith(f"{rows[0]['id']}-")

    run(main)


def test_each_is_told_of_their_own_with_one_text_and_two_queries(user, monkeypatch):
    others = list(make_users(5))
    made = []
    text = frames._Text
    monkeypatch.setattr(frames, "_Text", lambda row: made.append(row) or text(row))

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
    assert len(made) == 1


def test_rolled_back_nothing_is_said(user):
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


def test_a_read_follows_in_the_other_tabs(user):
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


def test_a_socket_for_one_organization_hears_of_it_and_counts_it_alone(user):
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


def test_what_no_hint_told_of_is_found_by_looking(user, monkeypatch):
    monkeypatch.setattr(realtime, "publish", lambda messages: None)

    async def main() -> None:
        async with await open_socket(user) as socket:
            await hello(socket)
            await Hub.current().look()
            await call(notify, SHIPPED, to=user)
            await Hub.current().look()
            assert (await socket.receive())["data"]["title"] == "Order A-1 was shipped"
            await Hub.current().look()
            assert await socket.nothing()

    run(main)


def test_nothing_is_left_running_when_the_last_one_goes(user):
    async def main() -> None:
        async with await open_socket(user) as socket:
            await hello(socket)
            hub = Hub.current()
            assert realtime.listeners
        assert (hub.sockets, hub._tasks, realtime.listeners) == ({}, set(), {})

    run(main)


# --- Coming back ------------------------------------------------------------------------------------------------------


def test_what_was_missed_comes_after_resume_and_each_at_least_once(user):
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
            # The overlap: rows of the last minute come again, because keys are not in the order of commits.
            assert [(await socket.receive())["data"]["id"] for _ in range(6)][-1] == last["data"]["id"]

    run(main)


def test_a_row_that_was_committed_late_with_an_earlier_key_is_replayed(user):
    notify(SHIPPED, to=user)
    notify(Tip(), to=user)
    early, late = Notification.objects.order_by("pk")

    async def main() -> None:
        from dovetail_notify.frames import cursor

        async with await open_socket(user) as socket:
            await hello(socket)
            await socket.send(type="resume", cursor=cursor(late.pk, late.created_at))
            assert (await socket.receive())["data"]["id"] == early.pk
            await call(Notification.objects.filter(pk=early.pk).update, created_at=timezone.now() - timedelta(hours=1))
            await socket.receive("resumed")
            await socket.send(type="resume", cursor=cursor(late.pk, late.created_at))
            assert (await socket.receive())["data"]["id"] == late.pk

    run(main)


def test_more_than_a_hundred_missed_are_for_the_list_to_show(user):
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
def test_a_wrong_cursor_is_told_and_ends_nothing(user, wrong):
    async def main() -> None:
        async with await open_socket(user) as socket:
            await hello(socket)
            await socket.send(type="resume", cursor=wrong)
            assert (await socket.receive())["type"] == "error"
            await socket.send(type="ping")
            assert (await socket.receive())["type"] == "pong"

    run(main)


# --- Slow ones --------------------------------------------------------------------------------------------------------


def test_a_slow_socket_is_told_to_resync_and_delays_nobody(user, settings):
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


def test_a_peer_that_reads_nothing_holds_up_no_end(user, monkeypatch):
    monkeypatch.setattr(channels, "LAST_SEND_SECONDS", 0.1)

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


def test_a_sign_of_life_goes_to_whoever_hears_nothing_else(user, settings, monkeypatch):
    from dovetail_notify import hub

    monkeypatch.setattr(hub, "HEARTBEAT_SECONDS", 0.05)

    async def main() -> None:
        async with await open_socket(user) as socket:
            await hello(socket)
            assert (await socket.receive())["type"] == "ping"
            await socket.send(type="pong")
            assert (await socket.receive())["type"] == "ping"

    run(main)


# --- Who is let in ----------------------------------------------------------------------------------------------------


async def refusal(**opening: Any) -> tuple[int | None, str]:
    async with NotificationSocket(**opening) as socket:
        return await socket.closed()


def test_a_ticket_opens_one_socket_once(user):
    async def main() -> None:
        ticket = await call(issue_ticket, user=user)
        async with NotificationSocket(ticket=ticket) as socket:
            await hello(socket)
        assert await refusal(ticket=ticket) == (4401, "unauthenticated")

    run(main)


def test_other_tickets_are_refused(user):
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
        # None of these has used it.
        assert await call(redeem_ticket, good)

    run(main)


def test_a_ticket_is_for_the_page_that_asked(user):
    async def main() -> None:
        ticket = await call(issue_ticket, user=user, origin="https://app.example.com")
        headers = {"Origin": "https://evil.example"}
        assert await refusal(ticket=ticket, headers=headers) == (4401, "unauthenticated")
        ticket = await call(issue_ticket, user=user, origin="https://app.example.com")
        async with NotificationSocket(ticket=ticket, headers={"Origin": "https://App.example.com"}) as socket:
            await hello(socket)

    run(main)


def test_the_api_gives_tickets_to_whoever_is_signed_in(user, api):
    api.force_authenticate(None)
    api.force_login(user)
    answer = api.post("/api/v1/notifications/ticket/", HTTP_ORIGIN="https://app.example.com")
    assert answer.status_code == 201
    assert answer["Cache-Control"] == "no-store"
    admission = redeem_ticket(answer.json()["ticket"], origin="https://app.example.com")
    assert admission is not None
    assert (admission.user, admission.session) == (user, session_hash(api.session.session_key))
    assert Client().post("/api/v1/notifications/ticket/").status_code in (401, 403)


def test_a_ticket_for_an_organization_one_has_left_is_refused(user, settings):
    settings.NOTIFY_ORGANIZATIONS = lambda user: ["acme"]

    async def main() -> None:
        ticket = await call(issue_ticket, user=user, organization_key="globex")
        assert await refusal(ticket=ticket) == (4403, "membership_removed")
        ticket = await call(issue_ticket, user=user, organization_key="acme")
        async with NotificationSocket(ticket=ticket) as socket:
            await hello(socket)

    run(main)


def test_a_cookie_is_taken_from_the_hosts_own_page_alone(user, settings):
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


def test_an_authorization_header_is_the_projects_own_matter(user):
    import base64

    from rest_framework.authentication import BasicAuthentication
    from rest_framework.settings import api_settings

    user.set_password("pass")
    user.save()
    given = base64.b64encode(f"{user.username}:pass".encode()).decode()
    wrong = base64.b64encode(f"{user.username}:word".encode()).decode()

    async def main() -> None:
        async with NotificationSocket(headers={"Authorization": f"Basic {given}"}) as socket:
            await hello(socket)
        for header in (f"Basic {wrong}", "Basic ü", "Bearer x", "Basic"):
            assert await refusal(headers={"Authorization": header}) == (4401, "unauthenticated"), header

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api_settings, "DEFAULT_AUTHENTICATION_CLASSES", [BasicAuthentication], raising=False)
        run(main)


def test_an_eleventh_socket_of_a_person_is_refused(user, settings):
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


# --- What it may say --------------------------------------------------------------------------------------------------


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
def test_a_frame_that_is_none_ends_the_socket(user, text, end):
    async def main() -> None:
        async with await open_socket(user) as socket:
            await hello(socket)
            await socket.send_text(text)
            assert await socket.closed() == end

    run(main)


def test_an_unknown_frame_is_told_and_a_flood_ended(user):
    async def main() -> None:
        async with await open_socket(user) as socket:
            await hello(socket)
            for number in range(20):
                await socket.send(type=["ping", None, 5, "nothing", {"a": 1}][number % 5])
                assert (await socket.receive())["type"] == ("pong" if number % 5 == 0 else "error")
            await socket.send(type="ping")
            assert await socket.closed() == (4429, "too_many_frames")

    run(main)


# --- How it ends ------------------------------------------------------------------------------------------------------


def test_it_ends_with_its_credential_after_a_word(user, monkeypatch):
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


def test_a_new_ticket_of_the_same_person_lets_it_stay(user):
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
def test_another_persons_or_organizations_ticket_ends_it(user, ticket, end):
    other = make_user()

    async def main() -> None:
        async with await open_socket(user, organization_key="acme") as socket:
            await hello(socket)
            shown: Any = 5
            if ticket is not None:
                given = {"user": user, "organization_key": "acme", **ticket}
                given["user"] = other if given["user"] == "another" else user
                shown = await call(issue_ticket, **given)
            await socket.send(type="auth", ticket=shown)
            assert await socket.closed() == end

    run(main)


def test_the_events_of_others_end_it(user):
    other = make_user()

    async def ended(name: str, end: tuple[int, str], target: Any = None, **data: Any) -> None:
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
        await ended("session.revoked", (4403, "session_revoked"), session="s1", session_ids=["s0", "s1"])
        gone = (4403, "membership_removed")
        await ended("member.removed", gone, organization_id="acme", user_id=str(user.pk))
        await ended("membership.removed", gone, organization_id="acme", user_id=user.pk)
        await ended("organization.deleted", gone, organization_id="acme")
        # What authenticated and what is revoked may be objects of two classes.
        key = await call(make_user)
        session = object_session(SimpleNamespace(id=key.pk))
        await ended("api_key.revoked", (4403, "session_revoked"), target=key, session=session)

    run(main)


def test_an_event_that_was_rolled_back_ends_nothing(user):
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


def test_leaving_an_organization_silences_it_at_once(user, settings):
    of = ["acme", "globex"]
    settings.NOTIFY_ORGANIZATIONS = lambda user: list(of)

    async def main() -> None:
        async with await open_socket(user) as socket:
            await hello(socket)
            await call(notify, SHIPPED, to=user, organization="acme")
            assert (await socket.receive())["data"]["organization"] == "acme"
            of.remove("acme")
            await call(emit, "member.removed", organization_id="acme", data={"user_id": str(user.pk)})
            await Hub.current()._recheck([*Hub.current().all()])
            await call(notify, SHIPPED, to=user, organization="acme")
            await call(notify, SHIPPED, to=user, organization="globex")
            assert (await socket.receive())["data"]["organization"] == "globex"
            of.append("initech")
            await call(emit, "member.added", organization_id="initech", data={"user_id": str(user.pk)})
            assert await socket.nothing(0.05)
            await call(notify, SHIPPED, to=user, organization="initech")
            assert (await socket.receive())["data"]["organization"] == "initech"

    run(main)


def test_signing_out_deactivation_and_deletion_end_it(user):
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


def test_what_nobody_said_is_found_by_looking_again(user, settings):
    settings.NOTIFY_ENDED_SESSIONS = lambda sessions: [each for each in sessions if each == "over"]
    of = ["acme"]
    settings.NOTIFY_ORGANIZATIONS = lambda user: list(of)
    users = get_user_model().objects

    async def found(end: tuple[int, str], change: Any, **ticket: Any) -> None:
        async with await open_socket(user, **ticket) as socket:
            await hello(socket)
            hub = Hub.current()
            await hub._recheck([*hub.all()])
            assert "session" in ticket or await socket.nothing(0.05)
            await call(change)
            await hub._recheck([*hub.all()])
            assert await socket.closed() == end

    async def main() -> None:
        await found((4403, "session_revoked"), lambda: None, session="over")
        await found((4403, "membership_removed"), of.clear, organization_key="acme")
        await found((4403, "session_revoked"), lambda: users.filter(pk=user.pk).update(password="other"))
        await call(user.refresh_from_db)
        await found((4403, "account_inactive"), lambda: users.filter(pk=user.pk).update(is_active=False))

    run(main)


# --- What is written down ---------------------------------------------------------------------------------------------


def test_no_ticket_or_cookie_is_logged(user, caplog):
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


def test_the_protocol_is_documented_whole():
    documented = protocol.__doc__ or ""
    codes = [value for name, value in vars(protocol).items() if name.isupper() and isinstance(value, int)]
    for code in (code for code in codes if code > 1000 and code != protocol.FRAME_BYTES):
        assert f"\n{code}  ``" in documented
    for kind in ("hello", "notification", "state", "resumed", "resync", "expiring", "authenticated", "ping", "error"):
        assert f"\n``{kind}``" in documented
    assert json.loads(protocol.frame("ping")) == {"type": "ping"}


def test_disconnect_needs_to_know_whom():
    with pytest.raises(TypeError, match="user=, session= or organization="):
        realtime.disconnect()


@pytest.mark.parametrize("number", [1, 50])
def test_what_is_new_takes_two_queries_for_any_number_of_listeners(django_assert_num_queries, number):
    users = list(make_users(number))
    batch = notify(SHIPPED, to=users).batch
    keys = [each.pk for each in users]
    with django_assert_num_queries(2):
        found = frames.of_batches([batch], after=0, recipients=keys, using=None)
    assert {user for user, _, _ in found} == {str(key) for key in keys}


def test_what_is_new_leaves_the_collector_nothing_to_go_through():
    # 20 000 objects of recipients had it go through everything: with 5 000 sockets 0.4 seconds, in which all waited.
    users = list(make_users(20))
    batches = [notify(SHIPPED, to=users).batch for _ in range(2)]
    found = frames.of_batches(batches, after=0, recipients=None, using=None)
    gc.collect()
    assert len(found) == 40
    assert not [each for each in found if gc.is_tracked(each)]


def test_opening_and_resuming_take_the_same_queries_for_any_number_of_rows(user, django_assert_num_queries):
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


# --- Many at once -----------------------------------------------------------------------------------------------------


class Statements:
    """What is asked of the database, but for BEGIN and COMMIT."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def __call__(self, execute: Any, sql: str, *arguments: Any) -> Any:
        if sql.startswith(("SELECT", "DELETE", "INSERT", "UPDATE")):
            self.made.append(sql)
        return execute(sql, *arguments)


def scope(ticket: str, *, origin: str = "") -> dict[str, Any]:
    headers = [(b"origin", origin.encode())] if origin else []
    return {"subprotocols": ["notify.v1", f"ticket.{ticket}"], "headers": headers}


def test_a_hundred_that_come_at_once_are_let_in_by_a_handful_of_statements():
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
            # The hub's thread is kept busy until all of them wait: how they come is then no matter of luck.
            busy = asyncio.create_task(in_thread(held.wait, 30))
            await asyncio.gather(*(stack.enter_async_context(each) for each in opened))
            held.set()
            assert await busy
            shown = [await hello(each) for each in opened]
            assert [(each["unread"], each["capped"]) for each in shown[6:9]] == [(0, False), (100, True), (0, False)]

    with connection.execute_wrapper(statements):
        run(main)
    # At most those who came first, and those after them: two statements of tickets for each turn.
    of_tickets = [sql.split()[0] for sql in statements.made if Ticket._meta.db_table in sql]
    assert of_tickets in (["SELECT", "DELETE"], ["SELECT", "DELETE"] * 2)
    # What each of them sees takes as many turns as there were ways back to the loop; and the hub looks once.
    assert len(statements.made) < 40


@pytest.mark.parametrize("number", [2, 100])
def test_handshakes_and_openings_take_the_same_statements_for_any_number(number):
    issued = [issue_ticket(user=each) for each in make_users(number)]
    statements = Statements()
    with connection.execute_wrapper(statements):
        admitted = handshake.admit_all([scope(each) for each in issued])
        frames.openings(admitted)
    assert [sql.split()[0] for sql in statements.made] == ["SELECT", "DELETE", "SELECT"]
    assert Ticket.objects.count() == 0


def test_what_is_wrong_with_one_is_told_to_that_one_alone(user, settings):
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
    found = handshake.admit_all(scopes)
    said = [(each.code, each.reason) if isinstance(each, protocol.Refused) else type(each) for each in found]
    unauthenticated = (4401, "unauthenticated")
    assert said == [
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


def test_a_ticket_that_another_process_takes_meanwhile_turns_nobody_else_away(user, monkeypatch):
    shared, *own = [issue_ticket(user=user) for _ in range(3)]
    (first,) = Ticket.objects.order_by("pk")[:1]
    take = tickets._taken

    def meanwhile(keys: list[Any], using: str) -> set[Any]:
        assert Ticket.objects.filter(pk=first.pk)._raw_delete(using) == 1
        return take(keys, using)

    monkeypatch.setattr(tickets, "_taken", meanwhile)
    admitted = redeem_tickets([(own[0], None), (shared, None), (own[1], None)])
    assert [each is not None for each in admitted] == [True, False, True]
    assert Ticket.objects.count() == 0


def test_openings_tell_each_of_what_they_see(user):
    other = make_user()
    now = timezone.now()
    for recipient, organization, number, read in (
        (user, None, 3, None),
        (user, "acme", 2, None),
        (user, "globex", 102, None),
        (user, "acme", 4, now),
        (other, None, 100, None),
    ):
        given = {
            "type": "orders.tip",
            "title": "x",
            "created_at": now,
            "read_at": read,
            "organization_key": organization,
        }
        Notification.objects.bulk_create(
            Notification(recipient=recipient, batch=uuid4(), **given) for _ in range(number)
        )
    asked = [
        (Admission(user, None, "", None), None),
        (Admission(user, "acme", "", None), None),
        (Admission(user, None, "", None), frozenset({"acme"})),
        (Admission(user, "globex", "", None), frozenset({"acme", "globex"})),
        (Admission(user, None, "", None), frozenset()),
        (Admission(other, None, "", None), None),
        (Admission(make_user(), None, "", None), None),
    ]
    found = frames.openings(asked)
    assert [(each.unread, each.capped) for each in found] == [
        (100, True),
        (5, False),
        (5, False),
        (100, True),
        (3, False),
        (100, False),
        (0, False),
    ]
    for (admission, organizations), opening in zip(asked, found, strict=True):
        (alone,) = frames.openings([(admission, organizations)])
        assert (alone.unread, alone.capped) == (opening.unread, opening.capped)
        assert alone.cursor.split("-")[0] == opening.cursor.split("-")[0]
        condition = visible(None if organizations is None else list(organizations), admission.organization_key)
        rows = Notification.objects.filter(condition, recipient=admission.user).order_by("pk")
        last = rows.last()
        assert frames.parse_cursor(opening.cursor)[0] == (last.pk if last else 0)


def test_no_frame_closes_the_connection_that_all_sockets_have_in_common(user, monkeypatch):
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


def test_who_has_gone_while_waiting_is_not_asked_for():
    worked: list[list[int]] = []
    held = threading.Event()

    def work(items: Any) -> Any:
        worked.append(list(items))
        return items

    async def main() -> None:
        together = arrivals.Together(work)
        busy = asyncio.create_task(in_thread(held.wait, 30))
        calls = []
        for number in range(4):
            calls.append(asyncio.create_task(together(number)))
            for _ in range(5):  # until it waits, and the first is in hand
                await asyncio.sleep(0)
        calls[2].cancel()
        await asyncio.sleep(0)
        held.set()
        assert await asyncio.gather(busy, calls[0], calls[1], calls[3]) == [True, 0, 1, 3]

    run(main)
    assert worked == [[0], [1, 3]]


def test_a_database_that_is_away_is_told_to_each_who_waits(user, monkeypatch):
    ticket = issue_ticket(user=user)

    def away(*arguments: Any) -> Any:
        raise OperationalError("away")

    monkeypatch.setattr(handshake, "redeem_tickets", away)

    async def main() -> None:
        assert await refusal(ticket=ticket) == (4500, "unavailable")

    run(main)
    assert Ticket.objects.count() == 1
