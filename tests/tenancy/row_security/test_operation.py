"""``EnableRowSecurity`` in migrations, for organizations with any key."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from typing import Any, Self
from uuid import UUID

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import connection, migrations, models, transaction
from django.db.migrations.state import ModelState, ProjectState
from django.db.migrations.writer import OperationWriter
from psycopg import sql

from dovetail_tenancy.operations import EnableRowSecurity
from dovetail_tenancy.row_security import policies
from tests.roles import administrator
from tests.tenancy.row_security import statements

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]

KEYS: dict[str, tuple[models.Field[Any, Any], list[Any]]] = {
    "uuid": (models.UUIDField(primary_key=True), [UUID(int=1), UUID(int=2)]),
    "bigint": (models.BigAutoField(primary_key=True), [1, 2]),
    "integer": (models.AutoField(primary_key=True), [1, 2]),
    # "abcd" begins like "abc" and is longer than the column: a cast to varchar(3) would make them equal.
    "text": (models.CharField(max_length=3, primary_key=True), ["abc", "a'b", "abcd"]),
    "unlimited text": (models.TextField(primary_key=True), ["abc", "ab%s"]),
}


class Invoice:
    """A table with any column name and any type of the organization's key."""

    def __init__(self, key: Any, *, column: str = "the Firm's", **invoice: Any) -> None:
        foreign_key = models.ForeignKey("firms.Firm", on_delete=models.CASCADE, db_column=column)
        tag = models.ForeignKey("firms.Invoice", on_delete=models.CASCADE)
        self.state = ProjectState()
        for name, fields, bases in (
            ("Firm", [("id", key)], (models.Model,)),
            (
                "Invoice",
                [("id", models.BigAutoField(primary_key=True)), ("organization", foreign_key)],
                (models.Model,),
            ),
            ("Credit", [("reason", models.TextField())], ("firms.invoice",)),
            ("Tag", [("id", models.BigAutoField(primary_key=True)), ("invoice", tag)], (models.Model,)),
        ):
            self.state.add_model(ModelState("firms", name, [*fields], bases=bases))
        self.column = column

    def __enter__(self) -> Self:
        with connection.schema_editor() as editor:
            for name in ("Firm", "Invoice", "Credit", "Tag"):
                editor.create_model(self.state.apps.get_model("firms", name))
        return self

    def __exit__(self, *exception: object) -> None:
        with connection.schema_editor() as editor:
            for name in ("Tag", "Credit", "Invoice", "Firm"):
                editor.delete_model(self.state.apps.get_model("firms", name))

    def migrate(self, operation: Any, *, backwards: bool = False) -> None:
        with connection.schema_editor() as editor:
            method = operation.database_backwards if backwards else operation.database_forwards
            method("firms", editor, self.state, self.state)

    def rows(self, table: str = "invoice") -> int:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*) FROM firms_{table}")
            return int(cursor.fetchone()[0])


@pytest.fixture(autouse=True)
def _organization(settings: Any) -> None:
    settings.TENANCY_ORGANIZATION_MODEL = "firms.Firm"


def show(key: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("SET LOCAL tenancy.organization TO {}").format(sql.Literal(str(key))))
        # Tell the backend, or it would send the setting of the empty scope before the next statement.
        connection.row_security.visibility = connection.row_security._required(connection.connection, True)


@pytest.mark.parametrize("kind", KEYS)
def test_operation_supports_any_key_and_column(kind: str) -> None:
    field, keys = KEYS[kind]
    stored = [key for key in keys if key != "abcd"]
    with Invoice(field) as table:
        models_ = table.state.apps
        with connection.schema_editor():
            for key in stored:
                models_.get_model("firms", "Firm").objects.create(id=key)
                models_.get_model("firms", "Invoice").objects.create(organization_id=key)
        assert table.rows() == 2
        table.migrate(EnableRowSecurity("Invoice"))
        assert table.rows() == 0
        for key in keys:
            with transaction.atomic():
                show(key)
                assert table.rows() == (key in stored), key
        table.migrate(EnableRowSecurity("Invoice"), backwards=True)
        assert table.rows() == 2
        with connection.cursor() as cursor:
            cursor.execute("SELECT relrowsecurity, relforcerowsecurity FROM pg_class WHERE relname = 'firms_invoice'")
            assert cursor.fetchone() == (False, False)
            cursor.execute("SELECT count(*) FROM pg_policies WHERE tablename = 'firms_invoice'")
            assert cursor.fetchone() == (0,)


