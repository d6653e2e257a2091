"""Metrics against rows that are counted by hand, before and after the rollup, across midnight UTC."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from rest_framework.request import Request

from dovetail_adminapi.checks import check_metrics
from dovetail_adminapi.jobs import services
from dovetail_adminapi.metrics import answers, days, rollup, scalars
from dovetail_adminapi.metrics.prometheus import ScrapeTokenAuthentication
from dovetail_adminapi.metrics.registry import Metric, Registry, registry
from dovetail_adminapi.models import Job, JobState, MetricPoint, MetricState
from tests.adminapi.test_jobs import hold
from tests.adminapi.world import client, person

pytestmark = pytest.mark.django_db
METRICS = "/admin/v1/metrics"
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
Clock = Callable[[datetime], None]


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Set the time that metrics see. It starts at noon of 2026-03-10."""
    from django.utils import timezone

    def set_time(now: datetime) -> None:
        monkeypatch.setattr(timezone, "now", lambda: now)

    set_time(NOON)
    return set_time


def join(name: str, joined: datetime, **fields: Any) -> User:
    return User.objects.create(username=name, date_joined=joined, **fields)


def seed() -> None:
    """Five users: two today, one yesterday a second before midnight, one six and one 29 days ago."""
    join("first", datetime(2026, 3, 10, 0, 0, tzinfo=UTC), last_login=datetime(2026, 3, 10, 1, tzinfo=UTC))
    join("second", datetime(2026, 3, 10, 11, tzinfo=UTC))
    join("third", datetime(2026, 3, 9, 23, 59, 59, tzinfo=UTC), last_login=datetime(2026, 3, 9, 23, 59, tzinfo=UTC))
    join("fourth", datetime(2026, 3, 4, 5, tzinfo=UTC), last_login=datetime(2026, 3, 4, 5, tzinfo=UTC))
    join("fifth", datetime(2026, 2, 9, 5, tzinfo=UTC), last_login=datetime(2026, 2, 9, 5, tzinfo=UTC))


def shown(name: str) -> dict[int | None, tuple[int | None, bool]]:
    metric = registry.get(name)
    assert metric is not None
    return {item.days: (item.value, item.exact) for item in answers.values([metric])}


def test_values_equal_seeds_before_and_after_rollup() -> None:
    seed()
    expected = {1: (2, True), 7: (4, True), 30: (5, True)}
    assert shown("users.new") == expected
    assert shown("users.total") == {None: (5, True)}
    assert shown("users.active") == {1: (None, False), 7: (None, False), 30: (None, False)}
    rollup.roll_up()
    assert shown("users.new") == expected
    # Of the days before midnight.
    assert shown("users.active") == {1: (1, True), 7: (2, True), 30: (3, True)}
    rollup.roll_up()
    assert shown("users.new") == expected


def test_values_equal_seeds_across_midnight(clock: Clock) -> None:
    seed()
    rollup.roll_up()
    clock(datetime(2026, 3, 11, 0, 0, 1, tzinfo=UTC))
    join("sixth", datetime(2026, 3, 11, tzinfo=UTC))
    expected = {1: (1, True), 7: (4, True), 30: (5, True)}
    # Yesterday is not stored yet.
    assert shown("users.new") == expected
    rollup.roll_up()
    assert shown("users.new") == expected
    state = MetricState.objects.get(pk="users.new")
    assert (state.last_day, state.computed_at) == (date(2026, 3, 10), datetime(2026, 3, 11, 0, 0, 1, tzinfo=UTC))


def test_stored_days_are_not_counted_again_after_deletions() -> None:
    seed()
    rollup.roll_up()
    User.objects.filter(username__in=["third", "first"]).delete()
    assert shown("users.new") == {1: (1, True), 7: (3, True), 30: (4, True)}


def test_late_rows_of_the_last_stored_day_are_added_by_the_next_rollup() -> None:
    seed()
    rollup.roll_up()
    join("late", datetime(2026, 3, 9, 23, 59, 58, tzinfo=UTC))
    assert shown("users.new")[7] == (4, True)
    rollup.roll_up()
    assert shown("users.new")[7] == (5, True)


def test_missing_days_make_a_sum_inexact(clock: Clock) -> None:
    seed()
    rollup.roll_up()
    MetricPoint.objects.filter(metric="users.new", day="2026-03-05").delete()
    assert shown("users.new") == {1: (2, True), 7: (4, False), 30: (5, False)}


