"""The OpenFeature Remote Evaluation Protocol (OFREP): evaluation for the SDKs of browsers, apps and other servers.

https://openfeature.dev/docs/reference/other-technologies/ofrep/ The official clients decide these shapes:

* The Python client requires ``variant`` and ``reason`` in each answer, and ``errorDetails`` in each error.
* The web client understands an error only with the members ``errorCode`` and ``errorDetails``. They are added to
  problem details (RFC 9457), which the other endpoints return.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, ClassVar, Final, NoReturn

from django.core.exceptions import RequestDataTooBig
from django.http import HttpResponse
from django.utils.translation import gettext as _
from rest_framework import status
from rest_framework.exceptions import APIException, NotFound, UnsupportedMediaType
from rest_framework.parsers import JSONParser
from rest_framework.permissions import BasePermission
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView, exception_handler

from dovetail_flags.api import etags
from dovetail_flags.api.client_context import InvalidContext, merge
from dovetail_flags.api.events import caller_of, streams
from dovetail_flags.api.visible import Unavailable, visible_keys
from dovetail_flags.conf import conf, imported
from dovetail_flags.evaluation.facade import flags
from dovetail_flags.types.context import Context
from dovetail_flags.types.details import Details, ErrorCode, Reason

MAX_BODY: Final = 16 * 1024

_HEADERS: Final = {"Cache-Control": "private, no-cache"}


class Refused(APIException):
    """An error of the protocol. ``error`` is OpenFeature's code."""

    def __init__(self, error: str, message: str, status_code: int = status.HTTP_400_BAD_REQUEST) -> None:
        self.error = error
        self.status_code = status_code
        super().__init__(message, code=error.lower())


class EvaluationView(APIView):
    """The base of the views. The project's classes authenticate; FLAGS_PERMISSION_CLASSES decide.

    Parsers, renderers and errors are those of the protocol, because its clients accept no others.
    """

    parser_classes = (JSONParser,)
    renderer_classes = (JSONRenderer,)
    schema = None  # the protocol has a specification of its own
    contract: ClassVar[dict[str, Any]] = {"idempotency": "off"}

    def get_permissions(self) -> Sequence[BasePermission]:
        return [imported(permission)() for permission in conf.PERMISSION_CLASSES]

    def context(self, request: Request) -> Context:
        """Return the context of the evaluation.

        If FLAGS_CONTEXT fails, each use of the context raises its exception. So the flags that need it have an error,
        and the others their values, as everywhere. What the client sends of itself must not take its place.
        """
        sent = self._document(request).get("context", {})
        own = flags.context(request)
        try:
            return merge(own, sent, request)
        except InvalidContext as error:
            raise Refused(error.code, str(error)) from error
        except Exception as error:  # noqa: BLE001  # of the project; a flag must not break a request
            flags.report(error)
            return own

    def _document(self, request: Request) -> dict[str, Any]:
        if request.content_type.partition(";")[0].strip().lower() != "application/json":
            raise UnsupportedMediaType(request.content_type)
        try:
            # Before the body is read, and after, because a chunked body has no length.
            if int(request.META.get("CONTENT_LENGTH") or 0) > MAX_BODY or len(body := request._request.body) > MAX_BODY:
                self._refuse_size()
            document = json.loads(body or b"{}", parse_constant=_refuse_constant)
        except RequestDataTooBig:
            self._refuse_size()
        except (ValueError, RecursionError) as error:
            raise Refused("PARSE_ERROR", _("The body is not valid JSON.")) from error
        if not isinstance(document, dict):
            raise Refused("PARSE_ERROR", _("The body must be a JSON object with the member context."))
        return document

    def _refuse_size(self) -> NoReturn:
        message = _("The body is larger than %d bytes.") % MAX_BODY
        raise Refused("INVALID_CONTEXT", message, status.HTTP_413_REQUEST_ENTITY_TOO_LARGE)

    def get_exception_handler(self) -> Any:
        return handle


class FlagView(EvaluationView):
    """``POST /ofrep/v1/evaluate/flags/{key}``."""

    def post(self, request: Request, key: str) -> HttpResponse:
        context = self.context(request)
        # The same for a flag that clients may not read: names of flags reveal plans.
        if key not in visible_keys(request):
            raise NotFound(_("There is no flag %r.") % key)
        details = flags.details_in(context, key, request)
        if details.reason == Reason.ERROR:
            raise Refused(str(details.error), _error_text(details))
        return HttpResponse(etags.encode(_evaluation(key, details)), content_type="application/json", headers=_HEADERS)


