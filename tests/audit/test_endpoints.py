from __future__ import annotations

import json
import uuid
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Permission, User
from django.contrib.sessions.models import Session
from django.db import connection
from django.db.models import Model
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext, override_settings
from django.utils import timezone
from rest_framework.authtoken.models import Token

from dovetail_audit.models import Entry
from dovetail_audit.proofs import verify_entry
from dovetail_audit.sealing.checkpoints import SigningKey
from dovetail_audit.services import record, seal, verifying
from tests.audit.factories import START, entries, entry, sealed

LOG = "/api/v1/audit-log/"
ALL = "/admin/v1/audit/"
EXPORT = f"{LOG}export/?filter[at][gte]=2026-01-01T00:00:00Z&filter[at][lt]=2026-06-01T00:00:00Z"


def organization_of(request: Any) -> str | None:
    return request.headers.get("X-Organization")


OF_ORGANIZATION = {
    "AUDIT_ORGANIZATION_RESOLVER": organization_of,
    "AUDIT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
}


@pytest.fixture(autouse=True)
def only_own_entries(settings: Any) -> None:
    # Otherwise the sign-in of each test is an entry.
    settings.AUDIT_SIGN_INS = False


@pytest.fixture
def staff(client: Client, django_user_model: type[User]) -> Client:
    client.force_login(django_user_model.objects.create_user("staff", is_staff=True))
    return client


@pytest.fixture
def member(client: Client, django_user_model: type[User], settings: Any) -> Client:
    for name, value in OF_ORGANIZATION.items():
        setattr(settings, name, value)
    client.force_login(django_user_model.objects.create_user("member"))
    return client


