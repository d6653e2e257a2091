"""Migration operations for projects whose tables are full of rows."""

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
    """Give the rows of a model their organization: a nullable column, filled in batches, then ``NOT NULL``.

    ``source`` says which organization a row belongs to: a path of foreign keys that ends at one (``"company"``,
    ``"order__company"``), or a function of the row (as in a data migration) that returns a key. Rows without one stop
    the migration with their number. The state afterwards is that of a ``TenantModel``, so ``makemigrations`` finds
    nothing to do. Reversed, it drops the column.

    In a migration with ``atomic = False`` every batch commits by itself, locks are short, and one that was interrupted
    goes on where it stopped when it is run again. The migration depends on
    ``dovetail_core.fields.dependency("TENANCY_ORGANIZATION_MODEL")``.
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
        if not self._is_there(schema_editor.connection, model, column):
            schema_editor.add_field(before, column)
            _run_deferred(schema_editor)
        self._fill(model, schema_editor.connection.alias)
        # PostgreSQL does not alter a table whose foreign keys are still to be checked.
        schema_editor.connection.check_constraints()
        strict = to_state.apps.get_model(app_label, self.model_name)
        schema_editor.alter_field(model, column, strict._meta.get_field(NAME))

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = from_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            schema_editor.remove_field(model, model._meta.get_field(NAME))

    def _options(self, app_label: str) -> dict[str, str]:
        # What makemigrations finds on the model: one with a Meta of its own inherits the manager without the option.
        try:
            own = apps.get_model(app_label, self.model_name)._meta.original_attrs
        except LookupError:  # the model went with a later migration
            return {}
        return {"base_manager_name": "objects"} if "base_manager_name" in own else {}

    def _is_there(self, connection: Any, model: Any, column: Any) -> bool:
        with connection.cursor() as cursor:
            described = connection.introspection.get_table_description(cursor, model._meta.db_table)
        return column.column in {each.name for each in described}

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
            # By key, not by what is still empty: rows without an organization would come again for ever.
            keys = list(empty.filter(pk__gt=keys[-1])[: self.batch_size])


def _column(*, null: bool) -> Any:
    """The plain foreign key that ``makemigrations`` writes for an ``OrganizationForeignKey``."""
    field = OrganizationForeignKey()
    field.name = NAME
    _, _, args, kwargs = field.deconstruct()
    return models.ForeignKey(*args, **{**kwargs, "null": null})


def _path(model: Any, source: str, using: str) -> Any:
    """The organization's key at the end of the path, as what an UPDATE sets."""
    first, _, rest = source.partition("__")
    if not rest:
        return F(f"{first}_id")
    related = model._meta.get_field(first).related_model
    # A subquery on the related table, not on the updated one, which MariaDB refuses.
    return Subquery(related._base_manager.using(using).filter(pk=OuterRef(first)).values(rest)[:1])


def _run_deferred(schema_editor: Any) -> None:
    # The foreign key's constraint and index now: they would stay behind where filling is interrupted.
    for statement in schema_editor.deferred_sql:
        schema_editor.execute(statement, None)
    schema_editor.deferred_sql.clear()
