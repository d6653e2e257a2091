from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from dovetail_apikeys.models import APIKey
from tests.apikeys.factories import bearer, make_firm, make_key, make_user, signed_in

pytestmark = pytest.mark.django_db

KEYS = "/api/api-keys/"
LISTS = ("scopes", "allowed_networks")


@pytest.fixture
def firm() -> Any:
    return make_firm()


@pytest.fixture
def person(firm: Any) -> Any:
    return make_user(firm)


@pytest.fixture
def client(person: Any) -> APIClient:
    return signed_in(person)


def test_the_raw_key_is_in_the_answer_that_makes_it_and_in_no_other(client: APIClient, person: Any, firm: Any) -> None:
    answer = client.post(KEYS, {"name": "Till", "scopes": ["orders:read"]})
    assert answer.status_code == 201, answer.content
    assert answer["Cache-Control"] == "no-store"
    made = answer.json()
    raw = made.pop("key")
    api_key = APIKey.objects.get()
    assert (api_key.organization, api_key.created_by) == (firm, person)
    assert made == {
        "id": str(api_key.pk),
        "name": "Till",
        "prefix": api_key.key_prefix,
        "scopes": ["orders:read"],
        "allowed_networks": [],
        "rate_limit": "",
        "status": "active",
        "created_by": person.pk,
        "created_at": made["created_at"],
        "last_used": None,
        "last_used_ip": None,
        "expires_at": None,
        "revoked_at": None,
        "rotated_from": None,
    }
    assert bearer(raw).get("/orders/").status_code == 200
    page = client.get(KEYS).json()
    assert page["meta"] == {"next": None, "prev": None, "total": None}
    (listed,) = page["data"]
    assert listed == client.get(f"{KEYS}{api_key.pk}/").json()
    assert listed.keys() == made.keys()
    assert raw not in json.dumps([page, listed])


def test_a_key_is_renamed_and_rescoped_and_nothing_else(client: APIClient, firm: Any) -> None:
    api_key, _raw = make_key(firm, scopes=["orders:read"])
    path = f"{KEYS}{api_key.pk}/"
    changed = client.patch(path, {"name": "New", "scopes": ["orders:write"], "expires_at": None, "rate_limit": "9/s"})
    assert changed.status_code == 200
    assert (changed.json()["name"], changed.json()["scopes"]) == ("New", ["orders:write"])
    assert client.patch(path, {}).json()["name"] == "New"
    assert client.put(path, {"name": "x"}).status_code == 405
    api_key.refresh_from_db()
    assert (api_key.rate_limit, api_key.expires_at) == ("", None)


def test_rotation(client: APIClient, firm: Any) -> None:
    api_key, raw = make_key(firm, scopes=["orders:read"])
    path = f"{KEYS}{api_key.pk}/rotate/"
    answer = client.post(path, {"grace": 60})
    assert answer.status_code == 201
    assert answer["Cache-Control"] == "no-store"
    made = answer.json()
    assert (made["rotated_from"], made["scopes"]) == (str(api_key.pk), ["orders:read"])
    assert [bearer(each).get("/orders/").status_code for each in (raw, made["key"])] == [200, 200]
    again = client.post(path)
    assert (again.status_code, again.data["detail"].code) == (409, "already_rotated")
    for grace in (-1, 604_801, "x", None, 1.5, [], 10**400):
        assert client.post(path, {"grace": grace}).status_code == 400
    cut = client.post(f"{KEYS}{made['id']}/rotate/", {"grace": 0, "expires_at": timezone.now() + timedelta(days=9)})
    assert cut.status_code == 201
    assert bearer(made["key"]).get("/orders/").status_code == 401


def test_revocation_and_deletion(client: APIClient, firm: Any) -> None:
    api_key, raw = make_key(firm)
    path = f"{KEYS}{api_key.pk}/"
    for _ in range(2):
        assert client.post(f"{path}revoke/").status_code == 204
    assert bearer(raw).get("/plain/").status_code == 401
    assert client.get(path).json()["status"] == "revoked"
    for refused in (client.patch(path, {"name": "x"}), client.post(f"{path}rotate/")):
        assert (refused.status_code, refused.data["detail"].code) == (409, "not_active")
    assert client.delete(path).status_code == 204
    assert client.get(path).status_code == client.delete(path).status_code == 404


