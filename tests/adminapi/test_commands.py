"""The command that sweeps jobs."""

from __future__ import annotations

import signal
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command

from dovetail_adminapi.jobs import services, sweep
from dovetail_adminapi.management.commands import adminapi_jobs
from dovetail_adminapi.models import Job
from tests.adminapi.test_jobs import hold, silence, start

pytestmark = pytest.mark.django_db


def test_command_finds_a_lost_job(settings: Any) -> None:
    settings.ADMINAPI_JOBS = ["tests.adminapi.work"]
    settings.ADMINAPI_RUNNER = hold
    silence(start(services.enqueue("rebuild", {"index": "a"}, actor=None)))
    out = StringIO()
    call_command("adminapi_jobs", stdout=out)
    assert out.getvalue() == "1 lost, 0 published\n"
    assert Job.objects.get().state == "lost"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_loop_ends_after_the_sweep_in_which_a_signal_arrives(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    handlers: dict[int, Callable[..., Any]] = {}
    reports = [sweep.Report(), sweep.Report(lost=2), sweep.Report(published=3)]

    def fake() -> sweep.Report:
        report = reports.pop(0)
        if report.published:
            handlers[number](number, None)
        return report

    monkeypatch.setattr(signal, "signal", handlers.__setitem__)
    monkeypatch.setattr(adminapi_jobs, "sweep", fake)
    out = StringIO()
    call_command("adminapi_jobs", loop=True, interval=0, stdout=out)
    assert out.getvalue().splitlines()[1:] == ["2 lost, 0 published", "0 lost, 3 published"]
    assert reports == []
