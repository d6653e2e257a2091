"""On PostgreSQL, a page reads its own rows from an index, and not all rows of the organization or of others."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from rest_framework.test import APIClient

from dovetail_tenancy import tenant
from tests.composed import factories
from tests.plans import rows_read

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif("connection.vendor != 'postgresql'", reason="tests SQL: DATABASE_URL is not PostgreSQL"),
]
OLD, NEW = 300, 5700
# A page of 50 and the row after it.
PAGE = 51
# In the order of n.
KEY = "lpad(to_hex(n), 32, '0')::uuid"
COLUMNS = {
    "dovetail_tenancy_membership": ("role, user_id, created_at", f"'member', {KEY}, now()"),
    "dovetail_tenancy_invitation": (
        "email, role, bounded, token_hash, created_at, expires_at",
        "n || 'i@example.com', 'member', true, md5(n || %(organization)s), now(), now()",
    ),
    "dovetail_apikeys_apikey": (
        "name, key_prefix, hashed_key, scopes, allowed_networks, rate_limit, created_at, used_networks",
        "'x', n || %(organization)s, 'x', '', '', '', now(), ''",
    ),
    "billing_customer": (
        "name, email, status, created_at",
        "'c' || n, 'c' || n %% 2 || '@example.com', 'active', now() - n * interval '1 minute'",
    ),
}


def insert(table: str, organization: Any, first: int, count: int) -> None:
    columns, values = COLUMNS[table]
    with tenant(organization), connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} (id, organization_id, {columns}) "
            f"SELECT {KEY}, %(organization)s::uuid, {values} FROM generate_series(%(first)s, %(last)s) n",
            {"organization": str(organization.pk), "first": first, "last": first + count - 1},
        )


def fill(table: str, organization: Any) -> None:
    """Fill the table with old rows of the organization and new rows of another."""
    with connection.cursor() as cursor:
        if "user_id" in COLUMNS[table][0]:
            cursor.execute(
                "INSERT INTO dovetail_identity_user (id, password, is_superuser, email, first_name, last_name, "
                "avatar_url, phone_number, is_staff, is_active, date_joined, language, time_zone) "
                f"SELECT {KEY}, '!', false, n || '@example.com', '', '', '', '', false, true, now(), '', '' "
                f"FROM generate_series(1, {OLD + NEW}) n"
            )
        other = factories.organization(name="Globex")
        insert(table, organization, 1, OLD)
        insert(table, other, OLD + 1, NEW)
        cursor.execute(f"ANALYZE {table}")
        cursor.execute("SET LOCAL random_page_cost = 1.1")  # as the README of tenancy advises


@pytest.mark.parametrize(
    ("path", "table", "rows"),
    [
        ("organizations/{organization}/members", "dovetail_tenancy_membership", PAGE),
        ("organizations/{organization}/invitations", "dovetail_tenancy_invitation", PAGE),
        ("api-keys", "dovetail_apikeys_apikey", PAGE),
        ("customers", "billing_customer", PAGE),
        ("customers?sort=name", "billing_customer", PAGE),
        ("customers?sort=-created_at", "billing_customer", PAGE),
        ("customers?filter[email]=c1@example.com", "billing_customer", PAGE),
        ("customers?filter[status]=archived", "billing_customer", 0),
    ],
)
def test_page_reads_only_its_own_rows(path: str, table: str, rows: int, organization: Any, api: APIClient) -> None:
    fill(table, organization)
    address = f"/api/v1/{path.format(organization=organization.pk)}"
    # Inside of the organization, or row security would hide the rows from EXPLAIN.
    with tenant(organization):
        read = rows_read(lambda: api.get(address, headers={"X-Organization-ID": str(organization.pk)}), table)
    # Permissions read a membership or two.
    assert rows <= read <= rows + 4