def administrator(client: Client, *permissions: str) -> Client:
    user = User.objects.create_user(f"admin-{uuid.uuid4()}", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(user)
    return client


def ids(response: Any) -> list[str]:
    assert response.status_code == 200, response.content
    return [row["id"] for row in response.json()["data"]]


@pytest.mark.django_db
def test_list_shows_entries_newest_first(staff: Client) -> None:
    rows = entries(3)
    body = staff.get(LOG).json()
    assert [row["id"] for row in body["data"]] == [str(row.pk) for row in reversed(rows)]
    assert body["data"][0]["actor"] == {"kind": "user", "id": "7", "label": None, "auth": None, "impersonator": None}
    assert body["data"][0]["sealed"] is False


@pytest.mark.django_db
def test_list_is_refused_to_users_who_are_not_staff(client: Client, django_user_model: type[User]) -> None:
    assert client.get(LOG).status_code == 403
    client.force_login(django_user_model.objects.create_user("user"))
    assert client.get(LOG).status_code == 403


@pytest.mark.django_db
def test_list_without_organizations_needs_staff_whatever_the_permissions(
    client: Client, django_user_model: type[User]
) -> None:
    entry()
    client.force_login(django_user_model.objects.create_user("user"))
    with override_settings(AUDIT_PERMISSION_CLASSES=["rest_framework.permissions.IsAuthenticated"]):
        assert client.get(LOG).status_code == 403


@pytest.mark.django_db
def test_organization_sees_only_its_entries(member: Client) -> None:
    own, other, nobodys = entry(organization="1"), entry(organization="2"), entry()
    headers = {"X-Organization": "1"}
    assert ids(member.get(LOG, headers=headers)) == [str(own.pk)]
    assert member.get(f"{LOG}{own.pk}/", headers=headers).status_code == 200
    for row in (other, nobodys):
        for path in (f"{LOG}{row.pk}/", f"{LOG}{row.pk}/proof/"):
            assert member.get(path, headers=headers).status_code == 404
    body = b"".join(member.get(EXPORT, headers=headers).streaming_content)  # type: ignore[arg-type]
    assert str(other.pk).encode() not in body
    assert member.get(LOG).status_code == 403


@pytest.mark.django_db
@pytest.mark.parametrize("key", ["1", "{entry}", "urn:uuid:{entry}", "{plain}", str(uuid.UUID(int=0)), "exports"])
def test_detail_of_another_spelling_is_not_found(staff: Client, key: str) -> None:
    row = entry()
    text = key.format(entry="{" + str(row.pk) + "}", plain=row.pk.hex)
    assert staff.get(f"{LOG}{text}/").status_code == 404
    assert staff.get(f"{LOG}{row.pk}/").json()["id"] == str(row.pk)


@pytest.mark.django_db
@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_no_endpoint_writes(staff: Client, method: str) -> None:
    row = entry()
    administrator(staff, "view_entry", "export_entry")
    for path in (LOG, ALL, f"{LOG}{row.pk}/", f"{ALL}{row.pk}/", f"{LOG}export/", f"{ALL}checkpoints/"):
        assert getattr(staff, method)(path).status_code in (403, 405)
    assert Entry.objects.filter(pk=row.pk).exists()


@pytest.mark.django_db
def test_list_takes_as_many_queries_for_many_entries(staff: Client) -> None:
    entries(2)
    with CaptureQueriesContext(connection) as few:
        staff.get(LOG)
    entries(60)
    with CaptureQueriesContext(connection) as many:
        assert len(ids(staff.get(LOG))) == 50
    # The session, the user, and one for the page with the leaves.
    assert len(few) == len(many) == 3


@pytest.mark.django_db
def test_pages_follow_each_other(staff: Client) -> None:
    rows = entries(5)
    first = staff.get(f"{LOG}?limit=2").json()
    second = staff.get(f"{LOG}?limit=2&cursor={first['meta']['next']}").json()
    assert [row["id"] for row in [*first["data"], *second["data"]]] == [str(row.pk) for row in rows[:0:-1]]


@pytest.mark.django_db
def test_list_is_paginated_by_the_class_of_the_project(staff: Client) -> None:
    entries(3)
    with override_settings(AUDIT_PAGINATION_CLASS="rest_framework.pagination.LimitOffsetPagination"):
        body = staff.get(f"{LOG}?limit=2").json()
    assert (body["count"], len(body["results"])) == (3, 2)


# --- filters ----------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("query", "column", "value"),
    [
        ("filter[action]=order.paid", "action", "order.refunded"),
        ("filter[action][in]=order.paid,order.sent", "action", "order.refunded"),
        ("filter[actor]=7", "actor", "8"),
        ("filter[target_kind]=shop.Order", "target_kind", "shop.Customer"),
        ("filter[target_kind]=shop.Order&filter[target]=1", "target", "2"),
        ("filter[outcome]=success", "outcome", "denied"),
        ("filter[outcome][in]=success,failed", "outcome", "denied"),
        ("filter[request_id]=r1", "request_id", "r2"),
        ("filter[at][gte]=2026-01-01T00:00:00Z", "at", START - timedelta(milliseconds=1)),
        ("filter[at][lt]=2026-01-01T00:00:01%2B00:00", "at", START + timedelta(seconds=1)),
    ],
)
def test_filter_selects_entries(staff: Client, query: str, column: str, value: object) -> None:
    columns = {"at": START, "target_kind": "shop.Order", "target": "1", "request_id": "r1"}
    match = entry(**columns)
    entry(**{**columns, column: value})
    assert ids(staff.get(f"{LOG}?{query}&sort=-id")) == [str(match.pk)]


@pytest.mark.django_db
def test_key_that_is_an_address_is_found_by_it(staff: Client) -> None:
    """Entries hold a hash of such a key."""
    match = record("order.paid", actor="ada@example.com", target=("shop.Order", "lot@example.com"))
    record("order.paid", actor="bob@example.com", target=("shop.Order", "1"))
    for query in ("filter[actor]=ada@example.com", "filter[target_kind]=shop.Order&filter[target]=lot@example.com"):
        assert ids(staff.get(f"{LOG}?{query}")) == [str(match.pk)]


def of_session(key: str) -> str:
    return f"filter[target_kind]=sessions.Session&filter[target]={key}"


