"""The commands ``tenant`` and ``check_tenancy``."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.apps import apps
from django.core.checks import Error, register
from django.core.checks.registry import registry
from django.core.management import CommandError, call_command
from django.db import connection

from dovetail_tenancy import current_tenant_id, unscoped
from dovetail_tenancy.models import TenantModel
from tests.tenancy.documents.factories import make_document
from tests.tenancy.documents.models import Document
from tests.tenancy.factories import make_organization
from tests.tenancy.lanes import has_slug

pytestmark = pytest.mark.django_db


def output(*arguments: str) -> str:
    written = StringIO()
    call_command(*arguments, stdout=written)
    return written.getvalue()


@pytest.fixture
def pair() -> tuple[Any, Any]:
    acme, globex = make_organization("Acme"), make_organization("Globex")
    make_document(acme, "ours")
    make_document(globex, "theirs")
    return acme, globex


def test_a_command_runs_for_one_organization(pair: Any) -> None:
    for organization, ours, other in ((pair[0], "ours", "theirs"), (pair[1], "theirs", "ours")):
        dumped = output("tenant", str(organization.pk), "dumpdata", "documents.document", "--indent", "1")
        assert f'"title": "{ours}"' in dumped
        assert other not in dumped
        assert output("tenant", organization.name, "dumpdata", "documents.document", "--indent", "1") == dumped
    assert current_tenant_id() is None


@has_slug
def test_organization_is_found_by_slug(pair: Any) -> None:
    assert "ours" in output("tenant", "acme", "dumpdata", "documents")


def test_options_are_passed_to_the_command(pair: Any, capsys: pytest.CaptureFixture[str]) -> None:
    code = "from tests.tenancy.documents.models import Document; print(Document.objects.get().title)"
    call_command("tenant", "Acme", "shell", "-v", "0", "--command", code)
    assert capsys.readouterr().out == "ours\n"


def test_command_writes_for_the_organization(pair: Any) -> None:
    code = "from tests.tenancy.documents.models import Document; Document.objects.update(title='changed')"
    call_command("tenant", "Acme", "shell", "-v", "0", "-c", code)
    with unscoped(reason="test"):
        assert sorted(Document.objects.values_list("title", flat=True)) == ["changed", "theirs"]


@pytest.mark.parametrize("named", ["nobody", "", "\0", "9" * 400, "00000000-0000-0000-0000-000000000000"])
def test_unknown_organization_lists_the_choices(pair: Any, named: str) -> None:
    with pytest.raises(CommandError, match=r"does not match .* by its id, .*Acme.*; .*Globex") as raised:
        output("tenant", named, "check")
    assert str(pair[0].pk) in str(raised.value)
    for number in range(12):
        make_organization(f"Many {number}")
    with pytest.raises(CommandError, match="and 4 more"):
        output("tenant", named, "check")


def test_ambiguous_name_is_refused(pair: Any) -> None:
    for _ in range(2):
        make_organization("The Twins")
    with pytest.raises(CommandError, match="exactly one"):
        output("tenant", "The Twins", "check")


def test_commands_that_cannot_run_are_refused(pair: Any) -> None:
    with pytest.raises(CommandError, match="Unknown command: 'nothing'"):
        output("tenant", "Acme", "nothing")
    with pytest.raises(CommandError, match="cannot run itself"):
        output("tenant", "Acme", "tenant", "Globex", "check")
    with pytest.raises(CommandError, match="unrecognized arguments: --nonsense"):
        output("tenant", "Acme", "check", "--nonsense")
    assert current_tenant_id() is None


def test_every_tenant_table_is_reported(pair: Any) -> None:
    report = output("check_tenancy", "--database", "default")
    for model in ("Folder", "Document", "Note"):
        assert f"documents.{model} (table documents_{model.lower()})\n  manager TenantManager" in report
    assert "uniqueness, index: ok" in report
    tables = sum(issubclass(model, TenantModel) for model in apps.get_models())
    assert report.rstrip().endswith(f"{tables} tenant tables, 0 messages, 0 errors")
    secured = report.count("row security: on and forced, 2 policies")
    assert secured == (tables if connection.vendor == "postgresql" else 0)


def test_report_includes_registered_checks_and_fails_on_errors() -> None:
    code = "E" + "999"  # no check of ours

    def complains(app_configs: Any, databases: Any = None, **kwargs: Any) -> list[Error]:
        about = [Document] if databases == ["default"] else []
        return [Error("Broken.", hint="Mend it.", obj=model, id=f"dovetail_tenancy.{code}") for model in about]

    register(complains, "database")
    written = StringIO()
    try:
        with pytest.raises(CommandError, match="1 errors"):
            call_command("check_tenancy", stdout=written)
    finally:
        registry.registered_checks.remove(complains)
    assert "documents.Document (table documents_document)" in written.getvalue()
    assert "  dovetail_tenancy.E999: Broken. Mend it.\n" in written.getvalue()
