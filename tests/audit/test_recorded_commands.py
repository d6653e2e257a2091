from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser

from dovetail_audit import record
from dovetail_audit.entries.commands import recorded_command
from dovetail_audit.models import Entry

pytestmark = pytest.mark.django_db


class Command(BaseCommand):
    error: BaseException | None = None

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--days", type=int)
        parser.add_argument("--password")

    @recorded_command
    def handle(self, *args: Any, **options: Any) -> None:
        record("invoice.deleted")
        if self.error is not None:
            raise self.error


def test_run_is_recorded_with_its_options() -> None:
    call_command(Command(), days=3, password="hunter22")
    inner, entry = Entry.objects.order_by("pk")
    assert (entry.action, entry.outcome, entry.origin) == ("command.test_recorded_commands", "success", "command")
    assert entry.data["parameters"] == {"days": 3, "password": "[redacted]"}
    assert (entry.actor_kind, inner.origin) == ("system", "command")


@pytest.mark.parametrize(("error", "outcome"), [(RuntimeError(), "failed"), (PermissionDenied(), "denied")])
def test_failed_run_is_recorded(error: Exception, outcome: str) -> None:
    command = Command()
    command.error = error
    with pytest.raises(type(error)):
        call_command(command)
    entry = Entry.objects.latest("pk")
    assert (entry.outcome, entry.problem) == (outcome, type(error).__name__)


@pytest.mark.parametrize(
    ("code", "outcome"), [(0, ("success", "")), (None, ("success", "")), (1, ("failed", "SystemExit"))]
)
def test_exit_status_of_a_run_is_its_outcome(code: int | None, outcome: tuple[str, str]) -> None:
    command = Command()
    command.error = SystemExit(code)
    with pytest.raises(SystemExit):
        call_command(command)
    entry = Entry.objects.latest("pk")
    assert (entry.outcome, entry.problem) == outcome
