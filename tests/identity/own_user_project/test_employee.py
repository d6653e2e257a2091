from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.core import mail as outbox
from django.core.checks import run_checks
from rest_framework.test import APIClient, APIRequestFactory
from rest_framework_simplejwt.tokens import AccessToken

from dovetail_identity.api.account_views import MeView
from dovetail_identity.api.authentication import JWTAuthentication
from dovetail_identity.models import User
from dovetail_identity.testing import mailed_token
from tests.identity.own_user_project.users import PASSWORD, make_user
from tests.identity.own_users.models import Employee

pytestmark = pytest.mark.django_db


def test_account_has_the_keys_of_the_model(signed_in: APIClient, user: Any) -> None:
    shown = signed_in.get("/api/v1/me/").json()
    assert set(shown) == {"id", "email", "first_name", "last_name", "date_joined"}
    assert shown["id"] == user.pk
    assert shown["email"] == ""
    assert signed_in.patch("/api/v1/me/", {"first_name": "Ada", "email": "a@example.com"}).json()["first_name"] == "Ada"
    user.refresh_from_db()
    assert (user.first_name, user.email) == ("Ada", "")


def test_blank_and_duplicate_addresses_are_allowed(client: APIClient) -> None:
    for email in ("", "", "same@example.com", "same@example.com"):
        user = make_user(email=email)
        body = {"username": user.username, "password": PASSWORD}
        assert client.post("/api/auth/jwt/token/", body).status_code == 200
    body = {"email": "same@example.com", "password": PASSWORD}
    assert client.post("/api/auth/jwt/token/", body).status_code == 400


def test_username_is_normalized(client: APIClient) -> None:
    make_user(username="ﬁnn")  # stored as "finn": NFKC
    body = {"username": "ﬁnn", "password": PASSWORD}
    assert client.post("/api/auth/jwt/token/", body).status_code == 200


def test_inactive_employee_is_401(client: APIClient, user: Any) -> None:
    body = {"username": user.username, "password": PASSWORD}
    tokens = client.post("/api/auth/jwt/token/", body).json()
    user.is_active = False
    user.save()
    assert client.post("/api/auth/jwt/token/", body).status_code == 401
    assert client.post("/api/auth/jwt/refresh/", {"refresh": tokens["refresh"]}).status_code == 401


def test_claim_names_come_from_simplejwt(client: APIClient, user: Any) -> None:
    body = {"username": user.username, "password": PASSWORD}
    access = AccessToken(client.post("/api/auth/jwt/token/", body).json()["access"])
    assert access["sub"] == str(user.pk)
    assert "user_id" not in access


def test_anonymous_request_is_403_with_session_authentication_only(client: APIClient) -> None:
    assert client.get("/api/v1/me/").status_code == 403


def test_account_accepts_jwt_when_configured(client: APIClient, user: Any) -> None:
    class View(MeView):
        authentication_classes = (JWTAuthentication,)

    body = {"username": user.username, "password": PASSWORD}
    access = client.post("/api/auth/jwt/token/", body).json()["access"]
    request = APIRequestFactory().get("/", HTTP_AUTHORIZATION=f"Bearer {access}")
    assert View.as_view()(request).data["id"] == user.pk


def test_user_admin_is_not_registered() -> None:
    assert not admin.site.is_registered(User)


def test_i001_in_deployment_for_ambiguous_addresses() -> None:
    def message_ids(**options: bool) -> list[str]:
        return [str(message.id) for message in run_checks(**options) if str(message.id).startswith("dovetail")]

    assert message_ids() == []
    expected = ["dovetail_identity.I001", "dovetail_identity.W004", "dovetail_identity.W005"]
    assert sorted(message_ids(include_deployment_checks=True)) == expected


@pytest.fixture
def _mail(settings: Any) -> None:
    settings.IDENTITY_MAIL_DISPATCH = "dovetail_identity.mail.deliver"
    settings.IDENTITY_PASSWORD_RESET_URL = "https://app.example.com/reset"
    settings.IDENTITY_EMAIL_VERIFICATION_URL = "https://app.example.com/verify"


@pytest.mark.usefixtures("_mail")
def test_blank_and_shared_addresses_get_no_mail(
    client: APIClient, caplog: pytest.LogCaptureFixture, django_capture_on_commit_callbacks: Any
) -> None:
    for email in ("", "same@example.com", "Same@Example.com", "alone@example.com"):
        make_user(email=email)
    for email in ("", " ", "same@example.com", "SAME@example.com", "ALONE@example.com"):
        with django_capture_on_commit_callbacks(execute=True):
            answer = client.post("/api/auth/password/reset/", {"email": email})
        assert answer.status_code == (202 if email.strip() else 400)
    assert [message.to for message in outbox.outbox] == [["alone@example.com"]]
    assert caplog.text.count("several rows of own_users.Employee have the address") == 2
    assert "example.com" not in caplog.text


@pytest.mark.usefixtures("_mail")
def test_registration_requires_a_create_user_function(
    client: APIClient, settings: Any, django_capture_on_commit_callbacks: Any
) -> None:
    settings.IDENTITY_REGISTRATION = True
    messages = {str(message.id): message.msg for message in run_checks() if "identity" in str(message.id)}
    assert messages["dovetail_identity.E004"].endswith(": username.")
    settings.IDENTITY_CREATE_USER = _hire
    assert [message for message in run_checks() if "identity" in str(message.id)] == []
    body = {"email": "Ada@example.com", "password": PASSWORD, "first_name": "Ada"}
    with django_capture_on_commit_callbacks(execute=True):
        assert client.post("/api/auth/register/", body).status_code == 202
    answer = client.post("/api/auth/email/verify/", {"token": mailed_token()})
    assert answer.status_code == 200
    assert answer.json()["user"]["email"] == "ada@example.com"
    credentials = {"username": "ada", "password": PASSWORD}
    assert client.post("/api/auth/jwt/token/", credentials).status_code == 200


def _hire(*, email: str, password: str, first_name: str, last_name: str) -> Any:
    return Employee.objects.create(username=email.split("@")[0], email=email, password=password, first_name=first_name)
