from __future__ import annotations

from typing import Any

from rest_framework.exceptions import APIException
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView

from dovetail_apikeys.api.permissions import HasAPIKey, HasScope, IsHuman


def firm_of(request: Any) -> Any:
    """``API_KEYS_ORGANIZATION_RESOLVER``: the credential's organization, else the employer of the user."""
    credential = getattr(request.auth, "organization_id", None)
    employee = getattr(request.user, "employee", None)
    return credential if credential is not None else employee and employee.firm


def describe(request: Any) -> Response:
    return Response({"user": str(request.user.pk), "organization": str(getattr(request.auth, "organization_id", None))})


class Plain(APIView):
    """A view with the project's defaults."""

    permission_classes = [IsAuthenticated]

    def get(self, request: Any) -> Response:
        return describe(request)


class Open(Plain):
    permission_classes = [AllowAny]


class Machines(Plain):
    permission_classes = [HasAPIKey]


class People(Plain):
    permission_classes = [IsHuman]


class Orders(Plain):
    permission_classes = [HasScope(read="orders:read", write="orders:write")]

    def post(self, request: Any) -> Response:
        return describe(request)


class Failing(Plain):
    def get(self, request: Any) -> Response:
        raise RuntimeError("broken")


class Refusing(Plain):
    def get(self, request: Any) -> Response:
        raise APIException("refused")
