"""Middleware for the forms of Django: its admin site, ``LoginView`` and ``PasswordChangeView``.

Models are imported in the functions, because a project's settings may import this module.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

from asgiref.sync import sync_to_async
from django.core.exceptions import NON_FIELD_ERRORS
from django.forms import BaseForm
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.translation import ngettext

from dovetail_core.attempts import Reservation, TooManyAttempts
from dovetail_core.middleware import Middleware

_CHANGE = "_dovetail_password_change"


class SignInLimitMiddleware(Middleware):
    """Answers 429 with a message if a backend of ``dovetail_identity.backends`` refuses an attempt to sign in.

    Also limits guesses at the current password in Django's own form to change it. Put it after
    ``AuthenticationMiddleware``.
    """

    def respond(self, request: HttpRequest) -> HttpResponseBase:
        return self._end(request, self.get_response(request))

    async def arespond(self, request: HttpRequest) -> HttpResponseBase:
        response: HttpResponseBase = await self.get_response(request)
        if getattr(request, _CHANGE, None) is not None:
            # In a thread, because the cache may be a database.
            await sync_to_async(self._end)(request, response)
        return response

    def process_view(
        self, request: HttpRequest, view: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> HttpResponseBase | None:
        if request.method != "POST" or not _changes_password(request, view) or not request.user.is_authenticated:
            return None
        from dovetail_identity.sessions import attempts

        try:
            setattr(request, _CHANGE, attempts.begin_change(request, request.user))
        except TooManyAttempts as error:
            refusal = HttpResponse(_message(error), content_type="text/plain; charset=utf-8")
            return _limited(refusal, error)
        return None

    def process_template_response(self, request: HttpRequest, response: Any) -> HttpResponseBase:
        from dovetail_identity.sessions import attempts

        form = (response.context_data or {}).get("form")
        reservation: Reservation | None = getattr(request, _CHANGE, None)
        if reservation is not None and isinstance(form, BaseForm) and "old_password" not in form.errors:
            reservation.refund()  # the new password is the error
        error = attempts.refusal_of(request)
        if error is None:
            return cast("HttpResponseBase", response)
        if isinstance(form, BaseForm) and NON_FIELD_ERRORS in form.errors:
            # In place of "wrong password", which is not known.
            form.errors[NON_FIELD_ERRORS] = form.error_class(
                [_message(error)], error_class="nonfield", renderer=form.renderer
            )
        return _limited(response, error)

    @staticmethod
    def _end(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        reservation: Reservation | None = getattr(request, _CHANGE, None)
        if reservation is not None and response.status_code == 302:
            reservation.refund()
        return response


def _changes_password(request: HttpRequest, view: Any) -> bool:
    from django.contrib.auth.views import PasswordChangeView

    match = request.resolver_match
    # The admin site wraps Django's view in a method of its own, which has this name.
    named = match is not None and match.url_name == "password_change"
    is_form = named or issubclass(getattr(view, "view_class", object), PasswordChangeView)
    return is_form and "old_password" in request.POST


def _limited(response: HttpResponseBase, error: TooManyAttempts) -> HttpResponseBase:
    response.status_code = 429
    response.headers["Retry-After"] = str(math.ceil(error.wait))
    response.headers["Cache-Control"] = "no-store"
    return response


def _message(error: TooManyAttempts) -> str:
    minutes = math.ceil(error.wait / 60)
    hours = math.ceil(error.wait / 3600)
    # A reset clears the count of the account. That of the address stays.
    if error.budget.name == "identity.account":
        if minutes > 60:
            return ngettext(
                "Too many failed attempts. Try again in %(hours)d hour, or reset your password.",
                "Too many failed attempts. Try again in %(hours)d hours, or reset your password.",
                hours,
            ) % {"hours": hours}
        return ngettext(
            "Too many failed attempts. Try again in %(minutes)d minute, or reset your password.",
            "Too many failed attempts. Try again in %(minutes)d minutes, or reset your password.",
            minutes,
        ) % {"minutes": minutes}
    if minutes > 60:
        return ngettext(
            "Too many failed attempts. Try again in %(hours)d hour.",
            "Too many failed attempts. Try again in %(hours)d hours.",
            hours,
        ) % {"hours": hours}
    return ngettext(
        "Too many failed attempts. Try again in %(minutes)d minute.",
        "Too many failed attempts. Try again in %(minutes)d minutes.",
        minutes,
    ) % {"minutes": minutes}
