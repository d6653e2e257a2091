from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from tests.identity.own_user_project.users import PASSWORD

pytestmark = pytest.mark.django_db


def test_a_number_is_taken_as_number_and_as_text(client: APIClient, user: Any) -> None:
    for number in (user.number, str(user.number), f" {user.number} "):
        body = {"number": number, "password": PASSWORD}
        assert client.post("/api/auth/jwt/token/", body, format="json").status_code == 200