def test_rollup_after_missed_nights_fills_the_gap(clock: Clock) -> None:
    seed()
    rollup.roll_up()
    clock(NOON + timedelta(days=5))
    rollup.roll_up()
    assert shown("users.new") == {1: (0, True), 7: (3, True), 30: (4, True)}
    assert MetricPoint.objects.filter(metric="users.new", day__gte="2026-03-10").count() == 5


def test_back_fill_stores_earlier_days() -> None:
    join("old", datetime(2025, 6, 1, 12, tzinfo=UTC))
    rollup.roll_up()
    out = StringIO()
    call_command("adminapi_metrics", "users.new", since="2025-05-01", verbosity=2, stdout=out)
    assert "users.new: complete up to 2025-05-31" in out.getvalue()
    assert MetricPoint.objects.get(metric="users.new", day="2025-06-01").value == 1
    assert MetricState.objects.get(pk="users.new").last_day == date(2026, 3, 9)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [(["users.now"], "There is no metric users.now"), (["--since", "2026-3-1"], "--since must be a day"),
     (["--since", "2026-03-10"], "before today")],
)  # fmt: skip
def test_command_names_mistakes(arguments: list[str], text: str) -> None:
    with pytest.raises(CommandError, match=text):
        call_command("adminapi_metrics", *arguments)


def test_jobs_are_counted_by_state(settings: Any, clock: Clock) -> None:
    settings.ADMINAPI_JOBS = ["tests.adminapi.work"]
    settings.ADMINAPI_RUNNER = hold
    for index in "abc":
        services.enqueue("rebuild", {"index": index}, actor=None)
    Job.objects.filter(parameters__index="c").update(state=JobState.FAILED, finished_at=NOON)
    clock(NOON + timedelta(seconds=90))
    assert shown("jobs.queued") == {None: (2, True)}
    assert shown("jobs.oldest_queued") == {None: (90, True)}
    assert shown("jobs.new")[1] == (3, True)
    assert shown("jobs.failed")[1] == (1, True)
    assert shown("jobs.running") == {None: (0, True)}


def test_large_tables_are_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scalars, "MOST_ROWS", 3)
    monkeypatch.setattr(answers, "MOST_ROWS", 3)
    seed()
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE auth_user")
        assert shown("users.total") == {None: (5, False)}
    else:
        # More than three are not counted.
        assert shown("users.total") == {None: (4, False)}
        rollup.roll_up()
        assert shown("users.total") == {None: (5, False)}


def test_unindexed_times_are_read_from_the_newest_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scalars, "MOST_ROWS", 4)
    monkeypatch.setattr(answers, "MOST_ROWS", 4)
    for number in range(30):
        join(f"old{number}", datetime(2026, 2, 20, tzinfo=UTC))
    rollup.roll_up()
    join("new", NOON)
    assert shown("users.new") == {1: (1, True), 7: (1, True), 30: (31, True)}
    for number in range(5):
        join(f"new{number}", NOON)
    # At least four.
    assert shown("users.new")[1] == (4, False)


def test_all_metrics_take_at_most_three_statements(django_assert_max_num_queries: Any) -> None:
    seed()
    for _ in range(2):
        with django_assert_max_num_queries(2):
            values = answers.values()
        assert {value.metric.name for value in values} >= {"users.total", "users.new", "users.active", "jobs.queued"}
        rollup.roll_up()


def test_organizations_have_series_of_their_own(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    settings.ADMINAPI_JOBS = ["tests.adminapi.work"]
    settings.ADMINAPI_RUNNER = hold
    own = Registry()
    monkeypatch.setattr("dovetail_adminapi.metrics.registry.registry", own)
    metric = Metric("jobs.by", per_day=Job.objects.all, at="queued_at", organization="organization_key")
    for index, organization in enumerate(["1", "1", "2", None]):
        job = services.enqueue("rebuild", {"index": str(index)}, actor=None, organization_key=organization)
        Job.objects.filter(pk=job.pk).update(queued_at=NOON - timedelta(days=1))
    rollup._roll_up(metric, None, None)
    first, last = date(2026, 3, 8), date(2026, 3, 10)
    assert [point.value for point in answers.series(metric, first, last)] == [0, 4, 0]
    assert [point.value for point in answers.series(metric, first, last, organization="1")] == [0, 2, None]
    assert [point.value for point in answers.series(metric, first, last, organization="3")] == [0, 0, None]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"name": "Users"}, "lower-case"),
        ({"name": "users"}, "exactly one"),
        ({"name": "users", "total": User.objects.all, "live": User.objects.all}, "exactly one"),
        ({"name": "users", "per_day": User.objects.all, "days": [0]}, "from 1 to 366"),
        ({"name": "users", "per_day": User.objects.all}, "no field 'created_at'"),
        ({"name": "users", "live": User.objects.all, "age": "joined"}, "no field 'joined'"),
    ],
)
def test_mistake_in_a_metric_is_a_problem(monkeypatch: pytest.MonkeyPatch, options: Any, text: str) -> None:
    own = Registry()
    monkeypatch.setattr("dovetail_adminapi.metrics.registry.registry", own)
    monkeypatch.setattr("dovetail_adminapi.checks.metrics", own)
    own._is_loaded = True
    Metric(**options)
    (error,) = check_metrics()
    assert error.id == "dovetail_adminapi.E011"
    assert text in error.msg


