from __future__ import annotations

from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from rest_framework.test import APIClient

from dovetail_identity.testing import sign_in
from tests.identity.own_user_project.users import PASSWORD

pytestmark = pytest.mark.django_db


def test_numeric_username_is_accepted_as_number_and_text(client: APIClient, user: Any) -> None:
    for number in (user.number, str(user.number), f" {user.number} "):
        body = {"number": number, "password": PASSWORD}
        assert client.post("/api/auth/jwt/token/", body, format="json").status_code == 200


def test_relation_is_neither_shown_nor_changed(client: APIClient, user: Any) -> None:
    sign_in(client, user)
    answer = client.patch("/api/v1/me/", {"language": ContentType.objects.get_for_model(user).pk})
    assert (answer.status_code, answer.json()) == (200, {"id": user.pk})
    user.refresh_from_db()
    assert user.language is None
