"""Helpers for views: request parsing, and responses for the exceptions of services."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from rest_framework import status
from rest_framework.exceptions import APIException, ParseError, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from dovetail_core.translation import gettext as _


def payload(request: Request) -> Any:
    """Return the parsed body. Raise ``ParseError`` (400) if it is nested too deeply.

    REST framework does not catch the ``RecursionError`` that a few kilobytes of ``[`` cause, and responds with 500.
    """
    try:
        return request.data
    except RecursionError as error:
        raise ParseError(_("The request body is nested too deeply.")) from error


class Refusal(APIException):
    """The response to an exception of a service, with its text and its ``code``."""

    def __init__(self, error: Exception, status_code: int) -> None:
        self.status_code = status_code
        super().__init__(str(error), code=getattr(error, "code", None))


class RefusalMixin(APIView):
    """Responds to exceptions of services. List it before the base class of the view.

    ``refusals`` maps exception classes to HTTP status codes. The first class that matches applies, so list base classes
    last. If the status is 400 and the exception has a ``field``, the response has the form of a serializer error.
    """

    refusals: ClassVar[Mapping[type[Exception], int]] = {}

    def handle_exception(self, exc: Exception) -> Response:
        statuses = (code for kind, code in self.refusals.items() if isinstance(exc, kind))
        if (status_code := next(statuses, None)) is not None:
            field = getattr(exc, "field", None) if status_code == status.HTTP_400_BAD_REQUEST else None
            code = getattr(exc, "code", None)
            exc = ValidationError({field: [str(exc)]}, code) if field else Refusal(exc, status_code)
        return super().handle_exception(exc)
