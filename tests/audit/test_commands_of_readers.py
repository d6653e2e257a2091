from __future__ import annotations

import hashlib
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from dovetail_audit.models import Entry
from tests.audit.factories import START, entry

pytestmark = pytest.mark.django_db


def recorded(action: str) -> dict[str, Any]:
    data = Entry.objects.get(action=action).data
    return {**(data.get("extra") or {}), **(data.get("parameters") or {})}


def test_export_to_a_file_is_private_and_recorded(tmp_path: Path) -> None:
    row, _ = entry(at=START, organization="1"), entry(organization="2")
    path = tmp_path / "log.jsonl"
    call_command("audit_export", str(path), organization="1", since="2026-01-01", until="2026-01-02", verbosity=0)
    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == [str(row.pk)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    data = recorded("audit.exported")
    assert data["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (data["count"], data["filters"]["organization"]) == (1, "1")


def test_export_goes_to_standard_output(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    entry(action="order.paid")
    entry(action="order.sent")
    call_command("audit_export", action="order.paid", format="cef")
    output = capfdbinary.readouterr()
    assert output.out.startswith(b"CEF:0|Dovetail|dovetail-audit|")
    assert output.out.count(b"\n") == 1
    assert b"1 entries exported" in output.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"since": "2026-02-30"}, "--since takes a date"),
        ({"until": "soon"}, "--until takes a date"),
        ({"format": "ocsf", "proofs": True}, "cannot hold proofs"),
    ],
)
def test_export_names_invalid_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        call_command("audit_export", **options)
    assert not Entry.objects.exists()


def test_export_overwrites_no_file(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text("evidence")
    with pytest.raises(CommandError, match="cannot be created"):
        call_command("audit_export", str(path))
    assert path.read_text() == "evidence"
