from __future__ import annotations

from itertools import count
from typing import Any

from django.contrib.auth import get_user_model
from rest_framework.test import APIClient

from dovetail_apikeys.services import create_api_key
from tests.apikeys.firms.models import Employee, Firm

_numbers = count(1)


def make_firm() -> Firm:
    return Firm.objects.create(title=f"Firm {next(_numbers)}")


def make_user(firm: Firm | None = None, **fields: Any) -> Any:
    user = get_user_model().objects.create_user(f"user{next(_numbers)}", password="grain-and-stone", **fields)
    if firm is not None:
        Employee.objects.create(user=user, firm=firm)
    return user


def make_key(organization: Any = None, **fields: Any) -> tuple[Any, str]:
    return create_api_key(**{"organization": organization or make_firm(), "name": "Till", **fields})


def bearer(raw: str) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {raw}")
    return client


def signed_in(user: Any) -> APIClient:
    client = APIClient()
    client.force_login(user)
    return client
