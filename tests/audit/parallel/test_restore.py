"""A log that is restored from a dump."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connections

from dovetail_audit.exports.writer import export
from dovetail_audit.services import erase_subject, record, seal
from dovetail_audit.testing import append_only
from tests.audit.logs import CHECKPOINTS, ENTRIES, write
from tests.audit.parallel.dumps import dump, restored
from tests.audit.test_audit_verify import run
from tests.audit.test_pruning import storage

__all__ = ["storage"]
pytestmark = pytest.mark.django_db(transaction=True)
ADDRESS = "ada@example.com"


@pytest.fixture(autouse=True)
def _connections() -> Iterator[None]:
    yield
    connections.close_all()


def personal_entries() -> int:
    """Return how many exported lines have the address."""
    return b"".join(export(ENTRIES.all(), "jsonl")).count(ADDRESS.encode())


def write_log(anchor: Path) -> None:
    """Write and seal entries of Ada and of others, and store the newest checkpoint outside of the database."""
    write(20)
    record("invitation.sent", personal={"to": ADDRESS})
    last = seal()
    assert last is not None
    anchor.write_text(last.signature)


def test_restored_dump_is_intact_protected_and_complete(tmp_path: Path) -> None:
    anchor = tmp_path / "anchor.txt"
    with append_only():
        write_log(anchor)
        dump(tmp_path / "dump")
    with restored(tmp_path / "dump", "complete"):
        assert run("--anchor", anchor)[:2] == (0, "The log is intact.\n")
        assert ENTRIES.count() == 21
        with pytest.raises(DatabaseError, match="append-only"):
            ENTRIES.update(action="invoice.refunded")
        # The sealer goes on where the dump ended.
        write(5)
        seal()
        assert run("--anchor", anchor)[:2] == (0, "The log is intact.\n")
        assert list(CHECKPOINTS.order_by("pk").values_list("pk", flat=True)) == [21, 26]


def test_older_dump_is_truncated_for_the_newest_anchor_only(tmp_path: Path) -> None:
    older, newer = tmp_path / "older.txt", tmp_path / "newer.txt"
    write_log(older)
    dump(tmp_path / "dump")
    write_log(newer)
    assert run("--anchor", older, "--anchor", newer)[0] == 0
    with restored(tmp_path / "dump", "older"):
        assert run()[0] == 0
        assert run("--anchor", older)[0] == 0
        status, output, _errors = run("--anchor", older, "--anchor", newer)
    assert status == 1
    assert output == (
        "anchor_inconsistent: The anchor covers 42 leaves; the log has only 21: it was truncated.\n"
        "The log was tampered with. Findings: 1 anchor_inconsistent.\n"
    )


def test_replay_erases_again_what_a_dump_brings_back(tmp_path: Path, storage: Path) -> None:
    anchor = tmp_path / "anchor.txt"
    with append_only():
        write_log(anchor)
        dump(tmp_path / "dump")
        erase_subject(email=ADDRESS, reason="request 7")
        assert personal_entries() == 0
    with restored(tmp_path / "dump", "before_erasure"):
        assert personal_entries() == 1
        output = io.StringIO()
        call_command("audit_erase", "--replay", stdout=output)
        assert output.getvalue() == "The personal data of 1 entries was erased.\n"
        assert personal_entries() == 0
        assert ADDRESS not in json.dumps([*ENTRIES.values()], default=repr)
        status, report, _errors = run("--anchor", anchor)
        assert (status, report.splitlines()[-1]) == (0, "The log is intact. Findings: 1 erased.")
