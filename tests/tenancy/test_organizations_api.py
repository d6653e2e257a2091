from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from django.contrib.auth.models import Group
from django.contrib.sessions.models import Session
from django.http import Http404
from django.test import override_settings
from django.test.utils import isolate_apps
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from dovetail_tenancy import get_membership_model, get_organization_model
from dovetail_tenancy.api import views
from dovetail_tenancy.base import AbstractOrganization
from tests.tenancy.factories import client_of, make_organization, make_user
from tests.tenancy.lanes import NEEDS_MORE, has_slug, needs_a_name_only

pytestmark = pytest.mark.django_db

Organization = get_organization_model()
Membership = get_membership_model()

LIST = "/api/organizations"


@dataclass(frozen=True)
class ApiKey:
    """What a machine's credential looks like to this package."""

    organization_id: Any
    scopes: tuple[str, ...] = ()


class Machine:
    pk = "apikey:1"
    is_authenticated = True
    is_active = True


def test_the_list_has_the_callers_organizations_and_roles_newest_first() -> None:
    ada = make_user()
    acme = make_organization("Acme", owner=ada)
    globex = make_organization("Globex", member=ada)
    make_organization("Foreign")
    answer = client_of(ada).get(LIST)
    assert answer.status_code == 200
    assert answer.json() == {
        "data": [
            {
                "id": str(organization.pk),
                "name": organization.name,
                "slug": organization.slug,
                "owner": organization.owner_id,
                "role": role,
                "created_at": organization.created_at.isoformat().replace("+00:00", "Z"),
                "updated_at": organization.updated_at.isoformat().replace("+00:00", "Z"),
            }
            for organization, role in ((globex, "member"), (acme, "owner"))
        ],
        "meta": {"next": None, "prev": None, "total": None},
    }


@pytest.mark.parametrize("count", [1, 10, 60])
def test_listing_organizations_takes_one_query(count: int, django_assert_num_queries: Any) -> None:
    ada = make_user()
    for number in range(count):
        make_organization(f"Acme {number}", **{"owner" if number % 2 else "member": ada})
    with django_assert_num_queries(1):
        page = client_of(ada).get(LIST, {"limit": 200}).json()
    assert [item["role"] for item in page["data"]] == [("member", "owner")[n % 2] for n in reversed(range(count))]


@needs_a_name_only
def test_a_person_creates_an_organization() -> None:
    ada = make_user()
    answer = client_of(ada).post(LIST, {"name": " Acme ", "owner": 1, "role": "member", "id": "x"}, format="json")
    assert answer.status_code == 201
    created = Organization._default_manager.get()
    assert {name: answer.json()[name] for name in ("id", "name", "slug", "owner", "role")} == {
        "id": str(created.pk),
        "name": "Acme",
        "slug": "acme",
        "owner": ada.pk,
        "role": "owner",
    }
    assert Membership._default_manager.get().user == ada


def test_creation_can_be_disabled(settings: Any) -> None:
    settings.TENANCY_ORGANIZATION_CREATION = False
    answer = client_of(make_user()).post(LIST, {"name": "Acme"}, format="json")
    assert (answer.status_code, answer.data["detail"].code) == (403, "organization_creation_disabled")
    assert "TENANCY_ORGANIZATION_CREATION = True" in answer.data["detail"]
    assert not Organization._default_manager.exists()


def test_only_our_models_permit_creation_by_default(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.TENANCY_ORGANIZATION_CREATION = None
    assert views.may_people_create_organizations() is issubclass(Organization, AbstractOrganization)
    monkeypatch.setattr(views, "get_organization_model", lambda: Group)
    assert not views.may_people_create_organizations()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": "  "}, "name"),
        ({"name": None}, "name"),
        ({"name": ["Acme"]}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": f"{'x' * 200} "}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"name": "Acme", "slug": "not a slug"}, "slug"),
        ({"name": "Acme", "slug": ""}, "slug"),
        ({"name": "Acme", "slug": None}, "slug"),
        ({"name": "Acme", "slug": "taken"}, "slug"),
        ({"name": "Acme", "slug": "x" * 101}, "slug"),
        ({"name": "Acme", "slug": "acme\n"}, "slug"),
        ([], "non_field_errors"),
    ],
)
def test_an_invalid_body_is_refused_by_field(body: Any, field: str) -> None:
    make_organization("taken")
    answer = client_of(make_user()).post(LIST, body, format="json")
    assert answer.status_code == 400
    assert list(answer.json()) == [field]


