"""All SQL of row-level security: the policies of a table, the bypass role, and queries of the catalog."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from dovetail_core.models import named_model
from dovetail_tenancy.conf import conf
from dovetail_tenancy.isolation.scope import Scope, override_database_scope

SETTING = "tenancy.organization"
ORGANIZATION_POLICY = "tenancy_organization"
BYPASS_POLICY = "tenancy_bypass"

# A sub-select, which PostgreSQL evaluates once per statement and can look up in an index. The bypass is a separate
# policy for a separate role, because an OR in this policy would prevent the use of the index (measured: a hundred times
# slower).
_CURRENT = "(SELECT nullif(current_setting('{setting}', true), '')::{type})"
_ROWS = "SELECT, INSERT, UPDATE, DELETE"

# Whether the session must change its role to see every row. Returns no row if the bypass role does not exist.
MUST_SWITCH = """
    SELECT NOT (own.rolsuper OR own.rolbypassrls OR pg_has_role(own.oid, bypass.oid, 'USAGE'))
    FROM pg_roles own, pg_roles bypass WHERE own.rolname = current_user AND bypass.rolname = %s
"""

# Whether all these names are tables without row security. A view or a foreign table may read any other table.
WITHOUT_ROW_SECURITY = """
    SELECT count(*) = cardinality(names) FROM (SELECT %s::text[] AS names) parameters
    JOIN pg_class c ON c.oid IN (SELECT to_regclass(name) FROM unnest(names) name)
    WHERE c.relkind IN ('r', 'p') AND NOT c.relrowsecurity GROUP BY names
"""

# For the checks: the state of row security on a table, and whether the bypass policy is for the bypass role.
TABLE = """
    SELECT c.relrowsecurity, c.relforcerowsecurity,
        EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname = %(organization)s),
        EXISTS (SELECT FROM pg_policy p, pg_roles r WHERE p.polrelid = c.oid AND p.polname = %(bypass)s
            AND r.rolname = %(role)s AND p.polroles = ARRAY[r.oid]),
        (SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid),
        coalesce((SELECT has_table_privilege(r.oid, c.oid, 'SELECT') FROM pg_roles r WHERE r.rolname = %(role)s), false)
    FROM pg_class c WHERE c.oid = to_regclass(%(table)s)
"""
# For the checks: whether the session's role sees every row, and whether it may become the bypass role.
ROLE = """
    SELECT current_user, own.rolsuper, own.rolbypassrls,
        coalesce(pg_has_role(own.oid, bypass.oid, 'USAGE'), false),
        bypass.oid IS NOT NULL, coalesce(pg_has_role(session_user, bypass.oid, 'MEMBER'), false)
    FROM pg_roles own LEFT JOIN pg_roles bypass ON bypass.rolname = %(role)s WHERE own.rolname = current_user
"""

# Grants the bypass role its privileges on the migrating role's existing and future tables in this database.
_PREPARE = """
DO $$
DECLARE
    bypass name := '{role}';
    relation regclass;
    privileges text;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = bypass) THEN
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = current_user AND (rolsuper OR rolcreaterole)) THEN
            RETURN;
        END IF;
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', bypass);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;  -- the migration of another database has created it: roles belong to the server
        END;
    END IF;
    FOR relation, privileges IN
        SELECT c.oid, CASE c.relkind WHEN 'S' THEN 'USAGE, SELECT, UPDATE ON SEQUENCE' ELSE '{rows} ON TABLE' END
        FROM pg_class c
        WHERE c.relnamespace::regnamespace::name = ANY (current_schemas(false)) AND pg_has_role(c.relowner, 'USAGE')
        AND CASE
            WHEN c.relkind IN ('r', 'p') THEN NOT has_table_privilege(bypass, c.oid, 'DELETE')
            WHEN c.relkind = 'S' THEN NOT has_sequence_privilege(bypass, c.oid, 'UPDATE')
            ELSE false
        END
    LOOP
        EXECUTE format('GRANT %s %s TO %I', privileges, relation, bypass);
    END LOOP;
    EXECUTE format('ALTER DEFAULT PRIVILEGES GRANT {rows} ON TABLES TO %I', bypass);
    EXECUTE format('ALTER DEFAULT PRIVILEGES GRANT USAGE, SELECT, UPDATE ON SEQUENCES TO %I', bypass);
