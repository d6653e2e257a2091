"""Create, update, rotate, revoke and delete API keys, and announce their expiry.

Each function is atomic on the database of the key model. ``actor`` is the actor of the event (default: the context's
principal). ``within`` is the credential of the API key that makes the change, if any: a key cannot grant rights that it
does not have. A forbidden change raises an ``APIKeysError`` (``dovetail_apikeys.exceptions``) and writes nothing.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, router, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from dovetail_apikeys import events, get_api_key_model
from dovetail_apikeys.base import AbstractAPIKey
from dovetail_apikeys.conf import LONGEST_GRACE, RATE_EXAMPLE, conf, parse_rate
from dovetail_apikeys.exceptions import AlreadyRotated, BeyondOwn, Gone, InvalidValue, NotActive, UnknownScope
from dovetail_apikeys.principal import APIKeyCredential
from dovetail_apikeys.restrictions import members, networks
from dovetail_apikeys.restrictions.scopes import beyond, declared_scopes, unknown_scopes
from dovetail_apikeys.verification import verifiers
from dovetail_apikeys.verification.cache import cache
from dovetail_apikeys.verification.verifiers import RawKey
from dovetail_core.transactions import Vanished, lock, lock_shared, retry_on_conflict

logger = logging.getLogger("dovetail.apikeys")

_MAX_ATTEMPTS: Final = 8
# The fields that a successor does not copy from the rotated key.
_NOT_COPIED: Final = {
    *("id", "key_prefix", "hashed_key", "created_at", "revoked_at", "expiry_announced"),
    *("last_used", "last_used_ip", "used_networks"),
}
_LONGEST_NAME: Final = 100
_MAX_ITEMS: Final = 50
_PAGE: Final = 500
_UNANNOUNCED: Final = Q(expiry_announced=None) | ~Q(expiry_announced=F("expires_at"))


def create_api_key(
    *,
    organization: object,
    name: str,
    scopes: Iterable[str] = (),
    created_by: object = None,
    expires_at: datetime | None = None,
    allowed_networks: Iterable[str] = (),
    rate_limit: str = "",
    actor: object = None,
    within: APIKeyCredential | None = None,
    **fields: Any,
) -> tuple[Any, RawKey]:
    """Create a key, and return it with its raw key, which is not stored and must be shown once.

    ``organization`` and ``created_by`` are instances or their primary keys. A key that a key creates (``within``) has
    the creator of that key. ``fields`` are additional fields of a project's own model. Raise ``UnknownScope``,
    ``InvalidValue``, ``BeyondOwn`` or ``NotAMember``, and ``Vanished`` if the organization or the creator was deleted.
    """
    if rate_limit and parse_rate(rate_limit) is None:
        raise InvalidValue("rate_limit", f"Must be a rate such as {RATE_EXAMPLE}, not {rate_limit!r:.60}.")
    model = get_api_key_model()
    using = router.db_for_write(model)
    creator: Any = getattr(created_by, "pk", created_by)
    if within is not None and within.created_by_id is not None:
        # Otherwise a former member could use a key that their key has created.
        creator = within.created_by_id
    api_key = model(
        organization_id=getattr(organization, "pk", organization),
        name=_name(name),
        scopes=" ".join(_scopes(scopes, within)),
        created_by_id=creator,
        expires_at=_expiry(expires_at, within),
        allowed_networks=" ".join(_networks(allowed_networks, within)),
        rate_limit=rate_limit,
        **fields,
    )
    return api_key, _create(api_key, actor or created_by, using=using)


def update_api_key(
    *,
    api_key: AbstractAPIKey,
    name: str | None = None,
    scopes: Iterable[str] | None = None,
    actor: object = None,
    within: APIKeyCredential | None = None,
) -> Any:
    """Change the name or the scopes of a key, and return the changed key. None leaves a value unchanged.

    Raise ``UnknownScope``, ``InvalidValue``, ``BeyondOwn``, ``NotActive`` or ``Gone``.
    """
    changes: dict[str, str] = {}
    if name is not None:
        changes["name"] = _name(name)
    if scopes is not None:
        changes["scopes"] = " ".join(_scopes(scopes, within))
    return _update(api_key, changes, actor)


# Without the arguments of update_api_key(), which may be iterators: a second attempt would find them empty.
@retry_on_conflict
def _update(api_key: AbstractAPIKey, changes: Mapping[str, str], actor: object) -> AbstractAPIKey:
    using = router.db_for_write(type(api_key), instance=api_key)
    with transaction.atomic(using=using):
        current = _locked(api_key, using=using)
        changed = [field for field, value in changes.items() if getattr(current, field) != value]
        if changed:
            _rows(current, using).update(**changes)
            vars(current).update(changes)
            _clear_cache(using)
            events.emit_key(events.API_KEY_UPDATED, current, actor=actor, using=using, fields=sorted(changed))
    return current


@retry_on_conflict
def rotate_api_key(
    api_key: AbstractAPIKey,
    *,
    grace: timedelta | None = None,
    expires_at: datetime | None = None,
    actor: object = None,
    within: APIKeyCredential | None = None,
) -> tuple[Any, RawKey]:
    """Create a successor with the same rights, and return it with its raw key.

    The successor's creator is the person who receives the raw key: ``actor`` if that is a user, or the creator of the
    key ``within``. Otherwise it is the creator of the old key.

    The old key stays valid for ``grace``: at most 7 days, by default ``API_KEYS_ROTATION_GRACE``; 0 ends it
    immediately. Without ``expires_at`` the successor gets the expiry of the old key. If a key may have leaked, revoke
    it instead.

    Raise ``AlreadyRotated``, ``NotActive``, ``InvalidValue``, ``BeyondOwn``, ``NotAMember`` or ``Gone``, and
    ``Vanished`` if the person was deleted.
    """
    grace = _grace(grace)
    using = router.db_for_write(type(api_key), instance=api_key)
    person = _person(actor, within)
    with transaction.atomic(using=using):
        members.require_membership(api_key, person or api_key.created_by_id, using=using)
        old = _locked_after_parents(api_key, person, using=using)
        successor = _successor(old, _expiry(expires_at or old.expires_at, within), within)
        # Otherwise the successor stays valid after the membership of a person who has its raw key.
        successor.created_by_id = person or old.created_by_id
        end = _expire_after(grace, old, using=using)
        raw = _insert(successor, using=using)
        _clear_cache(using)
        events.emit_rotation(old, successor, end, actor=actor, using=using)
    api_key.expires_at = end
    return successor, raw


@retry_on_conflict
def revoke_api_key(api_key: AbstractAPIKey, *, actor: object = None) -> bool:
    """Revoke the key immediately and irreversibly. Return False if it was already revoked."""
    using = router.db_for_write(type(api_key), instance=api_key)
    now = timezone.now()
    with transaction.atomic(using=using):
        revoked = _rows(api_key, using).filter(revoked_at=None).update(revoked_at=now)
        if revoked:
            api_key.revoked_at = now
            _clear_cache(using)
            events.emit_key(events.API_KEY_REVOKED, api_key, actor=actor, using=using)
    return bool(revoked)


@retry_on_conflict
def revoke_api_keys(rows: QuerySet[AbstractAPIKey], *, actor: object = None) -> int:
    """Revoke the active keys of a queryset in one ``UPDATE``, and return their number.

    The caller may hold the lock of the organization, for which other requests wait.
    """
    now = timezone.now()
    with transaction.atomic(using=rows.db):
        active = rows.filter(Q(expires_at=None) | Q(expires_at__gt=now), revoked_at=None)
        if not (revoked := active.update(revoked_at=now)):
            return 0
        _clear_cache(rows.db)
        for api_key in rows.filter(revoked_at=now).order_by("pk"):
            events.emit_key(events.API_KEY_REVOKED, api_key, actor=actor, using=rows.db)
    return revoked


@retry_on_conflict
def delete_api_key(api_key: AbstractAPIKey, *, actor: object = None) -> None:
    """Delete the key, which also ends its validity. Revoking it instead keeps the row as a record."""
    using = router.db_for_write(type(api_key), instance=api_key)
    with transaction.atomic(using=using):
        # Deletion sets the primary key of the instance to None, and the event needs it.
        deleted = copy.copy(api_key)
        if _rows(api_key, using).delete()[0]:
            _clear_cache(using)
            events.emit_key(events.API_KEY_DELETED, deleted, actor=actor, using=using)


def announce_expiring_keys() -> int:
    """Emit ``api_key.expiring`` for each key that expires within ``API_KEYS_EXPIRY_NOTICE_DAYS``. Return their number.

    A key is announced once per expiry, even if several processes call this; a key with a new expiry is announced again.
    Each key has its own transaction: if a receiver fails, the next call announces that key again, and other keys are
    not affected.
    """
    announced = 0
    model = get_api_key_model()
    using = router.db_for_write(model)
    for api_key in _due(model._base_manager.using(using)):
        try:
            announced += _announce(api_key, using=using)
        except Exception:  # of an event receiver of the project
            logger.exception("The expiry of API key %s was not announced.", api_key.key_prefix)
    return announced


# As for _update().
@retry_on_conflict
def _create(api_key: AbstractAPIKey, actor: object, *, using: str) -> RawKey:
    with transaction.atomic(using=using):
        members.require_membership(api_key, api_key.created_by_id, using=using)
        raw = _insert(api_key, using=using)
        events.emit_key(events.API_KEY_CREATED, api_key, actor=actor, using=using, scopes=api_key.scope_list)
    return raw


def _insert(api_key: AbstractAPIKey, *, using: str) -> RawKey:
    """Generate a raw key and insert the row. Try again if the prefix, which has 71 random bits, already exists."""
    for attempt in range(1, _MAX_ATTEMPTS + 1):
        raw = verifiers.generate()
        prefix = verifiers.OURS.prefix_of(raw)
        if prefix is None:
            raise ImproperlyConfigured(f"API_KEYS_BRAND {conf.BRAND!r} or API_KEYS_ENVIRONMENT makes invalid keys.")
        api_key.key_prefix = prefix
        api_key.hashed_key = verifiers.hashed(raw)
        try:
            # In a savepoint, because on PostgreSQL a failed statement aborts the surrounding transaction.
            with transaction.atomic(using=using):
                api_key.save(using=using, force_insert=True)
        except IntegrityError:
            rows = type(api_key)._base_manager.using(using)
            if api_key.rotated_from is not None and rows.filter(rotated_from=api_key.rotated_from).exists():
                raise AlreadyRotated from None
            if attempt == _MAX_ATTEMPTS or not rows.filter(key_prefix=api_key.key_prefix).exists():
                raise
        else:
            break
    return raw


def _locked(api_key: AbstractAPIKey, *, parents: Sequence[QuerySet[Any]] = (), using: str) -> AbstractAPIKey:
    """Return the current row, locked until the transaction ends. Raise ``Gone`` or ``NotActive``."""
    # Not an UPDATE that changes nothing: on PostgreSQL, a second UPDATE of a row in one transaction checks its foreign
    # keys, and so waits for a user who is being deleted, whose deletion waits for this row.
    try:
        current = lock(_rows(api_key, using), parents=parents)
    except Vanished:
        raise Gone from None
    if current.status != "active":
        raise NotActive(current.status)
    return current


def _person(actor: object, within: APIKeyCredential | None) -> Any:
    """Return the primary key of the person who receives a raw key, or None if it is unknown."""
    if within is not None:
        return within.created_by_id
    return actor.pk if isinstance(actor, get_user_model()) else None


def _locked_after_parents(api_key: AbstractAPIKey, person: Any, *, using: str) -> AbstractAPIKey:
    """Lock the rows of a successor's foreign keys, then the key. Raise ``Gone``, ``NotActive`` or ``Vanished``."""
    meta: Any = api_key._meta
    keys = {"organization": api_key.organization_id, "created_by": person or api_key.created_by_id}
    models = {name: meta.get_field(name).related_model for name in keys if keys[name] is not None}
    parents = {name: model._base_manager.using(using).filter(pk=keys[name]) for name, model in models.items()}
    try:
        return _locked(api_key, parents=list(parents.values()), using=using)
    except Gone:
        # One of the rows is missing. Only a missing creator need not be the end.
        for name, rows in parents.items():
            try:
                lock_shared(rows)
            except Vanished:
                if name == "organization":
                    raise Gone from None
                # A key outlives its creator: created_by is null in the row that is read next.
                if person is not None:
                    raise
    return _locked(api_key, using=using)


