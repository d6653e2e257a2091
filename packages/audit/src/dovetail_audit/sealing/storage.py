"""The storage outside the database, ``STORAGES[AUDIT_STORAGE]``."""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import InvalidStorageError, Storage, storages

from dovetail_audit.conf import conf


def audit_storage() -> Storage:
    """Raise ``ImproperlyConfigured`` if it is not configured."""
    try:
        return storages[conf.STORAGE]
    except InvalidStorageError as error:
        raise ImproperlyConfigured(
            f"STORAGES has no usable alias {conf.STORAGE!r} (AUDIT_STORAGE) for checkpoints, archives and records of "
            f"erasures: {error}"
        ) from error


def has_storage() -> bool:
    return conf.STORAGE in storages.backends