@pytest.mark.parametrize("value", [5, 1.5, True, None, ["x"]])
@pytest.mark.parametrize("name", ["name", pytest.param("slug", marks=has_slug)])
def test_a_value_that_is_not_text_is_refused_by_field(name: str, value: Any) -> None:
    ada = make_user()
    organization = make_organization("Acme", owner=ada)
    before = Organization._default_manager.values().get()
    for answer in (
        client_of(ada).post(LIST, {"name": "Globex", name: value}, format="json"),
        client_of(ada).patch(f"{LIST}/{organization.pk}", {name: value}, format="json"),
    ):
        assert (answer.status_code, list(answer.json())) == (400, [name])
    assert Organization._default_manager.values().get() == before


def test_an_owner_reads_changes_and_deletes_the_organization(django_assert_num_queries: Any) -> None:
    ada = make_user()
    organization = make_organization("Acme", owner=ada)
    path, client = f"{LIST}/{organization.pk}", client_of(ada)
    with django_assert_num_queries(1):
        assert client.get(path).json()["role"] == "owner"
    answer = client.patch(path, {"name": "Apex", "owner": make_user().pk}, format="json")
    assert (answer.status_code, answer.json()["name"], answer.json()["slug"]) == (200, "Apex", "acme")
    assert answer.json()["owner"] == ada.pk
    assert client.patch(path, {"slug": "apex"}, format="json").json()["slug"] == "apex"
    assert client.patch(path, {}, format="json").json()["name"] == "Apex"
    assert client.delete(path).status_code == 204
    assert client.get(path).status_code == 404
    assert client.put(path, {"name": "x"}, format="json").status_code == 404


def test_put_is_not_allowed() -> None:
    ada = make_user()
    path = f"{LIST}/{make_organization(owner=ada).pk}"
    assert client_of(ada).put(path, {"name": "x"}, format="json").status_code == 405


def test_changing_to_a_taken_slug_is_refused() -> None:
    ada = make_user()
    make_organization("Globex")
    path = f"{LIST}/{make_organization(owner=ada).pk}"
    answer = client_of(ada).patch(path, {"slug": "globex"}, format="json")
    assert (answer.status_code, list(answer.json())) == (400, ["slug"])


def test_a_model_with_more_required_fields_answers_405(monkeypatch: pytest.MonkeyPatch) -> None:
    assert views._required_fields(Organization) >= {"name"}
    assert views._required_fields(Membership) >= {"user", "organization", "role"}
    monkeypatch.setattr(views, "_required_fields", lambda model: {"name", "country"})
    answer = client_of(make_user()).post(LIST, {"name": "Acme"}, format="json")
    assert (answer.status_code, answer.json()["detail"]) == (
        405, "Organizations cannot be created here: they also need country.",
    )  # fmt: skip
    assert not Organization._default_manager.exists()


def test_options_requests_succeed() -> None:
    ada = make_user()
    organization = make_organization(owner=ada)
    for path in (LIST, f"{LIST}/{organization.pk}", f"{LIST}/{organization.pk}/members"):
        assert client_of(ada).options(path).status_code == 200


# ids


@pytest.mark.parametrize(
    "key",
    ["0", "-1", "9" * 30, "9" * 5000, "a%00b", "%00", "%ff", "null", "..", "%F0%9F%92%A9", " ", "x" * 4000,
     "00000000-0000-0000-0000-000000000000", "{00000000-0000-0000-0000-000000000000}"],
)  # fmt: skip
@pytest.mark.parametrize("suffix", ["", "/members"])
def test_an_invalid_id_is_not_found(key: str, suffix: str) -> None:
    assert client_of(make_user()).get(f"{LIST}/{key}{suffix}").status_code == 404


@isolate_apps("tests.tenancy.documents")
def test_keys_of_every_type_are_parsed() -> None:
    class Branch(Group):
        class Meta:
            app_label = "documents"

    group = Group.objects.create(name="a")
    session = Session.objects.create(session_key="a", expire_date=timezone.now())
    assert views.row_or_404(Group.objects.all(), str(group.pk)) == group
    assert views.row_or_404(Session.objects.all(), "a") == session
    for model, keys in (
        (Group, ("9" * 30, "x", "1.0")),
        (Branch, ("9" * 30, "-" + "9" * 30)),
        (Session, ("a\0", "a" * 999)),
    ):
        for key in keys:
            with pytest.raises(Http404):
                views.row_or_404(model._default_manager.all(), key)