def _successor(old: AbstractAPIKey, expires_at: datetime | None, within: APIKeyCredential | None) -> AbstractAPIKey:
    if within is not None:
        # Otherwise a key with few scopes could rotate a key with many scopes and use the successor.
        _require_scopes(old.scope_list, within)
        _networks(old.network_list, within)
    copied = [field for field in old._meta.concrete_fields if field.name not in _NOT_COPIED and not field.primary_key]
    successor = type(old)(**{field.attname: getattr(old, field.attname) for field in copied})
    successor.rotated_from = old.pk
    successor.expires_at = expires_at
    return successor


def _expire_after(grace: timedelta, api_key: AbstractAPIKey, *, using: str) -> datetime:
    """Let the key expire after ``grace``, unless it expires earlier. Return its expiry."""
    end = min(filter(None, (timezone.now() + grace, api_key.expires_at)))
    # The event api_key.rotated contains the expiry, so api_key.expiring does not announce it again.
    _rows(api_key, using).update(expires_at=end, expiry_announced=end)
    api_key.expires_at = end
    return end


def _rows(api_key: AbstractAPIKey, using: str) -> QuerySet[AbstractAPIKey]:
    return type(api_key)._base_manager.using(using).filter(pk=api_key.pk)


def _clear_cache(using: str) -> None:
    # Now, for the rest of this transaction; and after commit, because another thread may read the old row until then.
    cache.clear()
    transaction.on_commit(cache.clear, using=using)