def test_dependent_rows_follow_the_policy_of_their_parent() -> None:
    """The rows belong to a child table and to the through table of a many-to-many relation."""
    with Invoice(models.BigAutoField(primary_key=True), column="firm") as table:
        with connection.schema_editor():
            for key in (1, 2):
                table.state.apps.get_model("firms", "Firm").objects.create(id=key)
                credit = table.state.apps.get_model("firms", "Credit").objects.create(organization_id=key, reason="x")
                table.state.apps.get_model("firms", "Tag").objects.create(invoice_id=credit.pk)
        for operation in (
            EnableRowSecurity("Invoice"),
            EnableRowSecurity("Credit"),
            EnableRowSecurity("Tag", field="invoice"),
        ):
            table.migrate(operation)
        assert (table.rows("invoice"), table.rows("credit"), table.rows("tag")) == (0, 0, 0)
        with transaction.atomic():
            show(2)
            assert (table.rows("invoice"), table.rows("credit"), table.rows("tag")) == (1, 1, 1)
        with connection.schema_editor():
            assert (table.rows("invoice"), table.rows("credit"), table.rows("tag")) == (2, 2, 2)


def test_field_may_be_named_by_its_attribute() -> None:
    with Invoice(models.BigAutoField(primary_key=True)) as table:
        table.migrate(EnableRowSecurity("Invoice", field="organization_id"))
        assert table.rows("invoice") == 0


@pytest.mark.parametrize("field", ["customer", "id"])
def test_missing_foreign_key_explains_the_field_argument(field: str) -> None:
    with (
        Invoice(models.BigAutoField(primary_key=True)) as table,
        pytest.raises(ValueError, match="Name the one to"),
    ):
        table.migrate(EnableRowSecurity("Invoice", field=field))


def test_missing_bypass_role_explains_the_statement(
    settings: Any,
) -> None:
    with Invoice(models.BigAutoField(primary_key=True)) as table:
        # Makes the connection switch to the previous role.
        with connection.schema_editor():
            assert table.rows() == 0
        settings.TENANCY_BYPASS_ROLE = "rls none's"
        with pytest.raises(ImproperlyConfigured, match='CREATE ROLE "rls none\'s" NOLOGIN'):
            table.migrate(EnableRowSecurity("Invoice"))


@pytest.fixture
def may_create_roles(settings: Any, admin_settings: dict[str, Any]) -> Iterator[str]:
    login, role = connection.settings_dict["USER"], f"{connection.settings_dict['USER']}_made"
    settings.TENANCY_BYPASS_ROLE = role
    with administrator(admin_settings) as server:
        server.execute(sql.SQL("ALTER ROLE {} CREATEROLE").format(sql.Identifier(login)))
    yield role
    with administrator(admin_settings, connection.settings_dict["NAME"]) as server:
        server.execute(sql.SQL("ALTER ROLE {} NOCREATEROLE").format(sql.Identifier(login)))
        server.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)))
        server.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def test_bypass_role_is_created_if_permitted(may_create_roles: str) -> None:
    with Invoice(models.BigAutoField(primary_key=True)) as table:
        table.migrate(EnableRowSecurity("Invoice"))
        assert policies.prepare(connection)
        with connection.cursor() as cursor:
            cursor.execute("SELECT roles::text FROM pg_policies WHERE tablename = 'firms_invoice' ORDER BY policyname")
            assert cursor.fetchall() == [(f"{{{may_create_roles}}}",), ("{public}",)]
        table.migrate(EnableRowSecurity("Invoice"), backwards=True)