@pytest.mark.parametrize("key", ["theirs", "unknown", "x", "0", "%00", "%ff", "a" * 3000, "' OR 1=1--"])
def test_another_organizations_key_does_not_exist(client: APIClient, key: str) -> None:
    theirs, raw = make_key()
    key = {"theirs": str(theirs.pk), "unknown": str(uuid4())}.get(key, key)
    before = APIKey.objects.values().get()
    answers = [
        client.get(f"{KEYS}{key}/"),
        client.patch(f"{KEYS}{key}/", {"name": "Mine"}),
        client.delete(f"{KEYS}{key}/"),
        client.post(f"{KEYS}{key}/rotate/"),
        client.post(f"{KEYS}{key}/revoke/"),
    ]
    assert [answer.status_code for answer in answers] == [404] * 5
    assert APIKey.objects.values().get() == before
    assert client.get(KEYS).json()["data"] == []
    assert bearer(raw).get("/plain/").status_code == 200


def test_who_acts_for_no_organization_is_told(django_user_model: Any) -> None:
    nobody = signed_in(django_user_model.objects.create_user("eve"))
    for answer in (nobody.get(KEYS), nobody.post(KEYS, {"name": "x"})):
        assert (answer.status_code, answer.data["detail"].code) == (403, "no_organization")
    assert APIClient().get(KEYS).status_code == 401


def test_a_key_manages_keys_of_its_organization_with_the_scopes_for_it(firm: Any) -> None:
    theirs, _raw = make_key()
    for scopes, read, write in (((), 403, 403), (("api_keys:read",), 200, 403), (("api_keys:*",), 200, 201)):
        client = bearer(make_key(firm, scopes=scopes)[1])
        assert client.get(KEYS).status_code == read
        assert client.post(KEYS, {"name": "x"}).status_code == write
        assert client.get(f"{KEYS}{theirs.pk}/").status_code == (404 if read == 200 else 403)
    made = APIKey.objects.filter(name="x").get()
    assert (made.organization, made.created_by) == (firm, None)


def test_a_key_cannot_get_at_more_than_it_has(firm: Any) -> None:
    strong, _raw = make_key(firm, scopes=["orders:write", "api_keys:write"])
    weak, raw = make_key(firm, scopes=["orders:read", "api_keys:*"])
    client = bearer(raw)
    answers = [
        client.post(KEYS, {"name": "x", "scopes": ["orders:write"]}),
        client.post(f"{KEYS}{strong.pk}/rotate/"),
        client.patch(f"{KEYS}{weak.pk}/", {"scopes": ["orders:write"]}),
    ]
    assert [(answer.status_code, answer.data["detail"].code) for answer in answers] == [(403, "beyond_own")] * 3
    assert client.post(KEYS, {"name": "x", "scopes": ["orders:read"]}).status_code == 201
    # Itself it may rotate.
    assert client.post(f"{KEYS}{weak.pk}/rotate/").status_code == 201


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", None),
        ("name", ""),
        ("name", "x" * 101),
        ("name", f"{'x' * 100} "),
        ("name", "a\0b"),
        ("name", {"a": 1}),
        ("scopes", None),
        ("scopes", "orders:read"),
        ("scopes", ["orders:red"]),
        ("scopes", ["orders:read orders:write"]),
        ("scopes", [None]),
        ("scopes", [["orders:read"]]),
        ("scopes", ["x" * 201]),
        ("scopes", ["orders:read"] * 201),
        ("scopes", {"0": "orders:read"}),
        ("expires_at", "2020-01-01T00:00:00Z"),
        ("expires_at", "tomorrow"),
        ("expires_at", "0000-00-00"),
        ("expires_at", 10**400),
        ("allowed_networks", ["localhost"]),
        ("allowed_networks", ["\0"]),
        ("allowed_networks", 7),
    ],
)
def test_a_bad_value_is_refused_and_its_field_named(client: APIClient, field: str, value: Any) -> None:
    answer = client.post(KEYS, {"name": "Till", field: value})
    assert answer.status_code == 400, answer.content
    assert set(answer.json()) == {field}
    assert APIKey.objects.count() == 0