def _name(name: str) -> str:
    name = name.strip()
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise InvalidValue("name", f"Must be 1 to {_LONGEST_NAME} printable characters.")
    return name


def _scopes(scopes: Iterable[str], within: APIKeyCredential | None) -> list[str]:
    requested = sorted(set(scopes))
    if unknown := unknown_scopes(requested):
        raise UnknownScope(unknown[:_MAX_ITEMS], declared_scopes())
    if within is not None:
        _require_scopes(requested, within)
    return requested


def _require_scopes(scopes: Iterable[str], within: APIKeyCredential) -> None:
    if missing := beyond(scopes, within.scopes):
        raise BeyondOwn(f"the scopes {', '.join(missing)}")


def _expiry(expires_at: datetime | None, within: APIKeyCredential | None) -> datetime | None:
    if expires_at is not None and expires_at <= timezone.now():
        raise InvalidValue("expires_at", "Must be in the future.")
    latest = within.expires_at if within is not None else None
    # Otherwise a stolen key that expires tomorrow could create a key that never expires.
    if latest is not None and expires_at is not None and expires_at > latest:
        raise BeyondOwn(f"an expiry after {latest.isoformat()}")
    return expires_at or latest


def _grace(grace: timedelta | None) -> timedelta:
    grace = timedelta(seconds=conf.ROTATION_GRACE) if grace is None else grace
    if not timedelta() <= grace <= timedelta(seconds=LONGEST_GRACE):
        raise InvalidValue("grace", f"Must be from 0 to {LONGEST_GRACE} seconds.")
    return grace