def test_python_and_sql_data_migrations_see_every_row() -> None:
    seen: list[int] = []

    def look(apps: Any, schema_editor: Any) -> None:
        seen.append(apps.get_model("firms", "Invoice").objects.count())

    with Invoice(models.BigAutoField(primary_key=True), column="firm") as table:
        with connection.schema_editor():
            for key in (1, 2):
                table.state.apps.get_model("firms", "Firm").objects.create(id=key)
                table.state.apps.get_model("firms", "Invoice").objects.create(organization_id=key)
        table.migrate(EnableRowSecurity("Invoice"))
        later = models.IntegerField(default=7)
        later.set_attributes_from_name("later")
        for atomic in (True, False):
            migration = migrations.Migration("0002", "firms")
            migration.atomic = atomic
            migration.operations = [
                migrations.RunPython(look),
                # This operation requires the owner's privileges, between two that see every row.
                migrations.AddField("Invoice", "later", later) if atomic else migrations.RunSQL("SELECT 1"),
                migrations.RunSQL("UPDATE firms_invoice SET later = 8", migrations.RunSQL.noop),
                migrations.RunPython(look),
            ]
            with connection.schema_editor(atomic=atomic) as editor:
                migration.apply(table.state, editor)
        assert seen == [2, 2, 2, 2]
        with connection.schema_editor(), connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM firms_invoice WHERE later = 8")
            assert cursor.fetchone() == (2,)


def test_migration_role_validates_foreign_keys_against_all_rows(
    migration_role: None,
) -> None:
    with Invoice(models.BigAutoField(primary_key=True), column="firm") as table:
        apps = table.state.apps
        with connection.schema_editor():
            for key in (1, 2):
                apps.get_model("firms", "Firm").objects.create(id=key)
                invoice = apps.get_model("firms", "Invoice").objects.create(organization_id=key)
            with connection.cursor() as cursor:
                cursor.execute("CREATE TABLE firms_line AS SELECT id, id AS invoice FROM firms_invoice")
        table.migrate(EnableRowSecurity("Invoice"))
        try:
            with connection.schema_editor() as editor:
                editor.execute(
                    "ALTER TABLE firms_line ADD CONSTRAINT good FOREIGN KEY (invoice) REFERENCES firms_invoice (id)"
                )
            with connection.schema_editor() as editor:
                editor.execute("ALTER TABLE firms_line DROP CONSTRAINT good")
                editor.execute(f"UPDATE firms_line SET invoice = -1 WHERE id = {invoice.pk}")
            with pytest.raises(Exception, match="violates foreign key"), connection.schema_editor() as editor:
                editor.execute(
                    "ALTER TABLE firms_line ADD CONSTRAINT bad FOREIGN KEY (invoice) REFERENCES firms_invoice (id)"
                )
        finally:
            with connection.schema_editor() as editor:
                editor.execute("DROP TABLE firms_line")


def test_collected_sql_does_not_change_the_database() -> None:
    with Invoice(models.BigAutoField(primary_key=True)) as table:
        with connection.schema_editor(collect_sql=True) as editor:
            EnableRowSecurity("Invoice").database_forwards("firms", editor, table.state, table.state)
        assert sum("CREATE POLICY" in line for line in editor.collected_sql) == 2
        assert table.rows() == 0
        with connection.cursor() as cursor:
            cursor.execute("SELECT relrowsecurity FROM pg_class WHERE relname = 'firms_invoice'")
            assert cursor.fetchone() == (False,)


@pytest.mark.parametrize("operation", [EnableRowSecurity("Invoice"), EnableRowSecurity("Tag", field="invoice")])
def test_operation_serializes_into_a_migration(operation: EnableRowSecurity) -> None:
    text, imports = OperationWriter(operation, indentation=0).serialize()
    names: dict[str, Any] = {}
    exec("\n".join(imports), names)
    made = eval(text.rstrip(","), names)
    assert made.deconstruct() == operation.deconstruct()
    assert operation.model_name in operation.describe()
    assert operation.migration_name_fragment.endswith("_row_security")


def test_makemigrations_detects_no_changes() -> None:
    output = StringIO()
    call_command("makemigrations", "--check", "--dry-run", stdout=output)
    assert "No changes detected" in output.getvalue()


def test_settings_are_reset_between_tests() -> None:
    # The tests above send settings manually.
    assert statements.shown()[0] == ""