END $$
"""


def bypass_role() -> str:
    return conf.BYPASS_ROLE


def prepare(connection: BaseDatabaseWrapper) -> bool:
    """Grant the bypass role its privileges. Create it if it is missing and the current role may create roles.

    Return whether the role exists.

    Call it before a migration creates its first table, because default privileges apply to later tables only. An
    operation in a migration would be too late for the tables of apps that migrate earlier.
    """
    # As the role that runs the migration, never as the bypass role, which owns nothing.
    with override_database_scope(Scope()), connection.cursor() as cursor:
        cursor.execute(_PREPARE.format(rows=_ROWS, role=bypass_role().replace("'", "''")))
        cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [bypass_role()])
        return cursor.fetchone() is not None


def enable(model: type[models.Model], field: str, connection: BaseDatabaseWrapper) -> Iterator[str]:
    table = connection.ops.quote_name(model._meta.db_table)
    role = quoted(bypass_role())
    # FORCE: without it the owner of a table sees every row, and most projects connect as the owner.
    yield f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"
    yield f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY"
    condition = _condition(model, field, connection)
    yield f"CREATE POLICY {ORGANIZATION_POLICY} ON {table} USING ({condition}) WITH CHECK ({condition})"
    yield f"CREATE POLICY {BYPASS_POLICY} ON {table} TO {role} USING (true) WITH CHECK (true)"
    yield f"GRANT {_ROWS} ON {table} TO {role}"


def disable(model: type[models.Model], connection: BaseDatabaseWrapper) -> Iterator[str]:
    table = connection.ops.quote_name(model._meta.db_table)
    yield f"DROP POLICY IF EXISTS {BYPASS_POLICY} ON {table}"
    yield f"DROP POLICY IF EXISTS {ORGANIZATION_POLICY} ON {table}"
    yield f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY"
    yield f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY"


def _condition(model: type[models.Model], name: str, connection: BaseDatabaseWrapper) -> str:
    field = _foreign_key(model, name)
    quote = connection.ops.quote_name
    column = quote(field.column)
    if field.remote_field.model._meta.label_lower == named_model("TENANCY_ORGANIZATION_MODEL").lower():
        return f"{column} = {_CURRENT.format(setting=SETTING, type=_type(field, connection))}"
    # A row that belongs to a row of another table is visible if that row is. The policy of that table decides.
    target = field.target_field
    table = quote(target.model._meta.db_table)
    return f"{column} IN (SELECT {quote(target.column)} FROM {table})"  # noqa: S608  # quoted names of models


def _foreign_key(model: type[models.Model], name: str) -> Any:
    field: Any = next((field for field in model._meta.concrete_fields if name in (field.name, field.attname)), None)
    if field is not None and field not in model._meta.local_fields:
        # Multi-table inheritance: the parent's table has the organization.
        field = model._meta.get_ancestor_link(field.model)
    if field is None or (not field.many_to_one and not field.one_to_one):
        raise ValueError(
            f"EnableRowSecurity: {model._meta.label} has no foreign key {name!r}. Name the one to the organization, or "
            "to a table with row security, with field=…."
        )
    return field


def _type(field: models.Field[Any, Any], connection: BaseDatabaseWrapper) -> str:
    """Return the column's type without a length: a cast to ``varchar(3)`` could truncate a key to another key."""
    name = re.sub(r"\(.*\)", "", field.db_type(connection) or "").strip()
    return "bpchar" if name in ("char", "character") else name


def quoted(name: str) -> str:
    """Return the name as an SQL identifier. Django's own quoting does not escape quotes in a name."""
    return '"' + name.replace('"', '""') + '"'
