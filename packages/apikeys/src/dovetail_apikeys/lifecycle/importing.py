"""Imports keys from other libraries, so that clients can keep their keys.

Stored hashes are copied unchanged. A verifier (``API_KEYS_VERIFIERS``) recognizes the keys, and the first use of a key
replaces its hash with ours. The import reads the other library's table and does not use its Python code.
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
from dovetail_apikeys.restrictions.scopes import declared_scopes, unknown_scopes
from dovetail_apikeys.verification import verifiers


@dataclass(slots=True)
class Report:
    """The result of an import: ``skipped`` keys already exist; ``refused`` has the reason for each rejected key."""

    imported: int = 0
    skipped: int = 0
    refused: list[str] = field(default_factory=list)


def _drf_api_key(row: Any) -> dict[str, Any]:
    # Before version 1.4 only the primary key contained the prefix and the hash.
    prefix, _, digest = str(row.pk).partition(".")
    prefix = row.prefix or prefix
    return {
        "name": row.name[:100] or prefix,
        "key_prefix": prefix,
        "hashed_key": f"{verifiers.DRFAPIKey.scheme}${row.hashed_key or digest}",
        "created_at": row.created,
        "created_by": getattr(row, "user", None),
        "expires_at": row.expiry_date,
        "revoked_at": timezone.now() if row.revoked else None,
    }


def _knox(row: Any) -> dict[str, Any]:
    if len(row.digest) != 128:
        raise ValueError("its digest is not SHA-512, because knox's SECURE_HASH_ALGORITHM was different")
    return {
        "name": f"knox {row.token_key}",
        "key_prefix": verifiers.Knox.stored_prefix(row.digest),
        "hashed_key": f"{verifiers.Knox.scheme}${row.digest}",
        "created_at": row.created,
        "created_by": row.user,
        "expires_at": row.expiry,
    }


def _authtoken(row: Any) -> dict[str, Any]:
    prefix = verifiers.DRFAuthToken().prefix_of(row.pk)
    if prefix is None:
        raise ValueError("it does not have 40 hexadecimal digits")
    return {
        "name": f"token {row.pk[:4]}…",
        "key_prefix": prefix,
        "hashed_key": verifiers.hashed(row.pk),
        "created_at": row.created,
        "created_by": row.user,
    }


#: The models of the other libraries, and functions from a row to the values of our fields.
SOURCES: Final[dict[str, tuple[str, Callable[[Any], dict[str, Any]]]]] = {
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
    """Import the keys of ``drf-api-key``, ``knox`` or ``authtoken``. Keys that already exist are skipped.

    ``organization_of`` takes a row of the other library and returns the organization (an instance or its primary key)
    that owns the key, or None to reject it. ``model`` is the label of the project's own model, if it has replaced the
    library's. Each key gets ``scopes``. Raise ``UnknownScope``, or ``LookupError`` if the model is not installed.
    """
    label, convert = SOURCES[source]
    app_label, _, model_name = (model or label).partition(".")
    granted = sorted(set(scopes))
    if unknown := unknown_scopes(granted):
        raise UnknownScope(unknown, declared_scopes())
    report = Report()
    for row in apps.get_model(app_label, model_name)._default_manager.order_by("pk").iterator():
        try:
            values, owner = convert(row), organization_of(row)
            if owner is None:
                raise ValueError("it has no organization")
            written = dry_run or _write(owner, scopes=" ".join(granted), **values)
        except (AttributeError, ValueError) as error:
            # Not the primary key, which is the raw key in some libraries, but the position of the key.
            report.refused.append(f"Key {report.imported + report.skipped + len(report.refused) + 1}: {error}.")
            continue
        report.imported += written
        report.skipped += not written
    return report


def _write(owner: object, *, created_at: datetime, created_by: object, **values: Any) -> bool:
    model = get_api_key_model()
    using = router.db_for_write(model)
    rows = model._base_manager.using(using)
    with transaction.atomic(using=using):
        if rows.filter(key_prefix=values["key_prefix"]).exists():
            return False
        api_key = model(
            organization_id=getattr(owner, "pk", owner),
            created_by=created_by if isinstance(created_by, get_user_model()) else None,
            **values,
        )
        api_key.save(using=using, force_insert=True)
        # save() has replaced created_at with the current time (auto_now_add).
        rows.filter(pk=api_key.pk).update(created_at=created_at)
        events.emit_key(events.API_KEY_CREATED, api_key, using=using, scopes=api_key.scope_list)
    return True
