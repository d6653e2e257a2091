"""``/problems`` and ``/problems/<code>``: the pages at the URLs in ``type``."""

from __future__ import annotations

from dataclasses import asdict

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from dovetail_contract.problems.builder import problem
from dovetail_contract.problems.catalogue import problem_type, problem_types, type_uri


@require_safe
def catalogue(request: HttpRequest) -> HttpResponse:
    types = [{"type": type_uri(entry.code), **asdict(entry)} for _code, entry in sorted(problem_types().items())]
    return JsonResponse({"data": types})


@require_safe
def documentation(request: HttpRequest, code: str) -> HttpResponse:
    """Return one type: ``{"type", "code", "status", "title", "description"}``."""
    entry = problem_type(code)
    if entry is None:
        return problem(404, detail=_("This service has no problem with the code '%(code)s'.") % {"code": code[:100]})
    return JsonResponse({"type": type_uri(code), **asdict(entry)})
