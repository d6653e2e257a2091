from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings
from rest_framework.test import APIClient

from dovetail_identity.testing import sign_in
from tests.identity.own_user_project.users import make_user

#: Modules named after a user model are about that one.
_OTHERS = {"employee", "person", "subscriber", "clerk", "reader", "customer"} - {settings.OWN_USER.lower()}
collect_ignore = [f"test_{name}.py" for name in _OTHERS]


@pytest.fixture
def user(db: None) -> Any:
    return make_user()


@pytest.fixture
def signed_in(client: APIClient, user: Any) -> APIClient:
    if settings.OWN_USER == "Employee":
        client.force_login(user)
    else:
        sign_in(client, user)
    return client
