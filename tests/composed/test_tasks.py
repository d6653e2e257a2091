from __future__ import annotations

import re
import sys
import time
from datetime import date

import pytest
from celery import Celery
from celery.schedules import crontab
from django.conf import settings
from django.core.management import get_commands
from django.utils import timezone

from background.celery import app, defaults
from billing.models import Invoice, InvoiceStatus
from billing.tasks import mark_overdue_invoices
from dovetail_tenancy import tenant, unscoped
from example_project.tasks import purge
from tests.composed import factories
from tests.composed.processes import run, running


def _overdue() -> set[str]:
    with unscoped(reason="look"):
        return set(Invoice.objects.exclude(overdue_since=None).values_list("number", flat=True))


@pytest.mark.django_db
def test_task_without_broker_runs_for_every_organization():
    today = timezone.localdate()
    for name in ("A", "B"):
        organization = factories.organization()
        fields = {"customer": factories.customer(organization), "issued_on": date(2026, 1, 1)}
        factories.invoice(organization, number=f"late-{name}", status=InvoiceStatus.SENT, **fields)
        factories.invoice(organization, number=f"paid-{name}", status=InvoiceStatus.PAID, **fields)
        factories.invoice(organization, number=f"today-{name}", status=InvoiceStatus.SENT, due_on=today, **fields)
    assert mark_overdue_invoices.delay().get() == 2
    assert _overdue() == {"late-A", "late-B"}
    assert mark_overdue_invoices.delay().get() == 0


@pytest.mark.django_db
def test_task_restores_active_organization(organization):
    factories.invoice(organization, status=InvoiceStatus.SENT)
    other = factories.organization()
    with tenant(other):
        mark_overdue_invoices.delay()
        assert Invoice.objects.count() == 0
    assert len(_overdue()) == 1


def test_every_purge_command_is_scheduled():
    purging = {name for name in get_commands() if re.match(r"purge_|audit_prune$|clearsessions$|flushexpired", name)}
    assert "clearsessions" in purging
    assert set(settings.PURGE_COMMANDS) == purging
    scheduled = {tuple(entry.get("args", ())) for entry in app.conf.beat_schedule.values()}
    assert {(command,) for command in purging} <= scheduled


def test_scheduled_tasks_exist():
    app.loader.import_default_modules()
    for entry in app.conf.beat_schedule.values():
        assert entry["task"] in app.tasks
        assert isinstance(entry["schedule"], crontab)


def test_setting_replaces_the_schedule(settings):
    settings.CELERY_BEAT_SCHEDULE = {"sweep": {"task": "dovetail_notify.deliver", "schedule": 2.0}}
    project = Celery("project", set_as_current=False)
    project.config_from_object("django.conf:settings", namespace="CELERY")
    project.add_defaults(defaults)
    assert project.conf.beat_schedule == settings.CELERY_BEAT_SCHEDULE


@pytest.mark.django_db
def test_purge_task_runs_only_purge_commands():
    purge("clearsessions")
    with pytest.raises(ValueError, match="'flush' is not a purge command"):
        purge("flush")


def test_worker_runs_task_from_broker(with_broker, demo_database_url):
    variables = {"DJANGO_DEBUG": "true", "DATABASE_URL": demo_database_url, **with_broker}
    worker = [sys.executable, "-m", "celery", "-A", "example_project", "worker", "-l", "info", "--concurrency", "1"]
    marked = """
import django; django.setup()
from background.celery import app, defaults
from billing.models import Invoice
from dovetail_tenancy import unscoped
with unscoped(reason="look"):
    print(Invoice.objects.exclude(overdue_since=None).count())
"""
    with running(*worker, **variables) as process:
        sent = run("-m", "celery", "-A", "example_project", "call", "billing.tasks.mark_overdue_invoices", **variables)
        assert sent.returncode == 0, sent.stderr
        for _ in range(60):
            output = process.log.read_text()
            if "succeeded" in output:
                break
            time.sleep(0.5)
    assert "billing.tasks.mark_overdue_invoices" in output
    assert "succeeded" in output, output
    count = run("-c", marked, **variables)
    assert int(count.stdout) > 0, count.stderr
