"""The guard hands ``admin["idempotency"]`` on as the attribute ``contract``, which dovetail_contract reads."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import path

from dovetail_adminapi.api.wrapping import guarded
from tests.adminapi import shop


def wrapped(actions: dict[str, str], **attributes: Any) -> Any:
    view: Any = type("View", (shop.GroupViewSet,), attributes)
    (pattern,) = guarded([path("groups", view.as_view(actions), name="group-list")], "shop")
    return pattern.callback.cls  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("admin", "contract", "expected"),
    [
        ({"idempotency": {"create": "required"}}, None, {"idempotency": "required"}),
        ({"idempotency": {"create": "required"}}, {"codes": ()}, {"idempotency": "required", "codes": ()}),
        ({"idempotency": {"create": "required"}}, {"idempotency": "off"}, {"idempotency": "required"}),
        ({}, {"idempotency": "off"}, {"idempotency": "off"}),
        ({"idempotency": {"create": "sometimes"}}, None, {}),
    ],
)
def test_mode_of_an_action_is_handed_on(admin: Any, contract: Any, expected: Any) -> None:
    attributes = {"admin": admin} | ({} if contract is None else {"contract": contract})
    assert wrapped({"get": "list", "post": "create"}, **attributes).contract == expected


def test_views_without_either_have_no_contract() -> None:
    assert not hasattr(wrapped({"get": "list"}), "contract")
