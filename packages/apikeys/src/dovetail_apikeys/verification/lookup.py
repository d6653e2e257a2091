"""The one query of an authenticated request, compiled once (see ``dovetail_core.sql``).

To build this query with the ORM costs more than the rest of an authentication (145 of 165 microseconds on SQLite), and
a model instance costs as much again.
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
from dovetail_apikeys.conf import conf
from dovetail_apikeys.verification.request_settings import hot
from dovetail_core.accounts import has_field
from dovetail_core.sql import CompiledQuery, Placeholder, once


class Stored(NamedTuple):
    """The columns of a key that a request needs."""

    id: Any
    hashed_key: str
    organization_id: Any
    scopes: str
    allowed_networks: str
    rate_limit: str
    created_by_id: Any
    expires_at: datetime | None
    revoked_at: datetime | None


def look_up(prefix: str) -> Stored | None:
    """The stored key with this prefix that meets ``API_KEYS_CONDITION``, revoked and expired ones included. One query.

    From the database that is written, because a replica may not have a revocation yet.
    """
    model = hot().model
    query, stored = once(_compile, model, using=router.db_for_write(model))
    row = query.first({"prefix": prefix})
    return None if row is None else stored(row)


def condition() -> Q:
    """What must hold of a key, except that it is neither revoked nor expired."""
    if conf.CONDITION is not None:
        own: Q = conf.CONDITION()
        return own
    user = get_user_model()
    organization: Any = get_api_key_model()._meta.get_field("organization").related_model
    # The keys of a person who may not sign in do not work either.
    if organization is user and has_field(user, "is_active"):
        return Q(organization__is_active=True)
    return Q()


def _compile(model: Any, using: str) -> tuple[CompiledQuery, Callable[[Sequence[Any]], Stored]]:
    prefix = Placeholder("prefix", model._meta.get_field("key_prefix"))
    # Not values_list(), which adds AS and a name to each column, for the database to parse each time.
    rows = model._base_manager.using(using).filter(condition() & Q(key_prefix=prefix)).only(*Stored._fields)
    query = CompiledQuery(rows.order_by(), using=using, unqualified=True)
    # The model has an order of its own, and a child of another model a key beside its parent's.
    index = {name: number for number, name in enumerate(query.columns)}
    arranged: Callable[[Sequence[Any]], Any] = itemgetter(*(index[name] for name in Stored._fields)) if index else tuple
    return query, lambda row: Stored._make(arranged(row))
