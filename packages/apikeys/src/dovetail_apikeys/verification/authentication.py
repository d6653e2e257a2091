"""Authenticates requests by API key, independently of REST framework."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from dovetail_apikeys.principal import APIKeyCredential
from dovetail_apikeys.restrictions import networks
from dovetail_apikeys.verification import raw_key, usage, verifiers
from dovetail_apikeys.verification.cache import cache
from dovetail_apikeys.verification.lookup import StoredKey, look_up, request_settings
from dovetail_apikeys.verification.raw_key import RawKey
from dovetail_core.net import client_address

logger = logging.getLogger("dovetail.apikeys")

_OURS: Final = (verifiers.OURS,)
_DUMMY: Final = "0" * 64


class InvalidKey(Exception):
    """The key is malformed, unknown, revoked, expired or not allowed from this network. Responses do not say which."""


class PresentedKey(NamedTuple):
    raw: RawKey
    #: The verifiers that may recognize it, ours first.
    verifiers: Sequence[verifiers.Verifier]
    #: Whether it can only be an API key, so that an invalid key is an error and not left to other classes.
    claimed: bool


def authenticate(request: HttpRequest) -> APIKeyCredential | None:
    """Return the credential of the request's API key, or None if the request has no key of a known kind.

    One query; none if the key is in the cache (``API_KEYS_CACHE_TTL``) or malformed. Raise ``InvalidKey``.
    """
    presented = _presented_key(request)
    if presented is None:
        return None
    raw = presented.raw
    if len(raw) > raw_key.LONGEST or not raw.isascii():
        # Checked before hashing: the text may have 10 kB, a lone surrogate or bytes that are not UTF-8.
        if presented.claimed:
            raise InvalidKey
        return None
    credential, stored_hash = _credential(presented)
    if credential is None:
        return None
    _require_usable(credential, request)
    is_imported = stored_hash and not stored_hash.startswith(f"{verifiers.OURS.scheme}$")
    upgrade = (stored_hash, verifiers.hashed(raw)) if is_imported else None
    usage.record_after_response(request, credential, upgrade)
    return credential


def _presented_key(request: HttpRequest) -> PresentedKey | None:
    """Return the key in ``X-API-Key`` (``API_KEYS_HEADER``), else in ``Authorization``.

    ``Bearer`` tokens may be of any kind: those that do not begin with one of our brands are left to the next
    authentication class.
    """
    meta, settings = request.META, request_settings()
    if settings.header and settings.header in meta:
        raw = RawKey(meta[settings.header].strip())
        _hide(request, settings.header)
        return PresentedKey(raw, [verifiers.OURS, *settings.verifiers], claimed=True)
    keyword, _, rest = meta.get("HTTP_AUTHORIZATION", "").partition(" ")
    keyword, rest = keyword.lower(), RawKey(rest.strip())
    if keyword == "bearer" and rest.partition("_")[0] in settings.brands:
        _hide(request, "HTTP_AUTHORIZATION")
        return PresentedKey(rest, _OURS, claimed=True)
    candidates = [verifier for verifier in settings.verifiers if keyword in verifier.keywords]
    if candidates:
        _hide(request, "HTTP_AUTHORIZATION")
        return PresentedKey(rest, candidates, claimed=False)
    return None


def _hide(request: HttpRequest, name: str) -> None:
    """Hide the header from debug pages and error trackers, which show its ``repr``. Its value stays the same.

    Django hides headers by their name, and ``API_KEYS_HEADER`` may name any header.
    """
    request.META[name] = RawKey(request.META[name])
    # Drop the cached copy of all headers that an earlier access to request.headers has created.
    vars(request).pop("headers", None)


def _credential(presented: PresentedKey) -> tuple[APIKeyCredential | None, str]:
    """Return the credential and its stored hash ("" for a credential from the cache).

    The credential is None for an unknown key that another authentication class may recognize.
    """
    raw, ttl = presented.raw, request_settings().cache_ttl
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


def _stored_credential(presented: PresentedKey) -> tuple[APIKeyCredential | None, str]:
    prefix = None
    for verifier in presented.verifiers:
        if prefix := verifier.prefix_of(presented.raw):
            break
    stored = look_up(prefix) if prefix else None
    if not prefix or stored is None:
        if not presented.claimed:
            return None, ""
        # Takes the same time as for an existing prefix. A prefix is not secret, but hiding it costs nothing.
        constant_time_compare(_DUMMY, _DUMMY)
        raise InvalidKey
    if not verifiers.verify(presented.raw, stored.hashed_key):
        raise _refused(prefix, "does not match")
    if stored.revoked_at is not None:
        raise _refused(prefix, "is revoked")
    return _snapshot(prefix, stored), stored.hashed_key


def _snapshot(prefix: str, stored: StoredKey) -> APIKeyCredential:
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
    """Check the conditions that depend on the request and not only on the stored row. Raise ``InvalidKey``."""
    if credential.expires_at is not None and credential.expires_at <= timezone.now():
        raise _refused(credential.prefix, "has expired")
    allowed = credential.allowed_networks
    if allowed and not networks.contains(allowed, client_address(request)):
        raise _refused(credential.prefix, "is not allowed from this network")


def _refused(prefix: str, reason: str) -> InvalidKey:
    # Logged for the operator only: the response is the same for every invalid key.
    logger.info("API key %s %s.", prefix, reason)
    return InvalidKey()


def principal_of(credential: APIKeyCredential) -> Any:
    """Return ``request.user`` for this key. Raise ``InvalidKey`` if the key acts for a user who may not sign in."""
    principal = request_settings().principal(credential)
    if principal is None:
        raise _refused(credential.prefix, "acts for a user who does not exist or may not sign in")
    return principal
