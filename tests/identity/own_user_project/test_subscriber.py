from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from rest_framework.test import APIClient

from tests.identity.own_user_project.users import credentials

pytestmark = pytest.mark.django_db
ME = "/api/v1/me/"


def test_patch_does_not_change_the_username(signed_in: APIClient, user: Any) -> None:
    answer = signed_in.patch(ME, {"phone_number": "+1", "first_name": "Ada"})
    assert answer.json() == {"id": user.pk, "first_name": "Ada", "phone_number": user.phone_number}


def test_patch_updates_auto_now_fields(signed_in: APIClient, user: Any) -> None:
    before = datetime(2020, 1, 1, tzinfo=UTC)
    get_user_model()._default_manager.filter(pk=user.pk).update(updated_at=before)
    signed_in.patch(ME, {"first_name": "Ada"})
    user.refresh_from_db()
    assert user.updated_at > before


def test_check_revoke_token_ends_tokens_after_a_password_change(client: APIClient, user: Any) -> None:
    tokens = client.post("/api/auth/jwt/token/", credentials(user)).json()
    user.set_password("another")
    user.save()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {tokens['access']}")
    assert client.get(ME).status_code == 401
    assert client.post("/api/auth/jwt/refresh/", {"refresh": tokens["refresh"]}).status_code == 401
    assert client.post("/api/auth/jwt/verify/", {"token": tokens["access"]}).status_code == 401
