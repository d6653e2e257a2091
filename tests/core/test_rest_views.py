from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from typing import Any, ClassVar

import pytest

pytest.importorskip("rest_framework", reason="REST framework is not installed: core does not need it")

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

import dovetail_core
from dovetail_core.rest.views import RefusalMixin, payload


class ParcelError(Exception):
    code = "invalid"
    field: ClassVar[str | None] = None


class Delivered(ParcelError):
    code = "delivered"


class DeliveredTwice(Delivered):
    pass


class UnknownDoor(ParcelError):
    code = "unknown_door"
    field = "door"


class ClosedDoor(Delivered):
    field = "door"


class ParcelView(RefusalMixin, APIView):
    refusals = {Delivered: 409, LookupError: 404, ParcelError: 400}
    authentication_classes = ()
    permission_classes = ()

    def post(self, request: Request, error: Exception | None = None) -> Response:
        if error is not None:
            raise error
        return Response(payload(request))


def post(**options: Any) -> Response:
    body = options.pop("body", "{}")
    response = ParcelView.as_view()(APIRequestFactory().post("/", body, content_type="application/json"), **options)
    assert isinstance(response, Response)
    return response


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Delivered("Too late."), 409, "delivered"),
        (DeliveredTwice("Too late."), 409, "delivered"),
        (ParcelError("Too late."), 400, "invalid"),
        (LookupError("Too late."), 404, "error"),
        # A field is at fault for what is invalid, not for a conflict.
        (ClosedDoor("Too late."), 409, "delivered"),
    ],
)
def test_refusal_has_text_code_and_status(error: Exception, status: int, code: str) -> None:
    response = post(error=error)
    assert (response.status_code, response.data["detail"]) == (status, "Too late.")
    assert response.data["detail"].code == code


def test_refusal_with_a_field_is_a_serializer_error() -> None:
    response = post(error=UnknownDoor("No such door."))
    assert (response.status_code, response.data) == (400, {"door": ["No such door."]})
    assert response.data["door"][0].code == "unknown_door"


def test_other_exceptions_propagate() -> None:
    with pytest.raises(ZeroDivisionError):
        post(error=ZeroDivisionError())


def test_payload_is_the_parsed_body() -> None:
    assert post(body='{"a": 1}').data == {"a": 1}


def test_deeply_nested_payload_is_400() -> None:
    response = post(body="[" * 100_000)
    assert (response.status_code, response.data["detail"].code) == (400, "parse_error")


def test_only_rest_requires_rest_framework() -> None:
    names = [name for _, name, _ in pkgutil.walk_packages(dovetail_core.__path__, "dovetail_core.")]
    without = [name for name in names if not name.startswith("dovetail_core.rest.")]
    assert len(without) >= 10
    code = f"import sys; sys.modules['rest_framework'] = None; import {', '.join(without)}"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
    for name in set(names) - set(without):
        importlib.import_module(name)
