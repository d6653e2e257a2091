"""Every rule that writes keys.

Each function is atomic on the database of the key model. ``actor`` is the actor of the event (default: the context's
principal). ``within`` is the credential of the key that makes the change, if a key does: a key cannot grant more than
it has. A forbidden change raises a ``dovetail_apikeys.exceptions.APIKeysError`` and writes nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import IntegrityError, router, transaction
from django.db.models import F
from django.utils import timezone
from django.utils.text import Truncator

from dovetail_apikeys import events, get_api_key_model
from dovetail_apikeys.conf import LONGEST_GRACE, conf
from dovetail_apikeys.exceptions import (
    AlreadyRotated,
    BeyondOwn,
    Gone,
    InvalidValue,
    NotActive,
    UnknownScope,
    shortened,
)
from dovetail_apikeys.lifecycle.declared_scopes import declared_scopes, unknown_scopes
from dovetail_apikeys.lifecycle.expiry_notices import announce_expiring_keys
from dovetail_apikeys.principal.api_key import APIKeyCredential
from dovetail_apikeys.restrictions import networks
from dovetail_apikeys.restrictions.rates import RATE_EXAMPLE, parse_rate
from dovetail_apikeys.restrictions.scope_names import beyond
from dovetail_apikeys.verification import raw_key, verifiers
from dovetail_apikeys.verification.cache import cache
from dovetail_apikeys.verification.raw_key import RawKey

__all__ = [
    "announce_expiring_keys",
    "create_api_key",
    "delete_api_key",
    "revoke_api_key",
    "rotate_api_key",
    "update_api_key",
]

_ATTEMPTS: Final = 8
# The fields that a successor does not copy from the rotated key.
_NOT_COPIED: Final = {
    *("id", "key_prefix", "hashed_key", "created_at", "revoked_at", "expiry_announced"),
    *("last_used", "last_used_ip", "used_networks"),
}
_LONGEST_NAME: Final = 100
_MAX_ITEMS: Final = 50


def create_api_key(
    *,
    organization: Any,
    name: str,
    scopes: Iterable[str] = (),
    created_by: Any = None,
    expires_at: datetime | None = None,
    allowed_networks: Iterable[str] = (),
    rate_limit: str = "",
    actor: Any = None,
    within: APIKeyCredential | None = None,
    **fields: Any,
) -> tuple[Any, RawKey]:
    """Create a key. Returns the key and the raw key, which is shown once and stored nowhere.

    ``organization`` is an instance or its primary key; ``fields`` are additional fields of a project's own model.
    Raises ``UnknownScope``, ``InvalidValue``, ``BeyondOwn``.
    """
    model = get_api_key_model()
    using = router.db_for_write(model)
    api_key: Any = model(
        organization_id=getattr(organization, "pk", organization),
        name=_name(name),
        scopes=" ".join(_scopes(scopes, within)),
        created_by_id=getattr(created_by, "pk", created_by),
        expires_at=_expiry(expires_at, within),
        allowed_networks=" ".join(_networks(allowed_networks, within)),
        rate_limit=_rate(rate_limit),
        **fields,
    )
    with transaction.atomic(using=using):
        raw = _insert(api_key, using=using)
        scopes = api_key.scope_list
        events.emit_key(events.API_KEY_CREATED, api_key, actor=actor or created_by, using=using, scopes=scopes)
    return api_key, raw


def update_api_key(
    *,
    api_key: Any,
    name: str | None = None,
    scopes: Iterable[str] | None = None,
    actor: Any = None,
    within: APIKeyCredential | None = None,
) -> Any:
    """Change the name or the scopes of a key, and return the changed key. None leaves a value as it is.

    Raises ``UnknownScope``, ``InvalidValue``, ``BeyondOwn``, ``NotActive``, ``Gone``.
    """
    changes: dict[str, str] = {}
    if name is not None:
        changes["name"] = _name(name)
    if scopes is not None:
        changes["scopes"] = " ".join(_scopes(scopes, within))
    using = router.db_for_write(type(api_key), instance=api_key)
    with transaction.atomic(using=using):
        current = _locked(api_key, using=using)
        _require_active(current)
        written = [field for field, value in changes.items() if getattr(current, field) != value]
        if written:
            _rows(current, using).update(**changes)
            for field in written:
                setattr(current, field, changes[field])
            _clear_cache(using)
            events.emit_key(events.API_KEY_UPDATED, current, actor=actor, using=using, fields=sorted(written))
    return current


def rotate_api_key(
    api_key: Any,
    *,
    grace: timedelta | None = None,
    expires_at: datetime | None = None,
    actor: Any = None,
    within: APIKeyCredential | None = None,
) -> tuple[Any, RawKey]:
    """Create a successor with the same rights; the old key stays valid for ``grace``.

    Returns the successor and its raw key. ``grace`` is at most 7 days and ``API_KEYS_ROTATION_GRACE`` by default; 0
    ends the old key at once. Without ``expires_at`` the successor expires when the old key would have. A key that may
    have leaked is revoked, not rotated.

    Raises ``AlreadyRotated``, ``NotActive``, ``InvalidValue``, ``BeyondOwn``, ``Gone``.
    """
    grace = timedelta(seconds=conf.ROTATION_GRACE) if grace is None else grace
    if not timedelta() <= grace <= timedelta(seconds=LONGEST_GRACE):
        raise InvalidValue("grace", f"Must be from 0 to {LONGEST_GRACE} seconds.")
    using = router.db_for_write(type(api_key), instance=api_key)
    with transaction.atomic(using=using):
        old = _locked(api_key, using=using)
        _require_active(old)
        successor = _successor(old, _expiry(expires_at or old.expires_at, within), within)
        end = timezone.now() + grace
        if old.expires_at is None or old.expires_at > end:
            old.expires_at = end
        # The event below announces the expiry: no notice of it follows.
        _rows(old, using).update(expires_at=old.expires_at, expiry_announced=old.expires_at)
        raw = _insert(successor, using=using)
        _clear_cache(using)
        events.emit_key(
            events.API_KEY_ROTATED,
            old,
            actor=actor,
            using=using,
            successor_id=str(successor.pk),
            successor_prefix=successor.key_prefix,
            expires_at=old.expires_at.isoformat(),
        )
    api_key.expires_at = old.expires_at
    return successor, raw


def revoke_api_key(api_key: Any, *, actor: Any = None) -> bool:
    """Revoke the key, immediately and irreversibly. False if it was revoked before."""
    using = router.db_for_write(type(api_key), instance=api_key)
    now = timezone.now()
    with transaction.atomic(using=using):
        revoked = _rows(api_key, using).filter(revoked_at=None).update(revoked_at=now)
        if revoked:
            api_key.revoked_at = now
            _clear_cache(using)
            events.emit_key(events.API_KEY_REVOKED, api_key, actor=actor, using=using)
    return bool(revoked)


def delete_api_key(api_key: Any, *, actor: Any = None) -> None:
    """Delete the key's row, which also ends the key. Revoking keeps the row as a record."""
    using = router.db_for_write(type(api_key), instance=api_key)
    with transaction.atomic(using=using):
        # Deleting sets the primary key of the instance to None, and the event needs it.
        deleted = copy.copy(api_key)
        if _rows(api_key, using).delete()[0]:
            _clear_cache(using)
            events.emit_key(events.API_KEY_DELETED, deleted, actor=actor, using=using)


