"""Rows that hold values which Django cannot read, as somebody with SQL can store them."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client

from dovetail_audit.services import record, seal
from dovetail_audit.verification.findings import Kind
from dovetail_audit.verification.scan import verify, verify_entry, verify_organization
from tests.audit.logs import ENTRIES, LEAVES

pytestmark = pytest.mark.django_db
# Django reads such a text in erased_at as None, which is its value.
COLUMNS = ["at", "mac", "commitment", "salt", "status", "data", "version"]


def store(key: Any, column: str, literal: str) -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA ignore_check_constraints = ON")
        text = key.hex if connection.vendor == "sqlite" else str(key)
        cursor.execute(f"UPDATE dovetail_audit_entry SET {column} = {literal} WHERE id = %s", [text])
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA ignore_check_constraints = OFF")


def named(findings: Any) -> set[tuple[Kind, Any]]:
    return {(finding.kind, finding.entry) for finding in findings}


@pytest.mark.skipif(connection.vendor != "sqlite", reason="needs SQLite: columns without types")
@pytest.mark.parametrize("column", COLUMNS)
def test_text_in_any_column_of_a_sealed_entry_is_named(column: str) -> None:
    entry, other = record("order.paid", organization_id="acme"), record("order.sent")
    seal()
    store(entry.pk, column, "'zz'")
    ENTRIES.filter(pk=other.pk).update(action="order.lost")
    assert named(verify()) == {(Kind.ALTERED, entry.pk), (Kind.ALTERED, other.pk)}
    assert named(verify_entry(entry.pk)) == {(Kind.ALTERED, entry.pk)}
    assert named(verify_organization("acme")) == {(Kind.ALTERED, entry.pk)}


@pytest.mark.skipif(connection.vendor != "sqlite", reason="needs SQLite: columns without types")
@pytest.mark.parametrize("column", ["at", "mac", "commitment", "data", "status", "version"])
def test_text_in_a_column_does_not_stop_the_sealer(column: str) -> None:
    entry, other = record("order.paid"), record("order.sent")
    store(entry.pk, column, "'zz'")
    seal()
    assert [leaf.entry for leaf in LEAVES.all()] == [other.pk]
    (finding,) = verify()
    assert finding.entry == entry.pk
    assert finding.kind in {Kind.ALTERED, Kind.MAC_INVALID}


@pytest.mark.skipif(connection.vendor != "postgresql", reason="needs PostgreSQL: infinite times")
@pytest.mark.parametrize("column", ["at", "erased_at"])
def test_infinite_time_is_named_and_hides_nothing(column: str) -> None:
    entry, other = record("order.paid"), record("order.sent")
    seal()
    later = record("order.paid")
    store(entry.pk, column, "'infinity'")
    store(later.pk, column, "'-infinity'")
    ENTRIES.filter(pk=other.pk).update(action="order.lost")
    assert named(verify()) == {(Kind.ALTERED, key) for key in (entry.pk, other.pk, later.pk)}
    seal()
    assert not LEAVES.filter(entry=later.pk).exists()


@pytest.mark.parametrize("document", ["[1]", "1", "null", '"text"'])
def test_lists_show_an_entry_whose_data_is_no_object(document: str, client: Client) -> None:
    client.force_login(get_user_model().objects.create_superuser("root"))
    entry = record("order.paid")
    store(entry.pk, "data", f"'{document}'")
    for path in ("/api/v1/audit-log/", "/admin/v1/audit/", "/admin/dovetail_audit/entry/"):
        answer = client.get(path)
        assert answer.status_code in {200, 404}, path
        assert answer.status_code == 200 or path == "/admin/v1/audit/"
    shown = client.get(f"/api/v1/audit-log/{entry.pk}/").json()
    assert (shown.get("data") or shown)["parameters"] is None