class FlagsView(EvaluationView):
    """``POST /ofrep/v1/evaluate/flags``: all flags that clients may read. 304 if ``If-None-Match`` has the ETag."""

    def post(self, request: Request) -> HttpResponse:
        context = self.context(request)
        # The ETag is that of the flags. The URL of the stream differs each time.
        content, tag = _content(request, context)
        headers = {**_HEADERS, "ETag": tag}
        if etags.is_current(request, tag):
            return HttpResponse(status=status.HTTP_304_NOT_MODIFIED, headers=headers)
        # Without a context, the caller may be unknown.
        offered = streams(request._request, caller_of(request.user, context)) if context.is_loaded else []
        more = b',"eventStreams":%b' % etags.encode(offered) if offered else b""
        content = b'{"flags":[%b]%b}' % (content, more)
        return HttpResponse(content, content_type="application/json", headers=headers)


def _content(request: Request, context: Context) -> tuple[bytes, str]:
    """Return the encoded flags and their entity tag."""
    answers, question = flags.answers(context, request)
    if answers is not None and question is not None and (stored := answers.get(question)):
        return stored
    visible_keys(request)
    evaluations = flags.all_in(context, request)
    # In a fixed order, for the ETag.
    content = b",".join([_encoded(key, evaluations[key]) for key in sorted(evaluations)])
    tag = etags.tag_of(content)
    # A failure may end before a flag changes.
    if answers is not None and question is not None and not any(details.error for details in evaluations.values()):
        answers.store(question, content, tag)
    return content, tag


#: The encoded evaluations by the id of their details, which are the same objects until a flag changes. Encoding 200
#: flags takes longer than their evaluation. The details are kept, so that their ids are not used again.
_cache: dict[int, tuple[str, Details, bytes]] = {}
_CACHE_SIZE: Final = 10_000


def _encoded(key: str, details: Details) -> bytes:
    cached = _cache.get(id(details))
    if cached is not None and cached[1] is details and cached[0] == key:
        return cached[2]
    content = etags.encode(_evaluation(key, details))
    # Objects are copied for each evaluation, and other providers make new details: they would only fill the cache.
    if details.version is None or isinstance(details.value, dict | list):
        return content
    if len(_cache) >= _CACHE_SIZE:
        _cache.clear()
    _cache[id(details)] = key, details, content
    return content


def _evaluation(key: str, details: Details) -> dict[str, Any]:
    if details.reason == Reason.ERROR:
        return {"key": key, "errorCode": details.error, "errorDetails": _error_text(details)}
    metadata = {"version": details.version} if details.version is not None else {}
    return {
        "key": key,
        "value": details.value,
        "variant": details.variant or "",
        "reason": str(details.reason),
        "metadata": metadata,
    }


def _error_text(details: Details) -> str:
    # The text of an exception may name hosts and tables. It is in the log.
    if details.error == ErrorCode.GENERAL:
        return _("The evaluation failed.")
    return details.message or str(details.error)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def handle(exc: Exception, context: dict[str, Any]) -> Response | None:
    """Return problem details with the members ``errorCode`` and ``errorDetails``."""
    # REST framework's own handler sets the status, the headers and the rollback.
    response = exception_handler(exc, context)
    if response is None:
        return None
    detail = response.data.get("detail") if isinstance(response.data, dict) else None
    text = str(detail or HTTPStatus(response.status_code).phrase)
    problem = {
        "type": "about:blank",
        "title": HTTPStatus(response.status_code).phrase,
        "status": response.status_code,
        "detail": text,
        "errorCode": _error_code(exc, response.status_code),
        "errorDetails": text,
    }
    if key := context["kwargs"].get("key"):
        problem["key"] = key
    if (wait := getattr(exc, "wait", None)) is not None:
        # Rounded up, because a client that returns too early would be refused again.
        response.headers["Retry-After"] = str(max(1, math.ceil(wait)))
    response.data, response.content_type = problem, "application/problem+json"
    return response


def _error_code(exc: Exception, status_code: int) -> str:
    if isinstance(exc, Refused):
        return exc.error
    if isinstance(exc, Unavailable):
        return str(ErrorCode.PROVIDER_NOT_READY)
    return str(ErrorCode.FLAG_NOT_FOUND if status_code == status.HTTP_404_NOT_FOUND else ErrorCode.GENERAL)
