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
        # What is not named is closed to keys, whatever they may do.
        ("orders:*", {"list": 200, "retrieve": 403, "ship": 200, "destroy": 200}),
    ],
)
def test_scopes_by_action_and_by_method(scope: str, expected: dict[str, int]) -> None:
    _api_key, raw = make_key(scopes=[scope])
    methods = {"list": "get", "retrieve": "get", "ship": "post", "destroy": "delete"}
    found = {}
    for action, method in methods.items():
        request = getattr(APIRequestFactory(), method)("/", HTTP_X_API_KEY=raw)
        arguments = {"pk": "1"} if action in {"retrieve", "destroy"} else {}
        answer = OrderViewSet.as_view({method: action})(request, **arguments)
        found[action] = answer.status_code
        if action == "retrieve":
            assert answer.data["detail"] == "API keys cannot do this."
    assert found == expected


def test_one_scope_for_everything_and_nobody() -> None:
    permission = HasScope("orders:read")()
    machine = SimpleNamespace(method="POST", auth=None, user=SimpleNamespace(is_authenticated=False))
    assert not permission.has_permission(machine, Plain())  # type: ignore[arg-type]  # as much of a request as it needs
    assert permission.required(machine, Plain()) == "orders:read"


def test_it_is_combined_with_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Orders, "permission_classes", [HasScope("orders:read") & HasAPIKey | IsAdminUser])
    assert api_key_client(make_firm(), scopes=["orders:read"]).get("/orders/").status_code == 200
    assert api_key_client(make_firm()).get("/orders/").status_code == 403
    assert signed_in(make_user()).get("/orders/").status_code == 403
    assert signed_in(make_user(is_staff=True)).get("/orders/").status_code == 200


def test_refusals_of_two_requests_do_not_meet() -> None:
    """The permission stands in the class once; what it says is of one request."""
    permission = Orders.permission_classes[0]
    assert permission() is not permission()
    assert permission().message is None


def test_without_a_resolver_a_key_manages_its_organizations_keys(settings: Any) -> None:
    del settings.API_KEYS_ORGANIZATION_RESOLVER
    firm = make_firm()
    client = api_key_client(firm, scopes=["api_keys:*"])
    assert [row["id"] for row in client.get("/api/api-keys/").json()["data"]] == [str(client.api_key.pk)]  # type: ignore[attr-defined]  # set by the helper
    person = signed_in(make_user(firm)).get("/api/api-keys/")
    assert (person.status_code, person.data["detail"].code) == (403, "no_organization")
