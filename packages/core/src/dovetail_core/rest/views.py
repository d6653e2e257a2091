"""Parts of views: the request's body, and the refusals of services as HTTP responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.utils.translation import gettext as _
from rest_framework import status
from rest_framework.exceptions import APIException, ParseError, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView


def payload(request: Request) -> Any:
    """The parsed body. Raises ``ParseError`` (400) for one that is nested too deeply.

    A few kilobytes of ``[`` pass DRF's JSON parser as a ``RecursionError``, which would be answered with 500.
    """
    try:
        return request.data
    except RecursionError as error:
        raise ParseError(_("The request body is nested too deeply.")) from error


class Refusal(APIException):
    """A service's exception as a response with the exception's own text and ``code``."""

    def __init__(self, error: Exception, status_code: int) -> None:
        self.status_code = status_code
        super().__init__(str(error), code=getattr(error, "code", None))


class RefusalMixin(APIView):
    """A view that answers the exceptions of its services; it stands before the view's base class.

    ``refusals`` maps exception classes to HTTP statuses. The first class that an exception is an instance of decides,
    so a base class stands last. An exception with a ``field`` is the argument's fault: 400 with its text under that
    field, as a serializer would answer.
    """

    refusals: ClassVar[Mapping[type[Exception], int]] = {}

    def handle_exception(self, exc: Exception) -> Response:
        statuses = (code for kind, code in self.refusals.items() if isinstance(exc, kind))
        if (status_code := next(statuses, None)) is not None:
            field = getattr(exc, "field", None) if status_code == status.HTTP_400_BAD_REQUEST else None
            code = getattr(exc, "code", None)
            exc = ValidationError({field: [str(exc)]}, code) if field else Refusal(exc, status_code)
        return super().handle_exception(exc)
