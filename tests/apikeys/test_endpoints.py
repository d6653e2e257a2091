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
from tests.plans import sorts

pytestmark = pytest.mark.django_db

KEYS = "/api/api-keys/"
LISTS = ("scopes", "allowed_networks")


@pytest.fixture
def firm() -> Any:
    return make_firm()


@pytest.fixture
def user(firm: Any) -> Any:
    return make_user(firm)


@pytest.fixture
def client(user: Any) -> APIClient:
    return signed_in(user)


def test_only_the_creation_response_contains_the_raw_key(client: APIClient, user: Any, firm: Any) -> None:
    response = client.post(KEYS, {"name": "Till", "scopes": ["orders:read"]})
    assert response.status_code == 201, response.content
    assert response["Cache-Control"] == "no-store"
    created = response.json()
    raw = created.pop("key")
    api_key = APIKey.objects.get()
    assert (api_key.organization, api_key.created_by) == (firm, user)
    assert created == {
        "id": str(api_key.pk),
        "name": "Till",
        "prefix": api_key.key_prefix,
        "scopes": ["orders:read"],
        "allowed_networks": [],
        "rate_limit": "",
        "status": "active",
        "created_by": user.pk,
        "created_at": created["created_at"],
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
    assert listed.keys() == created.keys()
    assert raw not in json.dumps([page, listed])


def test_update_changes_only_name_and_scopes(client: APIClient, firm: Any) -> None:
    api_key, _raw = make_key(firm, scopes=["orders:read"])
    path = f"{KEYS}{api_key.pk}/"
    changed = client.patch(path, {"name": "New", "scopes": ["orders:write"], "expires_at": None, "rate_limit": "9/s"})
    assert changed.status_code == 200
    assert (changed.json()["name"], changed.json()["scopes"]) == ("New", ["orders:write"])
    assert client.patch(path, {}).json()["name"] == "New"
    assert client.put(path, {"name": "x"}).status_code == 405
    api_key.refresh_from_db()
    assert (api_key.rate_limit, api_key.expires_at) == ("", None)


def test_rotation_creates_a_successor_once(client: APIClient, firm: Any) -> None:
    api_key, raw = make_key(firm, scopes=["orders:read"])
    path = f"{KEYS}{api_key.pk}/rotate/"
    response = client.post(path, {"grace": 60})
    assert response.status_code == 201
    assert response["Cache-Control"] == "no-store"
    successor = response.json()
    assert (successor["rotated_from"], successor["scopes"]) == (str(api_key.pk), ["orders:read"])
    assert [bearer(key).get("/orders/").status_code for key in (raw, successor["key"])] == [200, 200]
    again = client.post(path)
    assert (again.status_code, again.data["detail"].code) == (409, "already_rotated")
    for grace in (-1, 604_801, "x", None, 1.5, [], 10**400):
        assert client.post(path, {"grace": grace}).status_code == 400
    path, expires_at = f"{KEYS}{successor['id']}/rotate/", timezone.now() + timedelta(days=9)
    assert client.post(path, {"grace": 0, "expires_at": expires_at}).status_code == 201
    assert bearer(successor["key"]).get("/orders/").status_code == 401


def test_revoked_key_is_rejected_until_its_deletion(client: APIClient, firm: Any) -> None:
    api_key, raw = make_key(firm)
    path = f"{KEYS}{api_key.pk}/"
    for _ in range(2):
        assert client.post(f"{path}revoke/").status_code == 204
    assert bearer(raw).get("/plain/").status_code == 401
    assert client.get(path).json()["status"] == "revoked"
    for response in (client.patch(path, {"name": "x"}), client.post(f"{path}rotate/")):
        assert (response.status_code, response.data["detail"].code) == (409, "not_active")
    assert client.delete(path).status_code == 204
    assert client.get(path).status_code == client.delete(path).status_code == 404


@pytest.mark.parametrize("key", ["other", "unknown", "x", "0", "%00", "%ff", "a" * 3000, "' OR 1=1--"])
def test_key_of_another_organization_is_404(client: APIClient, key: str) -> None:
    other, raw = make_key()
    key = {"other": str(other.pk), "unknown": str(uuid4())}.get(key, key)
    before = APIKey.objects.values().get()
    responses = [
        client.get(f"{KEYS}{key}/"),
        client.patch(f"{KEYS}{key}/", {"name": "Mine"}),
        client.delete(f"{KEYS}{key}/"),
        client.post(f"{KEYS}{key}/rotate/"),
        client.post(f"{KEYS}{key}/revoke/"),
    ]
    assert [response.status_code for response in responses] == [404] * 5
    assert APIKey.objects.values().get() == before
    assert client.get(KEYS).json()["data"] == []
    assert bearer(raw).get("/plain/").status_code == 200


def test_user_without_an_organization_is_403(django_user_model: Any) -> None:
    client = signed_in(django_user_model.objects.create_user("eve"))
    for response in (client.get(KEYS), client.post(KEYS, {"name": "x"})):
        assert (response.status_code, response.data["detail"].code) == (403, "no_organization")
    assert APIClient().get(KEYS).status_code == 401


def test_key_needs_scopes_to_manage_keys_of_its_organization(firm: Any) -> None:
    other, _raw = make_key()
    for scopes, read, write in (((), 403, 403), (("api_keys:read",), 200, 403), (("api_keys:*",), 200, 201)):
        client = bearer(make_key(firm, scopes=scopes)[1])
        assert client.get(KEYS).status_code == read
        assert client.post(KEYS, {"name": "x"}).status_code == write
        assert client.get(f"{KEYS}{other.pk}/").status_code == (404 if read == 200 else 403)
    created = APIKey.objects.filter(name="x").get()
    assert (created.organization, created.created_by) == (firm, None)


def test_key_cannot_gain_scopes_at_the_endpoints(firm: Any) -> None:
    strong, _raw = make_key(firm, scopes=["orders:write", "api_keys:write"])
    weak, raw = make_key(firm, scopes=["orders:read", "api_keys:*"])
    client = bearer(raw)
    responses = [
        client.post(KEYS, {"name": "x", "scopes": ["orders:write"]}),
        client.post(f"{KEYS}{strong.pk}/rotate/"),
        client.patch(f"{KEYS}{weak.pk}/", {"scopes": ["orders:write"]}),
    ]
    assert [(response.status_code, response.data["detail"].code) for response in responses] == [(403, "beyond_own")] * 3
    assert client.post(KEYS, {"name": "x", "scopes": ["orders:read"]}).status_code == 201
    # The key may rotate itself.
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
def test_invalid_value_is_a_400_with_its_field(client: APIClient, field: str, value: Any) -> None:
    response = client.post(KEYS, {"name": "Till", field: value})
    assert response.status_code == 400, response.content
    assert set(response.json()) == {field}
    assert APIKey.objects.count() == 0


@pytest.mark.parametrize("value", [5, 1.5, True, None, ["x"]])
@pytest.mark.parametrize(
    ("field", "shape"), [("name", lambda value: value), *((name, lambda value: [value]) for name in LISTS)]
)
def test_value_that_is_not_text_is_a_400(client: APIClient, firm: Any, field: str, shape: Any, value: Any) -> None:
    api_key, _raw = make_key(firm)
    before = APIKey.objects.values().get()
    path = f"{KEYS}{api_key.pk}/"
    responses = [client.post(KEYS, {"name": "Till", field: shape(value)})]
    # PATCH ignores networks.
    responses += [client.patch(path, {field: shape(value)})] if field != "allowed_networks" else []
    for response in responses:
        assert (response.status_code, set(response.json())) == (400, {field}), response.content
    assert APIKey.objects.values().get() == before


def test_grace_as_text_is_accepted_only_in_forms(client: APIClient, firm: Any) -> None:
    path = f"{KEYS}{make_key(firm)[0].pk}/rotate/"
    response = client.post(path, {"grace": "60"})
    assert (response.status_code, set(response.json())) == (400, {"grace"})
    assert APIKey.objects.count() == 1
    assert client.post(path, {"grace": "60"}, format="multipart").status_code == 201


@pytest.mark.parametrize("body", [b"", b"\xff", b"{", b"null", b"[]", b"1", b"[" * 50_000, b'{"name":"\\ud800"}'])
@pytest.mark.parametrize("path", ["", "rotate"])
def test_malformed_body_is_a_400(client: APIClient, firm: Any, body: bytes, path: str) -> None:
    url = KEYS if not path else f"{KEYS}{make_key(firm)[0].pk}/rotate/"
    response = client.post(url, body, content_type="application/json")
    assert response.status_code == 400 or (
        path and body in {b"", b'{"name":"\\ud800"}'} and response.status_code == 201
    )


def test_query_count_of_the_list_is_constant(client: APIClient, firm: Any) -> None:
    counts = []
    for rows in (2, 20):
        for _ in range(rows):
            make_key(firm, created_by=make_user())
        with CaptureQueriesContext(connection) as queries:
            response = client.get(KEYS)
        assert len(response.json()["data"]) >= rows
        counts.append(len(queries))
    # The session, the user, the employee and the firm (this lane's resolver), the keys.
    assert counts == [5, 5]


def test_list_by_api_key_takes_two_queries(firm: Any) -> None:
    client = bearer(make_key(firm, scopes=["api_keys:read"])[1])
    client.get(KEYS)
    with CaptureQueriesContext(connection) as queries:
        client.get(KEYS)
    assert len(queries) == 2


@pytest.mark.skipif(
    connection.vendor != "sqlite", reason="needs SQLite: plans of others depend on the rows, see composed"
)
def test_list_is_in_the_order_of_an_index(client: APIClient) -> None:
    assert not sorts(lambda: client.get(KEYS), APIKey._meta.db_table)


def test_cursors_lead_through_all_pages(client: APIClient, firm: Any) -> None:
    expected = [str(make_key(firm)[0].pk) for _ in range(5)][::-1]
    seen: list[str] = []
    cursor = ""
    while cursor is not None:
        response = client.get(f"{KEYS}?limit=2{cursor and '&cursor='}{cursor}")
        page = response.json()
        seen += [row["id"] for row in page["data"]]
        assert ('rel="next"' in response.get("Link", "")) is (page["meta"]["next"] is not None)
        cursor = page["meta"]["next"]
    assert seen == expected


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "limit=1&limit=2", "cursor=x", "cursor=cD1hJTAw"])
def test_invalid_page_parameter_is_a_400(client: APIClient, query: str) -> None:
    response = client.get(f"{KEYS}?{query}")
    assert response.status_code == 400
    assert set(response.json()) == {query.partition("=")[0]}


def test_pagination_and_permissions_are_configurable(client: APIClient, firm: Any, settings: Any) -> None:
    settings.API_KEYS_PAGINATION_CLASS = None
    make_key(firm)
    assert len(client.get(KEYS).json()) == 1
    settings.API_KEYS_PERMISSION_CLASSES = ["rest_framework.permissions.IsAdminUser"]
    assert client.get(KEYS).status_code == 403
