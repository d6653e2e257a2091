"""A check that foreign keys in the database match the settings, whose change alone alters no table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.core.checks import CheckMessage, Error
from django.db import connections, models, router
from django.db.migrations.loader import MigrationLoader

from dovetail_core.models import SettingForeignKey
from dovetail_tenancy.operations.retarget_foreign_key import RetargetForeignKey, referenced_table


def check_foreign_keys(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Check every ``SettingForeignKey`` of all installed apps."""
    return [message for alias in databases or () for message in _mismatches(alias)]


def _mismatches(alias: str) -> Iterator[CheckMessage]:
    connection = connections[alias]
    with connection.cursor() as cursor:
        tables = set(connection.introspection.table_names(cursor))
        for field in _fields(alias, tables):
            actual = referenced_table(connection, cursor, field.model._meta.db_table, field.column)
            expected = field.remote_field.model._meta.db_table
            if actual is not None and actual != expected and not _is_being_retargeted(connection, field):
                yield _error(field, actual, expected, alias)


def _fields(alias: str, tables: set[str]) -> Iterator[Any]:
    for model in apps.get_models():
        # A missing table is not migrated yet, or belongs to another database.
        if model._meta.db_table in tables and model._meta.managed and router.allow_migrate_model(alias, model):
            for field in model._meta.local_fields:
                if isinstance(field, SettingForeignKey) and getattr(field, "db_constraint", True):
                    yield field


def _is_being_retargeted(connection: Any, field: models.Field[Any, Any]) -> bool:
    """Return whether a pending migration retargets the field: ``migrate`` runs this check and must not be stopped."""
    loader = MigrationLoader(connection, ignore_no_migrations=True)
    return any(
        isinstance(operation, RetargetForeignKey) and operation.is_for(field)
        for key, migration in loader.disk_migrations.items()
        if key not in loader.applied_migrations
        for operation in migration.operations
    )


def _error(field: Any, actual: str, expected: str, alias: str) -> CheckMessage:
    return Error(
        f"{field.setting} names {field.remote_field.model._meta.label} (table {expected}), but the foreign key of "
        f"{field} in the database {alias!r} points at the table {actual}.",
        hint=(
            f"Set {field.setting} back, or retarget the column in a migration of yours: dovetail_tenancy.operations."
            f"RetargetForeignKey({field.model._meta.label!r}, {field.name!r}, was=<the model of {actual}>, keys=…)."
        ),
        obj=field.model,
        id="dovetail_tenancy.E010",
    )
