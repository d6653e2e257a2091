from __future__ import annotations

import io
import logging
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.utils import timezone

from dovetail_audit import proofs
from dovetail_audit.exceptions import BrokenSeal, NotSealed
from dovetail_audit.management.commands import audit_seal
from dovetail_audit.models import Checkpoint, Entry, Leaf, Seal, Tile
from dovetail_audit.reading.filters import first_id
from dovetail_audit.sealing import checkpoints, sealer
from dovetail_audit.sealing.checkpoints import SigningKey
from dovetail_audit.services import seal
from dovetail_audit.verification.prove import prove, prove_all, prove_consistency
from dovetail_core.models import uuid7
from tests.audit.logs import CHECKPOINTS, ENTRIES, LEAVES, sealed_log, write

pytestmark = pytest.mark.django_db


def aged(age: timedelta) -> Entry:
    """Write an entry as a process did that began this long ago and commits now."""
    at = timezone.now() - age
    key = type(uuid7())(int=first_id(at).int | uuid7().int & ((1 << 62) - 1))
    with patch("dovetail_audit.entries.building.uuid7", return_value=key):
        write(1, at=at)
    return ENTRIES.get(pk=key)


def test_pass_seals_every_entry_once() -> None:
    assert seal() is None
    write(3)
    first = seal()
    write(2)
    second = seal()
    assert first is not None
    assert second is not None
    assert (first.pk, second.pk) == (3, 5)
    assert list(Leaf.objects.order_by("pk").values_list("pk", flat=True)) == [0, 1, 2, 3, 4]
    assert set(Leaf.objects.values_list("entry", flat=True)) == set(Entry.objects.values_list("pk", flat=True))


def test_pass_without_new_entries_makes_no_checkpoint() -> None:
    sealed_log(3)
    assert seal() == Checkpoint.objects.get()


def test_backlog_is_sealed_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealer, "BATCH", 4)
    write(10)
    seal()
    assert list(CHECKPOINTS.order_by("pk").values_list("pk", flat=True)) == [4, 8, 10]


def test_pass_takes_few_statements_for_many_entries(django_assert_max_num_queries: Any) -> None:
    sealed_log(2)
    write(300)
    # Window and batch are transactions, each with a savepoint in this test.
    with django_assert_max_num_queries(18):
        seal()


def test_late_commit_is_sealed_by_the_next_pass() -> None:
    sealed_log(2)
    late = aged(timedelta(seconds=50))
    seal()
    assert LEAVES.get(entry=late.pk).pk == 2


def test_transaction_of_hours_is_sealed_within_an_hour() -> None:
    sealed_log(2)
    seal()
    late = aged(timedelta(hours=5))
    seal()
    assert not LEAVES.filter(entry=late.pk).exists()
    Seal.objects.update(day_at=timezone.now() - timedelta(minutes=61))
    seal()
    assert LEAVES.get(entry=late.pk).pk == 2


def test_transaction_of_days_is_sealed_on_demand() -> None:
    sealed_log(2)
    late = aged(timedelta(days=3))
    Seal.objects.update(day_at=None)
    seal()
    assert not LEAVES.filter(entry=late.pk).exists()
    call_command("audit_seal", "--all", stdout=io.StringIO())
    assert LEAVES.get(entry=late.pk).pk == 2


def test_pass_after_a_pause_looks_back_to_the_last_checkpoint() -> None:
    late = aged(timedelta(days=9))
    seal()
    CHECKPOINTS.update(at=late.at)
    CHECKPOINTS.update(signature=checkpoints.sign(size=1, root=bytes(CHECKPOINTS.get().root), at=late.at))
    during_pause = aged(timedelta(days=8))
    seal()
    assert LEAVES.filter(entry=during_pause.pk).exists()


def test_clock_that_goes_back_keeps_the_order_of_checkpoints() -> None:
    sealed_log(1)
    future = timezone.now() + timedelta(minutes=5)
    note = checkpoints.sign(size=1, root=bytes(CHECKPOINTS.get().root), at=future)
    CHECKPOINTS.update(at=future, signature=note)
    write(1)
    last = seal()
    assert last is not None
    assert last.at == future


def test_forged_entry_is_not_sealed(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealer, "BATCH", 2)
    sealed_log(1)
    write(7)
    forged = list(ENTRIES.order_by("pk").values_list("pk", flat=True)[1:6])
    ENTRIES.filter(pk__in=forged).update(action="invoice.refunded")
    with caplog.at_level(logging.ERROR):
        last = seal()
    assert last is not None
    assert last.pk == 3
    assert not LEAVES.filter(entry__in=forged).exists()
    assert "5 entries were not sealed" in caplog.text


@pytest.mark.parametrize(
    "change", [{"root": bytes(32)}, {"frontier": bytes(32)}, {"frontier": b"x"}, {"signature": "nothing\n"}]
)
def test_changed_checkpoint_is_not_continued(change: dict[str, Any]) -> None:
    sealed_log(1)
    CHECKPOINTS.update(**change)
    write(1)
    with pytest.raises(BrokenSeal):
        seal()
    assert LEAVES.count() == 1


