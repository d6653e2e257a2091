"""The migration operation that fills memberships from what a project has already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.db.backends.base.schema import BaseDatabaseSchemaEditor as Editor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState as State

from dovetail_tenancy.organizations.importing import import_members


class ImportMembers(Operation):
    """Creates memberships from a foreign key, a many-to-many field or a table of members.

    The arguments are those of ``manage.py tenancy_import_members``: ``source`` (``"accounts.User.company"``,
    ``"companies.Company.staff"`` or ``"companies.Employment"``), ``role`` or ``role_field`` and ``roles``, and ``user``
    and ``organization`` for a table with several foreign keys. Memberships that exist already stay. Reversing it
    deletes nothing, because members may have joined or changed their roles since.

    The migration depends on ``dovetail_core.models.dependency("TENANCY_MEMBERSHIP_MODEL")`` and on the migrations that
    create the source. With ``atomic = False`` each batch is committed.
    """

    reduces_to_sql = False
    atomic = False

    def __init__(
        self,
        source: str,
        *,
        role: str | None = None,
        role_field: str | None = None,
        roles: Mapping[Any, str] | None = None,
        user: str | None = None,
        organization: str | None = None,
        batch_size: int = 1000,
    ) -> None:
        self.source = source
        self.arguments: dict[str, Any] = {
            "role": role,
            "role_field": role_field,
            "roles": roles,
            "user": user,
            "organization": organization,
            "batch_size": batch_size,
        }

    def describe(self) -> str:
        return f"Import members from {self.source}"

    def state_forwards(self, app_label: str, state: State) -> None:
        pass

    def database_forwards(self, app_label: str, schema_editor: Editor, from_state: State, to_state: State) -> None:
        connection, apps = schema_editor.connection, from_state.apps
        # import_members() reports a missing model.
        key = tuple(settings.TENANCY_MEMBERSHIP_MODEL.lower().split("."))
        if key in from_state.models and not self.allow_migrate_model(connection.alias, apps.get_model(*key)):
            return
        import_members(self.source, **self.arguments, using=connection.alias, apps=apps)
        # PostgreSQL alters no table with pending foreign key checks, and a later operation may alter this one.
        connection.check_constraints([])

    def database_backwards(self, app_label: str, schema_editor: Editor, from_state: State, to_state: State) -> None:
        pass
