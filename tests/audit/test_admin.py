from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from dovetail_audit.models import Entry
from dovetail_audit.services import record, seal
from tests.audit.factories import entries, entry

pytestmark = pytest.mark.django_db

ENTRIES = "/admin/dovetail_audit/entry/"


@pytest.fixture
def admin(client: Client, settings: Any) -> Client:
    # Otherwise the sign-in is an entry.
    settings.AUDIT_SIGN_INS = False
    user = User.objects.create_user("auditor", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=["view_entry", "view_checkpoint"]))
    client.force_login(user)
    return client


def keys(response: Any) -> list[str]:
    assert response.status_code == 200
    return [str(row.pk) for row in response.context["cl"].result_list]


def link(response: Any, text: str) -> str:
    (match,) = re.findall(rf'<a href="([^"]*)">{text}</a>', response.content.decode())
    return ENTRIES + str(match).replace("&amp;", "&")


def test_list_pages_back_and_forth_without_a_count(admin: Client) -> None:
    rows = [str(row.pk) for row in reversed(entries(120))]
    with CaptureQueriesContext(connection) as queries:
        first = admin.get(ENTRIES)
    assert not [query for query in queries if "COUNT(" in query["sql"]]
    assert keys(first) == rows[:50]
    assert "Newer entries" not in first.content.decode()
    second = admin.get(link(first, "Older entries"))
    assert keys(second) == rows[50:100]
    third = admin.get(link(second, "Older entries"))
    assert keys(third) == rows[100:]
    assert "Older entries" not in third.content.decode()
    back = admin.get(link(third, "Newer entries"))
    assert keys(back) == rows[50:100]
    front = admin.get(link(back, "Newer entries"))
    assert keys(front) == rows[:50]
    assert "Newer entries" not in front.content.decode()


def test_list_takes_as_many_queries_for_many_entries(admin: Client) -> None:
    entries(2)
    with CaptureQueriesContext(connection) as few:
        admin.get(ENTRIES)
    entries(40)
    with CaptureQueriesContext(connection) as many:
        admin.get(ENTRIES)
    assert len(few) == len(many)


def test_pages_keep_the_filter(admin: Client) -> None:
    entries(55)
    denied = [str(row.pk) for row in reversed(entries(55, outcome="denied"))]
    first = admin.get(f"{ENTRIES}?outcome__exact=denied")
    assert keys(first) == denied[:50]
    assert keys(admin.get(link(first, "Older entries"))) == denied[50:]


@pytest.mark.parametrize("query", ["before=x", "after=1"])
def test_a_malformed_page_shows_the_first(admin: Client, query: str) -> None:
    row = entry()
    assert keys(admin.get(f"{ENTRIES}?{query}", follow=True)) == [str(row.pk)]


@pytest.mark.parametrize("column", ["action", "actor", "request_id", "organization"])
def test_search_is_for_the_exact_value(admin: Client, column: str) -> None:
    row, _ = entry(**{column: "wanted"}), entry(**{column: "wanted-too"})
    assert keys(admin.get(f"{ENTRIES}?q=wanted")) == [str(row.pk)]
    assert keys(admin.get(f"{ENTRIES}?q={row.pk}")) == [str(row.pk)]


def test_entries_cannot_be_written(admin: Client) -> None:
    User.objects.update(is_superuser=True)
    row = entry()
    for path in ("add/", f"{row.pk}/delete/"):
        assert admin.get(ENTRIES + path).status_code == 403
    assert admin.post(f"{ENTRIES}{row.pk}/change/", {"action": "x.y"}).status_code == 403
    page = admin.post(ENTRIES, {"action": "delete_selected", "_selected_action": str(row.pk)})
    assert "delete_selected" not in admin.get(ENTRIES).content.decode()
    assert page.status_code in (200, 302, 403)
    assert Entry.objects.filter(pk=row.pk, action="order.paid").exists()


def test_badge_shows_the_state_of_the_entry(admin: Client) -> None:
    row = record("order.paid", parameters={"number": "A-1"})
    path = f"{ENTRIES}{row.pk}/change/"
    assert "authentic, not sealed yet" in admin.get(path).content.decode()
    assert "authentic, not sealed yet" in admin.get(ENTRIES).content.decode()
    seal()
    assert "sealed, unchanged" in admin.get(path).content.decode()
    Entry._base_manager.filter(pk=row.pk).update(action="order.refunded")
    assert "ALTERED" in admin.get(path).content.decode()
    assert "ALTERED" in admin.get(ENTRIES).content.decode()


def test_badge_shows_changed_personal_data(admin: Client) -> None:
    row = record("order.paid", personal={"email": "ada@example.com"})
    seal()
    Entry._base_manager.filter(pk=row.pk).update(private={"email": "eve@example.com"})
    assert "ALTERED" in admin.get(ENTRIES).content.decode()


def test_values_are_escaped(admin: Client) -> None:
    row = entry(actor_label="<script>", data={"parameters": {"name": "<script>alert(1)</script>"}})
    for path in (ENTRIES, f"{ENTRIES}{row.pk}/change/"):
        assert "<script>alert" not in admin.get(path).content.decode()


def test_checkpoints_are_listed(admin: Client) -> None:
    record("order.paid")
    checkpoint = seal()
    assert checkpoint is not None
    page = admin.get("/admin/dovetail_audit/checkpoint/").content.decode()
    assert bytes(checkpoint.root).hex() in page
    assert admin.get(f"/admin/dovetail_audit/checkpoint/{checkpoint.pk}/change/").status_code == 200
