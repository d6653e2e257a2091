"""The command: exit status, formats and arguments."""

from __future__ import annotations

import io
import json
import random
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import DatabaseError, OperationalError, connection

from dovetail_audit.management.commands import audit_verify
from dovetail_audit.sealing.checkpoints import SigningKey
from dovetail_audit.verification import scan
from tests.audit.logs import CHECKPOINTS, ENTRIES, LEAVES, edit, rewrite, sealed_log, write

pytestmark = pytest.mark.django_db


def run(*arguments: object) -> tuple[int, str, str]:
    output, errors = io.StringIO(), io.StringIO()
    try:
        call_command("audit_verify", *map(str, arguments), stdout=output, stderr=errors)
    except SystemExit as ended:
        return int(ended.code or 0), output.getvalue(), errors.getvalue()
    except CommandError as error:
        return error.returncode, output.getvalue(), str(error)
    return 0, output.getvalue(), errors.getvalue()


def test_intact_log_exits_with_0() -> None:
    sealed_log(3)
    status, output, errors = run()
    assert (status, output) == (0, "The log is intact.\n")
    assert errors.startswith("3 of 3 entries, ")


def test_tampering_exits_with_1_and_names_entry_and_kind() -> None:
    sealed_log(3, 3)
    (key,) = edit(random.Random(3)).entries
    position = LEAVES.get(entry=key).pk
    status, output, _errors = run()
    assert status == 1
    assert output == (
        f"altered: entry {key} leaf {position} The entry was changed.\n"
        "The log was tampered with. Findings: 1 altered.\n"
    )


def test_tampering_is_recorded_as_an_event() -> None:
    sealed_log(3, 3)
    (key,) = edit(random.Random(3)).entries
    run()
    event = ENTRIES.get(action="audit.tampering_found")
    assert event.data["parameters"] == {"kinds": {"altered": 1}, "first": str(key)}


def test_role_that_may_only_read_reports_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise DatabaseError("permission denied")

    sealed_log(3)
    edit(random.Random(3))
    monkeypatch.setattr(audit_verify, "report_tampering", refuse)
    status, output, errors = run()
    assert status == 1
    assert "altered" in output
    assert "permission denied" in errors


def test_unknown_key_exits_with_2(settings: Any) -> None:
    settings.AUDIT_SIGNING_KEY = str(SigningKey.generate("audit.example.com"))
    sealed_log(3)
    settings.AUDIT_SIGNING_KEY = ""
    status, output, _errors = run()
    assert status == 2
    assert "AUDIT_VERIFYING_KEYS" in output


def test_unsealed_entry_exits_with_3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "LAG", timedelta(seconds=-1))
    write(1)
    assert run()[0] == 3


def test_anchor_file_shows_a_rewritten_log(tmp_path: Path) -> None:
    sealed_log(3, 4)
    path = tmp_path / "checkpoint.txt"
    path.write_text(CHECKPOINTS.get(pk=7).signature)
    assert run("--anchor", path)[0] == 0
    rewrite()
    assert run()[0] == 0
    status, output, _errors = run("--anchor", path)
    assert status == 1
    assert "anchor_inconsistent" in output


def test_json_has_one_object_per_line() -> None:
    sealed_log(3)
    edit(random.Random(3))
    _status, output, _errors = run("--format", "json", "--verbosity", "0")
    (finding,) = map(json.loads, output.splitlines())
    assert finding["kind"] == "altered"


def test_entry_organization_and_start_can_be_chosen() -> None:
    write(1, organization_id="acme")
    sealed_log(3, 3)
    (key,) = edit(random.Random(5)).entries
    assert run("--entry", key)[0] == 1
    assert run("--organization", "acme")[0] == int(ENTRIES.get(pk=key).organization == "acme")
    assert run("--since", "2100-01-01")[0] == 0
    assert run("--since", 7)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--since", "yesterday"], "--since takes"),
        (["--since", "2026-02-30"], "--since takes"),
        (["--since", "1"], "no checkpoint at or before 1"),
        (["--since", "9", "--organization", "acme"], "only one of"),
        (["--organization", "acme", "--anchor", "x"], "whole log"),
        (["--workers", "0"], "at least 1; got 0"),
        (["--workers", "-3"], "at least 1; got -3"),
        (["--organization", "acme", "--workers", "2"], "--workers needs the whole log"),
        (["--anchor", "/nowhere/file"], "cannot be read"),
        (["--anchor", "/dev/null"], "signed note"),
    ],
)
def test_wrong_arguments_exit_with_2(arguments: list[str], message: str) -> None:
    sealed_log(3)
    status, _output, errors = run(*arguments)
    assert status == 2
    assert message in errors


@pytest.mark.skipif(connection.vendor != "sqlite", reason="needs SQLite: other databases are not in memory")
def test_database_in_memory_is_not_verified_by_several_workers() -> None:
    sealed_log(3)
    status, _output, errors = run("--workers", "2")
    assert status == 2
    assert "database in memory belongs to one process" in errors
    assert run("--workers", "1")[0] == 0


def test_damaged_start_exits_with_2() -> None:
    sealed_log(3)
    CHECKPOINTS.update(frontier=b"")
    status, _output, errors = run("--since", "3")
    assert status == 2
    assert "cannot be verified" in errors


@pytest.mark.parametrize(
    "failure",
    [
        OperationalError("the server is gone"),
        ImportError("No module named 'psycopg'"),
        ImproperlyConfigured("DATABASES"),
        TypeError("a mistake of the project"),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_failure_is_no_tampering_and_exits_with_2(failure: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**arguments: object) -> None:
        raise failure

    monkeypatch.setattr(audit_verify, "verify", fail)
    status, _output, errors = run()
    assert status == 2
    assert f"The log cannot be verified: {type(failure).__name__}: {failure}" in errors


def test_failing_system_check_exits_with_2(settings: Any) -> None:
    settings.AUDIT_ON_FAILURE = "ignore"
    errors = io.StringIO()
    with pytest.raises(CommandError) as raised:
        call_command("audit_verify", skip_checks=False, stderr=errors)
    assert raised.value.returncode == 2
