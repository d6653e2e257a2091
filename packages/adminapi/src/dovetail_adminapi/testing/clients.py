from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from django.db.models import Q
from rest_framework.test import APIClient

from dovetail_adminapi.api.guard import AdminGuard
from dovetail_adminapi.api.operations import registry
from dovetail_adminapi.conf import conf
from dovetail_core.accounts import create_passwordless_account
from dovetail_core.inspection import routes

#: Values for the converters of paths. Text that fits no converter reaches the view for unknown paths.
_SAMPLES = {"int": "1", "uuid": "01890a5d-ac96-774b-bcce-b302099a8057"}


def admin_client(
    *,
    permissions: Sequence[str] = (),
    roles: Sequence[str] = (),
    auth_age: int | None = 0,
    user: Any = None,
    **options: Any,
) -> APIClient:
    """Return a client of REST framework that acts as a new user, or as ``user``, with exactly these permissions.

    ``permissions`` are names such as ``auth.view_user``. ``roles`` stand in a token of the first of
    ``ADMINAPI_ROLE_ISSUERS``. ``auth_age`` is the age of the sign-in in seconds; None: the token has no time of it.
    ``options`` are those of ``APIClient``. Raises ``ValueError`` for a permission that does not exist.
    """
    user = user or create_passwordless_account(f"admin-{uuid4().hex}@example.com")
    for name in permissions:
        # Late: a project may have no django.contrib.auth.
        from django.contrib.auth.models import Permission

        app_label, _, codename = name.partition(".")
        rows = Permission.objects.filter(Q(content_type__app_label=app_label) & Q(codename=codename))
        if not rows:
            raise ValueError(f"The permission {name!r} does not exist. Run the checks of dovetail_adminapi.")
        user.user_permissions.add(*rows)
    client = APIClient(**options)
    client.force_authenticate(type(user)._default_manager.get(pk=user.pk), token=_claims(roles, auth_age))  # type: ignore[arg-type]  # any credential
    return client


def _claims(roles: Sequence[str], auth_age: int | None) -> dict[str, Any]:
    now = int(time.time())
    claims: dict[str, Any] = {"iat": now}
    if auth_age is not None:
        claims["auth_time"] = now - auth_age
    if roles:
        if conf.ROLE_CLAIM is None or not conf.ROLE_ISSUERS:
            raise ValueError("Roles need ADMINAPI_ROLE_CLAIM and ADMINAPI_ROLE_ISSUERS.")
        claims |= {"iss": conf.ROLE_ISSUERS[0], conf.ROLE_CLAIM: list(roles)}
    return claims


def assert_admin_closed(urlconf: str | None = None) -> None:
    """Assert that each route of the admin API is guarded, and closed to anonymous callers and to users without
    permissions, with every method. Needs the database.

    Raises ``AssertionError`` with all routes that are open, and if no route is guarded.
    """
    operations = registry(urlconf)
    if not operations:
        raise AssertionError("No route is guarded. Include dovetail_adminapi.api.urls in the URLconf.")
    problems = [*_unguarded(operations[0].path)] if urlconf is None else []
    # An operation that runs and fails is open too.
    anonymous = APIClient(raise_request_exception=False)
    stranger = admin_client(raise_request_exception=False)
    options: dict[str, Any] = {"SERVER_NAME": conf.HOSTS[0].lstrip(".")} if conf.HOSTS else {}
    for path in sorted({_filled(item.route) for item in operations}):
        for method in ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"):
            for name, client in (("anonymous callers", anonymous), ("users without permissions", stranger)):
                status = client.generic(method, path, **options).status_code
                if status not in {401, 403, 404}:
                    problems.append(f"{method} {path} is {status} to {name}.")
    if problems:
        raise AssertionError("\n".join(problems))


def _unguarded(prefix: str) -> list[str]:
    """Return the routes below the path of the admin API that are not behind the guard."""
    inside = [item for item in routes() if f"/{item.path.lstrip('/')}".startswith(prefix)]
    views = [(item.path, getattr(item.callback, "cls", None)) for item in inside]
    return [
        f"/{path} is below {prefix} and not behind the guard."
        for path, view in views
        if not (isinstance(view, type) and issubclass(view, AdminGuard))
    ]


def _filled(route: str) -> str:
    path = route
    while "<" in path:
        before, _, rest = path.partition("<")
        converter, _, after = rest.partition(">")
        path = f"{before}{_SAMPLES.get(converter.partition(':')[0], 'x')}{after}"
    return f"/{path.lstrip('/')}"
