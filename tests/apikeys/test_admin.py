from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from dovetail_apikeys import services
from dovetail_apikeys.models import APIKey
from dovetail_core.events import Event
from dovetail_core.transactions import Vanished
from tests.apikeys.factories import bearer, make_firm, make_key, make_user
from tests.apikeys.firms.models import Firm

pytestmark = pytest.mark.django_db

KEYS = "/admin/dovetail_apikeys/apikey/"


@pytest.fixture
def staff() -> Any:
    return make_user(is_staff=True, is_superuser=True)


@pytest.fixture
def admin(staff: Any) -> Client:
    client = Client()
    client.force_login(staff)
    return client


def run_action(admin: Client, action: str, *api_keys: Any, **more: str) -> Any:
    data = {"action": action, "_selected_action": [str(api_key.pk) for api_key in api_keys], **more}
    return admin.post(KEYS, data, follow=True)


def test_admin_creates_a_key_with_all_fields(admin: Client, staff: Any, events: list[Event]) -> None:
    firm = make_firm()
    assert "orders:read · Read orders" in admin.get(f"{KEYS}add/").content.decode()
    form = {
        "name": "Till",
        "organization": firm.pk,
        "scopes": ["orders:read", "orders:write"],
        "allowed_networks": "10.0.0.1\n192.0.2.0/24",
        "rate_limit": "5/min",
        "expires_at_0": "2099-01-01",
        "expires_at_1": "00:00:00",
    }
    page = admin.post(f"{KEYS}add/", form)
    assert page.status_code == 200
    api_key = APIKey.objects.get()
    assert (api_key.organization, api_key.created_by, api_key.scopes) == (firm, staff, "orders:read orders:write")
    assert (api_key.allowed_networks, api_key.rate_limit) == ("10.0.0.1/32 192.0.2.0/24", "5/min")
    assert api_key.expires_at is not None
    assert api_key.expires_at.year == 2099
    assert bearer(page.context["raw_key"]).get("/orders/", REMOTE_ADDR="10.0.0.1").status_code == 200
    assert (events[0].name, events[0].actor) == ("api_key.created", staff)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("scopes", ["orders:red"]),
        ("allowed_networks", "localhost"),
        ("rate_limit", "many"),
        ("expires_at_0", "2020-01-01"),
        ("organization", "999999"),
    ],
)
def test_admin_form_shows_errors_beside_fields(admin: Client, field: str, value: Any) -> None:
    form = {"name": "Till", "organization": make_firm().pk, "expires_at_1": "00:00:00" if "expires" in field else ""}
    page = admin.post(f"{KEYS}add/", {**form, field: value})
    assert page.status_code == 200
    assert set(page.context["adminform"].form.errors) == {field.removesuffix("_0")}
    assert APIKey.objects.count() == 0


def test_admin_changes_only_name_and_scopes(admin: Client, staff: Any, events: list[Event]) -> None:
    api_key, _raw = make_key(scopes=["orders:read"], allowed_networks=["10.0.0.0/8"])
    path = f"{KEYS}{api_key.pk}/change/"
    assert api_key.key_prefix in admin.get(path).content.decode()
    other = make_firm()
    form = {"name": "New", "scopes": ["orders:write"], "organization": other.pk, "allowed_networks": ""}
    assert admin.post(path, form).status_code == 302
    changed = APIKey.objects.get()
    assert (changed.name, changed.scopes) == ("New", "orders:write")
    assert (changed.organization, changed.allowed_networks) == (api_key.organization, "10.0.0.0/8")
    assert (events[-1].name, events[-1].actor) == ("api_key.updated", staff)
    services.revoke_api_key(changed)
    page = admin.post(path, {"name": "Again", "scopes": []}, follow=True)
    assert "This key is revoked." in page.content.decode()
    assert APIKey.objects.get().name == "New"


