"""The migration operation that enables row-level security."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor as Editor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState as State
from django.db.models import Model

from dovetail_tenancy.row_security import policies


class EnableRowSecurity(Operation):
    """Makes PostgreSQL show and accept the active organization's rows only. Does nothing on other databases.

    ``field`` is the foreign key to the organization, or to a row of a table with row security (the through table of a
    many-to-many relation: ``EnableRowSecurity("Folder_tags", field="folder")``). Reversing it disables row security.

    The project must connect with ``ENGINE = "dovetail_tenancy.backends.postgresql"``. Any other engine does not send
    the active organization and sees no rows.
    """

    reduces_to_sql = True

    def __init__(self, model_name: str, *, field: str = "organization") -> None:
        self.model_name = model_name
        self.field = field

    @property
    def migration_name_fragment(self) -> str:
        return f"{self.model_name.lower()}_row_security"

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        return type(self).__name__, [self.model_name], {"field": self.field} if self.field != "organization" else {}

    def describe(self) -> str:
        return f"Enable row-level security on {self.model_name}"

    def state_forwards(self, app_label: str, state: State) -> None:
        pass

    def database_forwards(self, app_label: str, schema_editor: Editor, from_state: State, to_state: State) -> None:
        model = self._model(app_label, schema_editor.connection, to_state)
        if model is None:
            return
        if not schema_editor.collect_sql and not policies.prepare(schema_editor.connection):
            role, login = policies.bypass_role(), schema_editor.connection.settings_dict["USER"]
            raise ImproperlyConfigured(
                f"The role {role!r} does not exist on this PostgreSQL server, and {login!r} may not create it. As an "
                f"administrator, run CREATE ROLE {policies.quoted(role)} NOLOGIN and grant it as the README of "
                'dovetail-tenancy says under "Roles". TENANCY_BYPASS_ROLE sets another name.'
            )
        for statement in policies.enable(model, self.field, schema_editor.connection):
            schema_editor.execute(statement, None)

    def database_backwards(self, app_label: str, schema_editor: Editor, from_state: State, to_state: State) -> None:
        model = self._model(app_label, schema_editor.connection, from_state)
        if model is not None:
            for statement in policies.disable(model, schema_editor.connection):
                schema_editor.execute(statement, None)

    def _model(self, app_label: str, connection: BaseDatabaseWrapper, state: State) -> type[Model] | None:
        model = state.apps.get_model(app_label, self.model_name)
        allowed = connection.vendor == "postgresql" and self.allow_migrate_model(connection.alias, model)
        return model if allowed else None