def test_leaf_that_the_sealer_did_not_write_stops_it() -> None:
    sealed_log(2)
    LEAVES.create(position=2, entry=uuid7(), hash=bytes(32))
    write(1)
    with pytest.raises(BrokenSeal, match="covers 2 leaves, but the last leaf has the position 2"):
        seal()


def test_command_names_a_changed_checkpoint() -> None:
    sealed_log(1)
    CHECKPOINTS.update(root=bytes(32))
    write(1)
    with pytest.raises(CommandError, match=r"Nothing was sealed\. Run manage\.py audit_verify\."):
        call_command("audit_seal")


def test_tiles_hold_the_roots_of_complete_blocks() -> None:
    sealed_log(100, 200, 300)
    assert list(Tile.objects.order_by("index").values_list("level", "index")) == [(1, 0), (1, 1)]


def test_signed_checkpoint_and_proof_are_valid_for_outsiders(settings: Any) -> None:
    key = SigningKey.generate("audit.example.com")
    settings.AUDIT_SIGNING_KEY = str(key)
    sealed_log(300, 40)
    public = [str(key.verifying_key())]
    for entry in ENTRIES.order_by("pk")[::37]:
        fields = proofs.verify_entry(prove(entry), public)
        assert (fields["id"], fields["action"]) == (str(entry.pk), "invoice.paid")
    earlier = CHECKPOINTS.order_by("pk").first()
    assert earlier is not None
    entry = ENTRIES.order_by("pk")[7]
    assert prove(entry, earlier)["tree_size"] == 300
    assert proofs.verify_entry(prove(entry, earlier), public)["id"] == str(entry.pk)
    first, second = (proofs.verify_checkpoint(row.signature, public) for row in CHECKPOINTS.order_by("pk"))
    proofs.verify_consistency(
        first_size=first.size,
        first_root=first.root,
        second_size=second.size,
        second_root=second.root,
        proof=prove_consistency(first.size, second.size),
    )


def test_proof_of_an_unsealed_entry_is_refused() -> None:
    write(1)
    with pytest.raises(NotSealed):
        prove(ENTRIES.get())
    first = seal()
    write(1)
    seal()
    with pytest.raises(NotSealed):
        prove(ENTRIES.order_by("-pk")[0], first)


def test_many_proofs_take_as_many_queries_as_one(django_assert_num_queries: Any) -> None:
    sealed_log(400)
    write(1)
    entries = list(ENTRIES.all())
    # The newest checkpoint, the positions, and two blocks of leaves.
    with django_assert_num_queries(4):
        documents = prove_all(entries)
    assert len(documents) == 400


def test_command_reports_the_number_of_entries() -> None:
    write(2)
    output = io.StringIO()
    call_command("audit_seal", stdout=output)
    assert output.getvalue() == "2 entries sealed.\n"


def test_loop_survives_an_unavailable_database(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write(2)
    real = seal
    attempts = iter([OperationalError("the server is gone"), None])

    def unreliable(**arguments: Any) -> Checkpoint | None:
        if error := next(attempts):
            raise error
        return real(**arguments)

    monkeypatch.setattr(audit_seal, "seal", unreliable)
    monkeypatch.setattr(audit_seal, "close_old_connections", lambda: None)
    monkeypatch.setattr(audit_seal, "_arrives", lambda signals, seconds: LEAVES.count() == 2)
    monkeypatch.setattr("signal.signal", lambda number, handler: None)
    call_command("audit_seal", "--loop", "--interval", "0", stdout=io.StringIO())
    assert "A pass of the sealer failed" in caplog.text


def test_new_key_is_printed_in_two_parts(settings: Any) -> None:
    output, errors = io.StringIO(), io.StringIO()
    call_command("audit_seal", "--new-key", "audit.example.com", stdout=output, stderr=errors)
    settings.AUDIT_SIGNING_KEY = output.getvalue().strip().removeprefix("AUDIT_SIGNING_KEY=")
    settings.AUDIT_VERIFYING_KEYS = [errors.getvalue().strip().rpartition(" ")[2]]
    sealed_log(1)
    assert proofs.verify_checkpoint(CHECKPOINTS.get().signature, settings.AUDIT_VERIFYING_KEYS).size == 1
    assert "PRIVATE" not in errors.getvalue()


def test_new_key_rejects_a_name_with_spaces() -> None:
    with pytest.raises(CommandError, match="spaces"):
        call_command("audit_seal", "--new-key", "two words")


def test_lag_is_the_age_of_the_oldest_unsealed_entry() -> None:
    assert sealer.lag("default") == timedelta()
    aged(timedelta(minutes=30))
    assert timedelta(minutes=29) < sealer.lag("default") < timedelta(minutes=31)
    seal()
    assert sealer.lag("default") == timedelta()
    write(1)
    assert sealer.lag("default") < timedelta(minutes=1)
