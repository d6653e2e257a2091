"""Changes of flags without the services: by fixtures, the deletion of rows, and code that calls ``save()``."""

from __future__ import annotations

from typing import Any

from django.db import router
from django.db.models.signals import post_delete, post_migrate, post_save

from dovetail_flags.base import get_flag_model
from dovetail_flags.models import FlagSet
from dovetail_flags.providers.changes import flags_changed, record_change


def connect() -> None:
    model = get_flag_model()
    post_save.connect(_changed, sender=model, dispatch_uid="dovetail_flags.saved")
    post_delete.connect(_changed, sender=model, dispatch_uid="dovetail_flags.deleted")
    post_migrate.connect(_migrated, dispatch_uid="dovetail_flags.migrated")


def _changed(using: str, **kwargs: Any) -> None:
    record_change(using)


def _migrated(app_config: Any, using: str, apps: Any = None, **kwargs: Any) -> None:
    """Create the row that all changes lock, after ``migrate`` and after the flush of a ``TransactionTestCase``.

    The first changes would otherwise create it together, and MariaDB ends all but one of them as a deadlock.
    """
    if app_config.name != "dovetail_flags" or not router.allow_migrate_model(using, FlagSet):
        return
    try:
        if apps is not None:  # flush passes none
            apps.get_model("dovetail_flags", "FlagSet")
    except LookupError:  # migrated to zero
        return
    FlagSet._base_manager.using(using).get_or_create(pk=1)
    flags_changed.send(sender=FlagSet, using=using)
