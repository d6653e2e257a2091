"""The constraint by which the database refuses a foreign key to another organization's row."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from django.core.exceptions import ValidationError
from django.db import DEFAULT_DB_ALIAS
from django.db.backends.ddl_references import Columns, Statement, Table
from django.db.models import BaseConstraint, Model
from django.utils.translation import gettext_lazy as _

from dovetail_tenancy.isolation.scope import unscoped

_CREATE = "ALTER TABLE %(table)s ADD CONSTRAINT %(name)s " + (
    _REFERENCES := "FOREIGN KEY (%(columns)s) REFERENCES %(target)s (%(target_columns)s)%(deferrable)s"
)


class _Key(NamedTuple):
    target: Any
    columns: list[str]
    target_columns: list[str]


class SameOrganization(BaseConstraint):
    """The row that the foreign key ``field`` points at belongs to the organization of the row itself.

    A composite foreign key of ``field`` and ``organization``, for every write that reaches the database: raw SQL, data
    migrations, ``loaddata``, and a bare key from outside (``customer_id=…``), whose owner the ORM does not look up. The
    model that ``field`` points at needs ``UniqueConstraint(fields=[<its key>, "organization"])``, because a foreign key
    can only refer to unique columns. Rows with a null ``field`` are accepted.
    """

    default_violation_error_message = _("The row belongs to another organization.")

    def __init__(
        self,
        field: str,
        *,
        name: str,
        violation_error_code: str | None = None,
        violation_error_message: Any = None,
    ) -> None:
        self.field = field
        super().__init__(
            name=name, violation_error_code=violation_error_code, violation_error_message=violation_error_message
        )

    # Any: the stubs allow None for both arguments, and require a str, although Django's own methods return a Statement.
    def constraint_sql(self, model: Any, schema_editor: Any) -> Any:
        if schema_editor.connection.vendor != "sqlite":
            # Later: the other table, or its unique constraint, may not exist yet.
            schema_editor.deferred_sql.append(self._statement(model, schema_editor))
            return None
        # SQLite cannot add a foreign key to a table, and creates tables in any order.
        quote = schema_editor.quote_name
        return f"CONSTRAINT {quote(self.name)} " + _REFERENCES % {
            "columns": ", ".join(map(quote, self._key(model).columns)),
            "target": quote(self._key(model).target._meta.db_table),
            "target_columns": ", ".join(map(quote, self._key(model).target_columns)),
            "deferrable": " DEFERRABLE INITIALLY DEFERRED",  # as Django's own foreign keys
        }

    def create_sql(self, model: Any, schema_editor: Any) -> Any:
        statement = self._statement(model, schema_editor)
        # makemigrations sorts operations by model, so the target's unique constraint may come later in the migration.
        # sqlmigrate executes nothing, so the database cannot tell.
        if schema_editor.collect_sql or not self._is_target_unique(model, schema_editor.connection):
            schema_editor.deferred_sql.append(statement)
            return None
        return statement

    def _is_target_unique(self, model: Any, connection: Any) -> bool:
        key = self._key(model)
        with connection.cursor() as cursor:
            constraints = connection.introspection.get_constraints(cursor, key.target._meta.db_table).values()
        return any(known["unique"] and {*known["columns"]} == {*key.target_columns} for known in constraints)

    def _statement(self, model: Any, schema_editor: Any) -> Statement:
        quote = schema_editor.quote_name
        key = self._key(model)
        table, target = model._meta.db_table, key.target._meta.db_table
        # References, so that a later operation of the same migration can rename the tables and columns.
        return Statement(
            _CREATE,
            table=Table(table, quote),
            name=quote(self.name),
            columns=Columns(table, key.columns, quote),
            target=Table(target, quote),
            target_columns=Columns(target, key.target_columns, quote),
            deferrable=schema_editor.connection.ops.deferrable_sql(),
        )

    def remove_sql(self, model: Any, schema_editor: Any) -> Any:
        quote, table = schema_editor.quote_name, model._meta.db_table
        for statement in schema_editor.deferred_sql:
            if getattr(statement, "template", None) == _CREATE and statement.parts["name"] == quote(self.name):
                # Added by an earlier operation of the same migration.
                schema_editor.deferred_sql.remove(statement)
                return None
        return Statement(schema_editor.sql_delete_fk, table=Table(table, quote), name=quote(self.name))

    def validate(
        self,
        model: type[Model],
        instance: Any,
        exclude: Collection[str] | None = None,
        using: str = DEFAULT_DB_ALIAS,
    ) -> None:
        field: Any = model._meta.get_field(self.field)
        key, organization_id = getattr(instance, field.attname), instance.organization_id
        # A row without an organization gets the active one when it is saved. The database checks it then.
        if key is None or organization_id is None or self.field in (exclude or ()):
            return
        with unscoped(reason=f"validation of {field}"):
            rows = field.remote_field.model._base_manager.using(using).filter(**{field.target_field.name: key})
            organizations = list(rows.values_list("organization", flat=True)[:1])
        if organizations and organizations[0] != organization_id:
            error = ValidationError(self.get_violation_error_message(), code=self.violation_error_code)
            raise ValidationError({self.field: error})

    def deconstruct(self) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
        _path, arguments, kwargs = super().deconstruct()
        return "dovetail_tenancy.models.SameOrganization", (self.field, *arguments), kwargs

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SameOrganization):
            return NotImplemented
        return self.deconstruct() == other.deconstruct()

    def __hash__(self) -> int:
        return hash((self.field, self.name))

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: field={self.field!r} name={self.name!r}>"

    def _key(self, model: type[Model]) -> _Key:
        field: Any = model._meta.get_field(self.field)
        target = field.remote_field.model
        own: Any = model._meta.get_field("organization")
        other = target._meta.get_field("organization")
        return _Key(target, [field.column, own.column], [field.target_field.column, other.column])
