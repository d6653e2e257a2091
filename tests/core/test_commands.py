from __future__ import annotations

from collections.abc import Iterable
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from dovetail_core.commands import Progress, Purge, PurgeCommand, delete_in_batches

pytestmark = pytest.mark.django_db


def purge_groups(*, batch_size: int = 1000, progress: Progress | None = None) -> int:
    return delete_in_batches(Group.objects.order_by("name"), batch_size=batch_size, progress=progress)


class Command(PurgeCommand):
    help = "Deletes groups."

    def purges(self) -> Iterable[tuple[str, Purge]]:
        return [("groups", purge_groups)]


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def groups() -> list[Group]:
    return [Group.objects.create(name=str(number)) for number in range(5)]


def run(*arguments: Any, out: StringIO | None = None, **options: Any) -> str:
    out = out or StringIO()
    call_command(Command(), *arguments, stdout=out, **options)
    return out.getvalue()


def test_delete_in_batches_returns_the_number_of_rows(groups: list[Group]) -> None:
    calls: list[int] = []
    with CaptureQueriesContext(connection) as statements:
        assert delete_in_batches(Group.objects.exclude(name="4"), batch_size=3, progress=calls.append) == 4
    assert calls == [3, 4]
    assert [group.name for group in Group.objects.all()] == ["4"]
    keys = [query["sql"] for query in statements if query["sql"].startswith("SELECT") and "LIMIT 3" in query["sql"]]
    assert len(keys) == 3


def test_delete_in_batches_does_not_count_related_rows(groups: list[Group]) -> None:
    kind = ContentType.objects.create(app_label="sample", model="sample")
    groups[0].permissions.add(Permission.objects.create(content_type=kind, codename="a", name="a"))
    assert delete_in_batches(Group.objects.all()) == 5
    assert not Group.permissions.through.objects.exists()


def test_delete_in_batches_keeps_a_row_that_was_renewed_meanwhile(
    groups: list[Group], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = Group.objects.exclude(name="renewed")
    original = type(rows).values_list

    def renewing(self: Any, *names: str, **options: Any) -> Any:
        keys = list(original(self, *names, **options))
        Group.objects.filter(name="3").update(name="renewed")
        return keys

    monkeypatch.setattr(type(rows), "values_list", renewing)
    assert delete_in_batches(rows, batch_size=10) == 4
    assert [group.name for group in Group.objects.all()] == ["renewed"]


def test_command_prints_one_line(groups: list[Group]) -> None:
    assert run() == "5 groups deleted.\n"
    assert run(verbosity=0) == ""


@pytest.mark.parametrize("option", ["--batch", "--batch-size"])
def test_command_accepts_a_batch_size(groups: list[Group], option: str) -> None:
    assert run(option, "2", "--verbosity", "2").splitlines() == [
        "2 groups deleted so far",
        "4 groups deleted so far",
        "5 groups deleted so far",
        "5 groups deleted.",
    ]


def test_command_overwrites_its_progress_line_on_a_terminal(groups: list[Group]) -> None:
    assert run(batch_size=3, out=Terminal()) == (
        "\r3 groups deleted so far\r5 groups deleted so far\r\x1b[K5 groups deleted.\n"
    )


@pytest.mark.parametrize("options", [{"batch": 0}, {"batch_size": -1}])
def test_command_rejects_an_empty_batch(options: dict[str, int]) -> None:
    with pytest.raises(CommandError, match="must be a whole number of at least 1"):
        run(**options)


def test_interrupted_command_keeps_complete_batches_and_continues(groups: list[Group]) -> None:
    class Interrupted(PurgeCommand):
        def purges(self) -> Iterable[tuple[str, Purge]]:
            return [("groups", self.purge)]

        def purge(self, *, batch_size: int, progress: Progress | None) -> int:
            def interrupt(deleted: int) -> None:
                if progress is not None:
                    progress(deleted)
                raise KeyboardInterrupt

            return delete_in_batches(Group.objects.all(), batch_size=batch_size, progress=interrupt)

    with pytest.raises(CommandError, match=r"^Interrupted: 2 groups deleted\.") as error:
        call_command(Interrupted(), batch_size=2)
    assert error.value.returncode == 130
    assert Group.objects.count() == 3
    assert run() == "3 groups deleted.\n"


def test_subclass_must_implement_purges() -> None:
    with pytest.raises(NotImplementedError):
        call_command(PurgeCommand())