def _networks(allowed: Iterable[str], within: APIKeyCredential | None) -> list[str]:
    try:
        canonical = sorted({networks.parse_network(network) for network in allowed})
    except ValueError as error:
        raise InvalidValue("allowed_networks", f"Must be addresses or networks such as 10.0.0.0/8: {error}") from None
    if len(canonical) > _MAX_ITEMS:
        raise InvalidValue("allowed_networks", f"Must be at most {_MAX_ITEMS} networks.")
    if within is not None and within.allowed_networks:
        if not networks.within(canonical, within.allowed_networks):
            raise BeyondOwn("networks outside its allowed networks")
        return canonical or sorted(within.allowed_networks)
    return canonical


def _announce(api_key: AbstractAPIKey, *, using: str) -> bool:
    rows = type(api_key)._base_manager.using(using).filter(pk=api_key.pk, expires_at=api_key.expires_at)
    with transaction.atomic(using=using):
        # One of two workers that have read the key updates it. Neither does if it was revoked or its expiry changed.
        updated = rows.filter(_UNANNOUNCED, revoked_at=None).update(expiry_announced=F("expires_at"))
        if updated and api_key.expires_at:
            expires_at = api_key.expires_at.isoformat()
            events.emit_key(events.API_KEY_EXPIRING, api_key, using=using, expires_at=expires_at)
    return bool(updated)


def _due(rows: QuerySet[AbstractAPIKey]) -> Iterator[AbstractAPIKey]:
    """Yield the keys to announce, read in pages: on SQLite, the writes in between would end a database cursor."""
    now = timezone.now()
    soon = now + timedelta(days=conf.EXPIRY_NOTICE_DAYS)
    due = rows.filter(_UNANNOUNCED, revoked_at=None, expires_at__gt=now, expires_at__lte=soon).order_by("pk")
    page = list(due[:_PAGE])
    while page:
        yield from page
        page = list(due.filter(pk__gt=page[-1].pk)[:_PAGE])
