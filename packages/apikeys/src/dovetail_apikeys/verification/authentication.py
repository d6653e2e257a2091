"""Authenticates requests by API key, independently of REST framework.

The settings that each request needs are read once, and its one query is compiled once (see ``dovetail_core.sql``). To
build the query with the ORM costs more than the rest of an authentication (145 of 165 microseconds on SQLite), and a
model instance costs as much again. For a setting that a project does not set, Django raises and catches an
``AttributeError``: reading nine settings was half of the cost of an authentication from the cache.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any, Final, NamedTuple

from django.contrib.auth import get_user_model
from django.db import router
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from dovetail_apikeys import get_api_key_model
from dovetail_apikeys.base import AbstractAPIKey
from dovetail_apikeys.conf import conf
from dovetail_apikeys.principal import APIKeyCredential, default_principal
from dovetail_apikeys.restrictions import networks
from dovetail_apikeys.verification import usage, verifiers
from dovetail_apikeys.verification.cache import cache
from dovetail_apikeys.verification.verifiers import RawKey
from dovetail_core.accounts import has_field
from dovetail_core.conf import cached_until_settings_change
from dovetail_core.net import client_address
from dovetail_core.sql import CompiledQuery, Placeholder, once

logger = logging.getLogger("dovetail.apikeys")

_DUMMY: Final = "0" * 64


class InvalidKey(Exception):
    """The key is malformed, unknown, revoked, expired or not allowed from this network. Responses do not say which."""


class RequestSettings(NamedTuple):
    model: type[AbstractAPIKey]
    header: str
    brands: frozenset[str]
    verifiers: Sequence[verifiers.Verifier]
    cache_ttl: float
    last_used_interval: float
    principal: Callable[[APIKeyCredential], Any]
    accept: str


@cached_until_settings_change
def request_settings() -> RequestSettings:
    return RequestSettings(
        model=get_api_key_model(),
        header=f"HTTP_{conf.HEADER.upper().replace('-', '_')}" if conf.HEADER else "",
        brands=frozenset({conf.BRAND, *conf.FORMER_BRANDS}),
        verifiers=verifiers.verifiers(),
        cache_ttl=conf.CACHE_TTL,
        last_used_interval=conf.LAST_USED_INTERVAL,
        principal=conf.PRINCIPAL or default_principal(),
        accept=conf.ACCEPT,
    )


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
    if len(raw) > verifiers.LONGEST or not raw.isascii():
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
    interval = request_settings().last_used_interval
    usage.record_after_response(request, credential, upgrade, interval=interval)
    return credential


def presents_key(request: HttpRequest) -> bool:
    """Return whether the request has a key of a known kind, valid or not."""
    return _presented_key(request) is not None


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
        return PresentedKey(rest, [verifiers.OURS], claimed=True)
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
        owner_id=stored.organization_id,
        scopes=frozenset(stored.scopes.split()),
        expires_at=stored.expires_at,
        allowed_networks=tuple(stored.allowed_networks.split()),
        rate_limit=stored.rate_limit,
        created_by_id=stored.created_by_id,
    )


class StoredKey(NamedTuple):
    id: Any
    hashed_key: str
    organization_id: Any
    scopes: str
    allowed_networks: str
    rate_limit: str
    created_by_id: Any
    expires_at: datetime | None
    revoked_at: datetime | None


def look_up(prefix: str) -> StoredKey | None:
    """Return the key with this prefix if it matches ``API_KEYS_CONDITION``, even if it is revoked or expired.

    One query, on the database that is written: a replica may not have a revocation yet.
    """
    model = request_settings().model
    query, stored = once(_compile, model, using=router.db_for_write(model))
    row = query.first({"prefix": prefix})
    return None if row is None else stored(row)


def _condition(model: type[AbstractAPIKey]) -> Q:
    if conf.CONDITION is not None:
        condition: Q = conf.CONDITION()
        return condition
    user_model = get_user_model()
    # A key of a user who may not sign in does not work either.
    if model._meta.get_field("organization").related_model is user_model and has_field(user_model, "is_active"):
        return Q(organization__is_active=True)
    return Q()


def _compile(model: type[AbstractAPIKey], using: str) -> tuple[CompiledQuery, Callable[[Sequence[Any]], StoredKey]]:
    prefix = Placeholder("prefix", model._meta.get_field("key_prefix"))
    # Not values_list(), which adds AS and a name to each column, for the database to parse each time.
    condition = _condition(model)
    rows = model._base_manager.using(using).filter(condition & Q(key_prefix=prefix)).only(*StoredKey._fields)
    # A project's own condition may read any table. Ours reads the table of the user who owns the key.
    reads = [] if conf.CONDITION is not None else [model, get_user_model()] if condition else [model]
    query = CompiledQuery(rows.order_by(), using=using, unqualified=True, reads=reads)
    # The model orders its columns in its own way, and a model that inherits from another also has the parent's key.
    index = {name: number for number, name in enumerate(query.columns)}
    arranged: Callable[..., Any] = itemgetter(*(index[name] for name in StoredKey._fields)) if index else tuple
    return query, lambda row: StoredKey._make(arranged(row))


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
