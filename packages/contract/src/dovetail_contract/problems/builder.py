"""The exceptions and responses of problems (RFC 9457)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.http import HttpResponse
from django.utils.encoding import force_str
from django.utils.functional import Promise
from rest_framework.exceptions import APIException
from rest_framework.utils.encoders import JSONEncoder

from dovetail_contract.problems.catalogue import CODES, phrase, problem_type, type_uri
from dovetail_core import context
from dovetail_core.models import uuid7

MEDIA_TYPE = "application/problem+json"
#: The maximum number of ``errors`` in a response. If there are more, ``errors_truncated`` is true.
MAX_ERRORS = 50


class Problem(APIException):
    """Raise it anywhere in a REST framework view: ``raise Problem("account_frozen", "Pay the open invoice first.")``.

    ``status`` defaults to that of the code's registered type, else 400. ``errors`` are mappings with ``code``,
    ``detail`` and one of ``pointer``, ``parameter``, ``header``. ``extensions`` become additional members.
    """

    def __init__(
        self,
        code: str,
        detail: str | Promise = "",
        *,
        status: int | None = None,
        errors: Sequence[Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
        **extensions: Any,
    ) -> None:
        known = problem_type(code)
        self.status_code = status or (known.status if known else 400)
        self.code = code
        self.errors = list(errors)
        self.headers = dict(headers or {})
        self.extensions = extensions
        super().__init__(force_str(detail or (known.title if known else phrase(self.status_code))), code)


def mistake(parameter: str, detail: str, *, code: str = "invalid", allowed: Sequence[str] = ()) -> dict[str, Any]:
    """Return one member of ``errors`` about a query parameter. ``allowed`` lists the valid values."""
    member: dict[str, Any] = {"code": code, "detail": detail, "parameter": parameter[:100]}
    return {**member, "allowed": list(allowed)} if allowed else member


class InvalidQuery(Problem):
    """400 ``invalid_query`` (or ``code``) with all ``mistakes``, which ``detail`` repeats for other handlers."""

    def __init__(self, mistakes: Sequence[dict[str, Any]], *, code: str = "invalid_query") -> None:
        detail = " ".join(f"{entry['parameter']}: {entry['detail']}" for entry in mistakes[:5])
        super().__init__(code, detail, status=400, errors=mistakes)


class _Encoder(DjangoJSONEncoder, JSONEncoder):
    """Django's encoder, which keeps the digits of a decimal. REST framework's encodes the types that it lacks."""


class ProblemResponse(HttpResponse):
    """Rendered without REST framework's renderers, because the negotiated one may produce YAML or HTML.

    ``data`` is the body as a dictionary, as in REST framework's responses.
    """

    exception = True

    def __init__(self, data: dict[str, Any], headers: Mapping[str, str] | None = None) -> None:
        self.data = data
        # A message may repeat a lone surrogate of the request, which cannot be encoded.
        text = json.dumps(data, cls=_Encoder, ensure_ascii=False, separators=(",", ":"))
        super().__init__(text.encode(errors="replace"), status=data["status"], content_type=MEDIA_TYPE, headers=headers)


def problem(
    status: int,
    code: str = "",
    detail: object = "",
    *,
    errors: Iterable[Mapping[str, Any]] = (),
    headers: Mapping[str, str] | None = None,
    extensions: Mapping[str, Any] | None = None,
) -> ProblemResponse:
    """Return the response to an error. ``code`` defaults to the code of the status."""
    # A status that CODES lacks gets a code with its number.
    code = code or CODES.get(status, f"status_{status}")
    known = problem_type(code)
    title = force_str(known.title) if known else phrase(status)
    members = list(errors)
    # Without RequestIDMiddleware, no log has this id, but the response keeps its shape.
    request_id = context.request_id() or uuid7().hex
    body: dict[str, Any] = {
        "type": type_uri(code),
        "title": title,
        "status": status,
        "detail": force_str(detail) or title,
        # Not the URL, which may contain private data.
        "instance": f"urn:request:{request_id}",
        "code": code,
        "request_id": request_id,
        "errors": members[:MAX_ERRORS],
    }
    if len(members) > MAX_ERRORS:
        body["errors_truncated"] = True
    return ProblemResponse({**(extensions or {}), **body}, headers)
