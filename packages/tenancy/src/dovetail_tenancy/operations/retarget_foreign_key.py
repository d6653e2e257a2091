"""Foreign keys that follow a setting: the check that they match it, and the operation that retargets one with rows.

Changing such a setting alters no table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from django.apps import AppConfig, apps
from django.core.checks import CheckMessage, Error
from django.db import connections, models, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor as Editor
from django.db.backends.utils import CursorWrapper
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState as State
from django.db.migrations.state import StateApps

from dovetail_core.models import SettingForeignKey

#: Marks a rewritten key, because new keys may equal old ones: the old keys 1, 2 may become 2, 1.
_MOVED = ">"
_LONGEST_KEY = 255

ForeignKey: TypeAlias = "models.ForeignKey[Any, Any]"
F = TypeVar("F", bound="models.Field[Any, Any]")
Keys: TypeAlias = Callable[[StateApps], Mapping[Any, Any]] | str


class RetargetForeignKey(Operation):
    """Points a foreign key that follows a setting at the model that the setting names now, and keeps its rows.

    Use it for settings such as ``TENANCY_ORGANIZATION_MODEL`` and ``API_KEYS_ORGANIZATION_MODEL`` whose columns still
    refer to the earlier model. ``model`` and ``field`` name the column (``"dovetail_tenancy.Membership",
    "organization"``), ``was`` names the earlier model. ``keys`` maps the rows of the earlier model to those of the new
    one: the name of the new model's field that holds the old key, or a function of the historical apps that returns
    ``{old key: new key}``. Without it the keys are the same.

    If a key has no counterpart, the migration stops with the number of such keys and writes nothing. Reversing it
    restores the old keys. It does nothing if the column already points at the new model, as in a new database. The
    migration depends on the one that created the column and on the one that created the new model.
    """

    reduces_to_sql = False
    # PostgreSQL and SQLite run it in the migration's transaction; MariaDB cannot alter tables in a transaction.
    atomic = False

    def __init__(self, model: str, field: str, *, was: str, keys: Keys | None = None) -> None:
        self.model = model
        self.field = field
        self.was = was
        self.keys = keys

    def describe(self) -> str:
        return f"Point {self.model}.{self.field} at the model that its setting names now"

    def state_forwards(self, app_label: str, state: State) -> None:
        """Change nothing: the migration that created the column reads the setting, so the state has the new target."""

    def database_forwards(self, app_label: str, schema_editor: Editor, from_state: State, to_state: State) -> None:
        self._retarget(schema_editor, from_state.apps, backwards=False)

    def database_backwards(self, app_label: str, schema_editor: Editor, from_state: State, to_state: State) -> None:
        self._retarget(schema_editor, from_state.apps, backwards=True)

    def _retarget(self, editor: Editor, apps: StateApps, *, backwards: bool) -> None:
        connection = editor.connection
        model, earlier = apps.get_model(self.model), apps.get_model(self.was)
        field: Any = model._meta.get_field(self.field)
        present = field.remote_field.model
        before, after = (present, earlier) if backwards else (earlier, present)
        # A new database does not have the earlier table.
        exists = not backwards or after._meta.db_table in connection.introspection.table_names()
        if not exists or not self.allow_migrate_model(connection.alias, model):
            return
        with connection.cursor() as cursor:
            actual = referenced_table(connection, cursor, model._meta.db_table, field.column)
        if actual != after._meta.db_table:
            keys = self.keys(apps) if callable(self.keys) else None
            if isinstance(self.keys, str):
                rows = present._base_manager.using(connection.alias).exclude(**{self.keys: None})
                keys = dict(rows.values_list(self.keys, "pk"))
            if backwards and keys is not None:
                keys = {new: old for old, new in keys.items()}
            self._move(editor, _foreign_key_to(field, before), _foreign_key_to(field, after), keys)

    def _move(self, editor: Editor, source: ForeignKey, target: ForeignKey, keys: Mapping[Any, Any] | None) -> None:
        """Convert the column to text and back: no database casts a UUID to an integer, and keys may change places."""
        self._refuse_orphans(editor.connection, source, target, keys)
        options = {name: getattr(source, name) for name in ("null", "db_index")}
        text = _replacement(models.CharField(max_length=_LONGEST_KEY, db_column=source.column, **options), source)
        editor.alter_field(source.model, source, text)
        if keys is not None:
            _rewrite(editor.connection, source, target, keys)
        # PostgreSQL alters no table with pending foreign key checks.
        editor.connection.check_constraints([])
        editor.alter_field(source.model, text, target)

    def _refuse_orphans(
        self, connection: BaseDatabaseWrapper, source: ForeignKey, target: ForeignKey, keys: Iterable[object] | None
    ) -> None:
        new = target.remote_field.model
        if keys is None:
            keys = new._base_manager.using(connection.alias).values_list("pk", flat=True)
        known = {str(source.target_field.to_python(key)) for key in keys}
        quote = connection.ops.quote_name
        column, table = quote(source.column), quote(source.model._meta.db_table)
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT DISTINCT {column} FROM {table} WHERE {column} IS NOT NULL")  # noqa: S608  # names
            used = [source.target_field.to_python(row[0]) for row in cursor.fetchall()]
        missing = [key for key in used if str(key) not in known]
        if missing:
            raise ValueError(
                f"{len(missing)} keys of {self.model}.{self.field} have no {new._meta.label}: "
                f"{', '.join(map(str, missing[:5]))}, … "
                "Map them with keys=… or delete their rows, then run the migration again."
            )


def _rewrite(connection: BaseDatabaseWrapper, source: ForeignKey, target: ForeignKey, keys: Mapping[Any, Any]) -> None:
    table, name = map(connection.ops.quote_name, (source.model._meta.db_table, source.column))
    old_keys = (_as_column(source, key, connection) for key in keys)
    new_keys = (_MOVED + _as_column(target, key, connection) for key in keys.values())
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        rows = list(zip(new_keys, old_keys, strict=True))
        cursor.executemany(f"UPDATE {table} SET {name} = %s WHERE {name} = %s", rows)  # noqa: S608  # names
        key = f"SUBSTR({name}, 2)"
        cursor.execute(f"UPDATE {table} SET {name} = {key} WHERE {name} LIKE %s", [f"{_MOVED}%"])  # noqa: S608


def _foreign_key_to(field: ForeignKey, model: type[models.Model]) -> ForeignKey:
    _, _, args, kwargs = field.deconstruct()
    return _replacement(models.ForeignKey(*args, **{**kwargs, "to": model, "db_column": field.column}), field)


def _replacement(new: F, field: ForeignKey) -> F:
    new.set_attributes_from_name(field.name)
    new.model = field.model
    return new


def _as_column(field: ForeignKey, key: object, connection: BaseDatabaseWrapper) -> str:
    """Return the key in the format of the database's column: a UUID has hyphens, or 32 digits on SQLite."""
    target = field.target_field
    return str(target.get_db_prep_value(target.to_python(key), connection))