def test_admin_actions_rotate_and_revoke_keys(admin: Client, staff: Any) -> None:
    (one, raw), (two, _raw) = make_key(), make_key()
    page = run_action(admin, "rotate", one)
    successor = page.context["raw_key"]
    assert [bearer(key).get("/plain/").status_code for key in (raw, successor)] == [200, 200]
    assert "no-store" in page["Cache-Control"]
    assert "already been rotated" in run_action(admin, "rotate", one).content.decode()
    assert "Select exactly one API key" in run_action(admin, "rotate", one, two).content.decode()
    assert "2 keys were revoked" in run_action(admin, "revoke", one, two).content.decode()
    assert [bearer(key).get("/plain/").status_code for key in (raw, successor)] == [401, 200]


def test_admin_deletions_emit_events(admin: Client, events: list[Event]) -> None:
    (one, _raw), (two, _raw) = make_key(), make_key()
    del events[:]
    assert admin.post(f"{KEYS}{one.pk}/delete/", {"post": "yes"}).status_code == 302
    run_action(admin, "delete_selected", two, post="yes")
    assert [event.name for event in events] == ["api_key.deleted"] * 2
    assert APIKey.objects.count() == 0


def test_view_permission_does_not_allow_actions(client: Client) -> None:
    from django.contrib.auth.models import Permission

    viewer = make_user(is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_apikey"))
    client.force_login(viewer)
    api_key, _raw = make_key(expires_at=timezone.now() + timedelta(days=1))
    assert client.get(f"{KEYS}{api_key.pk}/change/").status_code == 200
    assert client.get(f"{KEYS}add/").status_code == 403
    for action in ("rotate", "revoke"):
        run_action(client, action, api_key)
    assert APIKey.objects.get().status == "active"


def test_query_count_of_the_changelist_is_constant(admin: Client, django_assert_num_queries: Any) -> None:
    for rows in (1, 8):
        for _ in range(rows):
            make_key()
        with django_assert_num_queries(5):
            assert admin.get(KEYS).status_code == 200


@pytest.mark.parametrize("superuser", [False, True])
def test_staff_create_and_rotate_own_keys_only_if_users_own_keys(
    monkeypatch: pytest.MonkeyPatch, superuser: bool
) -> None:
    # In place of users, whose model the test cannot swap: firms with the keys of users.
    monkeypatch.setattr("dovetail_apikeys.admin.users_own_keys", lambda: True)
    staff, other = make_user(is_staff=True, is_superuser=superuser), make_user()
    staff.user_permissions.set(Permission.objects.filter(content_type__app_label="dovetail_apikeys"))
    for user in (staff, other):
        Firm.objects.create(pk=user.pk, title=user.username)
    own, theirs = (make_key(user, created_by=staff)[0] for user in (staff, other))
    client = Client()
    client.force_login(staff)
    for user, api_key, allowed in ((staff, own, True), (other, theirs, superuser)):
        page = client.post(f"{KEYS}add/", {"name": "New", "organization": user.pk})
        assert APIKey.objects.filter(name="New", organization_id=user.pk).exists() is allowed
        assert ("raw_key" in page.context) is allowed
        page = run_action(client, "rotate", api_key)
        assert APIKey.objects.filter(rotated_from=api_key.pk).exists() is allowed
        assert ("Only superusers can rotate" in page.content.decode()) is not allowed


@pytest.mark.parametrize("service", ["create_api_key", "rotate_api_key"])
def test_admin_shows_a_message_if_a_row_was_deleted_meanwhile(
    monkeypatch: pytest.MonkeyPatch, admin: Client, service: str
) -> None:
    def vanish(*args: Any, **kwargs: Any) -> None:
        raise Vanished("firms.Firm")

    api_key, _raw = make_key()
    monkeypatch.setattr(services, service, vanish)
    if service == "create_api_key":
        form = {"name": "New", "organization": api_key.organization_id}
        page = admin.post(f"{KEYS}add/", form, follow=True)
    else:
        page = run_action(admin, "rotate", api_key)
    assert "was deleted meanwhile" in page.content.decode()
    assert APIKey.objects.count() == 1
