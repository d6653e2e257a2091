from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest

from dovetail_core import context as core_context
from dovetail_flags.conf import conf
from dovetail_flags.types.context import Context


def default_context(request: HttpRequest | None) -> tuple[Any, Mapping[str, Any]]:
    """Return the organization, else the user's key, as the targeting key, and the attributes of the caller.

    The attributes are ``organization``, ``user``, ``anonymous``, ``staff`` and ``principal_kind`` (``user``,
    ``machine`` or ``anonymous``). All of them come from the credential of the request or the context of
    ``dovetail_core``. No header, cookie or parameter is read: a client could choose its own flags with it.
    """
    principal = _principal(request)
    organization = core_context.organization_id()
    if organization is None:
        organization = getattr(getattr(request, "auth", None), "organization_id", None)
    known = principal is not None and bool(getattr(principal, "is_authenticated", False))
    key = getattr(principal, "pk", None) if known else None
    is_user = known and hasattr(principal, "get_session_auth_hash")
    attributes: dict[str, Any] = {
        "anonymous": not known,
        "principal_kind": "anonymous" if not known else "user" if is_user else "machine",
        "staff": known and bool(getattr(principal, "is_staff", False)),
    }
    if organization is not None:
        attributes["organization"] = organization
    if key is not None:
        attributes["user"] = key
    return key if organization is None else organization, attributes


def _principal(request: HttpRequest | None) -> Any:
    user = getattr(request, "user", None)
    if user is not None and getattr(user, "is_authenticated", False):
        return user
    return core_context.principal() if request is None else user


def read_context(request: HttpRequest | None) -> Context:
    """Return the context that ``FLAGS_CONTEXT`` gives."""
    return Context(*conf.CONTEXT(request))
