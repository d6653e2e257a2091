from __future__ import annotations

import hashlib
import io
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import FileSystemStorage
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dovetail_audit import proofs
from dovetail_audit.exceptions import BrokenSeal, NotPruned
from dovetail_audit.sealing import checkpoints
from dovetail_audit.services import erase_subject, prune, pruning, seal
from dovetail_audit.testing import append_only
from dovetail_audit.verification.findings import Kind
from dovetail_audit.verification.scan import verify
from tests.audit.logs import CHECKPOINTS, ENTRIES, LEAVES, write

pytestmark = pytest.mark.django_db


@pytest.fixture
def storage(settings: Any, tmp_path: Path) -> Path:
    backend = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": tmp_path}}
    settings.STORAGES = {**settings.STORAGES, "audit": backend}
    return tmp_path


def aged_log(*ages_and_sizes: tuple[int, int]) -> None:
    """Seal entries as if it was some days ago."""
    for days, size in ages_and_sizes:
        write(size)
        row = seal()
        assert row is not None
        at = timezone.now() - timedelta(days=days)
        CHECKPOINTS.filter(pk=row.pk).update(
            at=at, signature=checkpoints.sign(size=row.pk, root=bytes(row.root), at=at)
        )


def ago(days: int) -> datetime:
    return timezone.now() - timedelta(days=days)


def kinds() -> list[Kind]:
    return [finding.kind for finding in verify()]


