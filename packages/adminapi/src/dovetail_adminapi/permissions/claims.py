"""What a verified token says about its bearer. The authentication class verifies it; nothing here decodes a token."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dovetail_adminapi.conf import conf

#: Seconds by which the clock of an issuer may be ahead.
_LEEWAY: Final = 60


def claims_of(auth: object) -> Mapping[str, Any]:
    """Return the claims of ``request.auth``: a mapping, or an object such as simplejwt's with a mapping ``payload``."""
    if isinstance(auth, Mapping):
        return auth
    payload = getattr(auth, "payload", None)
    return payload if isinstance(payload, Mapping) else {}


def seconds_of(claims: Mapping[str, Any], name: str) -> float | None:
    """Return a NumericDate claim (RFC 7519 2), or None if it is missing or not a number."""
    value = claims.get(name)
    return None if isinstance(value, bool) or not isinstance(value, int | float) else value


@dataclass(frozen=True, slots=True)
class Roles:
    """The roles that count. ``expired``: the token claims roles, and is too old for them."""

    names: tuple[str, ...] = ()
    expired: bool = False


def roles_of(claims: Mapping[str, Any]) -> Roles:
    """Return the roles that ``ADMINAPI_ROLE_CLAIM`` names.

    The attack: a customer's token has a field of the same name, which the customer or another part of the project may
    write. Only tokens of ``ADMINAPI_ROLE_ISSUERS`` claim roles. A role is withdrawn at the issuer, which the project
    learns with the next token, so an old token claims none.
    """
    if conf.ROLE_CLAIM is None or not claims or claims.get("iss") not in conf.ROLE_ISSUERS:
        return Roles()
    names = _names(_value(claims, conf.ROLE_CLAIM))
    issued = seconds_of(claims, "iat")
    if issued is None or not -_LEEWAY <= time.time() - issued <= conf.MAX_TOKEN_AGE:
        return Roles(expired=bool(names))
    return Roles(names)


def _value(claims: Mapping[str, Any], path: str) -> object:
    # Some providers require a URL as the name of a claim, whose dots are no levels.
    if path in claims:
        return claims[path]
    value: object = claims
    for name in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def _names(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, Sequence) else ()
