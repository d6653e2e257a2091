"""Memberships from a foreign key or a table of the project; many-to-many fields are in the lane ``swapped``."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext

from dovetail_core import accounts
from dovetail_core.events import domain_event
from dovetail_tenancy import get_membership_model, get_organization_model, unscoped
from dovetail_tenancy.operations import ImportMembers
from dovetail_tenancy.organizations import importing
from dovetail_tenancy.organizations.importing import ImportRefused, import_members
from tests.tenancy.documents.factories import make_document, make_user
from tests.tenancy.documents.models import Document
from tests.tenancy.lanes import NEEDS_MORE

Membership: Any = get_membership_model()
Organization: Any = get_organization_model()
TABLE = "documents.Document"
MAP = {"boss": "owner", "clerk": "member"}

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(
        bool(accounts.required_fields(Membership) - {"user", "organization", "role"}) or bool(NEEDS_MORE),
        reason="this lane's models require more fields",
    ),
]


@pytest.fixture(autouse=True)
def _unscoped() -> Iterator[None]:
    with unscoped(reason="the table of the tests has organizations"):
        yield


@pytest.fixture
def people() -> list[Any]:
    return [make_user(username=name) for name in ("ada", "bo", "cy")]


def organization(name: str) -> Any:
    fields = {"name": name, "slug": name.lower(), "owner": make_user()}
    known = {field.name for field in Organization._meta.concrete_fields}
    return Organization._base_manager.create(**{name: fields[name] for name in fields.keys() & known})


@pytest.fixture
def staff(people: Any) -> Any:
    """Rows of members: ada is boss and clerk of Acme, bo is its clerk, and one row has nobody."""
    acme, globex = organization("Acme"), organization("Globex")
    for company, person, level in (
        (acme, people[0], "clerk"),
        (acme, people[0], "boss"),
        (acme, people[1], "clerk"),
        (globex, people[1], "member"),
        (acme, None, "clerk"),
    ):
        make_document(company, level, author=person)
    return acme, globex


def members() -> list[tuple[str, str, str]]:
    rows = Membership._base_manager.order_by("user__username", "organization__name")
    return list(rows.values_list("user__username", "organization__name", "role"))


IMPORTED = [("ada", "Acme", "owner"), ("bo", "Acme", "member"), ("bo", "Globex", "member")]


@pytest.mark.parametrize("batch_size", [1, 2, 1000])
def test_table_is_imported_once_with_the_highest_role(staff: Any, batch_size: int) -> None:
    received: list[Any] = []

    def receive(**event: Any) -> None:
        received.append(event)

    domain_event.connect(receive)
    report = import_members(TABLE, role_field="title", roles=MAP, batch_size=batch_size)
    assert members() == IMPORTED
    assert (report.created, report.existing, report.incomplete) == ({"owner": 1, "member": 2}, 0, 1)
    again = import_members(TABLE, role_field="title", roles=MAP, batch_size=batch_size)
    assert members() == IMPORTED
    assert again.created.total() == 0
    assert received == []


def test_large_batch_fits_the_parameters_of_a_query(staff: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import_members(TABLE, role_field="title", roles=MAP)
    monkeypatch.setattr(type(connection.features), "max_query_params", property(lambda _: 3))
    with CaptureQueriesContext(connection) as queries:
        report = import_members(TABLE, role_field="title", roles=MAP, batch_size=10**6)
    assert (report.created.total(), report.existing) == (0, 4)
    table = connection.ops.quote_name(Membership._meta.db_table)
    reads = [query["sql"] for query in queries if f"FROM {table}" in query["sql"]]
    assert len(reads) == 4


def test_dry_run_reports_the_same_and_writes_nothing(staff: Any) -> None:
    planned = import_members(TABLE, role_field="title", roles=MAP, batch_size=1, dry_run=True)
    assert members() == []
    assert planned == import_members(TABLE, role_field="title", roles=MAP, batch_size=1)


def test_existing_memberships_keep_their_role(staff: Any, people: Any) -> None:
    Membership._base_manager.create(user=people[0], organization=staff[0], role="billing")
    report = import_members(TABLE, role="member")
    assert members() == [("ada", "Acme", "billing"), *IMPORTED[1:]]
    assert (report.created, report.existing, report.other_role) == ({"member": 2}, 1, 1)


def test_unmapped_roles_stop_the_import_and_are_counted(staff: Any) -> None:
    with pytest.raises(ImportRefused) as refused:
        import_members(TABLE, role_field="title", roles={"boss": "owner"})
    assert str(refused.value) == (
        "title holds values that are no roles: 'clerk' (3 rows). The roles of TENANCY_ROLES are: owner, admin, member, "
        "billing. Map each value to one of them, or declare it as a role."
    )
    assert members() == []


@pytest.mark.parametrize(
    ("source", "arguments", "problem"),
    [
        (TABLE, {"role": "boss"}, r"Not roles: 'boss'\. The roles of TENANCY_ROLES are: owner"),
        (TABLE, {"role_field": "title", "roles": {"clerk": "staff"}}, "Not roles: 'staff'"),
        (TABLE, {"role_field": "level"}, r"The field of the roles is 'level': Cannot resolve"),
        (TABLE, {}, "either the role of all members or the field"),
        (TABLE, {"role": "member", "role_field": "title"}, "not both"),
        (TABLE, {"role": "member", "roles": {"a": "member"}}, "needs the field that holds them"),
        (TABLE, {"role": "member", "batch_size": 0}, "at least 1"),
        (TABLE, {"role": "member", "user": "folder"}, r"'folder' of documents.Document does not lead to .*: author"),
        ("documents.Folder", {"role": "member"}, r"has 0 foreign keys to .*Name a field .*to it: none"),
        ("documents.Document.author", {"role": "member"}, r"connects documents.Document and .*between"),
        ("documents.Document.title", {"role": "member"}, r"connects documents.Document and no model"),
        ("documents.Document.nothing", {"role": "member"}, r"no field 'nothing'\. Its relations are: author"),
        ("documents.Document.author", {"role": "member", "user": "author"}, "Use user and organization with a table"),
        ("documents.Nothing", {"role": "member"}, "'documents.Nothing' is no model here"),
        ("documents", {"role": "member"}, "'documents' is no model here"),
        (Membership._meta.label, {"role": "member"}, "is the membership model itself"),
    ],
)
def test_unusable_sources_are_refused(staff: Any, source: str, arguments: Any, problem: str) -> None:
    with pytest.raises(ImportRefused, match=problem):
        import_members(source, **arguments)
    assert members() == []


def test_paths_lead_to_the_user_and_the_organization(staff: Any) -> None:
    paths = {"user": "document__author", "organization": "document__folder__organization"}
    import_members("documents.Note", **paths, role="member")
    assert [row[:2] for row in members()] == [row[:2] for row in IMPORTED]


def test_null_and_other_types_are_mapped_by_their_text(staff: Any) -> None:
    roles = {True: "admin", "": "member"}
    report = import_members(TABLE, role_field="author__is_staff", roles={**roles, False: "member"})
    assert report.created == {"member": 3}
    Membership._base_manager.all().delete()
    Document.objects.filter(author__username="ada").update(author=None)
    # The rows without a person hold NULL here.
    again = import_members(TABLE, role_field="author__is_staff", roles={**roles, "False": "admin"})
    assert again.created == {"admin": 2}


@pytest.mark.skipif(not any(field.name == "owner" for field in Organization._meta.fields), reason="no owner here")
def test_foreign_key_of_the_organization_is_imported(staff: Any) -> None:
    import_members(f"{Organization._meta.label}.owner", role="owner")
    owners = {(row.user_id, row.organization_id) for row in Membership._base_manager.filter(role="owner")}
    assert owners == {(company.owner_id, company.pk) for company in staff}


@pytest.mark.skipif(Organization._meta.label != "companies.Company", reason="the app companies is not installed")
@pytest.mark.parametrize("source", ["accounts.User.company", "companies.Company.employees"])
def test_foreign_key_of_the_user_is_imported(staff: Any, people: Any, source: str) -> None:
    for person in people[:2]:
        person.company = staff[1]
        person.save()
    assert import_members(source, role="member").created == {"member": 2}
    assert members() == [("ada", "Globex", "member"), ("bo", "Globex", "member")]


def test_concurrent_membership_does_not_stop_the_import(
    staff: Any, people: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = QuerySet.bulk_create
    raised: list[bool] = []

    def join_first(rows: Any, new: Any, **options: Any) -> Any:
        if rows.model is Membership and not raised:
            raised.append(True)
            raise IntegrityError("another transaction inserted the row")
        return create(rows, new, **options)

    monkeypatch.setattr(QuerySet, "bulk_create", join_first)
    import_members(TABLE, role_field="title", roles=MAP)
    assert members() == IMPORTED
    assert raised


def test_required_fields_of_the_membership_are_named(staff: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "required_fields", lambda model: {"role", "title", "user"})
    with pytest.raises(ImportRefused, match=r"requires title, which the import cannot fill"):
        import_members(TABLE, role="member")


def test_command_reports_numbers_and_ownerless_organizations(staff: Any) -> None:
    mapping = ("--role-field", "title", "--map", "boss=owner", "--map", "clerk=member")
    planned = output("tenancy_import_members", TABLE, *mapping, "--dry-run")
    assert planned.startswith("To create: 3, owner: 1, member: 2.\n")
    assert members() == []
    printed = output("tenancy_import_members", TABLE, *mapping, "-v2")
    assert printed.splitlines()[:-1] == [
        *("1 memberships so far", "3 memberships so far"),
        "Created: 3, owner: 1, member: 2.",
        "Already members: 0, with another role: 0.",
        "Rows without a user or an organization: 1.",
    ]
    assert "without an owner who can sign in: 1 (Globex). Nobody" in printed
    with pytest.raises(CommandError, match=r"no roles: 'boss' \(1 rows\), 'clerk' \(3 rows\)"):
        output("tenancy_import_members", TABLE, "--role-field", "title")
    with pytest.raises(CommandError, match=r"'boss' must have the form VALUE=ROLE"):
        output("tenancy_import_members", TABLE, "--role-field", "title", "--map", "boss")


def output(*arguments: str) -> str:
    written = StringIO()
    call_command(*arguments, stdout=written)
    return written.getvalue()


def test_operation_imports_and_keeps_members_when_reversed(staff: Any) -> None:
    operation = ImportMembers(TABLE, role_field="title", roles=MAP)
    editor: Any = SimpleNamespace(connection=connection)
    state: Any = SimpleNamespace(apps=apps, models={})
    operation.database_forwards("documents", editor, state, state)
    operation.database_backwards("documents", editor, state, state)
    assert members() == IMPORTED
    assert operation.describe() == "Import members from documents.Document"


def test_migration_for_earlier_roles_passes_without_rows(settings: Any) -> None:
    settings.TENANCY_ROLES = {"owner": []}
    assert import_members(TABLE, role="member").created.total() == 0
    assert list(importing.ownerless_organizations("default")) == []