@pytest.mark.django_db
@pytest.mark.parametrize("model", [Session, Token])
def test_target_whose_key_is_a_secret_is_found_by_it(staff: Client, model: type[Model]) -> None:
    kind, key = model._meta.label, "a1b2" * 8
    rows = [record("session.ended", target=model(pk=key)), record("session.ended", target=(kind, key))]
    record("session.ended", target=model(pk="c3d4" * 8))
    assert key not in rows[0].target
    # By the key, and by what the entry holds.
    for text in (key, rows[0].target):
        found = ids(staff.get(f"{LOG}?filter[target_kind]={kind}&filter[target]={text}"))
        assert found == [str(row.pk) for row in reversed(rows)]


@pytest.mark.django_db
def test_hashed_key_is_found_after_the_secret_key_is_rotated(client: Client, settings: Any) -> None:
    key = "a1b2" * 8
    old = record("session.ended", target=("sessions.Session", key), actor="ada@example.com", organization_id="a@b.org")
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another-secret-key-of-32-characters", [settings.SECRET_KEY]
    new = record("session.ended", target=("sessions.Session", key), actor="ada@example.com", organization_id="a@b.org")
    assert new.target != old.target
    expected = [str(new.pk), str(old.pk)]
    administrator(client, "view_entry")
    for query in (of_session(key), "filter[actor]=ada@example.com", "filter[organization]=a@b.org"):
        assert ids(client.get(f"{ALL}?{query}")) == expected
    settings.AUDIT_LOG_ORGANIZATION = lambda request: "a@b.org"
    assert ids(client.get(LOG)) == expected


@pytest.mark.django_db
def test_time_filter_tolerates_a_clock_that_was_set_back(staff: Client) -> None:
    # The id was made half a minute before the time was read.
    row = entry(at=START)
    key = entry(at=START - timedelta(seconds=30)).pk
    Entry._base_manager.filter(pk=key).delete()
    Entry._base_manager.filter(pk=row.pk).update(id=key)
    assert ids(staff.get(f"{LOG}?filter[at][gte]=2026-01-01T00:00:00Z")) == [str(key)]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("filter[actr]=7", "filter[actr]"),
        ("filter[actor][like]=7", "filter[actor][like]"),
        ("actor=7", "actor"),
        ("filter[target]=7", "filter[target]"),
        ("filter=7", "filter"),
        ("filter[actor]=7&filter[actor]=8", "filter[actor]"),
        ("filter[actor]=", "filter[actor]"),
        ("filter[actor]=%00", "filter[actor]"),
        (f"filter[actor]={'7' * 255}", "filter[actor]"),
        ("filter[outcome]=good", "filter[outcome]"),
        ("filter[outcome][in]=success,good", "filter[outcome][in]"),
        (f"filter[action][in]={','.join(['a'] * 101)}", "filter[action][in]"),
        ("filter[at][gte]=yesterday", "filter[at][gte]"),
        ("filter[at][gte]=2026-02-30T00:00:00Z", "filter[at][gte]"),
        ("filter[at][gte]=2026-01-01T00:00:00", "filter[at][gte]"),
        ("filter[at][lt]=0001-01-01T00:00:00Z", "filter[at][lt]"),
        ("sort=at", "sort"),
        ("sort=-id&sort=at", "sort"),
        ("filter[organization]=1", "filter[organization]"),
        ("limit=0", "limit"),
        ("cursor=x", "cursor"),
    ],
)
def test_invalid_query_is_named(staff: Client, query: str, parameter: str) -> None:
    response = staff.get(f"{LOG}?{query}")
    assert response.status_code == 400
    assert [*response.json()] == [parameter]


@pytest.mark.django_db
def test_administrators_filter_by_organization(client: Client) -> None:
    row, _ = entry(organization="1"), entry(organization="2")
    administrator(client, "view_entry")
    assert ids(client.get(f"{ALL}?filter[organization]=1")) == [str(row.pk)]


# --- exports ----------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize(("name", "start"), [("jsonl", b'{"id":"'), ("cef", b"CEF:0|"), ("ocsf", b'{"class_uid":')])
def test_export_streams_the_format(staff: Client, name: str, start: bytes) -> None:
    entry(at=START)
    response = staff.get(f"{EXPORT}&format={name}")
    assert response.streaming
    assert b"".join(response.streaming_content).startswith(start)  # type: ignore[arg-type]
    assert response["Cache-Control"] == "no-store"
    assert response["Content-Disposition"].startswith('attachment; filename="audit-log.')


