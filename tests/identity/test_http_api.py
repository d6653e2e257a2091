"""The documented requests of sign-in, with their status codes and bodies."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from rest_framework.test import APIClient

from dovetail_identity import services
from dovetail_identity.models import Registration, User
from dovetail_identity.registration.link_tokens import registration_token, reset_token
from dovetail_identity.testing import sign_in
from tests.identity.factories import PASSWORD, make_user

pytestmark = pytest.mark.django_db

EMAIL, NEW = "ada@example.com", "another battery staple 7"
PAIR, ERROR = {"access", "refresh"}, {"error": "invalid_or_expired"}


class Row(NamedTuple):
    """``answer`` is the exact body, the set of its keys, or None for an empty body. Error bodies may be omitted."""

    path: str
    body: dict[str, Any]
    status: int
    answer: Any = ...
    signed_in: bool = False


#: ``$name`` in a body is the value of that name in ``values``.
TABLE = [
    Row("jwt/token/", {"email": EMAIL, "password": PASSWORD}, 200, PAIR),
    Row("jwt/token/", {"email": EMAIL, "password": "wrong"}, 401),
    Row("jwt/token/", {"email": "nobody@example.com", "password": PASSWORD}, 401),
    Row("jwt/refresh/", {"refresh": "$refresh"}, 200, PAIR),
    Row("jwt/refresh/", {"refresh": "$access"}, 401),
    Row("jwt/verify/", {"token": "$access"}, 200, {}),
    Row("jwt/verify/", {"token": "$refresh"}, 200, {}),
    Row("jwt/verify/", {"token": "x"}, 401),
    Row("jwt/logout/", {"refresh": "$refresh"}, 204, None),
    Row("register/", {"email": "new@example.com", "password": PASSWORD}, 202, {}),
    Row("register/", {"email": EMAIL, "password": PASSWORD, "first_name": "A", "last_name": "B"}, 202, {}),
    Row("register/", {"email": "new@example.com", "password": "weak"}, 400, {"password"}),
    Row("email/verify/", {"token": "$registration"}, 200, PAIR | {"user"}),
    Row("email/verify/", {"token": "x"}, 400, ERROR),
    Row("password/reset/", {"email": EMAIL}, 202, {}),
    Row("password/reset/", {"email": "nobody@example.com"}, 202, {}),
    Row("password/reset/confirm/", {"token": "$reset", "password": NEW}, 204, None),
    Row("password/reset/confirm/", {"token": "$reset", "password": "weak"}, 400, {"password"}),
    Row("password/reset/confirm/", {"token": "x", "password": NEW}, 400, ERROR),
    Row("password/change/", {"current_password": PASSWORD, "new_password": NEW}, 204, None, signed_in=True),
    Row("password/change/", {"current_password": "wrong", "new_password": NEW}, 400, signed_in=True),
    Row("password/change/", {"current_password": PASSWORD, "new_password": "weak"}, 400, signed_in=True),
    Row("password/change/", {"current_password": PASSWORD, "new_password": NEW}, 401),
]


@pytest.fixture
def values(settings: Any) -> dict[str, str]:
    settings.IDENTITY_REGISTRATION = True
    settings.IDENTITY_MAIL_DISPATCH = _nowhere
    settings.AUTH_PASSWORD_VALIDATORS = [
        {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    ]
    user = make_user(email=EMAIL)
    services.register(email="registered@example.com", password=PASSWORD)
    return {
        **services.issue_tokens(user, request=None),
        "reset": reset_token(user),
        "registration": registration_token(Registration.objects.get()),
    }


def _nowhere(mail: Any) -> None:
    pass


def _send(client: APIClient, row: Row, values: dict[str, str]) -> Any:
    body = {
        name: values[value[1:]] if isinstance(value, str) and value.startswith("$") else value
        for name, value in row.body.items()
    }
    if row.signed_in:
        sign_in(client, User.objects.get(email=EMAIL))
    return client.post(f"/api/auth/{row.path}", body)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.path}-{row.status}")
def test_requests_have_the_documented_responses(client: APIClient, values: dict[str, str], row: Row) -> None:
    answer = _send(client, row, values)
    assert answer.status_code == row.status, answer.content
    if row.answer is None:
        assert answer.content == b""
    elif isinstance(row.answer, set):
        assert set(answer.json()) == row.answer
    elif row.answer is not ...:
        assert answer.json() == row.answer
    if row.status < 300:
        assert answer["Cache-Control"] == "no-store"


def test_all_paths_are_documented() -> None:
    from dovetail_identity.api.urls import urlpatterns

    assert {str(each.pattern) for each in urlpatterns} == {row.path for row in TABLE}


@pytest.mark.parametrize("path", ["jwt/logout/", "password/reset/confirm/", "password/change/"])
def test_ended_sessions_end_access_tokens_immediately(client: APIClient, values: dict[str, str], path: str) -> None:
    def access() -> int:
        other = APIClient()
        other.credentials(HTTP_AUTHORIZATION=f"Bearer {values['access']}")
        return int(other.get("/api/v1/me/").status_code)

    row = next(row for row in TABLE if row.path == path and row.status == 204)
    assert access() == 200
    assert _send(client, row, values).status_code == 204
    assert access() == 401
