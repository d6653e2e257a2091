from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from rest_framework.permissions import IsAdminUser
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory
from rest_framework.viewsets import ViewSet

from dovetail_apikeys.api.permissions import HasAPIKey, HasScope
from dovetail_apikeys.testing import api_key_client
from tests.apikeys.factories import make_firm, make_key, make_user, signed_in
from tests.apikeys.firms.views import Orders, Plain

pytestmark = pytest.mark.django_db


class OrderViewSet(ViewSet):
    permission_classes = [HasScope(list="orders:read", ship="orders:write", write="orders:write")]

    def list(self, request: Any) -> Response:
        return Response([])

    def retrieve(self, request: Any, pk: str) -> Response:
        return Response({})

    def ship(self, request: Any) -> Response:
        return Response({})

    def destroy(self, request: Any, pk: str) -> Response:
        return Response({})


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("orders:read", {"list": 200, "retrieve": 403, "ship": 403, "destroy": 403}),
        ("orders:write", {"list": 403, "retrieve": 403, "ship": 200, "destroy": 200}),
        # Keys cannot use actions that are not listed, whatever their scopes.
        ("orders:*", {"list": 200, "retrieve": 403, "ship": 200, "destroy": 200}),
    ],
)
def test_scopes_depend_on_action_and_method(scope: str, expected: dict[str, int]) -> None:
    _api_key, raw = make_key(scopes=[scope])
    methods = {"list": "get", "retrieve": "get", "ship": "post", "destroy": "delete"}
    statuses = {}
    for action, method in methods.items():
        request = getattr(APIRequestFactory(), method)("/", HTTP_X_API_KEY=raw)
        arguments = {"pk": "1"} if action in {"retrieve", "destroy"} else {}
        response = OrderViewSet.as_view({method: action})(request, **arguments)
        statuses[action] = response.status_code
        if action == "retrieve":
            assert response.data["detail"] == "API keys cannot perform this action."
    assert statuses == expected


def test_anonymous_request_has_no_scope() -> None:
    permission = HasScope("orders:read")()
    anonymous = SimpleNamespace(method="POST", auth=None, user=SimpleNamespace(is_authenticated=False))
    assert not permission.has_permission(anonymous, Plain())  # type: ignore[arg-type]  # the attributes of a request that it reads
    assert permission.required(anonymous, Plain()) == "orders:read"


def test_scope_permission_combines_with_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Orders, "permission_classes", [HasScope("orders:read") & HasAPIKey | IsAdminUser])
    assert api_key_client(make_firm(), scopes=["orders:read"]).get("/orders/").status_code == 200
    assert api_key_client(make_firm()).get("/orders/").status_code == 403
    assert signed_in(make_user()).get("/orders/").status_code == 403
    assert signed_in(make_user(is_staff=True)).get("/orders/").status_code == 200


def test_permission_message_belongs_to_one_request() -> None:
    """All requests share the instance on the class, so that it must not store the message."""
    permission = Orders.permission_classes[0]
    assert permission() is not permission()
    assert permission().message is None


def test_default_resolver_returns_the_organization_of_the_key(settings: Any) -> None:
    del settings.API_KEYS_ORGANIZATION_RESOLVER
    firm = make_firm()
    client = api_key_client(firm, scopes=["api_keys:*"])
    assert [row["id"] for row in client.get("/api/api-keys/").json()["data"]] == [str(client.api_key.pk)]  # type: ignore[attr-defined]  # set by the helper
    response = signed_in(make_user(firm)).get("/api/api-keys/")
    assert (response.status_code, response.data["detail"].code) == (403, "no_organization")
