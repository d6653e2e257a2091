"""Feature flags in the composed service: organizations, roles, API keys, OFREP, tasks and the page."""

from __future__ import annotations

import sys
from contextlib import ExitStack

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import transaction
from django.test import Client
from rest_framework.test import APIClient

from billing import tasks
from dovetail_apikeys.services import create_api_key
from dovetail_audit.models import Entry
from dovetail_core import context
from dovetail_core.events import domain_event
from dovetail_flags import flags, services
from dovetail_notify import realtime
from dovetail_notify.realtime.socket_authentication import issue_ticket
from dovetail_notify.testing import NotificationSocket
from dovetail_tenancy import get_membership_model
from example_project import routing
from tests import asynchronous  # noqa: F401  # closes connections that requests open in their threads
from tests.composed import factories
from tests.composed.browser import CHROMIUM, chromium
from tests.composed.processes import free_port, manage, running, wait_until_up
from tests.composed.servers import REDIS, Redis
from tests.composed.test_console import _signed_in, pay

FEATURES = "/api/v1/features"
OFREP = "/ofrep/v1/evaluate/flags"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def own_flags():
    flags.reset()
    yield
    flags.reset()


def flag(key="new-checkout", **fields):
    fields = {"enabled": True, "client_visible": True, "default_variant": "off", **fields}
    return services.create_flag(key=key, **fields)


def when(attribute, *values):
    return [{"id": "r", "when": [{"attribute": attribute, "op": "in", "values": list(values)}], "serve": "on"}]


def values(answer):
    assert answer.status_code == 200, answer.content
    return {row["key"]: row["value"] for row in answer.json()["data"]}


def test_flag_is_on_for_the_members_of_one_organization():
    ours, theirs = factories.organization(), factories.organization()
    flag(rules=when("organization", str(ours.pk)))
    assert values(factories.client(ours.owner, ours).get(FEATURES)) == {"new-checkout": True}
    assert values(factories.client(theirs.owner, theirs).get(FEATURES)) == {"new-checkout": False}
    # A person without an organization has flags too.
    assert values(factories.client(factories.user()).get(FEATURES)) == {"new-checkout": False}


def test_members_of_other_organizations_cannot_name_it():
    ours, theirs = factories.organization(), factories.organization()
    flag(rules=when("organization", str(ours.pk)))
    assert factories.client(theirs.owner, ours).get(FEATURES).status_code == 404
    claim = {"context": {"targetingKey": str(ours.pk), "organization": str(ours.pk)}}
    answer = factories.client(theirs.owner, theirs).post(OFREP, claim, format="json")
    assert [row["value"] for row in answer.json()["flags"]] == [False]


def test_rules_may_ask_for_the_role():
    ours = factories.organization()
    member = factories.user()
    get_membership_model()._default_manager.create(organization=ours, user=member, role="member")
    flag(rules=when("role", "owner", "admin"))
    assert values(factories.client(ours.owner, ours).get(FEATURES)) == {"new-checkout": True}
    assert values(factories.client(member, ours).get(FEATURES)) == {"new-checkout": False}


@pytest.mark.parametrize(("scopes", "status"), [(["features:evaluate"], 200), (["invoices:read"], 403)])
def test_api_keys_need_the_scope_and_act_for_their_organization(scopes, status):
    ours = factories.organization()
    flag(rules=when("organization", str(ours.pk)))
    _, raw = create_api_key(organization=ours.pk, name="Server", scopes=scopes, created_by=ours.owner)
    client = APIClient(headers={"Authorization": f"Bearer {raw}"})
    assert client.get(FEATURES).status_code == status
    if status == 200:
        answer = client.post(OFREP, {"context": {"targetingKey": "user-7"}}, format="json")
        assert [row["value"] for row in answer.json()["flags"]] == [True]


def test_errors_of_ofrep_keep_their_members_and_those_of_features_are_problems():
    person = factories.client(factories.user())
    answer = person.post(f"{OFREP}/unknown", {}, format="json")
    assert (answer.status_code, answer.json()["errorCode"]) == (404, "FLAG_NOT_FOUND")
    answer = person.get(f"{FEATURES}/unknown")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    refused = APIClient().post(OFREP, {}, format="json")
    assert (refused.status_code, refused.json()["errorCode"]) == (401, "GENERAL")
    assert refused.headers["WWW-Authenticate"]


def test_ofrep_is_readable_from_other_origins(settings):
    settings.CORS_ALLOWED_ORIGINS = ["https://app.example.com"]
    answer = Client().options(
        OFREP, headers={"Origin": "https://app.example.com", "Access-Control-Request-Method": "POST"}
    )
    assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example.com"
    assert "if-none-match" in answer.headers["Access-Control-Allow-Headers"]