def _insert(api_key: Any, *, using: str) -> RawKey:
    """Generate a key and insert it; again, if its prefix of 71 random bits exists already."""
    for attempt in range(1, _ATTEMPTS + 1):
        raw = raw_key.generate()
        api_key.key_prefix = raw_key.prefix_of(raw)
        api_key.hashed_key = verifiers.hashed(raw)
        try:
            # A savepoint: on PostgreSQL a failed statement aborts the surrounding transaction.
            with transaction.atomic(using=using):
                api_key.save(using=using, force_insert=True)
        except IntegrityError:
            rows = type(api_key)._base_manager.using(using)
            if api_key.rotated_from is not None and rows.filter(rotated_from=api_key.rotated_from).exists():
                raise AlreadyRotated from None
            if attempt == _ATTEMPTS or not rows.filter(key_prefix=api_key.key_prefix).exists():
                raise
        else:
            break
    return raw


def _locked(api_key: Any, *, using: str) -> Any:
    """The current row, locked until the transaction ends. Raises ``Gone``.

    The lock is a write, which also works on SQLite: there, a transaction that reads first cannot write after another
    transaction has.
    """
    rows = _rows(api_key, using)
    if not rows.update(name=F("name")):
        raise Gone
    return rows.get()


def _successor(old: Any, expires_at: datetime | None, within: APIKeyCredential | None) -> Any:
    """An unsaved copy of the old key, a project's own fields included."""
    if within is not None:
        # Otherwise a key with few scopes could rotate a key with many, and hold its successor.
        if above := beyond(old.scope_list, within.scopes):
            raise BeyondOwn(f"the scopes {', '.join(above)}")
        _networks(old.network_list, within)
    copied = [field for field in old._meta.concrete_fields if field.name not in _NOT_COPIED and not field.primary_key]
    successor = type(old)(**{field.attname: getattr(old, field.attname) for field in copied})
    successor.rotated_from = old.pk
    successor.expires_at = expires_at
    return successor


