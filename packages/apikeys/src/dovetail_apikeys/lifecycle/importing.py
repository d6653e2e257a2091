"""Imports keys of other libraries, so that clients keep their keys when a project changes its library.

Stored hashes are copied as they are. The verifier of their kind (``API_KEYS_VERIFIERS``) recognizes the keys, and the
first use of a key replaces its hash by ours. The import reads the other library's table, and none of its Python code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import router, transaction
from django.utils import timezone

from dovetail_apikeys import events, get_api_key_model
from dovetail_apikeys.exceptions import UnknownScope
from dovetail_apikeys.lifecycle.declared_scopes import declared_scopes, unknown_scopes
from dovetail_apikeys.verification import verifiers


@dataclass(frozen=True, kw_only=True, slots=True)
class Legacy:
    """One row of the other library, with the names of our fields."""

    name: str
    key_prefix: str
    hashed_key: str
    created_at: datetime
    expires_at: datetime | None = None
    revoked: bool = False
    user: Any = None


@dataclass(slots=True)
class Report:
    """The result of an import: ``skipped`` keys exist already; ``refused`` has the reason for each refused key."""

    imported: int = 0
    skipped: int = 0
    refused: list[str] = field(default_factory=list)


def _drf_api_key(row: Any) -> Legacy:
    return Legacy(
        name=row.name,
        key_prefix=row.prefix or str(row.pk).partition(".")[0],
        # Before version 1.4 the hash was in the primary key alone.
        hashed_key=f"{verifiers.DRFAPIKey.scheme}${row.hashed_key or str(row.pk).partition('.')[2]}",
        created_at=row.created,
        expires_at=row.expiry_date,
        revoked=row.revoked,
        user=getattr(row, "user", None),
    )


def _knox(row: Any) -> Legacy:
    if len(row.digest) != 128:
        raise ValueError("its digest is no SHA-512: KNOX SECURE_HASH_ALGORITHM was another one")
    return Legacy(
        name=f"knox {row.token_key}",
        key_prefix=verifiers.Knox.stored_prefix(row.digest),
        hashed_key=f"{verifiers.Knox.scheme}${row.digest}",
        created_at=row.created,
        expires_at=row.expiry,
        user=row.user,
    )


def _authtoken(row: Any) -> Legacy:
    if verifiers.DRFAuthToken().prefix_of(row.pk) is None:
        raise ValueError("it is not 40 hexadecimal digits")
    return Legacy(
        name=f"token {row.pk[:4]}…",
        key_prefix=verifiers.DRFAuthToken.stored_prefix(row.pk),
        hashed_key=verifiers.hashed(row.pk),
        created_at=row.created,
        user=row.user,
    )


SOURCES: Final[dict[str, tuple[str, Callable[[Any], Legacy]]]] = {
    "drf-api-key": ("rest_framework_api_key.APIKey", _drf_api_key),
    "knox": ("knox.AuthToken", _knox),
    "authtoken": ("authtoken.Token", _authtoken),
}


def import_keys(
    source: str,
    *,
    organization_of: Callable[[Any], Any],
    model: str | None = None,
    scopes: Iterable[str] = (),
    dry_run: bool = False,
) -> Report:
    """Import the keys of ``drf-api-key``, ``knox`` or ``authtoken``. Repeated, it imports only new keys.

    ``organization_of`` takes a row of the other library and returns the organization (an instance or its primary key)
    that owns the key, or None to refuse it. ``model`` names the other library's model if the project has its own. Every
    key gets ``scopes``. Raises ``UnknownScope``, and ``LookupError`` if the model is not installed.
    """
    label, convert = SOURCES[source]
    app_label, _, model_name = (model or label).partition(".")
    granted = sorted(set(scopes))
    if unknown := unknown_scopes(granted):
        raise UnknownScope(unknown, declared_scopes())
    report = Report()
    for row in apps.get_model(app_label, model_name)._default_manager.order_by("pk").iterator():
        try:
            legacy, owner = convert(row), organization_of(row)
            if owner is None:
                raise ValueError("no organization owns it")
            written = dry_run or _write(legacy, owner, granted)
        except (AttributeError, ValueError) as error:
            # The message has a count and not the primary key, which is the raw key in some libraries.
            report.refused.append(f"Key {report.imported + report.skipped + len(report.refused) + 1}: {error}.")
            continue
        report.imported += written
        report.skipped += not written
    return report


def by_path(path: str) -> Callable[[Any], Any]:
    """An ``organization_of`` that follows attributes of the row: ``user``, ``user.company``, ``organization``."""

    def organization_of(row: Any) -> Any:
        for name in path.split("."):
            row = getattr(row, name)
        return row

    return organization_of


def _write(legacy: Legacy, owner: Any, scopes: list[str]) -> bool:
    model: Any = get_api_key_model()
    using = router.db_for_write(model)
    rows = model._base_manager.using(using)
    with transaction.atomic(using=using):
        if rows.filter(key_prefix=legacy.key_prefix).exists():
            return False
        api_key = model(
            organization_id=getattr(owner, "pk", owner),
            name=legacy.name[:100] or legacy.key_prefix,
            key_prefix=legacy.key_prefix,
            hashed_key=legacy.hashed_key,
            scopes=" ".join(scopes),
            created_by=legacy.user if isinstance(legacy.user, get_user_model()) else None,
            expires_at=legacy.expires_at,
            revoked_at=timezone.now() if legacy.revoked else None,
        )
        api_key.save(using=using, force_insert=True)
        # auto_now_add has set the time of the import.
        rows.filter(pk=api_key.pk).update(created_at=legacy.created_at)
        events.emit_key(events.API_KEY_CREATED, api_key, actor=None, using=using, scopes=scopes)
    return True
