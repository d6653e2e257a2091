from __future__ import annotations

from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient
from rest_framework_simplejwt.token_blacklist.models import OutstandingToken

from tests.identity.own_user_project.users import credentials

pytestmark = pytest.mark.django_db
REFRESH, VERIFY = "/api/auth/jwt/refresh/", "/api/auth/jwt/verify/"


def test_account_has_the_usual_keys(signed_in: APIClient, user: Any) -> None:
    assert signed_in.get("/api/v1/me/").json() == {"id": str(user.pk), "email": "Shared@Example.com", "first_name": ""}


def test_simplejwt_blacklist_is_not_used(
    client: APIClient, user: Any, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    first = client.post("/api/auth/jwt/token/", credentials(user)).json()["refresh"]
    with django_assert_num_queries(5):  # three, and the savepoint of ATOMIC_REQUESTS and its release
        answer = client.post(REFRESH, {"refresh": first})
    assert answer.status_code == 200
    second = answer.json()["refresh"]
    assert second != first
    assert not OutstandingToken.objects.exists()
    for token in (first, second):
        assert client.post(VERIFY, {"token": token}).status_code == 200