_texts = st.text(max_size=60)
# Includes escaped surrogates, NaN and infinities, which the JSON parser accepts.
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=60),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=6,
)
_bodies = _values | st.fixed_dictionaries({}, optional={"name": _values, "slug": _values, "role": _values})
_keys = st.sampled_from(["mine", "foreign"]) | _texts


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["get", "post", "put", "patch", "delete", "head", "options"]),
    key=_keys,
    member=st.none() | _keys,
    body=_bodies,
    query=st.dictionaries(st.sampled_from(["cursor", "limit", "format"]) | _texts, _texts, max_size=2),
)
def test_no_request_is_answered_with_a_server_error(
    db: None, method: str, key: str, member: str | None, body: Any, query: dict[str, str]
) -> None:
    ada = make_user()
    owned = {"mine": make_organization(owner=ada), "foreign": make_organization()}
    path = f"{LIST}/{owned[key].pk if key in owned else quote(key)}/members"
    if member is None:
        path = path.removesuffix("/members")
    elif member in owned:
        path = f"{path}/{Membership._default_manager.get(organization=owned[member]).pk}"
    else:
        path = f"{path}/{quote(member)}"
    client, content, parameters = client_of(ada), json.dumps(body), urlencode(query)
    answer = client.generic(method.upper(), f"{path}?{parameters}", content, content_type="application/json")
    listed = client.get(f"{LIST}?{parameters}")
    created = client.generic("POST", LIST, content, content_type="application/json")
    assert answer.status_code < 500
    assert listed.status_code in (200, 400, 404)  # 404 for a format without a renderer
    assert created.status_code in ((400, 405) if NEEDS_MORE else (201, 400))


# credentials that name an organization


def test_a_machine_sees_only_its_organization() -> None:
    mine, other = make_organization("Acme"), make_organization("Globex")
    client = client_of(Machine(), auth=ApiKey(mine.pk))
    assert [(item["id"], item["role"]) for item in client.get(LIST).json()["data"]] == [(str(mine.pk), None)]
    assert client.get(f"{LIST}/{mine.pk}").json()["name"] == "Acme"
    for method in ("get", "patch", "delete"):
        assert getattr(client, method)(f"{LIST}/{other.pk}").status_code == 404


def test_scopes_limit_a_machine() -> None:
    organization = make_organization("Acme")
    path = f"{LIST}/{organization.pk}"
    without = client_of(Machine(), auth=ApiKey(organization.pk, ("invoices:*",)))
    assert without.get(f"{path}/members").status_code == 403
    assert without.patch(path, {"name": "Apex"}, format="json").status_code == 403
    assert (
        client_of(Machine(), auth=ApiKey(organization.pk, ("members:view",))).get(f"{path}/members").status_code == 200
    )
    wide = client_of(Machine(), auth=ApiKey(organization.pk, ("members:*", "organization:*")))
    assert wide.get(f"{path}/members").status_code == 200
    assert wide.patch(path, {"name": "Apex"}, format="json").json()["name"] == "Apex"
    # These actions require a role, which a machine does not have.
    member = Membership._default_manager.get()
    assert wide.delete(path).status_code == 403
    assert wide.patch(f"{path}/members/{member.pk}", {"role": "admin"}, format="json").status_code == 403
    assert wide.post(LIST, {"name": "Acme"}, format="json").status_code == 403


def test_a_person_with_an_organization_credential_needs_role_and_scope() -> None:
    ada = make_user()
    mine, other = make_organization("Acme", admin=ada), make_organization("Globex", owner=ada)
    narrow = client_of(ada, auth=ApiKey(mine.pk, ("members:view",)))
    assert [item["id"] for item in narrow.get(LIST).json()["data"]] == [str(mine.pk)]
    assert narrow.get(f"{LIST}/{other.pk}").status_code == 404
    assert narrow.get(f"{LIST}/{mine.pk}/members").status_code == 200
    assert narrow.patch(f"{LIST}/{mine.pk}", {"name": "Apex"}, format="json").status_code == 403
    wide = client_of(ada, auth=ApiKey(mine.pk, ("organization:*",)))
    assert wide.patch(f"{LIST}/{mine.pk}", {"name": "Apex"}, format="json").status_code == 200
    assert wide.delete(f"{LIST}/{mine.pk}").status_code == 403
    assert wide.post(LIST, {"name": "New"}, format="json").status_code == 403
    stranger = client_of(make_user(), auth=ApiKey(mine.pk, ("organization:*",)))
    assert stranger.get(f"{LIST}/{mine.pk}").status_code == 404


