"""Helpers for the tests of projects that use this package."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rest_framework.test import APIClient

from dovetail_apikeys.services import create_api_key


def api_key_client(organization: object, *, scopes: Iterable[str] = (), **fields: Any) -> APIClient:
    """Return a REST framework test client that sends a new key of ``organization`` with each request.

    Its attribute ``api_key`` is the key's row. ``fields`` are additional arguments of ``create_api_key``.
    """
    client = APIClient()
    client.api_key, raw = create_api_key(  # type: ignore[attr-defined]  # an attribute for the test
        organization=organization, scopes=scopes, **{"name": "Test", **fields}
    )
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {raw}")
    return client
