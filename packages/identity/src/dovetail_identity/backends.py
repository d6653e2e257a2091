"""Authentication backends that limit guesses, for every caller of ``authenticate()``: the admin site, forms, DRF.

The first such backend in ``AUTHENTICATION_BACKENDS`` counts the attempt. A refused attempt reaches no backend.
"""

from __future__ import annotations

from inspect import signature
from typing import Any
from uuid import UUID

from asgiref.sync import sync_to_async
from django.contrib.auth import backends, get_user_model
from django.core.exceptions import PermissionDenied
from django.views.decorators.debug import sensitive_variables

from dovetail_core.attempts import TooManyAttempts
from dovetail_identity.sessions import attempts


class LimitsAttempts:
    """A mixin for a backend that evaluates passwords, before the backend in the bases::

        class DirectoryBackend(LimitsAttempts, LDAPBackend): ...

    A refused attempt ends ``authenticate()`` with None, like a wrong password. All backends that evaluate passwords
    need the mixin: a password that a later backend without it accepts counts as wrong until ``login()``.
    """

    @sensitive_variables()
    def authenticate(self, request: Any, username: str | None = None, password: str | None = None, **other: Any) -> Any:
        credentials = _given(username, password, other)
        evaluate: Any = super().authenticate  # type: ignore[misc]  # of the backend
        if not _accepts(evaluate, request, credentials):
            return None
        attempt = self._begin(request, credentials)
        user = evaluate(request, **credentials)
        _end(attempt, user)
        return user

    @sensitive_variables()
    async def aauthenticate(
        self, request: Any, username: str | None = None, password: str | None = None, **other: Any
    ) -> Any:
        credentials = _given(username, password, other)
        evaluate: Any = getattr(super(), "aauthenticate", None)
        if getattr(evaluate, "__func__", None) in (None, backends.BaseBackend.aauthenticate):
            # The backend has no async variant, or Django's, which calls the method above.
            return await sync_to_async(self.authenticate)(request, **credentials)
        if not _accepts(evaluate, request, credentials):
            return None
        # In threads, because the cache may be on another host.
        attempt = await sync_to_async(self._begin)(request, credentials)
        user = await evaluate(request, **credentials)
        await sync_to_async(_end)(attempt, user)
        return user

    def _begin(self, request: Any, credentials: dict[str, Any]) -> attempts.PasswordAttempt | None:
        if credentials.get("password") is None:
            return None  # not a password
        try:
            return attempts.join(request, _name_in(credentials), type(self))
        except TooManyAttempts as error:
            raise PermissionDenied from error


class ModelBackend(LimitsAttempts, backends.ModelBackend):
    """Django's backend, with limits. Use it in place of ``django.contrib.auth.backends.ModelBackend``."""


def _given(username: str | None, password: str | None, other: dict[str, Any]) -> dict[str, Any]:
    named = {"username": username, "password": password}
    return {**{name: value for name, value in named.items() if value is not None}, **other}


def _name_in(credentials: dict[str, Any]) -> str | None:
    """Return the text that identifies the account, or None if there is none."""
    model: Any = get_user_model()
    for name in ("username", model.USERNAME_FIELD):
        if credentials.get(name) is not None:
            return str(credentials[name])
    others = {
        name: str(value)
        for name, value in sorted(credentials.items())
        if name != "password" and isinstance(value, str | int | UUID)
    }
    # A client could change a one-time code with each guess, so fields of the account are preferred.
    columns = {field.name for field in model._meta.concrete_fields}
    fields = [value for name, value in others.items() if name in columns]
    return "\n".join(fields or others.values()) or None


def _accepts(evaluate: Any, request: Any, credentials: dict[str, Any]) -> bool:
    # authenticate() skips backends with another signature. It sees the signature of the mixin, which accepts all.
    try:
        signature(evaluate).bind(request, **credentials)
    except TypeError:
        return False
    return True


def _end(attempt: attempts.PasswordAttempt | None, user: Any) -> None:
    if attempt is not None and user is not None and not attempt.managed:
        attempt.succeed(user)
