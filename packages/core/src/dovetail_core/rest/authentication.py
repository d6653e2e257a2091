"""The order of authentication classes that read Bearer tokens."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from django.http import HttpRequest
from rest_framework.settings import api_settings

from dovetail_core.inspection import path_of


def claimants_before(ours: type, classes: Sequence[Any] | None = None) -> Iterator[tuple[str, list[str]]]:
    """Yield the paths of authentication classes that take the Bearer tokens of ``ours``, and the right order.

    They come before ``ours`` in ``classes``, by default ``DEFAULT_AUTHENTICATION_CLASSES``, and reject its tokens or
    authenticate them by other rules. In the right order, ``ours`` comes directly before the first of them, so that the
    classes in front stay in front. A class that leaves the tokens of others to the next classes has the attribute
    ``leaves_other_tokens = True``.
    """
    classes = list(api_settings.DEFAULT_AUTHENTICATION_CLASSES) if classes is None else classes
    moved = [item for item in classes if issubclass(item, ours)]
    claimants = [item for item in classes[: classes.index(moved[0])] if _claims(item)] if moved else []
    for claimant in claimants:
        others = [item for item in classes if item not in moved]
        position = others.index(claimants[0])
        yield path_of(claimant), list(map(path_of, [*others[:position], *moved, *others[position:]]))


def _claims(authentication: Any) -> bool:
    # OAuth2Authentication of django-oauth-toolkit returns None for tokens that it does not know.
    leaves = authentication.__module__.startswith("oauth2_provider.")
    return not getattr(authentication, "leaves_other_tokens", leaves) and _challenges_for_bearer(authentication)


def _challenges_for_bearer(authentication: Any) -> bool:
    return bool(re.match(r"bearer\b", challenge(authentication, HttpRequest()), re.IGNORECASE))


def challenge(authentication: Any, request: Any) -> str:
    """Return the challenge of an authentication class, empty without one, and "unknown" if the class raises."""
    try:
        return str(authentication().authenticate_header(request) or "")
    except Exception:  # noqa: BLE001  # a class of the project that needs a complete request
        return "unknown"
