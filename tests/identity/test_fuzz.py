"""No request causes a 5xx response."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from dovetail_identity.testing import sign_in
from tests.identity.factories import make_user

pytestmark = pytest.mark.django_db

TEXT = st.text(st.characters(exclude_categories=()), max_size=300)  # includes lone surrogates and NUL
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.emails(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


def _bodies(*keys: str) -> st.SearchStrategy[Any]:
    return VALUE | st.fixed_dictionaries({}, optional=dict.fromkeys(keys, VALUE))


# All examples share the fixtures, and one transaction that is rolled back.
fuzzed = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _send(client: APIClient, method: str, path: str, body: Any) -> int:
    raw = json.dumps(body).encode()
    status: int = client.generic(method, path, raw, content_type="application/json").status_code
    return status


@fuzzed
@given(body=_bodies("email", "password"))
def test_token_endpoint_never_responds_with_5xx(client: APIClient, body: Any) -> None:
    assert _send(client, "POST", "/api/auth/jwt/token/", body) in (400, 401)


@fuzzed
@given(body=_bodies("refresh"))
def test_refresh_endpoint_never_responds_with_5xx(client: APIClient, body: Any) -> None:
    assert _send(client, "POST", "/api/auth/jwt/refresh/", body) in (400, 401)


@fuzzed
@given(body=_bodies("token"))
def test_verify_endpoint_never_responds_with_5xx(client: APIClient, body: Any) -> None:
    assert _send(client, "POST", "/api/auth/jwt/verify/", body) in (400, 401)


@fuzzed
@given(body=_bodies("first_name", "last_name", "avatar_url", "phone_number", "email", "id", "is_staff"))
def test_me_never_responds_with_5xx(client: APIClient, body: Any) -> None:
    if "HTTP_AUTHORIZATION" not in client._credentials:
        sign_in(client, make_user())
    assert _send(client, "PATCH", "/api/v1/me/", body) in (200, 400)


@fuzzed
@given(raw=st.binary(max_size=300), kind=st.sampled_from(["application/json", "multipart/form-data; boundary=x", "a"]))
def test_invalid_json_is_not_5xx(client: APIClient, raw: bytes, kind: str) -> None:
    for path in ("token", "refresh", "verify"):
        answer = client.generic("POST", f"/api/auth/jwt/{path}/", raw, content_type=kind)
        assert answer.status_code in (400, 401, 415)


@fuzzed
@given(header=st.binary(max_size=100))
def test_authorization_header_is_not_5xx(client: APIClient, header: bytes) -> None:
    client.credentials(HTTP_AUTHORIZATION=(b"Bearer " + header).decode("latin-1"))
    assert client.get("/api/v1/me/").status_code == 401
