from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken

from tests.identity.own_user_project.users import credentials

pytestmark = pytest.mark.django_db
REFRESH, VERIFY = "/api/auth/jwt/refresh/", "/api/auth/jwt/verify/"


def test_the_account_is_shown_under_the_usual_keys(signed_in: APIClient, user: Any) -> None:
    assert signed_in.get("/api/v1/me/").json() == {"id": str(user.pk), "email": "Shared@Example.com", "first_name": ""}


def test_a_rotated_token_is_dead_everywhere(client: APIClient, user: Any) -> None:
    first = client.post("/api/auth/jwt/token/", credentials(user)).json()["refresh"]
    answer = client.post(REFRESH, {"refresh": first})
    assert answer.status_code == 200
    second = answer.json()["refresh"]
    assert second != first
    assert BlacklistedToken.objects.count() == 1
    answer = client.post(REFRESH, {"refresh": first})
    assert (answer.status_code, answer.json()["detail"]) == (401, "Token is blacklisted")
    assert client.post(VERIFY, {"token": first}).status_code == 401
    assert client.post(VERIFY, {"token": second}).status_code == 200
