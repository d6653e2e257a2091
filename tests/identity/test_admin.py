from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission
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


@pytest.fixture
def support() -> User:
    """Staff with permission to change users, and through a group to view sessions."""
    user = make_user(email="support@example.com", is_staff=True)
    user.user_permissions.add(_permission("change_user"))
    user.groups.add(_group("support", "view_session"))
    return user


@pytest.fixture
def helpdesk(support: User) -> Client:
    client = Client()
    client.force_login(support)
    return client


def _permission(codename: str) -> Permission:
    return Permission.objects.get(content_type__app_label="dovetail_identity", codename=codename)


def _group(name: str, *codenames: str) -> Group:
    group = Group.objects.create(name=name)
    group.permissions.set(map(_permission, codenames))
    return group


def _users_with_more_permissions() -> list[User]:
    auditor = make_user(email="auditor@example.com")
    auditor.groups.add(_group("auditors", "delete_session"))
    former = make_user(email="former@example.com", is_active=False)
    former.user_permissions.add(_permission("delete_user"))
    superuser = User.objects.create_superuser("root@example.com", PASSWORD)
    inactive = User.objects.create_superuser("old@example.com", PASSWORD, is_active=False)
    return [auditor, former, superuser, inactive]


def test_staff_cannot_change_users_with_more_permissions(helpdesk: Client) -> None:
    new = {"usable_password": "true", "password1": "another-Password-1", "password2": "another-Password-1"}
    for user in _users_with_more_permissions():
        page = helpdesk.get(f"{URL}{user.pk}/change/")
        assert page.status_code == 200
        assert [message.level_tag for message in page.context["messages"]] == ["warning"]
        assert "permissions that you do not have" in page.content.decode()
        assert 'name="email"' not in page.content.decode()
        body = _form(user, email="mine@example.com", is_staff="on")
        assert helpdesk.post(f"{URL}{user.pk}/change/", body).status_code == 403
        assert helpdesk.get(f"{URL}{user.pk}/password/").status_code == 403
        assert helpdesk.post(f"{URL}{user.pk}/password/", new).status_code == 403
        after = User.objects.get(pk=user.pk)
        assert (after.email, after.is_staff, after.password) == (user.email, user.is_staff, user.password)


def test_staff_change_users_without_more_permissions(helpdesk: Client) -> None:
    user, equal = make_user(), make_user(is_staff=True)
    equal.user_permissions.add(_permission("change_user"), _permission("view_session"))
    new = {"usable_password": "true", "password1": "another-Password-1", "password2": "another-Password-1"}
    for each in (user, equal):
        page = helpdesk.get(f"{URL}{each.pk}/change/")
        assert "warning" not in [message.level_tag for message in page.context["messages"]]
        assert helpdesk.post(f"{URL}{each.pk}/password/", new).status_code == 302
        assert User.objects.get(pk=each.pk).check_password("another-Password-1")
    group = Group.objects.get(name="support")
    body = _form(user, groups=[group.pk], user_permissions=[_permission("change_user").pk])
    assert helpdesk.post(f"{URL}{user.pk}/change/", body).status_code == 302
    assert User.objects.get(pk=user.pk).get_all_permissions() == {
        "dovetail_identity.change_user",
        "dovetail_identity.view_session",
    }


def test_staff_cannot_grant_permissions_that_they_lack(helpdesk: Client, support: User) -> None:
    auditors, delete = _group("auditors", "view_session", "delete_session"), _permission("delete_user")
    for user in (make_user(), support):
        body = _form(user, is_staff="on", groups=[auditors.pk], user_permissions=[delete.pk])
        answer = helpdesk.post(f"{URL}{user.pk}/change/", body)
        assert set(answer.context["adminform"].form.errors) == {"groups", "user_permissions"}
        body = _form(user, is_staff="on", is_superuser="on")
        assert helpdesk.post(f"{URL}{user.pk}/change/", body).status_code == 302
        after = User.objects.get(pk=user.pk)
        assert (after.is_superuser, after.get_all_permissions()) == (False, set())


def test_superusers_change_superusers_and_grant_all_permissions(staff: Client) -> None:
    user = User.objects.create_superuser("root2@example.com", PASSWORD)
    group, permission = _group("auditors", "delete_session"), _permission("delete_user")
    body = _form(user, is_staff="on", is_superuser="on", groups=[group.pk], user_permissions=[permission.pk])
    assert staff.post(f"{URL}{user.pk}/change/", body).status_code == 302
    after = User.objects.get(pk=user.pk)
    assert after.is_superuser
    assert (after.groups.get(), after.user_permissions.get()) == (group, permission)
    body = _form(user, is_staff="on")
    assert staff.post(f"{URL}{user.pk}/change/", body).status_code == 302
    assert not User.objects.get(pk=user.pk).is_superuser


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
