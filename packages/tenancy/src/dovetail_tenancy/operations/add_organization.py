"""The migration operation that adds the organization to a table with existing rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from django.apps import apps
from django.db import models, transaction
from django.db.migrations.operations.base import Operation
from django.db.models import F, OuterRef, Subquery

from dovetail_tenancy.isolation.fields import OrganizationForeignKey

NAME = "organization"


class AddOrganization(Operation):
    """Adds the organization to a model with rows: a nullable column, filled in batches, then ``NOT NULL``.

    ``source`` tells the organization of a row: a path of foreign keys that ends at it (``"company"``,
    ``"order__company"``), or a function of the historical row that returns a key. Rows without an organization stop the
    migration with their number. The resulting state is that of a ``TenantModel``, so ``makemigrations`` detects no
    changes. Reversing it drops the column.

    In a migration with ``atomic = False`` each batch is committed, so locks are short, and an interrupted migration
    continues where it stopped. The migration depends on
    ``dovetail_core.models.dependency("TENANCY_ORGANIZATION_MODEL")``.
    """

    reduces_to_sql = False
    atomic = False

    def __init__(self, model_name: str, source: str | Callable[[Any], Any], *, batch_size: int = 2000) -> None:
        self.model_name = model_name
        self.source = source
        self.batch_size = batch_size

    @property
    def model_name_lower(self) -> str:
        return self.model_name.lower()

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        return type(self).__name__, [self.model_name, self.source], {"batch_size": self.batch_size}

    def describe(self) -> str:
        return f"Give every {self.model_name} its organization"

    def state_forwards(self, app_label: str, state: Any) -> None:
        state.add_field(app_label, self.model_name_lower, NAME, _column(null=False), preserve_default=True)
        if options := self._options(app_label):
            state.alter_model_options(app_label, self.model_name_lower, options)

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        before = from_state.apps.get_model(app_label, self.model_name)
        if not self.allow_migrate_model(schema_editor.connection.alias, before):
            return
        nullable_state = from_state.clone()
        nullable_state.add_field(app_label, self.model_name_lower, NAME, _column(null=True), preserve_default=True)
        model = nullable_state.apps.get_model(app_label, self.model_name)
        column = model._meta.get_field(NAME)
        if not self._column_exists(schema_editor.connection, model, column):
            schema_editor.add_field(before, column)
            _run_deferred(schema_editor)
        self._fill(model, schema_editor.connection.alias)
        # PostgreSQL cannot alter a table with pending foreign key checks.
        schema_editor.connection.check_constraints()
        strict = to_state.apps.get_model(app_label, self.model_name)
        schema_editor.alter_field(model, column, strict._meta.get_field(NAME))

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = from_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            schema_editor.remove_field(model, model._meta.get_field(NAME))

    def _options(self, app_label: str) -> dict[str, str]:
        # As makemigrations detects it: a model with its own Meta inherits the manager but not the option.
        try:
            own = apps.get_model(app_label, self.model_name)._meta.original_attrs
        except LookupError:  # the model went with a later migration
            return {}
        return {"base_manager_name": "objects"} if "base_manager_name" in own else {}

    def _column_exists(self, connection: Any, model: Any, column: Any) -> bool:
        with connection.cursor() as cursor:
            described = connection.introspection.get_table_description(cursor, model._meta.db_table)
        return column.column in {description.name for description in described}

    def _fill(self, model: Any, using: str) -> None:
        rows = model._base_manager.using(using).order_by("pk")
        for keys in self._batches(rows):
            with transaction.atomic(using=using):
                batch = rows.filter(pk__gte=keys[0], pk__lte=keys[-1], **{NAME: None}).order_by()
                if callable(self.source):
                    self._fill_by_function(batch, self.source)
                else:
                    batch.update(**{NAME: _path(model, self.source, using)})
        left = rows.filter(**{NAME: None})
        if count := left.count():
            some = ", ".join(str(key) for key in left.values_list("pk", flat=True)[:5])
            raise ValueError(
                f"{count} rows of {model._meta.label} have no organization by {self.source!r}: {some}, … "
                "Give them one or delete them, then run the migration again."
            )

    def _fill_by_function(self, batch: Any, source: Callable[[Any], Any]) -> None:
        keys: dict[Any, list[Any]] = defaultdict(list)
        for row in batch:
            organization = source(row)
            if organization is not None:
                keys[getattr(organization, "pk", organization)].append(row.pk)
        for organization_id, rows in keys.items():
            batch.filter(pk__in=rows).update(**{f"{NAME}_id": organization_id})

    def _batches(self, rows: Any) -> Iterator[list[Any]]:
        empty = rows.filter(**{NAME: None}).values_list("pk", flat=True)
        keys = list(empty[: self.batch_size])
        while keys:
            yield keys
            # By key, not by emptiness: rows that stay without an organization would be selected again forever.
            keys = list(empty.filter(pk__gt=keys[-1])[: self.batch_size])


def _column(*, null: bool) -> Any:
    """Return the plain foreign key that ``makemigrations`` writes for an ``OrganizationForeignKey``."""
    field = OrganizationForeignKey()
    field.name = NAME
    _, _, args, kwargs = field.deconstruct()
    return models.ForeignKey(*args, **{**kwargs, "null": null})


def _path(model: Any, source: str, using: str) -> Any:
    """Return the expression of the organization's key at the end of the path, for an UPDATE."""
    first, _, rest = source.partition("__")
    if not rest:
        return F(f"{first}_id")
    related = model._meta.get_field(first).related_model
    # A subquery on the related table: MariaDB refuses one on the updated table.
    return Subquery(related._base_manager.using(using).filter(pk=OuterRef(first)).values(rest)[:1])


def _run_deferred(schema_editor: Any) -> None:
    # Create the foreign key's constraint and index now, or they would be missing if filling is interrupted.
    for statement in schema_editor.deferred_sql:
        schema_editor.execute(statement, None)
    schema_editor.deferred_sql.clear()