@pytest.mark.django_db
def test_export_is_not_read_into_memory_under_asgi(async_client: AsyncClient, settings: Any) -> None:
    rows = entries(1100, at=START)
    user = User.objects.create_user("staff", is_staff=True)
    async_client.force_login(user)

    async def read() -> tuple[Any, list[bytes]]:
        response = await async_client.get(EXPORT)
        return response, [chunk async for chunk in response.streaming_content]

    response, chunks = async_to_sync(read)()
    assert response.is_async
    assert len(chunks) == 3
    assert len(b"".join(chunks).splitlines()) == len(rows)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("filter[at][lt]=2026-01-01T00:00:00Z", "filter[at][gte]"),
        ("filter[at][gte]=2025-01-01T00:00:00Z&filter[at][lt]=2026-01-03T00:00:00Z", "filter[at][gte]"),
        ("filter[at][gte]=2026-01-01T00:00:00Z&filter[at][lt]=2026-01-02T00:00:00Z&format=xml", "format"),
        ("filter[at][gte]=2026-01-01T00:00:00Z&format=cef&proofs=true", "proofs"),
        ("filter[at][gte]=2026-01-01T00:00:00Z&proofs=yes", "proofs"),
        ("filter[at][gte]=x", "filter[at][gte]"),
        ("filter[at][gte]=2026-01-01T00:00:00Z&actor=1", "actor"),
    ],
)
def test_invalid_export_is_named(staff: Client, query: str, parameter: str) -> None:
    response = staff.get(f"{LOG}export/?{query}")
    assert response.status_code == 400
    assert [*response.json()] == [parameter]


@pytest.mark.django_db
def test_export_by_another_method_is_405(staff: Client) -> None:
    for method in ("post", "put", "patch", "delete", "trace"):
        assert getattr(staff, method)(f"{LOG}export/?format=cef").status_code == 405


def test_export_has_a_maximum(staff: Client, settings: Any) -> None:
    entries(3, at=START)
    settings.AUDIT_MAX_EXPORT = 2
    response = staff.get(EXPORT)
    assert response.status_code == 400
    assert "2" in response.json()["filter[at][gte]"][0]
    settings.AUDIT_MAX_EXPORT = 3
    assert staff.get(EXPORT).status_code == 200


# --- administrators ---------------------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "permission"),
    [
        ("", "view_entry"),
        ("{pk}/", "view_entry"),
        ("checkpoints/", "view_entry"),
        ("export/?filter[at][gte]={now}", "export_entry"),
    ],
)
def test_administrators_need_the_permission_of_the_action(client: Client, path: str, permission: str) -> None:
    now = (timezone.now() - timedelta(days=1)).isoformat().replace("+", "%2B")
    url = ALL + path.format(pk=entry(organization="1").pk, now=now)
    others = {"view_entry", "export_entry", "verify_entry", "erase_entry"} - {permission}
    assert client.get(url).status_code == 403
    assert administrator(client, *others).get(url).status_code == 403
    user = User.objects.create_user("no-staff")
    user.user_permissions.set(Permission.objects.filter(codename=permission))
    client.force_login(user)
    assert client.get(url).status_code == 403
    assert administrator(client, permission).get(url).status_code == 200


def test_an_action_without_a_permission_is_refused() -> None:
    from dovetail_audit.api.permissions import HasAdminPermission

    user = SimpleNamespace(is_staff=True, has_perm=lambda name: True)
    view: Any = SimpleNamespace(action="list", admin={"permissions": {}})
    request: Any = SimpleNamespace(user=user)
    assert not HasAdminPermission().has_permission(request, view)
    view.admin = {"permissions": {"list": "dovetail_audit.view_entry"}}
    assert HasAdminPermission().has_permission(request, view)


@pytest.mark.django_db
def test_sealed_entries_are_marked(staff: Client) -> None:
    row = sealed(entry())
    assert staff.get(f"{LOG}{row.pk}/").json()["sealed"] is True
    assert json.loads(staff.get(LOG).content)["data"][0]["sealed"] is True


