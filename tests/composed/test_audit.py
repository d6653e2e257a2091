"""The audit log of the composed service: every change is in it, with the person, the request and the organization."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.core import mail
from django.db import connections, transaction
from django.test import Client

from billing.models import Customer
from console.notifications import AuditLogTampered
from dovetail_apikeys.models import APIKey
from dovetail_apikeys.services import create_api_key, revoke_api_key
from dovetail_apikeys.testing import api_key_client
from dovetail_audit.exports.writer import FORMATS, export
from dovetail_audit.models import Entry
from dovetail_audit.services import run_verification, seal
from dovetail_audit.verification.scan import verify
from dovetail_contract.testing import unchecked
from dovetail_notify.testing import sent_notifications
from dovetail_tenancy import unscoped
from dovetail_tenancy.services import add_member
from example_project import health
from example_project.logs import JSONFormatter
from tests.composed import factories
from tests.composed.factories import PASSWORD
from tests.composed.operations import operations
from tests.composed.worlds import BODIES, make_worlds

pytestmark = pytest.mark.django_db

LOG, KEYS = "/api/v1/audit-log", "/api/v1/api-keys"


def entry(action: str) -> Entry:
    return Entry.objects.filter(action=action).order_by("-pk")[0]


def test_revocation_by_api_is_recorded_with_its_request(api, organization, owner, settings):
    settings.DOVETAIL_TRUSTED_PROXIES = ["10.0.0.0/8"]
    key = api.post(KEYS, {"name": "CI", "scopes": ["customers:read"]}).json()
    answer = api.post(
        f"{KEYS}/{key['id']}/revoke", REMOTE_ADDR="10.0.0.1", HTTP_X_FORWARDED_FOR="192.0.2.1, 203.0.113.7"
    )
    assert answer.status_code == 204
    row = api.get(f"{LOG}?filter[action]=api_key.revoked").json()["data"][0]
    assert row["actor"] | {"label": None} == {
        "kind": "user",
        "id": str(owner.pk),
        "label": None,
        "auth": "jwt",
        "impersonator": None,
    }
    assert row["actor"]["label"] == owner.email
    assert (row["ip"], row["request_id"]) == ("203.0.113.7", answer["X-Request-ID"])
    assert (row["organization_id"], row["origin"], row["outcome"]) == (str(organization.pk), "api", "success")
    assert (row["target"]["kind"], row["target"]["id"]) == ("dovetail_apikeys.APIKey", key["id"])


def test_revocation_by_the_admin_site_is_recorded(organization):
    key, _ = create_api_key(organization=organization, name="CI")
    staff = factories.user(is_staff=True, is_superuser=True)
    client = Client()
    client.force_login(staff, backend="dovetail_identity.backends.ModelBackend")
    data = {"action": "revoke", "_selected_action": [str(key.pk)]}
    assert client.post("/django-admin/dovetail_apikeys/apikey/", data).status_code in (200, 302)
    row = entry("api_key.revoked")
    assert (row.actor, row.auth, row.origin) == (str(staff.pk), "session", "admin_site")
    assert row.organization == str(organization.pk)


def test_revocation_by_a_command_is_the_systems(organization):
    key, _ = create_api_key(organization=organization, name="CI")
    revoke_api_key(key, actor=None)
    row = entry("api_key.revoked")
    assert (row.actor_kind, row.target) == ("system", str(key.pk))


def test_a_change_that_fails_after_its_event_is_not_recorded(organization):
    key, _ = create_api_key(organization=organization, name="CI")
    with transaction.atomic():
        revoke_api_key(key, actor=None)
        assert Entry.objects.filter(action="api_key.revoked").exists()
        transaction.set_rollback(True)
    assert APIKey.objects.get(pk=key.pk).revoked_at is None
    assert not Entry.objects.filter(action="api_key.revoked").exists()


@pytest.mark.django_db(transaction=True)
def test_a_refusal_is_recorded_although_the_request_is_rolled_back(monkeypatch):
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    organization = factories.organization()
    member = factories.user()
    add_member(organization=organization, user=member, role="member")
    answer = factories.client(member, organization).get(LOG)
    assert answer.status_code == 403
    row = Entry.objects.filter(outcome="denied").order_by("-pk")[0]
    assert (row.actor, row.status, row.problem) == (str(member.pk), 403, answer.json()["code"])
    assert (row.request_id, row.organization) == (answer["X-Request-ID"], str(organization.pk))


def test_deleting_selected_rows_records_each(organization):
    customers = [factories.customer(organization, email=f"c{number}@example.com") for number in range(5)]
    staff = factories.user(is_staff=True, is_superuser=True)
    client = Client()
    client.force_login(staff, backend="dovetail_identity.backends.ModelBackend")
    data = {"action": "delete_selected", "_selected_action": [str(row.pk) for row in customers], "post": "yes"}
    client.post("/django-admin/billing/customer/", data, follow=True)
    with unscoped(reason="look"):
        assert not Customer.objects.exists()
    assert LogEntry.objects.count() == 5
    rows = Entry.objects.filter(target_kind="billing.Customer", actor=str(staff.pk), origin="admin_site")
    assert {row.target for row in rows} == {str(row.pk) for row in customers}


def test_organization_never_sees_the_entries_of_another(api, organization, owner):
    other = factories.organization(name="Globex")
    create_api_key(organization=other, name="Theirs")
    theirs = entry("api_key.created")
    assert theirs.organization == str(other.pk)
    assert api.get(f"{LOG}/{theirs.pk}").status_code == 404
    assert str(theirs.pk) not in api.get(f"{LOG}?limit=200").content.decode()
    named = factories.client(owner, other)
    assert named.get(LOG).status_code == 404
    key = api_key_client(organization, scopes=["audit:read"])
    assert str(theirs.pk) not in key.get(f"{LOG}?limit=200").content.decode()
    assert key.get(f"{LOG}/{theirs.pk}").status_code == 404
    day = "filter[at][gte]=2026-01-01T00:00:00Z&filter[at][lt]=2026-12-31T00:00:00Z"
    exported = b"".join(api.get(f"{LOG}/export?{day}").streaming_content)
    assert exported
    assert str(theirs.pk).encode() not in exported


@pytest.mark.parametrize("role", ["member", "billing"])
def test_audit_log_needs_its_permission(organization, role):
    person = factories.user()
    add_member(organization=organization, user=person, role=role)
    answer = factories.client(person, organization).get(LOG)
    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")


def test_audit_log_needs_the_scope(organization):
    assert api_key_client(organization, scopes=["customers:read"]).get(LOG).status_code == 403
    assert api_key_client(organization, scopes=["audit:read"]).get(LOG).status_code == 200


def test_list_takes_as_many_queries_for_many_entries(api, organization, django_assert_num_queries):
    # The user and session, the membership, and the page with its leaves.
    with django_assert_num_queries(3):
        api.get(LOG)
    for number in range(30):
        create_api_key(organization=organization, name=f"Key {number}")
    with django_assert_num_queries(3):
        assert len(api.get(LOG).json()["data"]) > 20


def test_unsealed_entry_has_no_proof_yet(api, organization):
    create_api_key(organization=organization, name="CI")
    path = f"{LOG}/{entry('api_key.created').pk}/proof"
    answer = api.get(path)
    assert (answer.status_code, answer.json()["code"], answer["Retry-After"]) == (409, "not_sealed", "10")
    seal()
    proof = api.get(path).json()
    assert json.loads(proof["canonical"])["action"] == "api_key.created"


HOSTILE = [
    "\0" * 10_000,
    "\ud800" * 3000,
    "😀" * 3000,
    "\u202e\r\nSet-Cookie: a=b\x1b[2J",
    "x" * 10_000,
    "1e22",
    "<script>",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_never_a_server_error(api, text):
    header = text.encode("utf-8", "surrogatepass").decode("latin-1")
    headers = {
        f"HTTP_{name}": header
        for name in ("USER_AGENT", "X_REQUEST_ID", "X_FORWARDED_FOR", "REFERER", "ACCEPT_LANGUAGE", "X_ORGANIZATION_ID")
    }
    body = json.dumps({"name": text, "email": text, "scopes": [text], "password": text})
    for path in (
        "/api/v1/customers",
        KEYS,
        "/api/auth/jwt/token/",
        "/api/auth/magic/request/",
        "/api/v1/organizations",
    ):
        for extra in (headers, {"HTTP_USER_AGENT": header}):
            with unchecked():
                answer = api.generic("POST", path, body, content_type="application/json", **extra)
            assert answer.status_code < 500, (path, answer.content)
    for name in ("filter[actor]", "filter[request_id]", "cursor", "limit", "filter[at][gte]", text[:50]):
        answer = api.get(
            LOG, {name.encode("utf-8", "replace").decode(): text.encode("utf-8", "replace").decode()[:2000]}
        )
        assert answer.status_code in (200, 400), answer.content
    seal()
    assert list(verify()) == []


def test_superusers_are_notified_of_tampering(organization):
    root = factories.user(is_superuser=True)
    create_api_key(organization=organization, name="CI")
    row = entry("api_key.created")
    seal()
    Entry._base_manager.filter(pk=row.pk).update(actor="1")
    assert run_verification() == "tampered"
    (sent,) = sent_notifications(AuditLogTampered)
    assert sent.recipient == root


def test_readiness_reports_a_sealer_that_stands_still(organization, monkeypatch):
    monkeypatch.setitem(health.OPTIONAL, "audit", health.check_audit_log)
    create_api_key(organization=organization, name="CI")
    assert Client().get("/health/ready").json()["checks"]["audit"] == "ok"
    monkeypatch.setattr("dovetail_audit.sealing.sealer.LAG", timedelta(0))
    answer = Client().get("/health/ready")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    seal()
    assert Client().get("/health/ready").json()["checks"]["audit"] == "ok"


def strings(document: Any, names: set[str]) -> Iterator[str]:
    """Yield the texts of the members with these names, at any depth."""
    if isinstance(document, dict):
        for name, value in document.items():
            if name in names and isinstance(value, str):
                yield value
            yield from strings(value, names)
    elif isinstance(document, list):
        for item in document:
            yield from strings(item, names)


GUESS = "wrong-guess-of-a-person"
SECRETS = {"password", "current_password", "new_password", "token", "k", "refresh", "access", "key", "ticket"}


def test_no_secret_of_any_endpoint_is_recorded_exported_or_logged(settings):
    settings.MAGIC_LINK_REQUESTS_PER_NETWORK = settings.MAGIC_LINK_REQUESTS_PER_SITE = ((1_000_000, 3600),)
    records: list[logging.LogRecord] = []
    handler = logging.Handler(logging.DEBUG)
    handler.emit = records.append  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    every = [operation for operation in operations() if operation.path != "/api/v1/notifications/stream"]
    worlds = make_worlds(2 * len(every))
    secrets: set[str] = {PASSWORD}
    try:
        for number, (operation, world, other) in enumerate(zip(every, worlds[::2], worlds[1::2], strict=True)):
            body = BODIES[operation.name](world) if operation.has_body else {}
            secrets |= {*strings(body, SECRETS), world.owner.access, world.link_key, world.invitation_token}
            # A client that confuses places, and sends a secret where nobody expects one.
            agent = {"User-Agent": f"sdk/1 ({world.owner.refresh})"}
            with unchecked():
                answer = operation.send(world, **agent)
                headers = {"X-API-Key": f"dvt_live_{'K' * 40}"} if number % 2 else other.owner.headers
                client = Client(raise_request_exception=False, headers={**headers, **agent})
                wrong = {**body, **dict.fromkeys(SECRETS & body.keys(), GUESS)} if isinstance(body, dict) else body
                url = f"{other.url(operation.path)}?token={other.owner.refresh}"
                getattr(client, operation.method)(url, data=wrong, content_type="application/json")
            secrets |= {world.owner.refresh}
            secrets |= {other.owner.access, other.owner.refresh}
            if "json" in answer.headers.get("Content-Type", ""):
                # The ticket of a support access is a number, not a credential.
                public = {"key", "ticket"} if operation.name.startswith("support_access") else {"key"}
                secrets |= set(strings(answer.json(), SECRETS - public))
                if operation.name.startswith("api_keys"):
                    secrets |= set(strings(answer.json(), {"key"}))
    finally:
        logging.getLogger().removeHandler(handler)
    secrets |= {GUESS, f"dvt_live_{'K' * 40}"}
    secrets |= {
        code for message in mail.outbox for code in re.findall(r"\b\d{8}\b|token=([\w.-]+)", message.body) if code
    }
    # A column may hold the beginning of a token.
    secrets |= {secret[:60] for secret in secrets}
    assert len(secrets) > 2 * len(every)
    assert Entry.objects.count() > 20
    rows = json.dumps([*Entry.objects.values()], default=repr, ensure_ascii=False)
    texts = {f"export {name}": b"".join(export(Entry.objects.all(), name)).decode() for name in FORMATS}
    texts |= {"rows": rows, "logs": "\n".join(map(JSONFormatter().format, records))}
    found = {(where, secret) for where, text in texts.items() for secret in secrets if secret in text}
    assert found == set()
