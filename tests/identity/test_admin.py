from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.test import Client

from dovetail_identity.admin import UserAdmin
from dovetail_identity.models import Session, User
from dovetail_identity.services import issue_tokens
from tests.identity.factories import PASSWORD, make_user

pytestmark = pytest.mark.django_db
URL = "/admin/dovetail_identity/user/"


@pytest.fixture
def staff() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root@example.com", PASSWORD, first_name="Root"))
    return client


def _form(user: User, **changes: Any) -> dict[str, Any]:
    return {"email": user.email, "is_active": "on", "_save": "Save", **changes}


def test_user_is_registered() -> None:
    assert type(admin.site.get_model_admin(User)) is UserAdmin


def test_admin_login_ignores_the_case_of_the_address(staff: Client) -> None:
    client = Client()
    answer = client.post("/admin/login/?next=/admin/", {"username": "ROOT@example.com", "password": PASSWORD})
    assert answer.status_code == 302
    assert client.get("/admin/").status_code == 200


def test_admin_adds_a_user(staff: Client) -> None:
    assert b"password1" in staff.get(f"{URL}add/").content
    body = {"email": "Ada@Example.com", "usable_password": "true", "password1": PASSWORD, "password2": PASSWORD}
    assert staff.post(f"{URL}add/", body).status_code == 302
    user = User.objects.get(email="ada@example.com")
    assert user.check_password(PASSWORD)
    answer = staff.post(f"{URL}add/", body | {"email": "ADA@example.com"})
    assert answer.context["adminform"].form.errors == {"email": ["A user with that email address already exists."]}


def test_admin_searches_and_changes_users(staff: Client) -> None:
    user = make_user(email="ada@example.com", first_name="Ada")
    make_user(email="linus@example.com")
    page = staff.get(f"{URL}?q=ada")
    assert list(page.context["cl"].queryset) == [user]
    change = f"{URL}{user.pk}/change/"
    assert staff.get(change).status_code == 200
    answer = staff.post(change, _form(user, first_name="Augusta", avatar_url="example.com/a.png"))
    assert answer.status_code == 302
    user.refresh_from_db()
    assert (user.first_name, user.avatar_url) == ("Augusta", "https://example.com/a.png")
    assert user.check_password(PASSWORD)
    body = {"usable_password": "true", "password1": "another-strong-one", "password2": "another-strong-one"}
    assert staff.post(f"{URL}{user.pk}/password/", body | {"set-password": "1"}).status_code == 302
    user.refresh_from_db()
    assert user.check_password("another-strong-one")


def test_admin_changes_language_and_time_zone(staff: Client) -> None:
    user = make_user()
    change = f"{URL}{user.pk}/change/"
    answer = staff.post(change, _form(user, language="tlh", time_zone="Berlin"))
    assert set(answer.context["adminform"].form.errors) == {"language", "time_zone"}
    assert staff.post(change, _form(user, language="de", time_zone="Europe/Berlin")).status_code == 302
    user.refresh_from_db()
    assert (user.language, user.time_zone) == ("de", "Europe/Berlin")


def test_password_change_in_admin_ends_the_sessions_of_the_user(staff: Client) -> None:
    user, other = make_user(email="ada@example.com"), make_user(email="bo@example.com")
    for each in (user, other):
        issue_tokens(each, request=None)
    body = {"usable_password": "true", "password1": "another-Password-1", "password2": "another-Password-1"}
    assert staff.post(f"{URL}{user.pk}/password/", body).status_code == 302
    assert list(Session.objects.filter(revoked_at=None).values_list("user", flat=True)) == [other.pk]
    assert Session.objects.get(user=user).revoked_reason == "password_changed"


def test_users_are_ordered_by_address(staff: Client) -> None:
    make_user(email="b@example.com")
    make_user(email="a@example.com")
    emails = [user.email for user in staff.get(URL).context["cl"].queryset]
    assert emails == ["a@example.com", "b@example.com", "root@example.com"]


SESSIONS = "/admin/dovetail_identity/session/"


def test_sessions_are_read_only(staff: Client, django_assert_max_num_queries: Any) -> None:
    for _ in range(5):
        issue_tokens(make_user(), request=None)
    session = Session.objects.all()[0]
    with django_assert_max_num_queries(8):
        page = staff.get(f"{SESSIONS}?q=person").content.decode()
    assert page.count('class="action-select"') == 5
    assert "delete_selected" not in page
    assert staff.get(f"{SESSIONS}add/").status_code == 403
    assert staff.get(f"{SESSIONS}{session.pk}/change/").status_code == 200
    assert staff.post(f"{SESSIONS}{session.pk}/change/", {"device": "x"}).status_code == 403


def test_admin_action_ends_sessions(staff: Client) -> None:
    for _ in range(2):
        issue_tokens(make_user(), request=None)
    chosen = Session.objects.all()[0]
    answer = staff.post(SESSIONS, {"action": "revoke", "_selected_action": [chosen.pk]}, follow=True)
    assert "1 sessions were ended." in answer.content.decode()
    assert Session.objects.exclude(revoked_at=None).get() == chosen


def test_admin_action_requires_permission(staff: Client) -> None:
    issue_tokens(make_user(), request=None)
    viewer = make_user(is_staff=True)
    viewer.user_permissions.add(
        Permission.objects.get(content_type__app_label="dovetail_identity", codename="view_session")
    )
    client = Client()
    client.force_login(viewer)
    assert client.get(SESSIONS).status_code == 200
    client.post(SESSIONS, {"action": "revoke", "_selected_action": [Session.objects.get().pk]})
    assert Session.objects.get().revoked_at is None


def test_admin_deletes_an_account_with_sessions(staff: Client) -> None:
    user = make_user()
    issue_tokens(user, request=None)
    assert staff.post(f"{URL}{user.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not Session.objects.exists()
