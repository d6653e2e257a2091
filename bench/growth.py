"""Measure how the lists of the composed service slow down as their tables grow.

    DATABASE_URL=postgres://postgres@127.0.0.1/growth python bench/growth.py                 # 1 000 and 1 000 000 rows
    DATABASE_URL=postgres://postgres@127.0.0.1/growth python bench/growth.py 1000 10000000

Creates the database of the URL, whose user must be a superuser, and roles of its own, and drops them at the end. The
service connects with a role to which row-level security applies, to a database with ``random_page_cost = 1.1`` (SSDs).

Every list is read by its first page: in its default order, in each of its sort keys in both directions, and with each
operator of its filters. Three organizations read them: "large" has 6 % of all rows, which are spread over the table;
"dormant" has 6 %, which are older than all others; "small" has 10 old rows. A reader of notifications has 6 % of them,
and a leaver has 10 %, the newest ones, which belong to an organization that they have left.

The table shows the fastest of several requests and the buffers that PostgreSQL reads for one, at each number of rows,
and the ratio of the times. Ratios above 2 are marked; the last line counts them.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit
from uuid import UUID

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "example_project")]
URL = urlsplit(os.environ.get("DATABASE_URL", ""))
if not URL.scheme.startswith("postgres"):
    sys.exit(f"Set DATABASE_URL to a PostgreSQL database.\n\n{__doc__}")
NAME = URL.path[1:]
LOGIN, BYPASS = f"{NAME}_app", f"{NAME}_bypass"
SERVER = {
    "HOST": URL.hostname,
    "PORT": URL.port,
    "USER": unquote(URL.username or ""),
    "PASSWORD": unquote(URL.password or ""),
}
login = URL.netloc.rpartition("@")[2]
os.environ["DATABASE_URL"] = urlunsplit(URL._replace(netloc=f"{LOGIN}:{SERVER['PASSWORD']}@{login}"))
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.composed.settings"

from psycopg import sql  # noqa: E402

from tests.plans import nodes  # noqa: E402
from tests.roles import administrator, create_roles, drop_roles  # noqa: E402

REQUESTS = 25
LIMIT = 2.0
LARGE, DORMANT, SMALL, LEFT = range(1, 5)
READER, LEAVER = 1, 2

# In each organization's table, the first 6 % of the rows are those of the dormant organization, apart from 10 of the
# small one. Of the others, one in 16 is the large one's. key(n) is the id of row n, in the order of time like UUIDv7;
# k is the number of the row within its organization, and h is random.
FILL = """
CREATE OR REPLACE FUNCTION key(n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (lpad(to_hex(1700000000000 + n), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid
$$;

CREATE TEMPORARY TABLE numbered AS
SELECT n, key(n) AS id, key(o) AS organization, k, abs(hashint8(n)::bigint) AS h,
    timestamptz '2026-11-01' - ({rows} - n) * interval '1 second' AS created_at
FROM (
    SELECT n,
        CASE
            WHEN n <= 10 THEN {small} WHEN n <= {rows} * 0.06 THEN {dormant}
            WHEN n % 16 = 0 THEN {large} ELSE {left} + 1 + n % {others}
        END AS o,
        CASE WHEN n <= {rows} * 0.06 THEN n WHEN n % 16 = 0 THEN n / 16 ELSE n / {others} END AS k
    FROM generate_series(1, {rows}) n
) r;

SET session_replication_role = replica;  -- no triggers for foreign keys
TRUNCATE dovetail_identity_user, dovetail_tenancy_organization CASCADE;

INSERT INTO dovetail_identity_user (id, password, is_superuser, email, first_name, last_name, avatar_url, phone_number,
    is_staff, is_active, date_joined, language, time_zone)
SELECT key(n), '!', false, 'u' || n || '@example.com', '', '', '', '', false, true, now(), '', ''
FROM generate_series(1, {users}) n;

INSERT INTO dovetail_tenancy_organization (id, name, slug, created_at, updated_at, owner_id)
SELECT key(n), 'o' || n, 'o' || n, now(), now(), key({reader}) FROM generate_series(1, {left} + {others}) n;

INSERT INTO dovetail_tenancy_membership (id, role, created_at, organization_id, user_id)
SELECT id, 'member', created_at, organization, key({leaver} + 1 + k) FROM numbered
UNION ALL
SELECT key({rows} + 10 * o + u), 'owner', now(), key(o), key(u)
FROM unnest(ARRAY[{large}, {dormant}, {small}]) o, unnest(ARRAY[{reader}, {leaver}]) u;

INSERT INTO dovetail_tenancy_invitation (id, email, role, bounded, token_hash, created_at, expires_at, organization_id)
SELECT id, 'i' || n || '@example.com', 'member', true, md5(n::text), created_at, created_at, organization FROM numbered;

INSERT INTO dovetail_apikeys_apikey (id, name, key_prefix, hashed_key, scopes, allowed_networks, rate_limit, created_at,
    used_networks, organization_id)
SELECT id, 'k' || n, 'p' || n, md5(n::text), '', '', '', created_at, '', organization FROM numbered;

INSERT INTO billing_customer (id, name, email, status, created_at, organization_id)
SELECT id, 'Customer ' || md5(n::text), 'c' || n || '@example.com',
    CASE WHEN h % 20 = 0 THEN 'archived' ELSE 'active' END, created_at, organization
FROM numbered;

INSERT INTO billing_invoice (id, number, status, currency, issued_on, due_on, overdue_since, created_at, customer_id,
    organization_id)
SELECT id, 'N-' || n, (ARRAY['draft', 'sent', 'paid', 'void'])[1 + h % 4],
    CASE WHEN h % 10 = 0 THEN 'USD' ELSE 'EUR' END, created_at::date, created_at::date + 14,
    CASE WHEN h % 20 = 1 THEN created_at END, created_at, id, organization
FROM numbered;

INSERT INTO billing_invoiceline (id, description, quantity, unit_price, invoice_id, organization_id)
SELECT id, 'x', 1, 1, id, organization FROM numbered;

INSERT INTO dovetail_identity_session (id, generation, device, created_at, last_used_at, rotated_at, expires_at,
    revoked_reason, user_id)
SELECT id, 0, '', now(), now(), now(), now() + interval '1 day', '', key(1 + n % {users}) FROM numbered;

INSERT INTO dovetail_notify_device (kind, token, token_hash, keys, name, created_at, registered_at, retired_reason,
    user_id)
SELECT 'fcm', '', md5(n::text), '{{}}', '', now(), now(), '', key(1 + n % {users}) FROM numbered;

INSERT INTO dovetail_notify_notification (recipient_id, organization_key, type, title, body, target_url, payload,
    payload_version, actor_key, collapse_key, batch, created_at, read_at, archived_at)
SELECT
    CASE
        WHEN n > {rows} * 0.9 THEN key({leaver}) WHEN n % 16 = 0 THEN key({reader})
        WHEN n % 997 < 2 THEN key({leaver}) ELSE key({leaver} + 1 + n % 900)
    END,
    CASE WHEN n > {rows} * 0.9 THEN key({left}) WHEN h % 5 > 0 THEN key({large} + (h / 5) % 3) END,
    (ARRAY['billing.invoice_paid', 'tenancy.role_changed'])[1 + (h / 15) % 2],
    'x', '', '', '{{}}', 1, '', '', id, created_at,
    CASE WHEN (h / 30) % 3 > 0 THEN created_at END, CASE WHEN (h / 90) % 10 = 0 THEN created_at END
FROM numbered ORDER BY n;
"""


@dataclass
class Case:
    name: str
    call: Callable[[], Any]
    #: The number of rows in the tables, the milliseconds and the buffers of a request.
    results: dict[int, tuple[float, int]] = field(default_factory=dict)


def key(number: int) -> UUID:
    return UUID(f"{1700000000000 + number:012x}70008000{number:012x}")


def fill(rows: int) -> None:
    numbers = {"large": LARGE, "dormant": DORMANT, "small": SMALL, "left": LEFT, "reader": READER, "leaver": LEAVER}
    script = FILL.format(rows=rows, others=max(20, rows // 500), users=max(1000, rows // 8), **numbers)
    with administrator(SERVER, NAME) as server:
        server.execute(script.encode())
        server.execute("VACUUM ANALYZE")
        server.execute("CHECKPOINT")


def queries() -> dict[str, list[str]]:
    """Return the queries of each list of an organization, by its path."""
    from billing.api.views import CustomerViewSet, InvoiceViewSet

    middle = "2026-11-01T00:00:00Z"
    values: dict[str, Any] = {
        "name": {"eq": "Customer 1", "istartswith": "customer ab", "contains": "ab"},
        "email": {"eq": "c1@example.com"},
        "number": {"eq": "N-1", "istartswith": "n-1"},
        "status": {"eq": "archived", "in": "archived"},
        "customer": {"eq": key(1), "in": f"{key(1)},{key(16 * 100)}"},
        "currency": {"eq": "USD", "in": "USD"},
        "isnull": "false",
    }
    invoice_status = {"eq": "paid", "ne": "paid", "in": "paid,void", "nin": "paid,void"}
    lists = {f"organizations/{{organization}}/{name}": [""] for name in ("members", "invitations")} | {"api-keys": [""]}
    for path, view in (("customers", CustomerViewSet), ("invoices", InvoiceViewSet)):
        lists[path] = [""]
        for name, operators in view.contract["filter"].items():
            for operator in operators:
                known = values.get(name, values.get(operator, {}))
                if path == "invoices" and name == "status":
                    known = invoice_status
                default = middle[:10] if name.endswith("_on") else middle
                value = known.get(operator, default) if isinstance(known, dict) else known
                suffix = "" if operator == "eq" else f"[{operator}]"
                lists[path].append(f"?filter[{name}]{suffix}={value}")
        lists[path] += [f"?sort={sign}{name}" for name in view.contract["sort"] for sign in ("", "-")]
    return lists


def cases() -> Iterator[Case]:
    from django.contrib.auth import get_user_model
    from rest_framework.test import APIClient

    def get(user: int, path: str, organization: UUID | None = None) -> Callable[[], Any]:
        headers = {"X-Organization-ID": str(organization)} if organization else {}

        def call() -> Any:
            client = APIClient(headers=headers)
            client.force_authenticate(get_user_model()(pk=key(user), email=f"u{user}@example.com"))
            response = client.get(f"/api/v1/{path}")
            assert response.status_code == 200, response.content
            return response

        return call

    for path, suffixes in queries().items():
        for suffix in suffixes:
            for name, number in (("large", LARGE), ("dormant", DORMANT), ("small", SMALL)):
                organization = key(number)
                full = path.format(organization=organization) + suffix
                yield Case(f"{path.rpartition('/')[2]}{suffix} | {name}", get(READER, full, organization))
    for suffix in ("", "?unread=true", "?unread=false", "?archived=true", "?type=billing.invoice_paid", "?category=x"):
        for name, user in (("reader", READER), ("leaver", LEAVER)):
            yield Case(f"notifications{suffix} | {name}", get(user, f"notifications{suffix}"))
    for name, user in (("reader", READER), ("leaver", LEAVER)):
        yield Case(f"notifications/unread-count | {name}", get(user, "notifications/unread-count"))
    for path in ("organizations", "me/sessions", "push-devices", "notification-preferences"):
        yield Case(f"{path} | reader", get(READER, path))


def measure(case: Case, rows: int) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from dovetail_tenancy import tenant

    case.call()
    times = []
    for _ in range(REQUESTS):
        begun = time.perf_counter()
        case.call()
        times.append((time.perf_counter() - begun) * 1000)
    with CaptureQueriesContext(connection) as captured:
        response = case.call()
    organization = response.wsgi_request.headers.get("X-Organization-ID")
    buffers = 0
    with ExitStack() as stack:
        if organization:
            stack.enter_context(tenant(UUID(organization)))
        cursor = stack.enter_context(connection.cursor())
        for query in captured:
            if query["sql"].startswith(("SELECT", "(SELECT")) and "set_config" not in query["sql"]:
                cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query['sql']}")
                (plans,) = cursor.fetchone()
                plan = next(nodes((json.loads(plans) if isinstance(plans, str) else plans)[0]["Plan"]))
                buffers += plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    case.results[rows] = (min(times), buffers)


def report(measured: list[Case], sizes: list[int]) -> int:
    heads = [f"{rows:,} rows: ms | buffers".replace(",", " ") for rows in sizes]
    print(f"| list | of | {' | '.join(heads)} | ratio |")
    print("| --- | --- |" + " --- | --- |" * len(sizes) + " --- |")
    slow = 0
    for case in measured:
        first, last = case.results[sizes[0]], case.results[sizes[-1]]
        ratio = last[0] / first[0]
        slow += ratio > LIMIT
        columns = " | ".join(f"{ms:.1f} | {buffers}" for ms, buffers in case.results.values())
        print(f"| {case.name} | {columns} | {ratio:.2f}{' (!)' if ratio > LIMIT else ''} |")
    return slow


def main() -> None:
    sizes = [int(argument) for argument in sys.argv[1:]] or [1000, 1_000_000]
    with ExitStack() as stack:
        create_roles(SERVER, login=LOGIN, bypass=BYPASS)
        stack.callback(drop_roles, SERVER, LOGIN, f"{BYPASS}_may", BYPASS)
        database = sql.Identifier(NAME)
        with administrator(SERVER) as server:
            server.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, sql.Identifier(LOGIN)))
            for setting in ("random_page_cost = 1.1", "synchronous_commit = off"):
                server.execute(sql.SQL(f"ALTER DATABASE {{}} SET {setting}").format(database))
        stack.callback(drop, database)

        import django

        django.setup()
        from django.core.management import call_command
        from django.db import connection

        call_command("migrate", verbosity=0)
        stack.callback(connection.close)
        measured = list(cases())
        for rows in sizes:
            fill(rows)
            for case in measured:
                measure(case, rows)
        slow = report(measured, sizes)
    print(f"\n{slow} of {len(measured)} ratios are above {LIMIT:g}.")


def drop(database: sql.Identifier) -> None:
    with administrator(SERVER) as server:
        server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(database))


if __name__ == "__main__":
    main()
