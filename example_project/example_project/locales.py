"""The language and the time zone of a request. ``LocaleMiddleware`` chooses the language by ``Accept-Language``."""

from __future__ import annotations

import contextlib
from typing import Any
from zoneinfo import ZoneInfoNotFoundError

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone, translation
from rest_framework.request import Request

from dovetail_core.middleware import Middleware
from dovetail_identity.api import authentication


class UserLocaleMiddleware(Middleware):
    """Show the admin site in the user's time zone, and reset language and time zone after each request.

    Put it before ``LocaleMiddleware``, which leaves its language active in the thread. The API does not use the user's
    time zone: it promises times in UTC.
    """

    def respond(self, request: HttpRequest) -> HttpResponseBase:
        try:
            return self.get_response(request)  # type: ignore[no-any-return]  # sync or async, so Any
        finally:
            self._reset()

    async def arespond(self, request: HttpRequest) -> HttpResponseBase:
        try:
            return await self.get_response(request)  # type: ignore[no-any-return]  # as above
        finally:
            self._reset()

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> None:
        # Only where the view reads the user anyway: for other pages this would be a query, and Vary: Cookie.
        if request.resolver_match is not None and "admin" in request.resolver_match.app_names:
            activate_language(request, request.user)
            # The server's time zone database may not have the zone any more.
            with contextlib.suppress(ZoneInfoNotFoundError):
                if name := getattr(request.user, "time_zone", ""):
                    timezone.activate(name)

    @staticmethod
    def _reset() -> None:
        translation.deactivate()
        timezone.deactivate()


class JWTAuthentication(authentication.JWTAuthentication):
    """Identity's authentication, which also activates the language of the user.

    A middleware could not: REST framework authenticates within the view.
    """

    def authenticate(self, request: Request) -> Any:
        authenticated = super().authenticate(request)
        if authenticated is not None:
            activate_language(request, authenticated[0])
        return authenticated


def activate_language(request: HttpRequest | Request, user: object) -> None:
    """Activate the language that ``user`` has chosen, unless the client sends ``Accept-Language``."""
    language = getattr(user, "language", "")
    if language in dict(settings.LANGUAGES) and "Accept-Language" not in request.headers:
        translation.activate(language)
