"""The admin API of the composed service: who may call it, what is recorded, and its actions."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import Client, override_settings
from django.urls import include, path
from rest_framework.test import APIClient
from rest_framework_simplejwt.tokens import AccessToken

from dovetail_adminapi.api.urls import build
from dovetail_apikeys.services import create_api_key
from dovetail_apikeys.testing import api_key_client
from dovetail_audit.models import Entry
from dovetail_contract.testing import reset_rate_limits
from dovetail_identity.models import Session
from dovetail_identity.services import issue_tokens
from dovetail_identity.sessions.tokens import RefreshToken
from dovetail_tenancy.services import add_member
from tests.composed import factories
from tests.composed.admin_world import ADMIN, ISSUER, UNLISTED, bearer, group, provided, staff

pytestmark = pytest.mark.django_db

USERS = f"{ADMIN}/users"
VIEW = "dovetail_adminapi.view_user"
DEACTIVATE = "dovetail_adminapi.deactivate_user"
OLD = 20 * 60


def code_of(answer: Any) -> str:
    assert answer.headers["Content-Type"] == "application/problem+json", answer.content
    return str(answer.json()["code"])


def admin_entries(action: str) -> Any:
    return Entry.objects.filter(action=action).order_by("-pk")


def test_each_denial_is_recorded_with_its_caller_address_and_request(organization, owner):
    person = staff()
    callers = {
        "": (APIClient(), 401, "not_authenticated"),
        str(owner.pk): (bearer(owner), 403, "permission_denied"),
        "key": (api_key_client(organization), 403, "machines_not_admitted"),
        str(person.pk): (bearer(person), 403, "permission_denied"),
    }
    for actor, (client, status, code) in callers.items():
        answer = client.get(USERS, REMOTE_ADDR="203.0.113.7")
        assert (answer.status_code, code_of(answer)) == (status, code)
        row = admin_entries("admin.denied")[0]
        assert (row.status, row.problem, row.outcome, row.ip) == (status, code, "denied", "203.0.113.7")
        assert row.request_id == answer.headers["X-Request-ID"]
        assert row.actor == (str(client.api_key.pk) if actor == "key" else actor)  # type: ignore[attr-defined]
        assert (row.target_kind, row.target) == ("operation", "user.list")
    assert admin_entries("admin.denied").count() == len(callers)


def test_only_staff_learns_the_name_of_a_missing_permission(owner):
    assert bearer(staff()).get(USERS).json()["permission"] == VIEW
    assert "permission" not in bearer(owner).get(USERS).json()


def test_group_gives_its_permissions_and_no_others(owner):
    person = staff()
    person.groups.add(group("support", VIEW))
    client = bearer(person)
    page = client.get(USERS).json()
    assert {str(owner.pk), str(person.pk)} == {row["id"] for row in page["data"]}
    assert set(page["meta"]) == {"next", "prev", "total"}
    assert "password" not in page["data"][0]
    assert client.post(f"{USERS}/{owner.pk}/deactivate").status_code == 403
    allowed = {row["operation"] for row in client.get(f"{ADMIN}/").json()["operations"] if row["allowed"]}
    assert {"user.list", "user.retrieve"} <= allowed
    assert "user.deactivate" not in allowed


@pytest.fixture
def provider(settings, monkeypatch):
    """The admin API with the tokens of an OpenID provider, whose roles it accepts."""
    settings.ADMINAPI_ROLE_ISSUERS, settings.ADMINAPI_ROLE_CLAIM = [ISSUER], "realm_access.roles"
    settings.ADMINAPI_AUTHENTICATION_CLASSES = [
        "tests.composed.admin_world.ProviderAuthentication",
        *django_settings.REST_FRAMEWORK["DEFAULT_AUTHENTICATION_CLASSES"],
    ]
    urls = ModuleType("tests.composed.provider_urls")
    urls.urlpatterns = [path("admin/v1/", include((build(), "dovetail_adminapi")))]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, urls.__name__, urls)
    with override_settings(ROOT_URLCONF=urls.__name__):
        yield


def test_roles_count_only_from_listed_issuers(provider, owner):
    roles = {"realm_access": {"roles": ["ops"]}}
    flags = f"{ADMIN}/features"
    answer = provided(owner, **roles).get(flags)
    assert answer.status_code == 200, answer.content
    assert provided(owner, UNLISTED, **roles).get(flags).status_code == 403
    assert provided(owner, realm_access={"roles": ["customer"]}).get(flags).status_code == 403
    # Signed by the service itself, as if a part of it wrote the claim into customers' tokens.
    assert bearer(owner, **roles).get(flags).status_code == 403
    old = provided(owner, iat=0, **roles).get(flags)
    assert (old.status_code, code_of(old)) == (401, "token_too_old")
    # The role does not have it.
    assert provided(owner, **roles).get(f"{ADMIN}/audit").status_code == 403


def test_old_sign_in_is_refused_and_a_refresh_does_not_renew_it(owner):
    person = staff(VIEW, DEACTIVATE)
    target = factories.user()
    deactivate = f"{USERS}/{target.pk}/deactivate"
    tokens = issue_tokens(person, request=None)
    refresh = RefreshToken(tokens["refresh"])  # type: ignore[arg-type]  # an encoded token
    refresh["auth_time"] -= OLD
    renewed = APIClient().post("/api/auth/jwt/refresh/", {"refresh": str(refresh)}).json()["access"]
    assert AccessToken(renewed)["auth_time"] == refresh["auth_time"]
    old = APIClient(headers={"Authorization": f"Bearer {renewed}"})
    assert old.get(USERS).status_code == 200
    answer = old.post(deactivate)
    assert (answer.status_code, code_of(answer)) == (401, "reauthentication_required")
    assert 'error="insufficient_user_authentication"' in answer.headers["WWW-Authenticate"]
    assert "max_age=900" in answer.headers["WWW-Authenticate"]
    target.refresh_from_db()
    assert target.is_active
    assert factories.client(person).post(deactivate).status_code == 204
    target.refresh_from_db()
    assert not target.is_active


def test_sessions_need_the_csrf_token_the_same_site_and_json():
    person = staff(VIEW, DEACTIVATE)
    target = factories.user()
    client = Client(enforce_csrf_checks=True)
    client.force_login(person, backend="dovetail_identity.backends.ModelBackend")
    client.cookies["csrftoken"] = token = "t" * 32
    send: dict[str, Any] = {"path": f"{USERS}/{target.pk}/deactivate", "content_type": "application/json"}
    answer = client.post(**send, data={})
    assert (answer.status_code, code_of(answer)) == (403, "csrf_failed")
    headers = {"X-CSRFToken": token}
    answer = client.post(**send, data={}, headers={**headers, "Sec-Fetch-Site": "cross-site"})
    assert (answer.status_code, code_of(answer)) == (403, "csrf_failed")
    form = {**send, "content_type": "application/x-www-form-urlencoded"}
    assert client.post(**form, data="a=b", headers=headers).status_code == 415
    target.refresh_from_db()
    assert target.is_active
    assert client.post(**send, data={}, headers=headers).status_code == 204


def test_last_owner_is_not_deactivated(organization, owner):
    client = bearer(staff(VIEW, DEACTIVATE))
    issue_tokens(owner, request=None)
    answer = client.post(f"{USERS}/{owner.pk}/deactivate")
    assert (answer.status_code, code_of(answer)) == (409, "last_owner")
    owner.refresh_from_db()
    assert owner.is_active
    assert Session.objects.filter(user=owner, revoked_at=None).exists()
    (row,) = admin_entries("admin.failed")
    assert (row.status, row.problem) == (409, "last_owner")
    assert not admin_entries("admin.succeeded").filter(target="user.deactivate").exists()
    add_member(organization=organization, user=factories.user(), role="owner")
    assert client.post(f"{USERS}/{owner.pk}/deactivate").status_code == 204
    assert not Session.objects.filter(user=owner, revoked_at=None).exists()
    assert admin_entries("admin.succeeded").filter(target="user.deactivate").count() == 1


def test_own_account_is_not_deactivated():
    person = staff(VIEW, DEACTIVATE)
    answer = bearer(person).post(f"{USERS}/{person.pk}/deactivate")
    assert (answer.status_code, code_of(answer)) == (409, "own_account")


def test_action_that_fails_after_writing_is_rolled_back_and_recorded(monkeypatch):
    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("after the write")

    monkeypatch.setattr("example_project.administration.identity.revoke_all_sessions", fail)
    target = factories.user()
    answer = bearer(staff(VIEW, DEACTIVATE)).post(f"{USERS}/{target.pk}/deactivate")
    assert (answer.status_code, code_of(answer)) == (500, "internal_error")
    target.refresh_from_db()
    assert target.is_active
    (row,) = admin_entries("admin.failed")
    assert (row.status, row.outcome) == (500, "failed")


def test_accounts_are_activated_signed_out_and_mailed(owner, mailoutbox):
    permissions = [f"dovetail_adminapi.{name}_user" for name in ("view", "activate", "end_sessions")]
    client = bearer(staff(*permissions, "dovetail_adminapi.send_password_reset_user"))
    target = factories.user(is_active=False)
    assert client.post(f"{USERS}/{target.pk}/activate").status_code == 204
    target.refresh_from_db()
    assert target.is_active
    issue_tokens(target, request=None)
    assert client.post(f"{USERS}/{target.pk}/end-sessions").status_code == 204
    assert not Session.objects.filter(user=target, revoked_at=None).exists()
    assert Entry.objects.filter(action="session.revoked", target=str(target.pk)).exists()


def test_rows_of_all_organizations_are_listed_and_keys_revoked(organization):
    other = factories.organization(name="Globex")
    key, _raw = create_api_key(organization=other, name="CI")
    names = ("view_organization", "view_apikey", "revoke_apikey")
    client = bearer(staff(*(f"dovetail_adminapi.{name}" for name in names)))
    rows = client.get(f"{ADMIN}/organizations").json()["data"]
    assert {row["id"] for row in rows} == {str(organization.pk), str(other.pk)}
    members = client.get(f"{ADMIN}/organizations/{other.pk}/members").json()["data"]
    assert [(row["user"], row["role"]) for row in members] == [(str(other.owner.pk), "owner")]
    assert client.get(f"{ADMIN}/organizations/x/members").status_code == 404
    (row,) = client.get(f"{ADMIN}/api-keys").json()["data"]
    assert (row["id"], row["name"]) == (str(key.pk), "CI")
    assert "hashed_key" not in row
    for _ in range(2):
        assert client.post(f"{ADMIN}/api-keys/{key.pk}/revoke").status_code == 204
    key.refresh_from_db()
    assert key.revoked_at is not None
    assert Entry.objects.filter(action="api_key.revoked", target=str(key.pk)).count() == 1


@pytest.mark.parametrize(("throttled", "status"), [(True, 429), (False, 200)])
def test_calls_are_limited_only_by_setting(settings, organization, owner, throttled, status):
    settings.ADMINAPI_THROTTLE = throttled
    rates = {**settings.REST_FRAMEWORK["DEFAULT_THROTTLE_RATES"], "admin": "3/hour", "user": "3/hour"}
    with override_settings(REST_FRAMEWORK={**settings.REST_FRAMEWORK, "DEFAULT_THROTTLE_RATES": rates}):
        reset_rate_limits()
        client = bearer(staff(VIEW))
        answers = [client.get(USERS).status_code for _ in range(60)]
        assert answers[:3] == [200] * 3
        assert set(answers[3:]) == {status}
        customer = factories.client(owner)
        assert [customer.get("/api/v1/me").status_code for _ in range(4)] == [200, 200, 200, 429]


def test_headers_keep_answers_out_of_caches_and_frames():
    for client in (APIClient(), bearer(staff()), bearer(staff(VIEW))):
        for address in (USERS, f"{ADMIN}/nothing"):
            headers = client.get(address).headers
            assert headers["Cache-Control"] == "no-store"
            assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
            assert headers["X-Frame-Options"] == "DENY"
            assert "Access-Control-Allow-Origin" not in headers


def test_list_takes_as_many_queries_for_many_rows(django_assert_num_queries):
    client = bearer(staff(VIEW))
    # The session with its user, two for permissions, the page, and the record.
    for _ in range(2):
        with django_assert_num_queries(5):
            client.get(f"{USERS}?limit=100")
        for _ in range(20):
            factories.user()


def test_jobs_run_for_all_organizations(organization, django_capture_on_commit_callbacks):
    name = "dovetail_adminapi.run_job.mark-overdue-invoices"
    factories.invoice(organization, status="sent")
    factories.invoice(factories.organization(name="Globex"), status="sent")
    client = bearer(staff("dovetail_adminapi.view_job", name))
    definitions = client.get(f"{ADMIN}/jobs/definitions").json()["data"]
    assert {"mark-overdue-invoices", "purge", "verify-audit-log"} <= {row["name"] for row in definitions}
    with django_capture_on_commit_callbacks(execute=True):
        answer = client.post(f"{ADMIN}/jobs", {"name": "mark-overdue-invoices", "parameters": {}})
    assert answer.status_code == 202, answer.content
    job = client.get(answer.headers["Location"]).json()
    assert (job["state"], job["result"]) == ("succeeded", {"marked": 2})
    assert Entry.objects.filter(action="admin_job.finished").exists()


def test_metrics_are_those_of_the_service(organization):
    client = bearer(staff("dovetail_adminapi.view_metrics"))
    rows = {row["name"]: row for row in client.get(f"{ADMIN}/metrics").json()["data"]}
    assert {"organizations.total", "api_keys.live", "flags.stale", "notifications.queued", "users.total"} <= set(rows)
    assert (rows["organizations.total"]["value"], rows["organizations.total"]["exact"]) == (1, True)