@pytest.mark.django_db
def test_proof_of_an_entry_verifies(staff: Client, settings: Any) -> None:
    key = SigningKey.generate("audit.example.com")
    settings.AUDIT_SIGNING_KEY = str(key)
    row = record("order.paid", parameters={"number": "A-1"})
    refusal = staff.get(f"{LOG}{row.pk}/proof/")
    assert (refusal.status_code, refusal["Retry-After"]) == (409, "10")
    seal()
    fields = verify_entry(staff.get(f"{LOG}{row.pk}/proof/").json(), [str(key.verifying_key())])
    assert (fields["id"], fields["action"]) == (str(row.pk), "order.paid")


@pytest.mark.django_db
def test_export_is_recorded(staff: Client, settings: Any) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "dovetail_audit.middleware.AuditMiddleware"]
    entries(2, at=START)
    # A client that breaks off before the first byte has no entry of its own.
    staff.get(f"{EXPORT}&format=cef&filter[actor]=7")
    row = Entry.objects.get(action="audit.exported")
    assert (row.actor_label, row.outcome, row.origin) == ("staff", "success", "api")
    recorded = _recorded("audit.exported")
    assert (recorded["format"], recorded["count"]) == ("cef", 2)
    assert recorded["filters"]["filter[actor]"] == "7"


@pytest.mark.django_db
def test_recorded_export_holds_no_secret_key_of_its_filters(staff: Client) -> None:
    key = "a1b2" * 8
    target = record("session.ended", target=("sessions.Session", key)).target
    staff.get(f"{EXPORT}&{of_session(key)}&filter[actor]=ada@example.com")
    filters = _recorded("audit.exported")["filters"]
    assert filters["filter[target]"] == target
    assert filters["filter[actor]"].startswith("hashed:")
    assert not Entry.objects.get(action="audit.exported").private


@pytest.mark.django_db
def test_administrators_start_a_verification(client: Client, settings: Any) -> None:
    settings.AUDIT_RUNNER = "dovetail_audit.services.verifying.immediate"
    row = record("order.paid")
    seal()
    path = f"{ALL}verifications/"
    assert administrator(client, "view_entry", "export_entry", "erase_entry").post(path).status_code == 403
    assert administrator(client, "verify_entry").post(path).status_code == 202
    assert _recorded("audit.verified") == {"result": "intact", "kinds": {}}
    Entry._base_manager.filter(pk=row.pk).update(action="order.refunded")
    client.post(path)
    assert _recorded("audit.verified")["result"] == "tampered"
    assert _recorded("audit.tampering_found")["first"] == str(row.pk)


@pytest.mark.django_db
def test_a_second_verification_at_the_same_time_is_refused(client: Client) -> None:
    administrator(client, "verify_entry")
    with verifying._running:
        response = client.post(f"{ALL}verifications/")
    assert response.status_code == 409
    assert response.json()["detail"].startswith("A verification is running")


@pytest.mark.django_db
def test_administrators_erase_a_person(client: Client) -> None:
    row = record("order.paid", personal={"email": "ada@example.com"})
    path = f"{ALL}erasures/"
    body = {"email": "ada@example.com", "reason": "request 7"}
    assert administrator(client, "view_entry", "verify_entry").post(path, body).status_code == 403
    assert administrator(client, "erase_entry").post(path, body).json() == {"erased": 1}
    row.refresh_from_db()
    assert row.private is None
    assert Entry.objects.filter(action="audit.subject_erased", actor_label__startswith="admin-").exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"reason": "x"}, "non_field_errors"),
        ({"reason": "x", "user_id": "1", "email": "a@b.c"}, "non_field_errors"),
        ({"user_id": "1"}, "reason"),
        ({"user_id": "1", "reason": " "}, "reason"),
    ],
)
def test_invalid_erasure_is_named(client: Client, body: dict[str, str], field: str) -> None:
    response = administrator(client, "erase_entry").post(f"{ALL}erasures/", body)
    assert response.status_code == 400
    assert [*response.json()] == [field]


def _recorded(action: str) -> dict[str, Any]:
    row = Entry.objects.filter(action=action).order_by("-pk")[0]
    return {**(row.data.get("extra") or {}), **(row.data.get("parameters") or {})}