@pytest.mark.parametrize("value", [5, 1.5, True, None, ["x"]])
@pytest.mark.parametrize(
    ("field", "shape"), [("name", lambda value: value), *((each, lambda value: [value]) for each in LISTS)]
)
def test_what_is_no_text_is_refused_and_its_field_named(
    client: APIClient, firm: Any, field: str, shape: Any, value: Any
) -> None:
    api_key, _raw = make_key(firm)
    before = APIKey.objects.values().get()
    path = f"{KEYS}{api_key.pk}/"
    answers = [client.post(KEYS, {"name": "Till", field: shape(value)})]
    # Networks stay as they were, whatever is sent.
    answers += [client.patch(path, {field: shape(value)})] if field != "allowed_networks" else []
    for answer in answers:
        assert (answer.status_code, set(answer.json())) == (400, {field}), answer.content
    assert APIKey.objects.values().get() == before


def test_digits_are_a_grace_in_a_form_alone(client: APIClient, firm: Any) -> None:
    path = f"{KEYS}{make_key(firm)[0].pk}/rotate/"
    answer = client.post(path, {"grace": "60"})
    assert (answer.status_code, set(answer.json())) == (400, {"grace"})
    assert APIKey.objects.count() == 1
    assert client.post(path, {"grace": "60"}, format="multipart").status_code == 201


@pytest.mark.parametrize("body", [b"", b"\xff", b"{", b"null", b"[]", b"1", b"[" * 50_000, b'{"name":"\\ud800"}'])
@pytest.mark.parametrize("path", ["", "rotate"])
def test_a_body_that_is_none_is_no_server_error(client: APIClient, firm: Any, body: bytes, path: str) -> None:
    url = KEYS if not path else f"{KEYS}{make_key(firm)[0].pk}/rotate/"
    answer = client.post(url, body, content_type="application/json")
    assert answer.status_code == 400 or (path and body in {b"", b'{"name":"\\ud800"}'} and answer.status_code == 201)


def test_the_lists_queries_do_not_grow_with_its_rows(client: APIClient, firm: Any) -> None:
    counts = []
    for rows in (2, 20):
        for _ in range(rows):
            make_key(firm, created_by=make_user())
        with CaptureQueriesContext(connection) as queries:
            answer = client.get(KEYS)
        assert len(answer.json()["data"]) >= rows
        counts.append(len(queries))
    # The session, the person, the employee and the firm (this lane's resolver), the keys.
    assert counts == [5, 5]


def test_a_machines_list_is_two_queries(firm: Any) -> None:
    client = bearer(make_key(firm, scopes=["api_keys:read"])[1])
    client.get(KEYS)
    with CaptureQueriesContext(connection) as queries:
        client.get(KEYS)
    assert len(queries) == 2


def test_pages_follow_each_other(client: APIClient, firm: Any) -> None:
    expected = [str(make_key(firm)[0].pk) for _ in range(5)][::-1]
    seen: list[str] = []
    cursor = ""
    while cursor is not None:
        answer = client.get(f"{KEYS}?limit=2{cursor and '&cursor='}{cursor}")
        page = answer.json()
        seen += [row["id"] for row in page["data"]]
        assert ('rel="next"' in answer.get("Link", "")) is (page["meta"]["next"] is not None)
        cursor = page["meta"]["next"]
    assert seen == expected


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "limit=1&limit=2", "cursor=x", "cursor=cD1hJTAw"])
def test_a_bad_page_is_refused(client: APIClient, query: str) -> None:
    answer = client.get(f"{KEYS}?{query}")
    assert answer.status_code == 400
    assert set(answer.json()) == {query.partition("=")[0]}


def test_a_project_names_its_own_paginator_and_permissions(client: APIClient, firm: Any, settings: Any) -> None:
    settings.API_KEYS_PAGINATION_CLASS = None
    make_key(firm)
    assert len(client.get(KEYS).json()) == 1
    settings.API_KEYS_PERMISSION_CLASSES = ["rest_framework.permissions.IsAdminUser"]
    assert client.get(KEYS).status_code == 403
