"""The settings that each request needs, read once, and its one query, compiled once (see ``dovetail_core.sql``).

To build the query with the ORM costs more than the rest of an authentication (145 of 165 microseconds on SQLite), and a
model instance costs as much again. For a setting that a project does not set, Django raises and catches an
``AttributeError``: reading nine settings was half of the cost of an authentication from the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.db import router
from django.db.models import Q

from dovetail_apikeys import get_api_key_model
from dovetail_apikeys.base import AbstractAPIKey
from dovetail_apikeys.conf import conf
from dovetail_apikeys.principal import APIKeyCredential
from dovetail_apikeys.verification import verifiers
from dovetail_core.accounts import has_field
from dovetail_core.conf import cached_until_settings_change
from dovetail_core.conf import conf as core
from dovetail_core.sql import CompiledQuery, Placeholder, once


class RequestSettings(NamedTuple):
    model: type[AbstractAPIKey]
    header: str
    brands: frozenset[str]
    verifiers: Sequence[verifiers.Verifier]
    cache_ttl: float
    last_used_interval: float
    principal: Callable[[APIKeyCredential], Any]
    behind_proxies: bool


@cached_until_settings_change
def request_settings() -> RequestSettings:
    return RequestSettings(
        model=get_api_key_model(),
        header=f"HTTP_{conf.HEADER.upper().replace('-', '_')}" if conf.HEADER else "",
        brands=frozenset({conf.BRAND, *conf.FORMER_BRANDS}),
        verifiers=verifiers.verifiers(),
        cache_ttl=conf.CACHE_TTL,
        last_used_interval=conf.LAST_USED_INTERVAL,
        principal=conf.PRINCIPAL,
        behind_proxies=bool(core.TRUSTED_PROXIES),
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
    rows = model._base_manager.using(using).filter(_condition(model) & Q(key_prefix=prefix)).only(*StoredKey._fields)
    query = CompiledQuery(rows.order_by(), using=using, unqualified=True)
    # The model orders its columns in its own way, and a model that inherits from another also has the parent's key.
    index = {name: number for number, name in enumerate(query.columns)}
    arranged: Callable[..., Any] = itemgetter(*(index[name] for name in StoredKey._fields)) if index else tuple
    return query, lambda row: StoredKey._make(arranged(row))
