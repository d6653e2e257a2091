"""The migration operation that points a foreign key with existing rows at another model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.db import models, transaction
from django.db.migrations.operations.base import Operation

#: Marks a rewritten key, because new keys may equal old ones: the old keys 1, 2 may become 2, 1.
_MOVED = ">"
_LONGEST_KEY = 255

Keys = Callable[[Any], Mapping[Any, Any]] | str | None


class RetargetForeignKey(Operation):
    """Points a foreign key that follows a setting at the model that the setting names now, and keeps its rows.

    Use it for settings such as ``TENANCY_ORGANIZATION_MODEL`` and ``API_KEYS_ORGANIZATION_MODEL`` whose columns still
    refer to the earlier model. ``model`` and ``field`` name the column (``"dovetail_tenancy.Membership",
    "organization"``), ``was`` names the earlier model. ``keys`` maps the rows of the earlier model to those of the new
    one: the name of the new model's field that holds the old key, or a function of the historical apps that returns
    ``{old key: new key}``. Without it the keys are the same.

    A key without a counterpart stops the migration with the number of such keys, and nothing is written. Reversing it
    restores the old keys. It does nothing if the column already points at the new model, as in a new database. The
    migration depends on the one that created the column and on the one that created the new model.
    """

    reduces_to_sql = False
    # PostgreSQL and SQLite run it in the migration's transaction; MariaDB cannot alter tables in a transaction.
    atomic = False

    def __init__(self, model: str, field: str, *, was: str, keys: Keys = None) -> None:
        self.model = model
        self.field = field
        self.was = was
        self.keys = keys

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        return type(self).__name__, [self.model, self.field], {"was": self.was, "keys": self.keys}

    def describe(self) -> str:
        return f"Point {self.model}.{self.field} at the model that its setting names now"

    def is_for(self, field: models.Field[Any, Any]) -> bool:
        return (self.model.lower(), self.field) == (field.model._meta.label_lower, field.name)

    def state_forwards(self, app_label: str, state: Any) -> None:
        """Change nothing: the migration that created the column reads the setting, so the state has the new target."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        now = from_state.apps.get_model(self.model)
        old = from_state.apps.get_model(self.was)
        target = now._meta.get_field(self.field).remote_field.model
        if self._applies(schema_editor.connection, now, target):
            self._move(schema_editor, now, (old, target), lambda: self._mapping(from_state.apps, now, target))

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        now = from_state.apps.get_model(self.model)
        old = from_state.apps.get_model(self.was)
        target = now._meta.get_field(self.field).remote_field.model
        # A new database does not have the old table.
        if old._meta.db_table in schema_editor.connection.introspection.table_names() and self._applies(
            schema_editor.connection, now, old
        ):
            self._move(
                schema_editor, now, (target, old), lambda: _inverted(self._mapping(from_state.apps, now, target))
            )

    def _applies(self, connection: Any, model: Any, target: Any) -> bool:
        if not self.allow_migrate_model(connection.alias, model):
            return False
        with connection.cursor() as cursor:
            column = model._meta.get_field(self.field).column
            actual = referenced_table(connection, cursor, model._meta.db_table, column)
        return actual != str(target._meta.db_table)

    def _mapping(self, apps: Any, model: Any, target: Any) -> Mapping[Any, Any] | None:
        if self.keys is None or callable(self.keys):
            return None if self.keys is None else self.keys(apps)
        rows = target._base_manager.exclude(**{self.keys: None}).values_list(self.keys, "pk")
        return dict(rows)

    def _move(self, editor: Any, model: Any, ends: tuple[Any, Any], mapping: Callable[[], Any]) -> None:
        """Convert the column to text and back: no database casts a UUID to an integer, and keys may change places."""
        field = model._meta.get_field(self.field)
        source, target = (_foreign_key_to(field, end) for end in ends)
        text = _as_text(field)
        connection = editor.connection
        with transaction.atomic(using=connection.alias):
            self._refuse_orphans(connection, model, source, target, mapping())
        editor.alter_field(model, source, text)
        with transaction.atomic(using=connection.alias):
            self._rewrite(editor, model, field.column, source, target, mapping())
        # PostgreSQL alters no table with foreign keys that are still to be checked.
        connection.check_constraints([])
        editor.alter_field(model, text, target)

    def _refuse_orphans(self, connection: Any, model: Any, source: Any, target: Any, mapping: Any) -> None:
        existing = self._distinct(connection, model, source)
        if mapping is None:
            known = target.remote_field.model._base_manager.using(connection.alias)
            mapping = {key: key for key in known.values_list("pk", flat=True)}
        mapped = {_as_key_text(source, key) for key in mapping}
        missing = [key for key in existing if _as_key_text(source, key) not in mapped]
        if missing:
            raise ValueError(
                f"{len(missing)} keys of {self.model}.{self.field} have no {target.remote_field.model._meta.label}: "
                f"{', '.join(map(str, missing[:5]))}, … "
                "Give them one (keys=…) or delete their rows, then migrate again."
            )

    def _distinct(self, connection: Any, model: Any, source: Any) -> list[Any]:
        quote = connection.ops.quote_name
        with connection.cursor() as cursor:
            column, table = quote(source.column), quote(model._meta.db_table)
            cursor.execute(f"SELECT DISTINCT {column} FROM {table} WHERE {column} IS NOT NULL")  # noqa: S608  # names
            return [source.target_field.to_python(row[0]) for row in cursor.fetchall()]

    def _rewrite(self, editor: Any, model: Any, column: str, source: Any, target: Any, mapping: Any) -> None:
        if mapping is None:
            return
        connection = editor.connection
        table, name = map(connection.ops.quote_name, (model._meta.db_table, column))
        with connection.cursor() as cursor:
            # In the format of the database's column: a UUID has hyphens, or 32 digits on SQLite.
            moves = [(_MOVED + _text(target, new, connection), _text(source, old, connection)) for old, new in
                     mapping.items()]  # fmt: skip
            cursor.executemany(f"UPDATE {table} SET {name} = %s WHERE {name} = %s", moves)  # noqa: S608  # names
            start = f"SUBSTR({name}, 2)"
            cursor.execute(f"UPDATE {table} SET {name} = {start} WHERE {name} LIKE %s", [f"{_MOVED}%"])  # noqa: S608


def referenced_table(connection: Any, cursor: Any, table: str, column: str) -> str | None:
    """Return the table that a column's foreign key points at in the database, or None if it has none."""
    relation = connection.introspection.get_relations(cursor, table).get(column)
    # Django 6.1 adds a third item, the database's on_delete.
    return None if relation is None else str(relation[1])


def _foreign_key_to(field: Any, model: Any) -> Any:
    _, _, args, kwargs = field.deconstruct()
    kwargs = {**kwargs, "to": model, "db_column": field.column}
    return _replacing(models.ForeignKey(*args, **kwargs), field)


def _as_text(field: Any) -> Any:
    return _replacing(
        models.CharField(max_length=_LONGEST_KEY, null=field.null, db_index=field.db_index, db_column=field.column),
        field,
    )


def _replacing(new: Any, field: Any) -> Any:
    new.set_attributes_from_name(field.name)
    new.model = field.model
    return new


def _text(field: Any, key: Any, connection: Any) -> str:
    target = field.target_field
    return str(target.get_db_prep_value(target.to_python(key), connection))


def _as_key_text(field: Any, key: Any) -> str:
    return str(field.target_field.to_python(key))


def _inverted(mapping: Mapping[Any, Any] | None) -> Mapping[Any, Any] | None:
    return None if mapping is None else {new: old for old, new in mapping.items()}
