"""``SameOrganization``: the database refuses a foreign key to another organization's row."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, migrations, models, transaction
from django.db.migrations.state import ModelState, ProjectState
from django.db.migrations.writer import OperationWriter
from django.test.utils import isolate_apps

from dovetail_tenancy import tenant, unscoped
from dovetail_tenancy.checks import _same_organization
from dovetail_tenancy.models import SameOrganization, TenantForeignKey, TenantModel
from tests.tenancy.documents.models import Document, Folder
from tests.tenancy.factories import make_organization

pytestmark = pytest.mark.django_db(transaction=True)

PAIR = models.UniqueConstraint(fields=["id", "organization"], name="ledger_customer_pair")
SAME = SameOrganization("customer", name="ledger_invoice_same")


def _models(*, constrained: bool) -> list[ModelState]:
    def key() -> Any:
        return models.BigAutoField(primary_key=True)

    def to(model: str, **options: Any) -> Any:
        return models.ForeignKey(f"ledger.{model}", on_delete=models.CASCADE, **options)

    return [
        ModelState("ledger", "Firm", [("id", key())]),
        ModelState(
            "ledger",
            "Customer",
            [("id", key()), ("organization", to("Firm"))],
            {"constraints": [PAIR] if constrained else []},
        ),
        ModelState(
            "ledger",
            "Invoice",
            [
                ("id", key()),
                ("organization", to("Firm", db_column="the firm")),
                ("customer", to("Customer", null=True)),
                ("number", models.CharField(max_length=5)),
            ],
            {"constraints": [SAME] if constrained else []},
        ),
    ]


class Ledger:
    """Tables of a small project, and the migration operations that are applied to them."""

    def __init__(self) -> None:
        self.state = ProjectState()

    def apply(self, *operations: Any) -> None:
        with connection.schema_editor() as editor:
            for operation in operations:
                before, self.state = self.state, self.state.clone()
                operation.state_forwards("ledger", self.state)
                operation.database_forwards("ledger", editor, before, self.state)

    def revert(self, operation: Any, to: ProjectState) -> None:
        with connection.schema_editor() as editor:
            operation.database_backwards("ledger", editor, self.state, to)
        self.state = to

    def create(self, *, constrained: bool) -> None:
        self.apply(
            *(
                migrations.CreateModel(state.name, [*state.fields.items()], state.options)
                for state in _models(constrained=constrained)
            )
        )

    def model(self, name: str) -> Any:
        return self.state.apps.get_model("ledger", name)

    def rows(self) -> tuple[int, int, int]:
        """Create two firms, each with a customer, and return the key of the first firm and of the customers."""
        firms = [self.model("Firm").objects.create() for _ in range(2)]
        first, second = (self.model("Customer").objects.create(organization_id=firm.pk).pk for firm in firms)
        return firms[0].pk, first, second

    def drop(self) -> None:
        with connection.schema_editor() as editor:
            # MariaDB drops a table only after those that refer to it.
            for name in ("Invoice", "Customer", "Client", "Firm"):
                if ("ledger", name.lower()) in self.state.models:
                    editor.delete_model(self.model(name))


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    ledger = Ledger()
    try:
        yield ledger
    finally:
        ledger.drop()


def refuses(function: Any) -> bool:
    try:
        # The constraint is deferred to the end of the transaction where the database can.
        with transaction.atomic():
            function()
    except IntegrityError:
        return True
    return False


@pytest.mark.parametrize("added_later", [False, True])
def test_bare_key_of_another_organization_is_refused(ledger: Ledger, added_later: bool) -> None:
    ledger.create(constrained=not added_later)
    if added_later:
        ledger.apply(migrations.AddConstraint("customer", PAIR), migrations.AddConstraint("invoice", SAME))
    firm, own, foreign = ledger.rows()
    invoices = ledger.model("Invoice").objects
    invoice = invoices.create(organization_id=firm, customer_id=own, number="1")
    invoices.create(organization_id=firm, customer_id=None, number="2")
    assert refuses(lambda: invoices.create(organization_id=firm, customer_id=foreign, number="3"))
    assert refuses(lambda: invoices.filter(pk=invoice.pk).update(customer_id=foreign))
    assert refuses(lambda: ledger.model("Customer").objects.filter(pk=own).update(organization_id=firm + 1))
    assert sorted(invoices.values_list("number", "customer")) == [("1", own), ("2", None)]


def test_constraint_may_precede_the_unique_constraint_of_its_target(ledger: Ledger) -> None:
    ledger.create(constrained=False)
    # makemigrations orders operations by the names of the models, such as Invoice and Project.
    ledger.apply(migrations.AddConstraint("invoice", SAME), migrations.AddConstraint("customer", PAIR))
    firm, own, foreign = ledger.rows()
    invoices = ledger.model("Invoice").objects
    invoices.create(organization_id=firm, customer_id=own, number="1")
    assert refuses(lambda: invoices.create(organization_id=firm, customer_id=foreign, number="2"))


def test_constraint_can_be_removed_by_the_migration_that_adds_it(ledger: Ledger) -> None:
    ledger.create(constrained=False)
    ledger.apply(
        migrations.AddConstraint("invoice", SAME),
        migrations.AddConstraint("customer", PAIR),
        migrations.RemoveConstraint("invoice", SAME.name),
    )
    firm, _own, foreign = ledger.rows()
    invoice = ledger.model("Invoice").objects.create(organization_id=firm, customer_id=foreign, number="1")
    ledger.model("Invoice").objects.filter(pk=invoice.pk).delete()


@pytest.mark.skipif(
    connection.vendor == "sqlite",
    reason="needs PostgreSQL or MariaDB: on SQLite, Django ends the process with an open transaction",
)
def test_existing_mismatch_stops_the_migration(ledger: Ledger) -> None:
    ledger.create(constrained=False)
    firm, _own, foreign = ledger.rows()
    invoices = ledger.model("Invoice").objects
    invoice = invoices.create(organization_id=firm, customer_id=foreign, number="1")
    state = ledger.state
    with pytest.raises(IntegrityError):
        ledger.apply(migrations.AddConstraint("customer", PAIR), migrations.AddConstraint("invoice", SAME))
    ledger.state = state
    invoices.filter(pk=invoice.pk).delete()


def test_constraint_survives_other_migrations(ledger: Ledger) -> None:
    # SQLite creates the table anew for each of them.
    ledger.create(constrained=True)
    ledger.apply(
        migrations.AlterField("invoice", "number", models.CharField(max_length=9, db_index=True)),
        migrations.AddField("customer", "name", models.CharField(max_length=9, default="")),
        migrations.RenameModel("Customer", "Client"),
    )
    firm = ledger.model("Firm").objects.create()
    other = ledger.model("Firm").objects.create()
    foreign = ledger.model("Client").objects.create(organization_id=other.pk)
    invoices = ledger.model("Invoice").objects
    assert refuses(lambda: invoices.create(organization_id=firm.pk, customer_id=foreign.pk, number="1"))


def test_removed_constraint_accepts_the_row(ledger: Ledger) -> None:
    ledger.create(constrained=False)
    ledger.apply(migrations.AddConstraint("customer", PAIR))
    without = ledger.state
    added = migrations.AddConstraint("invoice", SAME)
    ledger.apply(added)
    ledger.revert(added, without)
    firm, _own, foreign = ledger.rows()
    invoice = ledger.model("Invoice").objects.create(organization_id=firm, customer_id=foreign, number="1")
    ledger.model("Invoice").objects.filter(pk=invoice.pk).delete()


def test_migration_names_the_public_class() -> None:
    lines, imports = OperationWriter(migrations.AddConstraint("invoice", SAME), indentation=0).serialize()
    assert "dovetail_tenancy.models.SameOrganization('customer', name='ledger_invoice_same')" in lines
    assert "import dovetail_tenancy.models" in imports
    assert SAME == SAME.clone() != SameOrganization("payer", name="ledger_invoice_same")
    assert SAME != PAIR


def test_query_of_the_readme_finds_rows_that_violate_the_constraint() -> None:
    readme = (Path(__file__).parents[2] / "packages/tenancy/README.md").read_text()
    (query,) = re.findall(r"```python\n(Task\._base_manager.+?)```", readme, flags=re.DOTALL)
    query = query.replace("Task", "Document").replace("Project", "Folder").replace("project", "folder")
    acme, other = make_organization(), make_organization("Other")
    with tenant(other):
        foreign = Folder.objects.create(name="Theirs")
        Document.objects.create(folder=foreign)
    with tenant(acme):
        Document.objects.create(folder=Folder.objects.create(name="Ours"))
        bad = Document.objects.create(folder_id=foreign.pk)
    names = {"Document": Document, "Folder": Folder, "Exists": models.Exists, "OuterRef": models.OuterRef}
    with unscoped(reason="test"):
        assert [*eval(query, names)] == [bad]  # our own README


def test_validation_names_the_foreign_key() -> None:
    acme, other = make_organization(), make_organization("Other")
    same = SameOrganization("folder", name="a")
    with tenant(other):
        foreign = Folder.objects.create(name="Theirs").pk
    with tenant(acme):
        own = Folder.objects.create(name="Ours").pk
        for key, exclude in ((own, None), (None, None), (foreign, ["folder"]), (uuid4(), None)):
            same.validate(Document, Document(organization=acme, folder_id=key), exclude)
        same.validate(Document, Document(folder_id=foreign))
        with pytest.raises(ValidationError) as error:
            same.validate(Document, Document(organization=acme, folder_id=foreign))
    assert error.value.message_dict == {"folder": ["The row belongs to another organization."]}


@isolate_apps("tests.tenancy.lending")
def test_check_requires_unique_columns_of_two_tenant_models() -> None:
    def constraints(*fields: str) -> list[SameOrganization]:
        return [SameOrganization(field, name=field) for field in fields]

    class Place(TenantModel):
        class Meta(TenantModel.Meta):
            app_label = "lending"

    class Hall(TenantModel):
        class Meta(TenantModel.Meta):
            app_label = "lending"
            constraints = [models.UniqueConstraint(fields=["organization", "id"], name="pair")]

    class Room(TenantModel):
        place = TenantForeignKey(Place, on_delete=models.CASCADE)
        hall = TenantForeignKey(Hall, on_delete=models.CASCADE)
        user = TenantForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
        number = models.IntegerField()

        class Meta(TenantModel.Meta):
            app_label = "lending"

    Room._meta.constraints = constraints("hall", "place", "user", "number", "nothing")
    messages = [*_same_organization(Room)]
    assert [message.id for message in messages] == [f"dovetail_tenancy.E00{number}" for number in (8, 7, 7, 7)]
    assert "UniqueConstraint(fields=['id', 'organization'], name=…)" in str(messages[0].hint)
