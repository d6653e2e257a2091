"""Views that exist only while a flag is on."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Final, Self, TypeVar

from asgiref.sync import iscoroutinefunction
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest
from django.utils.translation import gettext as _

from dovetail_flags.evaluation.facade import flags
from dovetail_flags.types.kinds import KEY_GRAMMAR, is_key

View = TypeVar("View", bound=Callable[..., Any])

#: The keys of all decorators and permissions. A system check compares them with the declared flags.
used_keys: Final[set[str]] = set()


def flag_required(key: str, *, status: int = 404) -> Callable[[View], View]:
    """Decorate a view, sync or async, that exists only while the boolean flag ``key`` is on.

    Otherwise the response is 404, or 403 with ``status=403``. A flag is no permission: check permissions as well.
    """
    _register(key, status)

    def decorate(view: View) -> View:
        if iscoroutinefunction(view):

            @wraps(view)
            async def arespond(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
                _require(await flags.aenabled(key, request), status)
                return await view(request, *args, **kwargs)

            return arespond  # type: ignore[return-value]  # the same signature

        @wraps(view)
        def respond(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            _require(flags.enabled(key, request), status)
            return view(request, *args, **kwargs)

        return respond  # type: ignore[return-value]  # the same signature

    return decorate


class FlagRequired:
    """A permission of REST framework: ``permission_classes = [IsAuthenticated, FlagRequired("new-checkout")]``.

    It follows the permissions that identify the caller, because the flag is evaluated for that caller. If the flag is
    off, the response is 404, or 403 with ``status=403``. It cannot be combined with ``&`` and ``|``: a 404 of one
    operand would hide the other.
    """

    def __init__(self, key: str, *, status: int = 404) -> None:
        _register(key, status)
        self.key = key
        self.status = status

    def __call__(self) -> Self:
        return self  # REST framework calls the entries of permission_classes

    def has_permission(self, request: Any, view: Any) -> bool:
        _require(flags.enabled(self.key, request), self.status)
        return True

    def has_object_permission(self, request: Any, view: Any, instance: Any) -> bool:
        return True


def _register(key: str, status: int) -> None:
    if not is_key(key):
        raise ValueError(f"The key {key!r} {KEY_GRAMMAR}.")
    if status not in {403, 404}:
        raise ValueError(f"status is {status!r}; it must be 404 or 403.")
    used_keys.add(key)


def _require(enabled: bool, status: int) -> None:
    if not enabled:
        if status == 403:
            raise PermissionDenied(_("This feature is not available."))
        raise Http404
