"""``/problems`` and ``/problems/<code>``: the pages at the URLs in ``type``."""

from __future__ import annotations

from dataclasses import asdict

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from dovetail_contract.problems.builder import problem
from dovetail_contract.problems.catalogue import problem_type, problem_types, type_uri


@require_safe
def catalogue(request: HttpRequest) -> HttpResponse:
    """All problem types of this service."""
    types = [{"type": type_uri(each.code), **asdict(each)} for _, each in sorted(problem_types().items())]
    return JsonResponse({"data": types})


@require_safe
def documentation(request: HttpRequest, code: str) -> HttpResponse:
    """One type: ``{"type", "code", "status", "title", "description"}``."""
    known = problem_type(code)
    if known is None:
        return problem(404, detail=f"No problem of this service has the code {code[:100]!r}.")
    return JsonResponse({"type": type_uri(code), **asdict(known)})
