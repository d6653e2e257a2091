"""Measure ``/admin/v1/metrics`` of dovetail-adminapi beside ``count(*)`` on PostgreSQL.

    DATABASE_URL=postgres://… python bench/adminapi_metrics.py [--users 1000000] [--rows 5000000] [--rounds 20]

Creates and drops test_<name>. The second table stands for notifications: an indexed time, a state and an organization.
Rows are spread over 400 days up to now. The metrics are the built-in ones and four of the second table. All values are
compared with counts of the tables.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "packages/adminapi/src"), str(ROOT / "packages/core/src")]

import django  # noqa: E402
from django.conf import settings  # noqa: E402

from tests.databases import databases  # noqa: E402

settings.configure(
    SECRET_KEY="a-key-for-measuring-only-of-32-characters",
    DATABASES=databases(),
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "rest_framework",
        "dovetail_adminapi",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "dovetail_adminapi.middleware.AdminAPIMiddleware",
    ],
    ROOT_URLCONF="dovetail_adminapi.api.urls",
    LOGGING={"version": 1, "loggers": {"dovetail": {"level": "CRITICAL"}}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    ALLOWED_HOSTS=["testserver"],
    USE_TZ=True,
)
django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.db import connection, models  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402

from dovetail_adminapi.metrics import answers, days, rollup  # noqa: E402
from dovetail_adminapi.metrics.registry import Metric  # noqa: E402

SPREAD = 400


class Notice(models.Model):
    created_at = models.DateTimeField(db_index=True)
    state = models.CharField(max_length=10)

    class Meta:
        app_label = "bench"
        indexes = [models.Index(fields=["state"], condition=models.Q(state="dead"), name="bench_dead")]

    def __str__(self) -> str:
        return self.state


Metric("notifications.total", per_day=None, total=Notice.objects.all)
Metric("notifications.new", per_day=Notice.objects.all)
Metric("notifications.dead", live=lambda: Notice.objects.filter(state="dead"))
Metric("notifications.oldest_dead", live=lambda: Notice.objects.filter(state="dead"), age="created_at")


def fill(users: int, rows: int) -> None:
    now = datetime.now(UTC)
    with connection.schema_editor() as editor:
        editor.create_model(Notice)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO auth_user (username, password, first_name, last_name, email, is_superuser, is_staff,"
            " is_active, date_joined, last_login) SELECT 'user' || n, '', '', '', '', false, false, true,"
            " %s - (1 - n / %s::float8) * %s * interval '1 day', %s - (n %% 90) * interval '1 day'"
            " FROM generate_series(1, %s) n",
            [now, users, SPREAD, now, users],
        )
        cursor.execute(
            "INSERT INTO bench_notice (created_at, state)"
            " SELECT %s - (1 - n / %s::float8) * %s * interval '1 day',"
            " CASE WHEN n %% 50000 = 0 THEN 'dead' ELSE 'sent' END"
            " FROM generate_series(1, %s) n",
            [now, rows, SPREAD, rows],
        )
        cursor.execute("VACUUM ANALYZE auth_user")
        cursor.execute("VACUUM ANALYZE bench_notice")


def milliseconds(call: Callable[[], Any], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    # The least, because other work on the machine only adds to it.
    return min(times) * 1000


def count() -> None:
    User.objects.count()
    Notice.objects.count()


def compare() -> None:
    """Compare the values with counts of the tables."""
    today = days.today()
    for value in answers.values():
        metric = value.metric
        if metric.name.startswith("jobs."):
            continue
        if metric.per_day is not None and value.days is not None:
            start = days.midnight(today - timedelta(days=value.days - 1))
            expected: int | None = metric.per_day().filter(**{f"{metric.at}__gte": start}).count()
        elif metric.total is not None:
            expected = metric.total().count()
        elif metric.nightly is not None and value.days is not None:
            end = days.midnight(today)
            expected = metric.nightly(end - timedelta(days=value.days), end).count()
        else:
            expected = None if metric.age or metric.live is None else metric.live().count()
        if expected is None:
            continue
        difference = abs((value.value or 0) - expected)
        marker = "equal" if difference == 0 else f"{difference / expected:.4%} off"
        print(f"  {metric.name} ({value.days or '-'}): {value.value} exact={value.exact}, counted {expected}: {marker}")
        if value.exact and difference:
            sys.exit("An exact value differs from the count.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    if connection.vendor != "postgresql":
        sys.exit("Set DATABASE_URL=postgres://…")
    original = connection.settings_dict["NAME"]
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        fill(options.users, options.rows)
        administrator = User.objects.create(username="admin", is_superuser=True)
        client = Client()
        client.force_login(administrator)
        counts = milliseconds(count, 5)
        with connection.cursor() as cursor:
            cursor.execute("SET max_parallel_workers_per_gather = 0")
            alone = milliseconds(count, 5)
            cursor.execute("RESET max_parallel_workers_per_gather")
        begun = time.perf_counter()
        rollup.roll_up()
        print(f"first rollup, 30 days: {time.perf_counter() - begun:.2f} s")
        begun = time.perf_counter()
        rollup.roll_up()
        print(f"nightly rollup: {time.perf_counter() - begun:.2f} s")
        with CaptureQueriesContext(connection) as captured:
            values = answers.values()
        # Requests reset the log.
        statements = len(captured)
        taken = milliseconds(answers.values, options.rounds)
        path = "/metrics/" if client.get("/metrics/").status_code == 200 else "/metrics"
        request = milliseconds(lambda: client.get(path), options.rounds)
        print(f"{len(values)} values in {statements} statements: {taken:.2f} ms; the request: {request:.2f} ms")
        print(f"count(*) of both tables: {alone:.0f} ms, {alone / taken:.0f} times the values;"
              f" with parallel workers {counts:.0f} ms, {counts / taken:.0f} times")  # fmt: skip
        compare()
    finally:
        connection.creation.destroy_test_db(original, verbosity=0)


if __name__ == "__main__":
    main()
