"""Pointing a foreign key that is full of keys at another model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.db import models, transaction
from django.db.migrations.operations.base import Operation

#: A key on its way is told from one that has not left yet: the old keys 1, 2 may become 2, 1.
_MOVED = ">"
_LONGEST_KEY = 255

Keys = Callable[[Any], Mapping[Any, Any]] | str | None


class RetargetForeignKey(Operation):
    """Give a foreign key that follows a setting the target that the setting names now, with its rows kept.

    For ``TENANCY_ORGANIZATION_MODEL``, ``API_KEYS_ORGANIZATION_MODEL`` and their like, whose columns still refer to
    the model that the setting named before. ``model`` and ``field`` name the column
    (``"dovetail_tenancy.Membership", "organization"``), ``was`` the model it referred to. ``keys`` says which row of
    the new model stands for which of the old: the name of the new model's field that holds the old key, or a function
    of the historical apps that returns ``{old key: new key}``; without it the keys are the same.

    A key that has none stops the migration with the number of its rows, and nothing was written. Reversed, it puts
    the old keys back. Where the column points at the new model already (a new database) it does nothing. The migration
    depends on the one that created the column and on the one that created the new model.
    """

    reduces_to_sql = False
    # In the migration's own transaction where tables can be changed in one; MariaDB refuses to within any.
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
        """Nothing: the migration that made the column reads the setting, so the state is of the new target already."""

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
        # A new database never had the old table.
        if old._meta.db_table in schema_editor.connection.introspection.table_names() and self._applies(
            schema_editor.connection, now, old
        ):
            self._move(schema_editor, now, (target, old), lambda: _turned(self._mapping(from_state.apps, now, target)))

    def _applies(self, connection: Any, model: Any, target: Any) -> bool:
        if not self.allow_migrate_model(connection.alias, model):
            return False
        with connection.cursor() as cursor:
            column = model._meta.get_field(self.field).column
            found = referenced_table(connection, cursor, model._meta.db_table, column)
        return found != str(target._meta.db_table)

    def _mapping(self, apps: Any, model: Any, target: Any) -> Mapping[Any, Any] | None:
        if self.keys is None or callable(self.keys):
            return None if self.keys is None else self.keys(apps)
        rows = target._base_manager.exclude(**{self.keys: None}).values_list(self.keys, "pk")
        return dict(rows)

    def _move(self, editor: Any, model: Any, ends: tuple[Any, Any], mapping: Callable[[], Any]) -> None:
        """Through text, because no database turns a UUID into an integer, and keys can change places in it."""
        field = model._meta.get_field(self.field)
        source, target = (_towards(field, end) for end in ends)
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
        found = self._distinct(connection, model, source)
        if mapping is None:
            known = target.remote_field.model._base_manager.using(connection.alias)
            mapping = {key: key for key in known.values_list("pk", flat=True)}
        lost = [key for key in found if _same(source, key) not in {_same(source, each) for each in mapping}]
        if lost:
            raise ValueError(
                f"{len(lost)} keys of {self.model}.{self.field} have no {target.remote_field.model._meta.label}: "
                f"{', '.join(map(str, lost[:5]))}, … Give them one (keys=…) or delete their rows, then migrate again."
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
        table, name = (connection.ops.quote_name(each) for each in (model._meta.db_table, column))
        with connection.cursor() as cursor:
            # Written as each database writes the column itself: with hyphens, or 32 digits on SQLite.
            moves = [(_MOVED + _text(target, new, connection), _text(source, old, connection)) for old, new in
                     mapping.items()]  # fmt: skip
            cursor.executemany(f"UPDATE {table} SET {name} = %s WHERE {name} = %s", moves)  # noqa: S608  # names
            start = f"SUBSTR({name}, 2)"
            cursor.execute(f"UPDATE {table} SET {name} = {start} WHERE {name} LIKE %s", [f"{_MOVED}%"])  # noqa: S608


def referenced_table(connection: Any, cursor: Any, table: str, column: str) -> str | None:
    """The table that a column's foreign key points at in the database, or None where it has none."""
    found = connection.introspection.get_relations(cursor, table).get(column)
    # Django 6.1 adds what the database does on deletion.
    return None if found is None else str(found[1])


def _towards(field: Any, model: Any) -> Any:
    _, _, args, kwargs = field.deconstruct()
    kwargs = {**kwargs, "to": model, "db_column": field.column}
    return _bound(models.ForeignKey(*args, **kwargs), field)


def _as_text(field: Any) -> Any:
    return _bound(
        models.CharField(max_length=_LONGEST_KEY, null=field.null, db_index=field.db_index, db_column=field.column),
        field,
    )


def _bound(made: Any, field: Any) -> Any:
    made.set_attributes_from_name(field.name)
    made.model = field.model
    return made


def _text(field: Any, key: Any, connection: Any) -> str:
    target = field.target_field
    return str(target.get_db_prep_value(target.to_python(key), connection))


def _same(field: Any, key: Any) -> str:
    return str(field.target_field.to_python(key))


def _turned(mapping: Mapping[Any, Any] | None) -> Mapping[Any, Any] | None:
    return None if mapping is None else {new: old for old, new in mapping.items()}
