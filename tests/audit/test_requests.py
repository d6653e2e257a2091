"""The middleware: who made a request, and refusals that the rollback of the request must not remove."""

from __future__ import annotations

import uuid
from contextvars import copy_context
from threading import Thread
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import AnonymousUser
from django.db import connection, connections
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext
from rest_framework.authtoken.models import Token

from dovetail_audit import record
from dovetail_audit.entries import refusals, units
from dovetail_audit.models import Entry
from dovetail_audit.services import seal
from dovetail_audit.verification.scan import verify
from dovetail_core import context
from dovetail_core.events import emit
from tests.asynchronous import run
from tests.audit.shop.models import Product

pytestmark = pytest.mark.django_db


@pytest.fixture
def client() -> Client:
    return Client(raise_request_exception=False)


@pytest.fixture
def atomic_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connections["default"].settings_dict, "ATOMIC_REQUESTS", True)


def actions() -> list[tuple[str, str]]:
    return list(Entry.objects.order_by("pk").values_list("action", "outcome"))


def test_entry_names_the_user_that_rest_framework_authenticated(client: Client, user: Any) -> None:
    client.force_login(user)
    client.get("/things/", headers={"user-agent": "curl/8"}, REMOTE_ADDR="192.0.2.7")
    entry = Entry.objects.get(action="thing.read")
    assert (entry.actor_kind, entry.actor, entry.actor_label, entry.auth) == ("user", str(user.pk), "ada", "session")
    assert (entry.ip, entry.user_agent, entry.origin) == ("192.0.2.7", "curl/8", "api")


def test_entry_reads_a_user_whom_the_view_did_not_read_once(client: Client, user: Any) -> None:
    client.force_login(user)
    client.get("/page/")  # compiles the statement
    with CaptureQueriesContext(connection) as queries:
        response = client.get("/page/?times=2")
    assert [query["sql"].split()[0] for query in queries] == ["SELECT", "SELECT", "INSERT", "INSERT"]
    for entry in Entry.objects.filter(action="page.read"):
        assert (entry.actor_kind, entry.actor, entry.auth) == ("user", str(user.pk), "session")
    assert response.headers["Vary"] == "Cookie"


@pytest.mark.parametrize("path", ["/page/?times=0", "/nowhere/"])
def test_request_without_an_entry_makes_no_query(client: Client, user: Any, path: str) -> None:
    client.force_login(user)
    with CaptureQueriesContext(connection) as queries:
        client.get(path)
    assert len(queries) == 0


def test_entry_with_an_actor_does_not_read_the_user(client: Client, user: Any) -> None:
    client.force_login(user)
    client.get("/page/")
    with CaptureQueriesContext(connection) as queries, context.bind(principal=user):
        client.get("/page/")
    assert [query["sql"].split()[0] for query in queries] == ["INSERT"]


def test_entry_without_a_session_reads_nothing(client: Client) -> None:
    client.get("/page/")
    with CaptureQueriesContext(connection) as queries:
        client.get("/page/")
    assert [query["sql"].split()[0] for query in queries] == ["INSERT"]
    assert {entry.actor_kind for entry in Entry.objects.all()} == {"anonymous"}


def test_entry_names_the_user_of_a_token(client: Client, user: Any) -> None:
    key = Token.objects.create(user=user).key
    client.get("/token-things/", headers={"authorization": f"Token {key}"})
    entry = Entry.objects.get(action="thing.read")
    assert (entry.actor_kind, entry.actor, entry.auth) == ("user", str(user.pk), "token")


def test_session_does_not_name_the_actor_of_a_view_with_tokens(client: Client, user: Any) -> None:
    """The view does not accept the session, so the request is anonymous."""
    client.force_login(user)
    client.get("/token-things/")
    assert Entry.objects.get(action="thing.read").actor_kind == "anonymous"


