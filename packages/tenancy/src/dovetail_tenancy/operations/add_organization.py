"""The migration operation that adds the organization to a table with existing rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from django.apps import apps
from django.db import models, transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor as Editor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState as State
from django.db.models import F, OuterRef, QuerySet, Subquery

from dovetail_tenancy.isolation.fields import OrganizationForeignKey

NAME = "organization"


class AddOrganization(Operation):
    """Adds the organization to a model with rows: a nullable column, filled in batches, then ``NOT NULL``.

    ``source`` finds the organization of a row: a path of foreign keys that ends at it (``"company"``,
    ``"order__company"``), or a function of the historical row that returns a key. If rows have no organization, the
    migration stops with their number. The resulting state is that of a ``TenantModel``, so ``makemigrations`` detects
    no changes. Reversing it drops the column.

    In a migration with ``atomic = False`` each batch is committed, so locks are short, and an interrupted migration
    continues where it stopped. The migration depends on
    ``dovetail_core.models.dependency("TENANCY_ORGANIZATION_MODEL")``.
    """

    reduces_to_sql = False
    atomic = False

    def __init__(self, model_name: str, source: str | Callable[[Any], object], *, batch_size: int = 2000) -> None:
        self.model_name = model_name
        self.source = source
        self.batch_size = batch_size

    def describe(self) -> str:
        return f"Add the organization to {self.model_name}"

    def state_forwards(self, app_label: str, state: State) -> None:
        self._add_column(app_label, state, null=False)
        # As makemigrations detects it: a model with its own Meta inherits the manager but not the option.
        try:
            own = apps.get_model(app_label, self.model_name)._meta.original_attrs
        except LookupError:  # a later migration removes the model
            return
        if "base_manager_name" in own:
            state.alter_model_options(app_label, self.model_name.lower(), {"base_manager_name": "objects"})

    def database_forwards(self, app_label: str, schema_editor: Editor, from_state: State, to_state: State) -> None:
        before = from_state.apps.get_model(app_label, self.model_name)
        connection = schema_editor.connection
        if not self.allow_migrate_model(connection.alias, before):
            return
        nullable_state = from_state.clone()
        self._add_column(app_label, nullable_state, null=True)
        model = nullable_state.apps.get_model(app_label, self.model_name)
        field: Any = model._meta.get_field(NAME)
        with connection.cursor() as cursor:
            columns = connection.introspection.get_table_description(cursor, model._meta.db_table)
        if field.column not in {column.name for column in columns}:
            schema_editor.add_field(before, field)
            # Create the foreign key's constraint and index now. If filling is interrupted, they would be missing.
            for statement in schema_editor.deferred_sql:
                schema_editor.execute(statement, None)
            schema_editor.deferred_sql.clear()
        self._fill(model, connection.alias)
        # PostgreSQL cannot alter a table with pending foreign key checks.
        connection.check_constraints()
        strict: Any = to_state.apps.get_model(app_label, self.model_name)._meta.get_field(NAME)
        schema_editor.alter_field(model, field, strict)

    def database_backwards(self, app_label: str, schema_editor: Editor, from_state: State, to_state: State) -> None:
        model = from_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            field: Any = model._meta.get_field(NAME)
            schema_editor.remove_field(model, field)

    def _add_column(self, app_label: str, state: State, *, null: bool) -> None:
        """Add the plain foreign key that ``makemigrations`` writes for an ``OrganizationForeignKey``."""
        field = OrganizationForeignKey()
        field.name = NAME
        _, _, args, kwargs = field.deconstruct()
        column: Any = models.ForeignKey(*args, **{**kwargs, "null": null})
        state.add_field(app_label, self.model_name.lower(), NAME, column, preserve_default=True)

    def _fill(self, model: type[models.Model], using: str) -> None:
        rows = model._base_manager.using(using).order_by("pk")
        for keys in self._batches(rows):
            with transaction.atomic(using=using):
                batch = rows.filter(pk__gte=keys[0], pk__lte=keys[-1], **{NAME: None}).order_by()
                if callable(self.source):
                    _fill_by_function(batch, self.source)
                else:
                    batch.update(**{NAME: _path(model, self.source, using)})
        remaining = rows.filter(**{NAME: None})
        if count := remaining.count():
            some = ", ".join(str(key) for key in remaining.values_list("pk", flat=True)[:5])
            raise ValueError(
                f"{count} rows of {model._meta.label} have no organization by {self.source!r}: {some}, … "
                "Assign them one or delete them, then run the migration again."
            )

    def _batches(self, rows: QuerySet[models.Model]) -> Iterator[list[Any]]:
        empty = rows.filter(**{NAME: None}).values_list("pk", flat=True)
        keys = list(empty[: self.batch_size])
        while keys:
            yield keys
            # By key, not by emptiness: rows that stay without an organization would be selected again forever.
            keys = list(empty.filter(pk__gt=keys[-1])[: self.batch_size])


def _fill_by_function(batch: QuerySet[models.Model], source: Callable[[Any], object]) -> None:
    keys: dict[object, list[object]] = defaultdict(list)
    for row in batch:
        organization = source(row)
        if organization is not None:
            keys[getattr(organization, "pk", organization)].append(row.pk)
    for organization_id, rows in keys.items():
        batch.filter(pk__in=rows).update(**{f"{NAME}_id": organization_id})


def _path(model: type[models.Model], source: str, using: str) -> F | Subquery:
    first, _, rest = source.partition("__")
    if not rest:
        return F(f"{first}_id")
    field: Any = model._meta.get_field(first)
    # A subquery on the related table: MariaDB refuses one on the updated table.
    return Subquery(field.related_model._base_manager.using(using).filter(pk=OuterRef(first)).values(rest)[:1])
