from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.test import Client

from dovetail_identity.admin import UserAdmin
from dovetail_identity.models import User
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


def test_our_user_is_registered() -> None:
    assert type(admin.site.get_model_admin(User)) is UserAdmin


def test_staff_sign_in_with_the_address_in_any_case(staff: Client) -> None:
    client = Client()
    answer = client.post("/admin/login/?next=/admin/", {"username": "ROOT@example.com", "password": PASSWORD})
    assert answer.status_code == 302
    assert client.get("/admin/").status_code == 200


def test_staff_add_a_user_by_address(staff: Client) -> None:
    assert b"password1" in staff.get(f"{URL}add/").content
    body = {"email": "Ada@Example.com", "usable_password": "true", "password1": PASSWORD, "password2": PASSWORD}
    assert staff.post(f"{URL}add/", body).status_code == 302
    user = User.objects.get(email="ada@example.com")
    assert user.check_password(PASSWORD)
    answer = staff.post(f"{URL}add/", body | {"email": "ADA@example.com"})
    assert answer.context["adminform"].form.errors == {"email": ["A user with that email address already exists."]}


def test_staff_search_change_and_set_a_password(staff: Client) -> None:
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


def test_the_list_is_in_order_of_addresses(staff: Client) -> None:
    make_user(email="b@example.com")
    make_user(email="a@example.com")
    emails = [user.email for user in staff.get(URL).context["cl"].queryset]
    assert emails == ["a@example.com", "b@example.com", "root@example.com"]