def test_scopes_of_a_users_own_credential_limit_roles() -> None:
    ada = make_user()
    mine = make_organization("Acme", owner=ada)
    key = client_of(ada, auth=ApiKey(None, ("members:view",)))
    assert [str(item["id"]) for item in key.get(LIST).json()["data"]] == [str(mine.pk)]
    assert key.get(f"{LIST}/{mine.pk}/members").status_code == 200
    assert key.patch(f"{LIST}/{mine.pk}", {"name": "Apex"}, format="json").status_code == 403
    assert key.post(LIST, {"name": "New"}, format="json").status_code == 403


def test_a_machine_without_an_organization_sees_nothing() -> None:
    organization = make_organization()
    client = client_of(Machine())
    assert client.get(LIST).json()["data"] == []
    assert client.get(f"{LIST}/{organization.pk}").status_code == 404
    assert client.post(LIST, {"name": "Acme"}, format="json").status_code == 403


# the project's settings


def test_session_authentication_works_and_requires_csrf_tokens() -> None:
    ada = make_user()
    make_organization(owner=ada)
    client = APIClient(enforce_csrf_checks=True)
    assert client.get(LIST).status_code in (401, 403)
    client.force_login(ada)
    assert len(client.get(LIST).json()["data"]) == 1
    assert client.post(LIST, {"name": "Acme"}, format="json").status_code == 403


def test_a_setting_names_the_paginator() -> None:
    ada = make_user()
    make_organization(owner=ada)
    with override_settings(TENANCY_PAGINATION_CLASS="rest_framework.pagination.LimitOffsetPagination"):
        assert client_of(ada).get(LIST, {"limit": 1}).json()["count"] == 1
    with override_settings(TENANCY_PAGINATION_CLASS=None):
        assert len(client_of(ada).get(LIST).json()) == 1


def test_the_schema_is_complete_and_without_warnings(capsys: Any) -> None:
    generators = pytest.importorskip("drf_spectacular.generators", reason="needs drf-spectacular to infer a schema")
    from drf_spectacular.drainage import GENERATOR_STATS
    from drf_spectacular.openapi import AutoSchema
    from rest_framework.views import APIView

    from dovetail_tenancy.api import urls

    before = APIView.schema
    APIView.schema = AutoSchema()
    try:
        with GENERATOR_STATS.silence():
            schema = generators.SchemaGenerator(patterns=urls.urlpatterns).get_schema(request=None, public=True)
        assert not GENERATOR_STATS, GENERATOR_STATS.emit_summary()
    finally:
        APIView.schema = before
    paths = schema["paths"]
    assert {path: sorted(set(operations)) for path, operations in paths.items()} == {
        "/organizations": ["get", "post"],
        "/organizations/{organization_id}": ["delete", "get", "patch"],
        "/invitations/accept": ["post"],
        "/invitations/decline": ["post"],
        "/organizations/{organization_id}/invitations": ["get", "post"],
        "/organizations/{organization_id}/invitations/{invitation_id}/resend": ["post"],
        "/organizations/{organization_id}/invitations/{invitation_id}/revoke": ["post"],
        "/organizations/{organization_id}/leave": ["post"],
        "/organizations/{organization_id}/transfer-ownership": ["post"],
        "/organizations/{organization_id}/members": ["get"],
        "/organizations/{organization_id}/members/{membership_id}": ["delete", "patch"],
    }
    listing = paths["/organizations"]["get"]
    assert {parameter["name"] for parameter in listing["parameters"]} == {"cursor", "limit"}
    page = schema["components"]["schemas"]["PaginatedOrganizationList"]
    assert page["required"] == ["data", "meta"]
    assert schema["components"]["schemas"]["Member"]["properties"]["user"]
