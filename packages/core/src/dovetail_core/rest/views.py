"""Helpers for views: request parsing, and responses for the exceptions of services."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.db import DatabaseError, router
from django.db.models import Model
from rest_framework import status
from rest_framework.exceptions import APIException, AuthenticationFailed, NotFound, ParseError, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from dovetail_core.transactions import Vanished
from dovetail_core.translation import gettext as _


def payload(request: Request) -> Any:
    """Return the parsed body. Raise ``ParseError`` (400) if it is nested too deeply.

    REST framework does not catch the ``RecursionError`` that a few kilobytes of ``[`` cause, and responds with 500.
    """
    try:
        return request.data
    except RecursionError as error:
        raise ParseError(_("The request body is nested too deeply.")) from error


class RowsMixin:
    """The base of generic views whose rows depend on the request. List it before the base class of the view.

    Subclasses define ``get_rows()`` and, with its model, ``queryset``. Generators of API documents call
    ``get_queryset()`` on a view without a user and without path parameters, and get no rows. drf-spectacular and
    drf-yasg then set ``swagger_fake_view``; REST framework's own generator sets no request.
    """

    queryset: Any = None

    def get_queryset(self) -> Any:
        if getattr(self, "swagger_fake_view", False) or getattr(self, "request", None) is None:
            return self.queryset.none()
        return self.get_rows()

    def get_rows(self) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define get_rows().")


_LOST = (status.HTTP_403_FORBIDDEN, status.HTTP_404_NOT_FOUND)


class Refusal(APIException):
    """The response to an exception of a service, with its text and its ``code``."""

    def __init__(self, error: Exception, status_code: int) -> None:
        self.status_code = status_code
        super().__init__(str(error), code=getattr(error, "code", None))


def refusal_of_vanished(request: Request) -> APIException:
    """Return the response to ``Vanished``: 401 if the user of the request was deleted meanwhile, else 404."""
    return AuthenticationFailed() if _is_deleted(request.user) else NotFound()


def _is_deleted(user: object) -> bool:
    if not isinstance(user, Model) or user.pk is None:
        return False
    # user may be a lazy object, whose type() is the proxy.
    model = user.__class__
    try:
        return not model._base_manager.using(router.db_for_write(model)).filter(pk=user.pk).exists()
    except DatabaseError:
        # The exception has ended the transaction of ATOMIC_REQUESTS, which accepts no query until it is rolled back.
        return False


class RefusalMixin(APIView):
    """Responds to exceptions of services. List it before the base class of the view. ``Vanished`` is 404 or 401.

    ``refusals`` maps exception classes to HTTP status codes. The first class that matches applies, so list base classes
    last. If the status is 400 and the exception has a ``field``, the response has the form of a serializer error.
    """

    refusals: ClassVar[Mapping[type[Exception], int]] = {}

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, Vanished):
            exc = refusal_of_vanished(self.request)
        statuses = (code for kind, code in self.refusals.items() if isinstance(exc, kind))
        status_code = next(statuses, None)
        # A user who was deleted meanwhile has no role and no rows any more. Repeating the request gives 401.
        if status_code in _LOST and _is_deleted(self.request.user):
            exc = AuthenticationFailed()
        elif status_code is not None:
            field = getattr(exc, "field", None) if status_code == status.HTTP_400_BAD_REQUEST else None
            code = getattr(exc, "code", None)
            exc = ValidationError({field: [str(exc)]}, code) if field else Refusal(exc, status_code)
        return super().handle_exception(exc)