def check_foreign_keys(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    return [message for alias in databases or () for message in _mismatches(alias)]


def _mismatches(alias: str) -> Iterator[CheckMessage]:
    connection = connections[alias]
    with connection.cursor() as cursor:
        tables = set(connection.introspection.table_names(cursor))
        for field in _setting_foreign_keys(alias, tables):
            actual = referenced_table(connection, cursor, field.model._meta.db_table, field.column)
            expected = field.remote_field.model._meta.db_table
            if actual is not None and actual != expected and not _is_being_retargeted(connection, field):
                yield Error(
                    f"{field.setting} names {field.remote_field.model._meta.label} (table {expected}), but the foreign "
                    f"key of {field} in the database {alias!r} points at the table {actual}.",
                    hint=f"Restore the previous value of {field.setting}, or retarget the column in a migration: "
                    f"dovetail_tenancy.operations.RetargetForeignKey({field.model._meta.label!r}, {field.name!r}, "
                    f"was=<the model of {actual}>, keys=…).",
                    obj=field.model,
                    id="dovetail_tenancy.E010",
                )


def _setting_foreign_keys(alias: str, tables: set[str]) -> Iterator[SettingForeignKey]:
    for model in apps.get_models():
        # A missing table is not migrated yet, or belongs to another database.
        if model._meta.db_table in tables and model._meta.managed and router.allow_migrate_model(alias, model):
            for field in model._meta.local_fields:
                if isinstance(field, SettingForeignKey) and getattr(field, "db_constraint", True):
                    yield field


def referenced_table(connection: BaseDatabaseWrapper, cursor: CursorWrapper, table: str, column: str) -> str | None:
    # Not get_relations(), which MariaDB's introspection builds by column: a composite foreign key would hide this one.
    for constraint in connection.introspection.get_constraints(cursor, table).values():
        if constraint["foreign_key"] and list(constraint["columns"]) == [column]:
            return str(constraint["foreign_key"][0])
    return None


def _is_being_retargeted(connection: BaseDatabaseWrapper, field: models.Field[Any, Any]) -> bool:
    """Return whether a pending migration retargets the field: ``migrate`` runs this check and must not be stopped."""
    loader = MigrationLoader(connection, ignore_no_migrations=True)
    return any(
        isinstance(operation, RetargetForeignKey)
        and (operation.model.lower(), operation.field) == (field.model._meta.label_lower, field.name)
        for key, migration in loader.disk_migrations.items()
        if key not in loader.applied_migrations
        for operation in migration.operations
    )
