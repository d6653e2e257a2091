"""Whether the database's foreign keys point where the settings say: changing such a setting changes no table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.core.checks import CheckMessage, Error
from django.db import connections, models, router
from django.db.migrations.loader import MigrationLoader

from dovetail_core.fields import SettingForeignKey
from dovetail_tenancy.operations.retarget_foreign_key import RetargetForeignKey, referenced_table


def check_foreign_keys(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """For every ``SettingForeignKey`` of every installed app, whichever package it is of."""
    return [message for alias in databases or () for message in _drift(alias)]


def _drift(alias: str) -> Iterator[CheckMessage]:
    connection = connections[alias]
    with connection.cursor() as cursor:
        tables = set(connection.introspection.table_names(cursor))
        for field in _fields(alias, tables):
            found = referenced_table(connection, cursor, field.model._meta.db_table, field.column)
            meant = field.remote_field.model._meta.db_table
            if found is not None and found != meant and not _is_being_retargeted(connection, field):
                yield _error(field, found, meant, alias)


def _fields(alias: str, tables: set[str]) -> Iterator[Any]:
    for model in apps.get_models():
        # Not there: not migrated yet, or another database's.
        if model._meta.db_table in tables and model._meta.managed and router.allow_migrate_model(alias, model):
            for field in model._meta.local_fields:
                if isinstance(field, SettingForeignKey) and getattr(field, "db_constraint", True):
                    yield field


def _is_being_retargeted(connection: Any, field: models.Field[Any, Any]) -> bool:
    """``migrate`` runs the checks first, and must not be stopped from what puts it right."""
    loader = MigrationLoader(connection, ignore_no_migrations=True)
    return any(
        isinstance(operation, RetargetForeignKey) and operation.is_for(field)
        for key, migration in loader.disk_migrations.items()
        if key not in loader.applied_migrations
        for operation in migration.operations
    )


def _error(field: Any, found: str, meant: str, alias: str) -> CheckMessage:
    return Error(
        f"{field.setting} names {field.remote_field.model._meta.label} (table {meant}), but the foreign key of "
        f"{field} in the database {alias!r} points at the table {found}.",
        hint=(
            f"Set {field.setting} back, or retarget the column in a migration of yours: dovetail_tenancy.operations."
            f"RetargetForeignKey({field.model._meta.label!r}, {field.name!r}, was=<the model of {found}>, keys=…)."
        ),
        obj=field.model,
        id="dovetail_tenancy.E010",
    )
