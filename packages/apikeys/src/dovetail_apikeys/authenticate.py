"""From a request to the key that it came with. Knows nothing of REST framework."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from dovetail_apikeys import networks, raw_key, usage, verifiers
from dovetail_apikeys.cache import cache
from dovetail_apikeys.credential import APIKeyCredential
from dovetail_apikeys.hot import hot
from dovetail_apikeys.lookup import Stored, look_up
from dovetail_apikeys.raw_key import RawKey
from dovetail_core.net import client_address

logger = logging.getLogger("dovetail.apikeys")

_OURS: Final = (verifiers.OURS,)
_DUMMY: Final = "0" * 64


class InvalidKey(Exception):
    """The key is malformed, unknown, revoked, expired or used from elsewhere: the client is not told which."""


class Presented(NamedTuple):
    raw: RawKey
    #: What may recognize it, ours first.
    verifiers: Sequence[verifiers.Verifier]
    #: Whether nobody else could know what to do with it.
    claimed: bool


def authenticate(request: HttpRequest) -> APIKeyCredential | None:
    """The key that ``request`` came with, or None where it came with none that is ours to judge.

    One query, or none where the process knows the key (``API_KEYS_CACHE_TTL``). None at all for what is malformed.
    Raises ``InvalidKey``.
    """
    presented = presented_key(request)
    if presented is None:
        return None
    raw = presented.raw
    if len(raw) > raw_key.LONGEST or not raw.isascii():
        # Before hashing: 10 kB of it, half a surrogate pair, bytes that are no text.
        if presented.claimed:
            raise InvalidKey
        return None
    credential, stored_hash = _credential(presented)
    if credential is None:
        return None
    _require_good(credential, request)
    upgrade = verifiers.hashed(raw) if stored_hash and not verifiers.is_ours(stored_hash) else None
    usage.note(request, credential, upgrade=(stored_hash, upgrade) if upgrade else None)
    return credential


def presented_key(request: HttpRequest) -> Presented | None:
    """The key in ``X-API-Key`` (``API_KEYS_HEADER``), else in ``Authorization``.

    ``Bearer`` is every kind of token's: only what begins with our brand is taken, the rest is left to the next class.
    """
    meta, now = request.META, hot()
    if now.header and now.header in meta:
        raw = RawKey(meta[now.header].strip())
        _cover(request, now.header)
        return Presented(raw, [verifiers.OURS, *now.verifiers], claimed=True)
    keyword, _, rest = meta.get("HTTP_AUTHORIZATION", "").partition(" ")
    keyword, rest = keyword.lower(), RawKey(rest.strip())
    if keyword == "bearer" and rest.partition("_")[0] in now.brands:
        _cover(request, "HTTP_AUTHORIZATION")
        return Presented(rest, _OURS, claimed=True)
    fitting = [each for each in now.verifiers if keyword in each.keywords]
    if fitting:
        _cover(request, "HTTP_AUTHORIZATION")
        return Presented(rest, fitting, claimed=False)
    return None


def _cover(request: HttpRequest, name: str) -> None:
    """Leave the header as it is, but not what debug pages and error trackers show of it, which is its ``repr``.

    Django hides headers whose names it finds suspicious; ``API_KEYS_HEADER`` may have any.
    """
    request.META[name] = RawKey(request.META[name])
    # A copy of all headers, if somebody has asked for them before.
    vars(request).pop("headers", None)


def _credential(presented: Presented) -> tuple[APIKeyCredential | None, str]:
    """The good key and its stored hash ("" from memory). None for an unknown one that another class may know."""
    raw, ttl = presented.raw, hot().cache_ttl
    if not ttl:
        return _found(presented)
    digest = hashlib.sha256(raw.encode()).digest()
    known = cache.get(digest)
    if known is not None:
        return known, ""
    begun = cache.begin()
    credential, stored_hash = _found(presented)
    if credential is not None:
        cache.put(digest, credential, begun, ttl)
    return credential, stored_hash


def _found(presented: Presented) -> tuple[APIKeyCredential | None, str]:
    raw = presented.raw
    prefix = None
    for each in presented.verifiers:
        if prefix := each.prefix_of(raw):
            break
    stored = look_up(prefix) if prefix else None
    if not prefix or stored is None:
        if not presented.claimed:
            return None, ""
        # As long as for a key that exists. That one does is no secret, but costs nothing to keep.
        constant_time_compare(_DUMMY, _DUMMY)
        raise InvalidKey
    if not verifiers.verify(raw, stored.hashed_key):
        raise _refused(prefix, "does not match")
    if stored.revoked_at is not None:
        raise _refused(prefix, "is revoked")
    return _snapshot(prefix, stored), stored.hashed_key


def _snapshot(prefix: str, stored: Stored) -> APIKeyCredential:
    return APIKeyCredential(
        id=stored.id,
        prefix=prefix,
        organization_id=stored.organization_id,
        scopes=frozenset(stored.scopes.split()),
        expires_at=stored.expires_at,
        allowed_networks=tuple(stored.allowed_networks.split()),
        rate_limit=stored.rate_limit,
        created_by_id=stored.created_by_id,
    )


def _require_good(credential: APIKeyCredential, request: HttpRequest) -> None:
    """What may change between two requests although the row does not."""
    if credential.expires_at is not None and credential.expires_at <= timezone.now():
        raise _refused(credential.prefix, "has expired")
    allowed = credential.allowed_networks
    if allowed and not networks.contains(allowed, client_address(request)):
        raise _refused(credential.prefix, "is not for this network")


def _refused(prefix: str, why: str) -> InvalidKey:
    # For the operator: the client is told nothing of it.
    logger.info("API key %s %s.", prefix, why)
    return InvalidKey()


def principal_of(credential: APIKeyCredential) -> Any:
    """``request.user`` for this key. Raises ``InvalidKey`` where it acts for a person who may not sign in any more."""
    principal = hot().principal(credential)
    if principal is None:
        raise _refused(credential.prefix, "acts for nobody who may sign in")
    return principal
