"""A socket belongs to one organization from its handshake until it closes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

pytest.importorskip("channels", reason="Channels is not installed")

from asgiref.sync import sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer, JsonWebsocketConsumer
from django.contrib.auth.models import AnonymousUser
from django.db import connections
from django.test.utils import CaptureQueriesContext

from dovetail_core import context
from dovetail_tenancy import TenantRequired, current_tenant_id, get_membership_model, tenant
from dovetail_tenancy.contrib.channels import NOT_A_MEMBER, TenantASGIMiddleware
from tests import asynchronous
from tests.tenancy.documents.factories import make_document
from tests.tenancy.documents.models import Document
from tests.tenancy.factories import make_organization, make_user, membership_of
from tests.tenancy.sockets import Socket

pytestmark = pytest.mark.django_db(transaction=True)

ACCEPTED = {"type": "websocket.accept", "subprotocol": None}
REFUSED = {"type": "websocket.close", "code": NOT_A_MEMBER}
AFTERWARDS: list[Any] = []


class Async(AsyncJsonWebsocketConsumer):
    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        if content.get("other"):
            async with tenant(content["other"]):
                pass
        try:
            titles = [document.title async for document in Document.objects.order_by("pk")]
        except TenantRequired:
            titles = ["TenantRequired"]
        await self.send_json({"titles": titles, "organization": str(self.scope["organization_id"])})

    async def told(self, event: Any) -> None:
        await self.send_json({"told": event["text"]})


class Sync(JsonWebsocketConsumer):
    def receive_json(self, content: Any, **kwargs: Any) -> None:
        try:
            titles = list(Document.objects.order_by("pk").values_list("title", flat=True))
        except TenantRequired:
            titles = ["TenantRequired"]
        self.send_json({"titles": titles, "organization": str(self.scope["organization_id"])})


def socket(consumer: Any, user: Any, query: str = "", *, auth: Any = None, headers: Any = (), **options: Any) -> Socket:
    inner = TenantASGIMiddleware(consumer.as_asgi(), **options)

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
        try:
            await inner({**scope, "user": user, "auth": auth}, receive, send)
        finally:
            AFTERWARDS.append((current_tenant_id(), context.organization_id()))

    return Socket(application, f"/{query}", headers)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    AFTERWARDS.clear()
    results = asynchronous.run(work)
    assert set(AFTERWARDS) <= {(None, None)}
    return results


@pytest.fixture
def pair() -> tuple[Any, Any]:
    acme, globex = make_organization("Acme"), make_organization("Globex")
    make_document(acme, "ours")
    make_document(globex, "theirs")
    return acme, globex


@pytest.mark.parametrize("consumer", [Async, Sync])
def test_consumer_sees_its_organization(pair: Any, consumer: Any) -> None:
    acme, globex = pair

    async def main() -> None:
        opened = socket(consumer, (await owner(acme)))
        assert await opened.connect() == ACCEPTED
        for other in ({}, {"other": str(globex.pk)}, {}):
            assert await opened.ask(**other) == {"titles": ["ours"], "organization": str(acme.pk)}
        await opened.disconnect()

    run(main())
    assert AFTERWARDS == [(None, None)]


@pytest.mark.parametrize("consumer", [Async, Sync])
def test_concurrent_sockets_keep_their_organizations(consumer: Any) -> None:
    organizations = [make_organization(f"Organization {number}") for number in range(10)]
    for number, organization in enumerate(organizations):
        make_document(organization, f"document {number}")

    async def one(number: int) -> list[Any]:
        opened = socket(consumer, await owner(organizations[number]))
        assert await opened.connect() == ACCEPTED
        results = [await opened.ask() for _ in range(5)]
        await opened.disconnect()
        return [result["titles"] for result in results]

    async def main() -> list[Any]:
        return await asyncio.gather(*(one(number) for number in range(len(organizations))))

    assert run(main()) == [[[f"document {number}"]] * 5 for number in range(10)]


def test_handshake_selects_one_of_several_organizations(pair: Any) -> None:
    acme, globex = pair
    user = make_user()
    for organization in pair:
        get_membership_model()._default_manager.create(organization=organization, user=user, role="member")

    async def main() -> None:
        for query, headers, expected in (
            (f"?organization={globex.pk}", (), ["theirs"]),
            ("", [(b"x-organization-id", str(acme.pk).encode())], ["ours"]),
            # Without a requested organization the socket opens, but shows no rows.
            ("", (), ["TenantRequired"]),
        ):
            opened = socket(Async, user, query, headers=headers)
            assert await opened.connect() == ACCEPTED
            assert (await opened.ask())["titles"] == expected
            await opened.disconnect()

    run(main())


def test_handshake_refuses_another_users_organization(pair: Any) -> None:
    acme, globex = pair

    async def main() -> None:
        user = await owner(acme)
        for named in (str(globex.pk), "", "nonsense", "%00", "%ff", "0" * 500):
            assert await socket(Async, user, f"?organization={named}").connect() == REFUSED

    run(main())


def test_anonymous_socket_has_no_organization(pair: Any) -> None:
    async def main() -> None:
        for nobody in (AnonymousUser(), None):
            opened = socket(Async, nobody, f"?organization={pair[0].pk}")
            assert await opened.connect() == ACCEPTED
            assert await opened.ask() == {"titles": ["TenantRequired"], "organization": "None"}
            await opened.disconnect()

    run(main())


class Machine:
    pk = "apikey:1"
    is_authenticated = True


class Credential:
    scopes = ()

    def __init__(self, organization_id: Any) -> None:
        self.organization_id = organization_id


def test_credential_selects_the_organization(pair: Any) -> None:
    acme, globex = pair

    async def main() -> None:
        credential = Credential(globex.pk)
        opened = socket(Sync, Machine(), auth=credential, verify_seconds=0)
        assert await opened.connect() == ACCEPTED
        assert (await opened.ask())["titles"] == ["theirs"]
        await opened.disconnect()
        assert await socket(Sync, Machine(), f"?organization={acme.pk}", auth=credential).connect() == REFUSED

    run(main())


def removed(acme: Any, user: Any) -> None:
    membership_of(user, acme).delete()


def deactivated(acme: Any, user: Any) -> None:
    type(user)._default_manager.filter(pk=user.pk).update(is_active=False)


@pytest.mark.parametrize("ends", [removed, deactivated])
@pytest.mark.parametrize("direction", ["in", "out"])
def test_socket_closes_when_the_membership_ends(pair: Any, ends: Callable[[Any, Any], None], direction: str) -> None:
    acme, _ = pair
    user = make_user()
    get_membership_model()._default_manager.create(organization=acme, user=user, role="member")

    async def main() -> None:
        opened = socket(Listening, user, verify_seconds=0)
        assert await opened.connect() == ACCEPTED
        assert (await opened.ask())["titles"] == ["ours"]
        await sync_to_async(ends)(acme, user)
        if direction == "in":
            await opened.send_input({"type": "websocket.receive", "text": "{}"})
        else:
            Listening.tell.set()
        assert await opened.receive_output(5) == REFUSED
        await opened.disconnect()

    run(main())


class Listening(Async):
    """Sends a message when ``tell`` is set, like a consumer that listens to a channel layer."""

    tell: asyncio.Event

    async def connect(self) -> None:
        Listening.tell = asyncio.Event()
        self.telling = asyncio.ensure_future(self._tell())
        await self.accept()

    async def _tell(self) -> None:
        await Listening.tell.wait()
        await self.told({"text": "theirs"})

    async def disconnect(self, code: int) -> None:
        self.telling.cancel()


def test_membership_is_not_checked_before_verify_seconds(pair: Any) -> None:
    acme, _ = pair

    def capture() -> CaptureQueriesContext:
        return CaptureQueriesContext(connections["default"]).__enter__()

    async def main() -> list[str]:
        user = await owner(acme)
        # In the thread that runs Django's synchronous code, which has a connection of its own.
        captured = await sync_to_async(capture)()
        opened = socket(Quiet, user)
        assert await opened.connect() == ACCEPTED
        for _ in range(3):
            await opened.ask()
        await opened.disconnect()
        # Ignore the statements that set up a new connection after Channels closed the previous one.
        return [query["sql"] for query in captured if " FROM " in query["sql"]]

    (membership,) = run(main())  # only at the handshake
    assert "membership" in membership.lower()


class Quiet(AsyncJsonWebsocketConsumer):
    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        await self.send_json({})


def test_other_protocols_pass_unchanged() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)

    async def main() -> None:
        await TenantASGIMiddleware(app)({"type": "lifespan"}, None, None)  # type: ignore[arg-type]  # not called

    run(main())
    assert seen == [{"type": "lifespan"}]


async def owner(organization: Any) -> Any:
    memberships = get_membership_model()._default_manager.select_related("user")
    return (await memberships.aget(organization=organization, role="owner")).user