def test_poll_without_a_change_is_304():
    ours = factories.organization()
    row = flag()
    client = factories.client(ours.owner, ours)
    first = client.get(FEATURES)
    again = client.get(FEATURES, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    services.set_enabled(flag=row, enabled=False)
    assert client.get(FEATURES, headers={"If-None-Match": first.headers["ETag"]}).status_code == 200


def test_task_evaluates_for_its_organization():
    ours = factories.organization()
    flag(rules=when("organization", str(ours.pk)))
    with context.bind(organization_id=ours.pk):
        assert flags.enabled("new-checkout") is True
    with context.bind(organization_id=factories.organization().pk):
        assert flags.enabled("new-checkout") is False
    assert tasks.mark_overdue_invoices.name


def test_kill_switch_is_an_event_with_who_and_why():
    seen = []

    def receive(event, **kwargs):
        seen.append(event)

    domain_event.connect(receive)
    try:
        person = factories.user()
        row = flag()
        services.set_enabled(flag=row, enabled=False, actor=person, reason="it burns")
    finally:
        domain_event.disconnect(receive)
    event = seen[-1]
    assert (event.name, event.actor, event.organization_id) == ("feature.disabled", person, None)
    assert (event.data["flag"], event.data["reason"], event.data["version"]) == ("new-checkout", "it burns", 2)


# Committed, because sockets have connections of their own.
@pytest.mark.django_db(transaction=True)
def test_open_sockets_get_one_hint_for_a_transaction_of_changes():
    person = factories.user()
    client, row = factories.client(person), flag(enabled=False, default_variant="on")
    assert values(client.get(FEATURES)) == {"new-checkout": False}

    @transaction.atomic
    def change():
        services.set_enabled(flag=row, enabled=True)
        for number in range(20):
            flag(key=f"other-{number}", client_visible=False)

    async def main():
        ticket = await sync_to_async(issue_ticket)(user=person)
        headers = {"Origin": "http://testserver"}
        async with NotificationSocket(ticket, application=routing.websockets(), headers=headers) as socket:
            assert (await socket.receive())["type"] == "hello"
            await sync_to_async(change)()
            await sync_to_async(realtime.broadcast)("end")
            frames = [await socket.receive() for _ in range(2)]
            assert frames == [{"type": "hint", "kind": kind} for kind in ("features", "end")]
            assert values(await sync_to_async(client.get)(FEATURES)) == {"new-checkout": True}

    async_to_sync(main)()


@pytest.fixture
def administration(settings):
    from django.urls import include, path

    from example_project import urls

    settings.ROOT_URLCONF = type(
        "Urls", (), {"urlpatterns": [path("admin/v1/", include("dovetail_flags.api.admin_urls")), *urls.urlpatterns]}
    )


def test_administration_can_be_mounted(administration):
    flag()
    root = factories.client(factories.user(is_superuser=True, is_staff=True))
    assert values_of_keys(root.get("/admin/v1/features")) == ["new-checkout"]
    stale = root.patch("/admin/v1/features/new-checkout", {"rules": [{"serve": 7}]}, format="json")
    assert stale.status_code == 428
    nobody = factories.client(factories.user())
    assert nobody.get("/admin/v1/features").status_code == 403


@pytest.mark.parametrize(("action", "name"), [("disable", "feature.disabled"), ("enable", "feature.enabled")])
def test_audit_log_shows_who_switched_a_flag_and_why(administration, action, name):
    row = flag(enabled=action == "disable")
    root = factories.user(is_superuser=True, is_staff=True)
    answer = factories.client(root).post(
        f"/admin/v1/features/new-checkout/{action}", {"reason": "It burns."}, format="json"
    )
    assert answer.status_code == 200, answer.content
    entry = Entry.objects.get(action=name)
    assert (entry.actor_kind, entry.actor, entry.actor_label) == ("user", str(root.pk), root.email)
    assert (entry.target_kind, entry.target, entry.organization) == ("dovetail_flags.Flag", str(row.pk), None)
    assert (entry.outcome, entry.request_id) == ("success", answer.headers["X-Request-ID"])
    assert entry.data["parameters"] == {
        "flag": "new-checkout",
        "version": 2,
        "reason": "It burns.",
        "changes": ["enabled"],
    }


def test_audit_log_shows_who_was_refused_to_switch_a_flag(administration):
    flag()
    nobody = factories.user()
    answer = factories.client(nobody).post("/admin/v1/features/new-checkout/disable", {}, format="json")
    assert answer.status_code == 403
    entry = Entry.objects.get(outcome="denied")
    assert (entry.actor, entry.status, entry.request_id) == (str(nobody.pk), 403, answer.headers["X-Request-ID"])


def values_of_keys(answer):
    assert answer.status_code == 200, answer.content
    return [row["key"] for row in answer.json()["data"]]


def test_declared_flags_are_created_disabled():
    from django.core.management import call_command

    call_command("flags", "sync")
    assert values(factories.client(factories.user()).get(FEATURES)) == {"unread-in-title": False}


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to show the page in")
@pytest.mark.skipif(REDIS is None, reason="no redis-server to send the change to the server")
def test_page_follows_a_flag_that_another_process_switches(demo_database_url, tmp_path):
    pytest.importorskip("websockets")
    port, redis = free_port(), Redis(tmp_path, free_port())
    base = f"http://127.0.0.1:{port}"
    address = {"DATABASE_URL": demo_database_url, "REDIS_URL": f"redis://127.0.0.1:{redis.port}/0"}
    variables = {**address, "DJANGO_DEBUG": "true"}

    def switch(state):
        code = (
            "from dovetail_flags import get_flag_model, services; "
            "flag = get_flag_model().objects.get(key='unread-in-title'); "
            f"services.update_flag(flag=flag, version=flag.version, changes={{'enabled': {state}}})"
        )
        done = manage("shell", "-v0", "-c", code, **variables)
        assert done.returncode == 0, done.stderr

    with ExitStack() as stack:
        stack.callback(redis.stop)
        redis.start()
        server = stack.enter_context(running(sys.executable, "serve.py", PORT=str(port), **address))
        wait_until_up(server, port)
        done = manage("flags", "sync", **variables)
        assert done.returncode == 0, done.stderr
        with chromium(tmp_path / "profile") as open_tab:
            tab = _signed_in(open_tab(f"{base}/console/"))
            assert tab.evaluate("document.title") == "Notifications"
            pay(base, 1)
            switch(True)
            # By the hint: the page polls once a minute.
            tab.wait_for("/^\\(\\d+\\+?\\) Notifications$/.test(document.title)", 20)
            switch(False)
            tab.wait_for('document.title === "Notifications"', 20)