def test_oldest_entries_are_archived_and_deleted(storage: Path) -> None:
    aged_log((400, 30), (200, 20), (100, 10))
    assert prune(before=ago(150)) == 50
    assert ENTRIES.count() == 11  # ten, and audit.pruned
    assert LEAVES.count() == 61
    assert kinds() == [Kind.PRUNED]
    event = ENTRIES.get(action="audit.pruned").data["parameters"]
    assert (event["first"], event["last"], event["size"]) == (0, 49, 50)
    content = (storage / event["archive"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == event["sha256"]
    root = bytes(CHECKPOINTS.get(pk=50).root)
    assert event["root"] == root.hex()
    lines = [json.loads(line) for line in content.splitlines()]
    assert len(lines) == 50
    for line in lines:
        fields = proofs.verify_document(line["proof"], size=50, root=root)
        assert (fields["id"], fields["action"]) == (line["id"], line["action"])


def test_second_pruning_continues_after_the_first(storage: Path) -> None:
    aged_log((400, 3), (200, 4), (100, 5))
    assert prune(before=ago(300)) == 3
    assert prune(before=ago(300)) == 0
    assert prune(before=ago(150)) == 4
    assert kinds() == [Kind.PRUNED]
    assert [path.name for path in sorted((storage / "archives").iterdir())] == [
        f"{0:019d}-{3:019d}.jsonl",
        f"{3:019d}-{7:019d}.jsonl",
    ]


def test_deletion_after_pruning_is_still_found(storage: Path) -> None:
    aged_log((400, 3), (100, 4))
    prune(before=ago(300))
    key = LEAVES.get(pk=3).entry
    ENTRIES.filter(pk=key).delete()
    assert [(finding.kind, finding.entry) for finding in verify()] == [(Kind.MISSING, key), (Kind.PRUNED, None)]


def test_forged_record_of_pruning_hides_nothing(storage: Path) -> None:
    aged_log((400, 3), (100, 4))
    prune(before=ago(300))
    event = ENTRIES.get(action="audit.pruned")
    ENTRIES.filter(pk=event.pk).update(data={"parameters": {**event.data["parameters"], "size": 7}})
    ENTRIES.filter(pk=LEAVES.get(pk=4).entry).delete()
    assert set(kinds()) == {Kind.ALTERED, Kind.MISSING}


def test_retention_is_the_longest_period_and_a_limit(settings: Any, storage: Path) -> None:
    aged_log((400, 3), (200, 4), (100, 5))
    assert prune() == 0
    settings.AUDIT_RETENTION = {"user.signed_in": 90, "*": 300}
    with pytest.raises(ValueError, match="AUDIT_RETENTION keeps"):
        prune(before=ago(150))
    assert prune() == 3
    settings.AUDIT_RETENTION = {"user.signed_in": 90, "*": None}
    assert pruning.retention_cutoff() is None
    settings.AUDIT_RETENTION = 150
    assert prune() == 4


def test_hold_keeps_the_entry_and_all_after_it(settings: Any, storage: Path) -> None:
    aged_log((400, 3), (300, 3), (200, 3))
    held = LEAVES.get(pk=4).entry
    settings.AUDIT_HOLD = lambda entry: entry.pk == held
    assert prune(before=ago(150)) == 3
    assert ENTRIES.filter(pk=held).exists()
    settings.AUDIT_HOLD = lambda entry: True
    assert prune(before=ago(150)) == 0


def test_entry_sealed_late_is_held_by_its_position(settings: Any, storage: Path) -> None:
    write(1)
    late = ENTRIES.get()
    ENTRIES.all().delete()
    aged_log((400, 3))
    late._state.adding = True
    ENTRIES.bulk_create([late])
    aged_log((300, 0), (200, 3))
    settings.AUDIT_HOLD = lambda entry: entry.pk == late.pk
    assert prune(before=ago(150)) == 3
    assert ENTRIES.filter(pk=late.pk).exists()


def test_interrupted_deletion_is_continued(storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "_BATCH", 2)
    aged_log((400, 7), (100, 4))

    def interrupt(deleted: int) -> None:
        if deleted == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prune(before=ago(300), progress=interrupt)
    assert set(kinds()) == {Kind.PRUNED}
    assert prune(before=ago(300)) == 3
    assert ENTRIES.filter(action="audit.pruned").count() == 1


def test_evidence_of_tampering_is_not_deleted(storage: Path) -> None:
    aged_log((400, 3), (100, 4))
    ENTRIES.filter(pk=LEAVES.get(pk=1).entry).update(action="invoice.refunded")
    with pytest.raises(NotPruned, match="The entry was changed"):
        prune(before=ago(300))
    assert ENTRIES.count() == 7


class Lossy(FileSystemStorage):
    """Stores something else than it gets."""

    fault: Any = None

    def _save(self, name: str, content: Any) -> str:
        saved: str = super()._save(name, content)  # type: ignore[misc]  # the stubs have no private methods
        path = Path(self.path(saved))
        path.write_bytes(Lossy.fault(path.read_bytes()))
        return saved


@pytest.mark.parametrize(
    "fault",
    [
        lambda data: data[:-900],
        lambda data: data.replace(b'"leaf_index":', b'"leaf_index":1', 1),
        lambda data: data[: data.rindex(b'{"id"')],
        lambda data: data.replace(b"invoice.paid", b"invoice.sent", 1),
    ],
    ids=["cut", "changed proof", "lost line", "changed text"],
)
def test_archive_that_differs_stops_the_deletion(
    settings: Any, storage: Path, monkeypatch: pytest.MonkeyPatch, fault: Any
) -> None:
    settings.STORAGES["audit"]["BACKEND"] = "tests.audit.test_pruning.Lossy"
    monkeypatch.setattr(Lossy, "fault", staticmethod(fault))
    aged_log((400, 30), (100, 4))
    with pytest.raises(NotPruned, match="archive"):
        prune(before=ago(300))
    assert ENTRIES.count() == 34


def test_pruning_needs_a_storage_or_no_archive() -> None:
    aged_log((400, 3), (100, 4))
    with pytest.raises(ImproperlyConfigured, match="AUDIT_STORAGE"):
        prune(before=ago(300))
    assert prune(before=ago(300), archive=False) == 3
    assert ENTRIES.get(action="audit.pruned").data["parameters"]["archive"] is None


def test_unrecorded_pruning_deletes_nothing(storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "emit", lambda *arguments, **options: None)
    aged_log((400, 3), (100, 4))
    with pytest.raises(NotPruned, match="was not recorded"):
        prune(before=ago(300))
    assert ENTRIES.count() == 7


@pytest.mark.django_db(transaction=True)  # MariaDB commits at each change of a trigger
def test_triggers_let_only_pruning_delete(storage: Path) -> None:
    aged_log((400, 3), (100, 4))
    with append_only():
        assert prune(before=ago(300)) == 3
        with pytest.raises(DatabaseError), transaction.atomic():
            ENTRIES.filter(action="invoice.paid").delete()
    assert ENTRIES.count() == 5


def test_pruned_erasures_do_not_unbalance_the_count(storage: Path) -> None:
    aged_log((400, 3))
    erase_subject(email="payer-1@example.com", reason="x")
    aged_log((300, 1), (100, 4))
    prune(before=ago(200))
    assert kinds() == [Kind.PRUNED]


def test_command_prunes_before_a_date(storage: Path) -> None:
    aged_log((400, 3), (100, 4))
    output = io.StringIO()
    call_command("audit_prune", "--before", ago(300).date().isoformat(), "--verbosity", "2", stdout=output)
    assert output.getvalue() == "3 entries deleted.\n"


def test_command_explains_what_is_missing() -> None:
    aged_log((400, 3), (100, 4))
    with pytest.raises(CommandError, match="AUDIT_STORAGE"):
        call_command("audit_prune", "--before", ago(300).date().isoformat())
    with pytest.raises(CommandError, match="--before takes"):
        call_command("audit_prune", "--before", "yesterday")
    output = io.StringIO()
    call_command("audit_prune", "--before", ago(300).date().isoformat(), "--without-archive", stdout=output)
    assert output.getvalue() == "3 entries deleted.\n"


def test_checkpoint_of_a_removed_key_is_pruned_if_a_later_one_contains_it(settings: Any, storage: Path) -> None:
    aged_log((400, 30), (200, 20))
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "n" * 40, [settings.SECRET_KEY]
    aged_log((100, 10))
    settings.SECRET_KEY_FALLBACKS = []
    assert prune(before=ago(300)) == 30
    assert kinds() == [Kind.PRUNED]
    CHECKPOINTS.filter(pk=50).update(root=bytes(32))
    with pytest.raises(BrokenSeal, match="not part of the newest"):
        prune(before=ago(150))


def test_queries_do_not_grow_with_entries_that_were_deleted_before(
    storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "_BATCH", 5)
    aged_log((400, 100), (300, 5), (200, 5))
    assert prune(before=ago(350)) == 100
    with CaptureQueriesContext(connection) as queries:
        assert pruning._delete(100, None) == 0
    assert len(queries) <= 8
    assert prune(before=ago(250)) == 5
