"""From a request to the credential of the API key that it carries. Independent of REST framework."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from dovetail_apikeys.principal.api_key import APIKeyCredential
from dovetail_apikeys.restrictions import networks
from dovetail_apikeys.verification import raw_key, usage, verifiers
from dovetail_apikeys.verification.cache import cache
from dovetail_apikeys.verification.lookup import Stored, look_up
from dovetail_apikeys.verification.raw_key import RawKey
from dovetail_apikeys.verification.request_settings import hot
from dovetail_core.net import client_address

logger = logging.getLogger("dovetail.apikeys")

_OURS: Final = (verifiers.OURS,)
_DUMMY: Final = "0" * 64


class InvalidKey(Exception):
    """The key is malformed, unknown, revoked, expired or not for this network. The response does not say which."""


class Presented(NamedTuple):
    """A key as the request presents it."""

    raw: RawKey
    #: The verifiers that may recognize it, ours first.
    verifiers: Sequence[verifiers.Verifier]
    #: Whether it can only be a key of ours, so that no other authentication class has to see it.
    claimed: bool


def authenticate(request: HttpRequest) -> APIKeyCredential | None:
    """The credential of the request's API key, or None if the request has no key that this package recognizes.

    One query; none if the key is in the cache (``API_KEYS_CACHE_TTL``) or malformed. Raises ``InvalidKey``.
    """
    presented = presented_key(request)
    if presented is None:
        return None
    raw = presented.raw
    if len(raw) > raw_key.LONGEST or not raw.isascii():
        # Before hashing: it may be 10 kB long, or hold half a surrogate pair or bytes that are not text.
        if presented.claimed:
            raise InvalidKey
        return None
    credential, stored_hash = _credential(presented)
    if credential is None:
        return None
    _require_usable(credential, request)
    upgrade = verifiers.hashed(raw) if stored_hash and not verifiers.is_ours(stored_hash) else None
    usage.record_after_response(request, credential, upgrade=(stored_hash, upgrade) if upgrade else None)
    return credential


def presented_key(request: HttpRequest) -> Presented | None:
    """The key in ``X-API-Key`` (``API_KEYS_HEADER``), else in ``Authorization``.

    Tokens of every kind come as ``Bearer``: only a token that begins with a brand of ours is taken, and the others are
    left to the next authentication class.
    """
    meta, settings = request.META, hot()
    if settings.header and settings.header in meta:
        raw = RawKey(meta[settings.header].strip())
        _hide(request, settings.header)
        return Presented(raw, [verifiers.OURS, *settings.verifiers], claimed=True)
    keyword, _, rest = meta.get("HTTP_AUTHORIZATION", "").partition(" ")
    keyword, rest = keyword.lower(), RawKey(rest.strip())
    if keyword == "bearer" and rest.partition("_")[0] in settings.brands:
        _hide(request, "HTTP_AUTHORIZATION")
        return Presented(rest, _OURS, claimed=True)
    candidates = [verifier for verifier in settings.verifiers if keyword in verifier.keywords]
    if candidates:
        _hide(request, "HTTP_AUTHORIZATION")
        return Presented(rest, candidates, claimed=False)
    return None


def _hide(request: HttpRequest, name: str) -> None:
    """Hide the header from debug pages and error trackers, which show its ``repr``. Its value stays the same.

    Django hides headers by their name, and ``API_KEYS_HEADER`` may name any header.
    """
    request.META[name] = RawKey(request.META[name])
    # A cached copy of all headers, if code before us has read request.headers.
    vars(request).pop("headers", None)


def _credential(presented: Presented) -> tuple[APIKeyCredential | None, str]:
    """The credential and its stored hash ("" if it comes from the cache).

    The credential is None for an unknown key that another authentication class may recognize.
    """
    raw, ttl = presented.raw, hot().cache_ttl
    if not ttl:
        return _stored_credential(presented)
    digest = hashlib.sha256(raw.encode()).digest()
    cached = cache.get(digest)
    if cached is not None:
        return cached, ""
    read = cache.begin_read()
    credential, stored_hash = _stored_credential(presented)
    if credential is not None:
        cache.put(digest, credential, read, ttl)
    return credential, stored_hash


def _stored_credential(presented: Presented) -> tuple[APIKeyCredential | None, str]:
    raw = presented.raw
    prefix = None
    for verifier in presented.verifiers:
        if prefix := verifier.prefix_of(raw):
            break
    stored = look_up(prefix) if prefix else None
    if not prefix or stored is None:
        if not presented.claimed:
            return None, ""
        # Takes the same time as for a key that exists. Whether one exists is no secret, but hiding it costs nothing.
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


def _require_usable(credential: APIKeyCredential, request: HttpRequest) -> None:
    """Check what can change between two requests while the row stays the same. Raises ``InvalidKey``."""
    if credential.expires_at is not None and credential.expires_at <= timezone.now():
        raise _refused(credential.prefix, "has expired")
    allowed = credential.allowed_networks
    if allowed and not networks.contains(allowed, client_address(request)):
        raise _refused(credential.prefix, "is not for this network")


def _refused(prefix: str, reason: str) -> InvalidKey:
    # For the operator only: the response has one text for every bad key.
    logger.info("API key %s %s.", prefix, reason)
    return InvalidKey()


def principal_of(credential: APIKeyCredential) -> Any:
    """``request.user`` for this key. Raises ``InvalidKey`` if the person it acts for can no longer sign in."""
    principal = hot().principal(credential)
    if principal is None:
        raise _refused(credential.prefix, "acts for nobody who may sign in")
    return principal
