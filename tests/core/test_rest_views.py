from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from typing import Any, ClassVar

import pytest

pytest.importorskip("rest_framework", reason="REST framework is not installed: core does not need it")

from django.contrib.auth.models import User
from django.db import transaction
from rest_framework.authentication import BasicAuthentication
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

import dovetail_core
from dovetail_core.rest.views import RefusalMixin, RowsMixin, payload
from dovetail_core.transactions import Vanished


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


class Forbidden(ParcelError):
    code = "forbidden"


class SignedInView(ParcelView):
    refusals = {Forbidden: 403, **ParcelView.refusals}

    class authentication_class(BasicAuthentication):  # noqa: N801
        def authenticate(self, request: Request) -> Any:
            return request._request.signed_in, None

    authentication_classes = (authentication_class,)


@pytest.mark.django_db
@pytest.mark.parametrize(("error", "status"), [(Vanished(), 404), (LookupError(), 404), (Forbidden(), 403)])
def test_refusal_of_a_deleted_user_is_401(error: Exception, status: int) -> None:
    def status_of(user: Any) -> int:
        request = APIRequestFactory().post("/", {}, format="json")
        request.signed_in = user
        return SignedInView.as_view()(request, error=error).status_code

    user = User.objects.create(username="ada")
    assert status_of(user) == status
    User.objects.all().delete()
    assert status_of(user) == 401


@pytest.mark.django_db
def test_refusal_in_a_broken_transaction_is_no_server_error() -> None:
    user = User.objects.create(username="ada")

    class AtomicView(SignedInView):
        def post(self, request: Request, error: Exception | None = None) -> Response:
            with transaction.atomic(savepoint=False):
                return super().post(request, error)

    request: Any = APIRequestFactory().post("/", {}, format="json")
    request.signed_in = user
    # As under ATOMIC_REQUESTS: no query is possible until the rollback, so a deleted user is not recognized.
    with transaction.atomic():
        assert AtomicView.as_view()(request, error=Vanished()).status_code == 404


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


class MailboxView(RowsMixin, GenericAPIView[User]):
    queryset = User.objects.none()

    def get_rows(self) -> Any:
        return User.objects.filter(pk=self.request.user.pk)


def test_view_of_a_schema_generator_has_no_rows() -> None:
    view: Any = MailboxView()
    view.request = None
    assert (view.get_queryset().model, view.get_queryset().query.is_empty()) == (User, True)
    view.request = Request(APIRequestFactory().get("/"))
    assert not view.get_queryset().query.is_empty()
    view.swagger_fake_view = True
    assert view.get_queryset().query.is_empty()


def test_view_without_rows_is_a_defect() -> None:
    view: Any = type("EmptyView", (RowsMixin, GenericAPIView), {})()
    view.request = Request(APIRequestFactory().get("/"))
    with pytest.raises(NotImplementedError, match=r"EmptyView must define get_rows\(\)"):
        view.get_queryset()