@pytest.fixture
def reader() -> Any:
    return client(person("ada", "dovetail_adminapi.view_metrics", date_joined=datetime(2020, 1, 1, tzinfo=UTC)))


def test_list_of_metrics(reader: Any) -> None:
    seed()
    body = reader.get(METRICS).json()
    rows = {(row["name"], row["days"]): row for row in body["data"]}
    assert rows["users.new", 7] == {
        "name": "users.new",
        "label": "New users",
        "days": 7,
        "value": 4,
        "exact": True,
        "as_of": "2026-03-10T12:00:00Z",
    }
    assert body["meta"] == {"next": None, "prev": None, "total": len(body["data"])}


def test_series_of_a_metric(reader: Any) -> None:
    seed()
    rollup.roll_up()
    body = reader.get(f"{METRICS}/users.new", {"from": "2026-03-03", "to": "2026-03-10"}).json()
    assert [row["value"] for row in body["data"]] == [0, 1, 0, 0, 0, 0, 1, 2]
    assert body["data"][0] == {"day": "2026-03-03", "value": 0, "exact": True}
    assert len(reader.get(f"{METRICS}/users.new").json()["data"]) == 30
    body = reader.get(f"{METRICS}/users.active", {"from": "2026-03-08", "days": "7"}).json()
    assert [row["value"] for row in body["data"]] == [None, 2, None]


@pytest.mark.parametrize(
    "query",
    [
        "from=2025-03-09", "from=2026-03-11", "to=2026-03-11", "from=20260301", "from=2026-02-30", "from=0001-01-01",
        "to=0001-01-01", "to=x", "from=2026-03-01&from=2026-03-02", "since=2026-03-01", "days=7", "organization=1",
    ],
)  # fmt: skip
def test_invalid_periods_are_rejected(reader: Any, query: str) -> None:
    assert reader.get(f"{METRICS}/users.new?{query}").status_code == 400


def test_unknown_metric_is_not_found(reader: Any) -> None:
    assert reader.get(f"{METRICS}/users.now").status_code == 404


def test_longest_series_has_366_days(reader: Any) -> None:
    assert len(reader.get(f"{METRICS}/users.new?from=2025-03-10").json()["data"]) == 366


def test_day_without_time_zones_is_one_of_the_project(settings: Any) -> None:
    settings.USE_TZ = False
    assert days.midnight(date(2026, 3, 10)) == datetime(2026, 3, 10)  # noqa: DTZ001  # as the project stores it
    assert days.today(datetime(2026, 3, 10, 23)) == date(2026, 3, 10)  # noqa: DTZ001  # as above


def test_text_for_prometheus_needs_a_token(reader: Any, settings: Any) -> None:
    assert reader.get(f"{METRICS}/prometheus").status_code == 404
    settings.ADMINAPI_METRICS_SCRAPE_TOKEN = "scrape-token-of-prometheus"
    join("ada2", NOON)
    response = reader.get(f"{METRICS}/prometheus")
    assert response["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = response.content.decode().splitlines()
    assert "# TYPE dovetail_users_new gauge" in lines
    assert 'dovetail_users_new{days="1"} 1' in lines
    assert "dovetail_users_total 2" in lines
    assert not any("users_active" in line for line in lines)


def test_scrape_token_reads_only_metrics(settings: Any, rf: Any) -> None:
    def authenticate(header: str) -> Any:
        return ScrapeTokenAuthentication().authenticate(Request(rf.get("/", headers={"authorization": header})))

    assert authenticate("Bearer ") is None
    settings.ADMINAPI_METRICS_SCRAPE_TOKEN = "scrape-token-of-prometheus"
    assert [authenticate(header) for header in ("Bearer scrape", "Basic scrape-token-of-prometheus", "")] == [None] * 3
    scraper, auth = authenticate("Bearer scrape-token-of-prometheus")
    assert auth is None
    assert scraper.has_perm("dovetail_adminapi.view_metrics")
    assert not scraper.has_perms(["dovetail_adminapi.view_metrics", "dovetail_adminapi.view_job"])
