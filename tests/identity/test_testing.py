from __future__ import annotations

import pytest
from rest_framework.test import APIClient
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

from dovetail_identity.testing import sign_in
from tests.identity.factories import make_user


@pytest.mark.django_db
def test_sign_in_authenticates_further_requests(client: APIClient) -> None:
    ada, linus = make_user(), make_user()
    for user in (ada, linus):
        tokens = sign_in(client, user)
        assert client.get("/api/v1/me/").json()["id"] == str(user.pk)
        assert AccessToken(tokens["access"])["amr"] == RefreshToken(tokens["refresh"])["amr"]
