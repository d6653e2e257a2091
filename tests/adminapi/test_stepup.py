from __future__ import annotations

import time
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import override_settings

from dovetail_adminapi.api.stepup import SESSION_KEY
from tests.adminapi.world import ADMIN, bearer, client, person

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin(db: None) -> User:
    return person("admin", "auth.delete_group", "auth.view_group")


def destroy(api: Any) -> Any:
    return api.delete(f"{ADMIN}groups/{Group.objects.get_or_create(name='old')[0].pk}")


@pytest.mark.parametrize(("age", "status"), [(0, 204), (850, 204), (1200, 401), (-3600, 401)])
def test_action_needs_a_recent_sign_in(admin: User, age: int, status: int) -> None:
    api = bearer(admin, auth_time=int(time.time()) - age)
    assert api.get(f"{ADMIN}groups").status_code == 200
    assert destroy(api).status_code == status
    assert Group.objects.filter(name="old").exists() is (status == 401)


def test_stale_sign_in_is_challenged(admin: User) -> None:
    response = destroy(bearer(admin, auth_time=int(time.time()) - 1200))
    assert response.json()["code"] == "reauthentication_required"
    challenge = response.headers["WWW-Authenticate"]
    assert challenge.startswith('Bearer error="insufficient_user_authentication"')
    assert challenge.endswith("max_age=900")


@pytest.mark.parametrize("auth_time", [None, "now", True, [1]])
def test_token_without_the_time_of_the_sign_in_is_old(admin: User, auth_time: object) -> None:
    """A refresh renews ``iat`` and not ``auth_time``."""
    assert destroy(bearer(admin, iat=int(time.time()), auth_time=auth_time)).status_code == 401


def test_session_keeps_the_time_of_its_own_sign_in(admin: User) -> None:
    api = client(admin)
    assert destroy(api).status_code == 204
    session = api.session
    session[SESSION_KEY] = int(time.time()) - 1200
    session.save()
    # The same person signs in elsewhere, which changes last_login.
    assert destroy(client(User.objects.get(pk=admin.pk))).status_code == 204
    response = destroy(api)
    assert (response.status_code, response.json()["code"]) == (401, "reauthentication_required")
    assert "insufficient_user_authentication" in response.headers["WWW-Authenticate"]


def test_session_from_before_the_package_is_old(admin: User) -> None:
    api = client(admin)
    session = api.session
    del session[SESSION_KEY]
    session.save()
    assert destroy(api).status_code == 401


@pytest.mark.parametrize(("amr", "status"), [(["pwd", "otp"], 204), (["pwd"], 401), ("otp", 401), (None, 401)])
def test_methods_of_the_sign_in_can_be_required(admin: User, amr: object, status: int) -> None:
    with override_settings(ADMINAPI_REAUTHENTICATE_AMR=["otp", "hwk"]):
        assert destroy(bearer(admin, amr=amr)).status_code == status


def test_permission_comes_before_the_sign_in() -> None:
    assert destroy(bearer(person("other"), auth_time=0)).status_code == 403