def _require_active(api_key: Any) -> None:
    if api_key.status != "active":
        raise NotActive(api_key.status)


def _rows(api_key: Any, using: str) -> Any:
    return type(api_key)._base_manager.using(using).filter(pk=api_key.pk)


def _clear_cache(using: str) -> None:
    # Now, for the rest of this transaction; and after commit, for what another thread reads before it.
    cache.clear()
    transaction.on_commit(cache.clear, using=using)


def _name(name: str) -> str:
    name = name.strip()
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise InvalidValue("name", f"Must be 1 to {_LONGEST_NAME} characters in one line.")
    return name


def _scopes(scopes: Iterable[str], within: APIKeyCredential | None) -> list[str]:
    requested = sorted(set(scopes))
    if unknown := unknown_scopes(requested):
        shown = [str(Truncator(scope).chars(60)) for scope in unknown[:_MAX_ITEMS]]
        raise UnknownScope(shown, declared_scopes())
    if within is not None and (above := beyond(requested, within.scopes)):
        raise BeyondOwn(f"the scopes {', '.join(above)}")
    return requested


def _expiry(expires_at: datetime | None, within: APIKeyCredential | None) -> datetime | None:
    if expires_at is not None and expires_at <= timezone.now():
        raise InvalidValue("expires_at", "Must be in the future.")
    latest = within.expires_at if within is not None else None
    # Otherwise a stolen key that expires tomorrow could create a key that never expires.
    if latest is not None and expires_at is not None and expires_at > latest:
        raise BeyondOwn(f"a term after {latest.isoformat()}")
    return expires_at or latest


def _networks(allowed: Iterable[str], within: APIKeyCredential | None) -> list[str]:
    try:
        canonical = sorted({networks.parse_network(network) for network in allowed})
    except ValueError as error:
        raise InvalidValue("allowed_networks", f"Must be addresses or networks such as 10.0.0.0/8: {error}") from None
    if len(canonical) > _MAX_ITEMS:
        raise InvalidValue("allowed_networks", f"Must be at most {_MAX_ITEMS}.")
    if within is not None and within.allowed_networks:
        if not networks.within(canonical, within.allowed_networks):
            raise BeyondOwn("networks outside its own")
        return canonical or sorted(within.allowed_networks)
    return canonical


def _rate(rate: str) -> str:
    if rate and parse_rate(rate) is None:
        raise InvalidValue("rate_limit", f"Must be a rate such as {RATE_EXAMPLE}, not {shortened(rate)}.")
    return rate
