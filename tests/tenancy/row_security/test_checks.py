"""``check --database`` reports setups in which row security shows too many or too few rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import DEFAULT_DB_ALIAS, connection
from django.db.backends.postgresql.base import DatabaseWrapper as PlainWrapper
from psycopg import sql

from dovetail_tenancy import unscoped
from dovetail_tenancy.row_security import checks
from dovetail_tenancy.row_security.policies import bypass_role
from tests.roles import administrator
from tests.tenancy.documents.models import Folder

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]


def messages_by_id() -> dict[str, str]:
    messages = checks.check_databases(databases=[DEFAULT_DB_ALIAS])
    assert all(message.hint for message in messages)
    return {str(message.id).partition(".")[2]: message.msg for message in messages}


def alter(statement: str) -> None:
    with connection.schema_editor() as editor:
        editor.execute(statement, None)


@contextmanager
def granted(admin_settings: dict[str, Any], grant: str, revoke: str) -> Iterator[None]:
    names = {"login": sql.Identifier(connection.settings_dict["USER"]), "bypass": sql.Identifier(bypass_role())}
    names["may"] = sql.Identifier(f"{bypass_role()}_may")
    with administrator(admin_settings) as server:
        server.execute(sql.SQL(grant).format(**names))
        try:
            yield
        finally:
            server.execute(sql.SQL(revoke).format(**names))


def test_correct_setup_passes_and_migrate_skips_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    assert messages_by_id() == {}
    with unscoped(reason="a test"):
        assert messages_by_id() == {}
    assert run_checks(databases=[DEFAULT_DB_ALIAS], tags=["database"]) == []
    alter("ALTER TABLE documents_folder NO FORCE ROW LEVEL SECURITY")
    assert set(messages_by_id()) == {"E015"}
    with pytest.raises(SystemCheckError, match="E015"):
        call_command("check", databases=[DEFAULT_DB_ALIAS])
    monkeypatch.setattr("sys.argv", ["manage.py", "migrate"])
    assert messages_by_id() == {}
    alter("ALTER TABLE documents_folder FORCE ROW LEVEL SECURITY")


@pytest.mark.parametrize(
    ("grant", "revoke", "reason"),
    [
        ("ALTER ROLE {login} SUPERUSER", "ALTER ROLE {login} NOSUPERUSER", "it is a superuser."),
        ("ALTER ROLE {login} BYPASSRLS", "ALTER ROLE {login} NOBYPASSRLS", "it has BYPASSRLS."),
        ("GRANT {bypass} TO {login}", "REVOKE {bypass} FROM {login}", "inherits the rights of {bypass}."),
    ],
)
def test_role_that_sees_all_rows_is_an_error(
    admin_settings: dict[str, Any], grant: str, revoke: str, reason: str
) -> None:
    with granted(admin_settings, grant, revoke):
        assert messages_by_id()["E011"].endswith(reason.format(bypass=repr(bypass_role())))
        with pytest.raises(SystemCheckError, match="E011"):
            call_command("check", databases=[DEFAULT_DB_ALIAS])
    assert messages_by_id() == {}


def test_role_without_the_bypass_role_is_an_error(admin_settings: dict[str, Any], settings: Any) -> None:
    with granted(admin_settings, "REVOKE {may} FROM {login}", "GRANT {may} TO {login}"):
        assert "may not become it" in messages_by_id()["E014"]
    settings.TENANCY_BYPASS_ROLE = "nobody"
    assert "it does not exist" in messages_by_id()["E014"]
    assert "the policy tenancy_bypass for the role 'nobody' is missing" in messages_by_id()["E015"]


def test_other_engine_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = PlainWrapper({**connection.settings_dict, "ENGINE": "django.db.backends.postgresql"}, "default")
    monkeypatch.setattr(checks, "connections", {"default": plain})
    try:
        assert "its ENGINE is 'django.db.backends.postgresql'" in messages_by_id()["E012"]
        with plain.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM documents_folder")
            assert cursor.fetchone() == (0,)
    finally:
        plain.close()


@pytest.mark.parametrize(
    ("change", "back", "message"),
    [
        ("DISABLE ROW LEVEL SECURITY", "ENABLE ROW LEVEL SECURITY", "row security is not enabled"),
        ("NO FORCE ROW LEVEL SECURITY", "FORCE ROW LEVEL SECURITY", "it is not forced"),
    ],
)
def test_manually_changed_table_is_an_error(change: str, back: str, message: str) -> None:
    alter(f"ALTER TABLE documents_folder {change}")
    assert message in messages_by_id()["E015"]
    alter(f"ALTER TABLE documents_folder {back}")
    assert messages_by_id() == {}


def test_missing_policies_and_grants_are_errors() -> None:
    role = connection.ops.quote_name(bypass_role())
    alter("ALTER POLICY tenancy_organization ON documents_folder RENAME TO other")
    assert "the policy tenancy_organization is missing" in messages_by_id()["E015"]
    alter("ALTER POLICY other ON documents_folder RENAME TO tenancy_organization")
    alter(f"REVOKE SELECT ON documents_folder FROM {role}")
    assert "may not read the table" in messages_by_id()["E015"]
    alter(f"GRANT SELECT ON documents_folder TO {role}")
    assert messages_by_id() == {}


def test_disabled_row_security_is_an_info_message() -> None:
    from dovetail_tenancy.operations import EnableRowSecurity
    from tests.tenancy.conftest import as_state

    operation = EnableRowSecurity("Folder")
    with connection.schema_editor() as editor:
        operation.database_backwards("documents", editor, as_state, as_state)
    try:
        assert "for documents.Folder: raw SQL sees" in messages_by_id()["I001"]
        call_command("check", databases=[DEFAULT_DB_ALIAS])
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM documents_folder")
    finally:
        with connection.schema_editor() as editor:
            operation.database_forwards("documents", editor, as_state, as_state)
    assert messages_by_id() == {}
    assert Folder._meta.db_table == "documents_folder"


def test_other_databases_are_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    class Elsewhere:
        vendor = "sqlite"

    monkeypatch.setattr(checks, "connections", {"default": Elsewhere()})
    assert messages_by_id() == {}
