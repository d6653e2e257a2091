from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from dovetail_notify.exceptions import InvalidLink
from dovetail_notify.services import unsubscribe
from dovetail_notify.transports.unsubscribe_tokens import read_token


# Mail clients post without cookies (RFC 8058 3.2); the signed token authorizes the request.
@method_decorator(csrf_exempt, name="dispatch")
class UnsubscribeView(View):
    """The page of a mail's unsubscribe link. GET changes nothing, because mail scanners follow every link."""

    def get(self, request: HttpRequest, token: str, **_: Any) -> HttpResponse:
        return self._page(request, token, done=False)

    def post(self, request: HttpRequest, token: str, **_: Any) -> HttpResponse:
        return self._page(request, token, done=True)

    def _page(self, request: HttpRequest, token: str, *, done: bool) -> HttpResponse:
        try:
            unsubscribe(token) if done else read_token(token)
        except InvalidLink as error:
            raise Http404 from error
        return render(request, "dovetail_notify/unsubscribe.html", {"done": done})