def test_entry_before_the_view_authenticates_does_not_read_the_session(client: Client, user: Any) -> None:
    client.force_login(user)
    client.get("/early-things/")
    assert Entry.objects.get(action="thing.begun").actor_kind == "anonymous"
    assert Entry.objects.get(action="thing.read").actor == str(user.pk)


def test_token_that_no_view_verified_names_nobody(client: Client, user: Any) -> None:
    client.get("/page/", headers={"authorization": f"Token {Token.objects.create(user=user).key}"})
    assert Entry.objects.get(action="page.read").actor_kind == "anonymous"


def test_entry_is_recorded_although_the_user_cannot_be_read(
    client: Client, user: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client.force_login(user)
    calls: list[HttpRequest] = []

    def get_user(request: HttpRequest) -> Any:
        calls.append(request)
        raise RuntimeError

    monkeypatch.setattr("django.contrib.auth.middleware.get_user", get_user)
    client.get("/page/?times=2")
    assert [entry.actor_kind for entry in Entry.objects.filter(action="page.read")] == ["anonymous"] * 2
    assert len(calls) == 1
    assert "could not be read" in caplog.text


def test_backend_may_record_while_it_reads_the_user(client: Client, user: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def get_user(self: ModelBackend, key: object) -> Any:
        record("backend.asked")
        return user

    client.force_login(user)
    monkeypatch.setattr(ModelBackend, "get_user", get_user)
    client.get("/page/")
    assert Entry.objects.filter(action="backend.asked").count() == 1
    assert Entry.objects.get(action="page.read").actor == str(user.pk)


def test_unauthenticated_user_is_an_anonymous_actor(rf: Any) -> None:
    assert record("page.read", actor=AnonymousUser()).actor_kind == "system"
    assert record("page.read", actor=AnonymousUser(), request=rf.get("/")).actor_kind == "anonymous"


@pytest.mark.parametrize(("path", "origin"), [("/page/", "web"), ("/things/", "api"), ("/admin-things/", "admin_api")])
def test_origin_of_request(client: Client, user: Any, path: str, origin: str) -> None:
    user.is_staff = True
    user.save()
    client.force_login(user)
    client.get(path)
    assert Entry.objects.latest("pk").origin == origin


def test_entry_without_request_id_gets_one(client: Client) -> None:
    client.get("/page/")
    client.get("/page/")
    first, second = Entry.objects.filter(action="page.read")
    assert uuid.UUID(first.request_id).version == 7
    assert first.request_id != second.request_id
    assert first.data["request_id_source"] == "audit"


def test_request_id_of_the_context_is_used(client: Client) -> None:
    with context.bind(request_id="request-1"):
        client.get("/page/")
    entry = Entry.objects.get()
    assert entry.request_id == "request-1"
    assert "request_id_source" not in entry.data


@pytest.mark.usefixtures("atomic_requests")
@pytest.mark.parametrize(("end", "status", "problem"), [("forbidden", 403, "no_seat"), ("unauthenticated", 403, "")])
def test_refusal_stays_when_the_request_is_rolled_back(
    client: Client, user: Any, end: str, status: int, problem: str
) -> None:
    client.force_login(user)
    Entry._base_manager.all().delete()
    response = client.post("/things/", {"end": end}, content_type="application/json")
    assert response.status_code == status
    assert not Product.objects.exists()
    assert actions() == [("request.denied", "denied")]
    entry = Entry.objects.get()
    assert (entry.actor, entry.status, entry.problem) == (str(user.pk), status, problem)
    assert entry.data["parameters"] == {"method": "POST", "route": "things/"}


@pytest.mark.usefixtures("atomic_requests")
def test_crash_of_a_change_is_recorded(client: Client) -> None:
    client.post("/things/", {"end": "crash"}, content_type="application/json")
    assert actions() == [("request.failed", "failed")]
    assert Entry.objects.get().status == 500


@pytest.mark.usefixtures("atomic_requests")
def test_event_of_a_refusal_replaces_the_entry_of_its_request(client: Client) -> None:
    client.post("/things/", {"end": "denied_event"}, content_type="application/json")
    assert actions() == [("thing.denied", "denied")]
    assert Entry.objects.get().status == 403


def test_ordinary_responses_are_not_recorded(client: Client) -> None:
    client.get("/nowhere/")
    client.get("/admin/login/")
    assert actions() == []


def test_route_is_recorded_and_not_the_token_in_the_path(client: Client) -> None:
    client.get("/reset/hunter22/", {"denied": "1"})
    entry = Entry.objects.get(action="request.denied")
    assert entry.data["parameters"] == {
        "method": "GET",
        "route": "reset/<str:token>/",
        "arguments": {"token": "[redacted]"},
    }


@pytest.mark.django_db(transaction=True)
def test_async_view_is_recorded() -> None:
    async def main() -> int:
        return int((await AsyncClient().get("/async-page/")).status_code)

    assert run(main()) == 403
    assert actions() == [("request.denied", "denied")]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [6000.0]
    monkeypatch.setattr("dovetail_audit.entries.refusals.time.time", lambda: now[0])
    return now


def test_anonymous_refusals_are_limited_and_counted(client: Client, settings: Any, clock: list[float]) -> None:
    settings.AUDIT_DENIALS_PER_MINUTE = 3
    for address in ["192.0.2.7"] * 5 + ["192.0.2.8"]:
        client.get("/async-page/", REMOTE_ADDR=address)
    assert Entry.objects.filter(action="request.denied").count() == 4
    clock[0] += 60
    client.get("/admin/login/")
    client.get("/admin/login/")
    counter = Entry.objects.get(action="request.denials_suppressed")
    assert (counter.data["parameters"], counter.private) == ({"count": 2}, {"network": "192.0.2.7/32"})
    client.get("/async-page/", REMOTE_ADDR="192.0.2.7")
    assert Entry.objects.filter(action="request.denied").count() == 5


def test_refusals_of_users_are_all_recorded(client: Client, user: Any, settings: Any) -> None:
    settings.AUDIT_DENIALS_PER_MINUTE = 1
    client.force_login(user)
    for _ in range(3):
        client.get("/admin-things/")
    assert Entry.objects.filter(action="request.denied", actor=str(user.pk)).count() == 3


def test_many_networks_share_a_count(
    client: Client, settings: Any, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "_MOST_NETWORKS", 2)
    settings.AUDIT_DENIALS_PER_MINUTE = 1
    for number in range(6):
        client.get("/async-page/", REMOTE_ADDR=f"192.0.2.{number}")
    assert Entry.objects.count() == 3
    clock[0] += 60
    client.get("/admin/login/")
    assert Entry.objects.get(action="request.denials_suppressed").private == {"network": "other networks"}


def test_response_survives_a_failure_to_record(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(refusals, "insert", lambda *args, **kwargs: 1 / 0)
    assert client.get("/async-page/").status_code == 403
    assert "could not be recorded" in caplog.text


def test_sign_in_and_out_of_a_session(client: Client, user: Any) -> None:
    user.is_staff = True
    user.save()
    client.post("/admin/login/", {"username": "ada", "password": "hunter22"})
    client.post("/admin/logout/")
    signed_in, signed_out = Entry.objects.order_by("pk")
    assert (signed_in.action, signed_in.actor, signed_in.auth) == ("auth.signed_in", str(user.pk), "session")
    assert (signed_out.action, signed_out.actor) == ("auth.signed_out", str(user.pk))


def test_failed_sign_in_has_no_name_and_no_password(client: Client, user: Any) -> None:
    client.post("/admin/login/", {"username": "Ada", "password": "wrong22"})
    client.post("/admin/login/", {"username": "ada", "password": "wrong33"})
    first, second = Entry.objects.all()
    assert (first.action, first.outcome, first.actor_kind) == ("auth.sign_in_failed", "failed", "anonymous")
    assert first.data == second.data
    assert len(first.data["parameters"]["identifier_hash"]) == 64
    assert "wrong" not in str(first.data)


def test_failed_sign_in_with_an_event_has_one_entry(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.contrib.auth.signals import user_login_failed

    def on_failure(**kwargs: Any) -> None:
        emit("user.sign_in_failed", data={"identifier_hash": "x"})

    user_login_failed.connect(on_failure)
    try:
        client.post("/admin/login/", {"username": "ada", "password": "wrong22"})
    finally:
        user_login_failed.disconnect(on_failure)
    assert actions() == [("user.sign_in_failed", "failed")]


def test_sign_ins_can_be_left_out(client: Client, user: Any, settings: Any) -> None:
    settings.AUDIT_SIGN_INS = False
    client.post("/admin/login/", {"username": "ada", "password": "wrong"})
    client.force_login(user)
    client.post("/admin/logout/")
    assert actions() == []


def test_no_header_makes_a_server_error(client: Client, user: Any) -> None:
    """A client sends 10 KB of NUL, emoji and lone surrogates in each header and parameter."""
    client.force_login(user)
    Entry._base_manager.all().delete()
    for text in ("\0" * 10_240, "😀" * 2560, "\ud800" * 3000, "\xff" * 10_240):
        raw = text.encode("utf-8", "surrogatepass").decode("latin-1")
        for value in (text, raw):
            response = client.post(
                "/things/",
                {"data": {"note": text.encode("utf-8", "replace").decode(), "\0": "\0"}},
                content_type="application/json",
                HTTP_USER_AGENT=value,
                HTTP_X_REQUEST_ID=value,
                HTTP_X_FORWARDED_FOR=value,
                REMOTE_ADDR="192.0.2.1",
            )
            assert response.status_code == 201
    assert Entry.objects.filter(action="thing.created").count() == 8


def test_user_of_a_custom_model_is_named_by_its_username_field(client: Client) -> None:
    user = get_user_model()(username="bob")
    user.set_unusable_password()
    user.save()
    client.force_login(user)
    client.get("/things/")
    assert Entry.objects.latest("pk").actor_label == "bob"


def test_refusal_names_a_user_whom_the_view_did_not_read(client: Client, user: Any) -> None:
    client.force_login(user)
    client.get("/page/?denied=1")
    entry = Entry.objects.get(action="request.denied")
    assert (entry.actor_kind, entry.actor, entry.auth) == ("user", str(user.pk), "session")


@pytest.mark.django_db(transaction=True)
def test_refusal_of_an_async_view_names_the_user(user: Any) -> None:
    async def get() -> None:
        client = AsyncClient()
        await client.aforce_login(user)
        await client.get("/async-page/")

    run(get())
    assert Entry.objects.get(action="request.denied").actor == str(user.pk)


@pytest.mark.django_db(transaction=True)
def test_event_of_an_async_refusal_names_the_user(user: Any) -> None:
    async def get() -> None:
        client = AsyncClient()
        await client.aforce_login(user)
        await client.get("/async-page/?event=page.denied")

    run(get())
    entry = Entry.objects.get(action="page.denied")
    assert (entry.actor_kind, entry.actor, entry.actor_label) == ("user", str(user.pk), "ada")
    seal()
    assert list(verify()) == []


def test_refusal_is_recorded_although_another_entry_fails(rf: Any, caplog: Any) -> None:
    request, unit = rf.get("/"), units.Unit()
    unit.defer(lambda: 1 / 0, first=True)
    request.resolver_match = None
    refusals.finish(unit, request, HttpResponse(status=403))
    assert actions() == [("request.denied", "denied")]
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_refusal_in_a_thread_is_recorded_after_the_request(rf: Any) -> None:
    request = rf.get("/")
    unit = units.Unit(request=request)

    def work() -> None:
        emit("payment.failed")
        connections.close_all()

    with units.enter(unit):
        thread = Thread(target=copy_context().run, args=(work,))
        request.resolver_match = None
        refusals.finish(unit, request, HttpResponse())
    thread.start()
    thread.join()
    assert actions() == [("payment.failed", "failed")]
