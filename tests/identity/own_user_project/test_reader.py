from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import run_checks
from rest_framework.test import APIClient

from tests.identity.hashers import CountingHasher
from tests.identity.own_user_project.users import PASSWORD, make_user

pytestmark = pytest.mark.django_db


def test_ambiguous_address_is_treated_as_unknown_and_logged(
    client: APIClient, hashes: type[CountingHasher], caplog: pytest.LogCaptureFixture, django_assert_num_queries: Any
) -> None:
    make_user(email="ada@example.com")
    make_user(email="ADA@example.com")
    hashes.calls = 0
    with django_assert_num_queries(4):  # two, and the savepoint of the request and its release
        answer = client.post("/api/auth/jwt/token/", {"email": "ada@example.com", "password": PASSWORD})
    assert answer.status_code == 401
    assert hashes.calls == 1
    assert "several rows of own_users.Reader have the same email" in caplog.text
    assert "ada@example.com" not in caplog.text.casefold()


def test_sign_in_updates_last_login(client: APIClient, user: Any) -> None:
    client.post("/api/auth/jwt/token/", {"email": user.email, "password": PASSWORD})
    user.refresh_from_db()
    assert user.last_login is not None


def test_w002_for_ambiguous_addresses() -> None:
    ids = [message.id for message in run_checks() if str(message.id).startswith("dovetail")]
    assert ids == ["dovetail_identity.W002"]
