"""The operation of migrations that makes a table append-only."""

from __future__ import annotations

import logging
from typing import Any, Final

from django.db import OperationalError
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from dovetail_audit.protection import triggers

logger = logging.getLogger("dovetail.audit")

# MySQL with a binary log lets only administrators create triggers, unless log_bin_trust_function_creators is on.
_NO_TRIGGERS_ALLOWED: Final = 1419


class AppendOnly(Operation):
    """Install the triggers of ``protection.triggers`` on a table. Repeat it after operations that alter the table.

    Nothing is installed in databases of Django's test runner; see ``dovetail_audit.testing.append_only``.
    """

    reversible = True

    def __init__(self, name: str) -> None:
        self.name = name

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        pass

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        connection, model = schema_editor.connection, to_state.apps.get_model(app_label, self.name)
        if not self.allow_migrate_model(connection.alias, model) or triggers.is_test_database(connection):
            return
        try:
            for statement in (*triggers.removal(connection, model), *triggers.creation(connection, model)):
                schema_editor.execute(statement, params=None)
        except OperationalError as error:
            if error.args[0] != _NO_TRIGGERS_ALLOWED:
                raise
            logger.warning("The database does not let this user create triggers, so %s is not protected.", self.name)

    def database_backwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        connection, model = schema_editor.connection, from_state.apps.get_model(app_label, self.name)
        if self.allow_migrate_model(connection.alias, model):
            for statement in triggers.removal(connection, model):
                schema_editor.execute(statement, params=None)

    def describe(self) -> str:
        return f"Refuse changes and deletions of {self.name}"

    @property
    def migration_name_fragment(self) -> str:
        return f"append_only_{self.name.lower()}"

    def deconstruct(self) -> tuple[str, Any, Any]:
        return type(self).__name__, [self.name], {}
