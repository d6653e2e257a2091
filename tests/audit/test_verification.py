"""Tampering with a sealed log is found and named, and a log that nobody touched has no findings."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dovetail_audit.models import Entry, Leaf, Tile
from dovetail_audit.sealing import sealer
from dovetail_audit.sealing.checkpoints import SigningKey
from dovetail_audit.services import attempt, record, seal
from dovetail_audit.verification import scan, tree
from dovetail_audit.verification.findings import TAMPERING, Finding, Kind, exit_status
from dovetail_audit.verification.scan import verify, verify_entry, verify_organization
from tests.audit.logs import (
    ATTACKS,
    CHECKPOINTS,
    ENTRIES,
    LEAVES,
    Attack,
    change_checkpoint,
    delete,
    edit,
    insert,
    rewrite,
    rolled_back,
    sealed_log,
    write,
)
from tests.audit.memory import peak

pytestmark = pytest.mark.django_db

KEY = SigningKey.generate("audit.example.com")
EXAMPLES = hypothesis_settings(
    deadline=None, max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def kinds(findings: Any) -> set[Kind]:
    return {finding.kind for finding in findings}


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
@given(st.lists(st.integers(2, 12), min_size=1, max_size=4), st.integers(0, 2**32))
@EXAMPLES
def test_tampering_is_found_and_named(attack: Attack, sizes: list[int], seed: int) -> None:
    with rolled_back():
        sealed_log(*sizes)
        assert list(verify()) == []
        expected = attack(random.Random(seed))
        findings = [finding for finding in verify() if finding.kind in TAMPERING]
        assert kinds(findings) & expected.kinds, findings
        named = {finding.entry for finding in findings if finding.entry}
        assert expected.entries <= named, findings
        if expected.entries and Kind.REORDERED not in expected.kinds:
            assert named == expected.entries, findings


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "target": st.tuples(st.text(max_size=300), st.text(max_size=300)),
                "parameters": st.dictionaries(
                    st.text(max_size=20),
                    st.recursive(
                        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=2000),
                        lambda inner: (
                            st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
                        ),
                        max_leaves=8,
                    ),
                    max_size=5,
                ),
                "personal": st.dictionaries(st.text(max_size=20), st.text() | st.floats(), max_size=3),
                "organization_id": st.none() | st.text(max_size=80) | st.integers(),
                "status": st.none() | st.integers(100, 599),
            }
        ),
        min_size=1,
        max_size=20,
    )
)
@hypothesis_settings(EXAMPLES, max_examples=30)
def test_random_entries_raise_no_false_alarm(rows: list[dict[str, Any]]) -> None:
    with rolled_back():
        for row in rows:
            record("invoice.paid", **row)
        assert list(verify()) == []
        seal()
        assert list(verify()) == []


def test_changed_or_deleted_tile_is_found() -> None:
    sealed_log(600)
    assert Tile.objects.count() == 2
    tiles = Tile._base_manager
    with rolled_back():
        tiles.filter(index=1).update(hash=bytes(32))
        (finding,) = verify()
        assert (finding.kind, finding.position) == (Kind.ROOT_MISMATCH, 511)
        assert "was changed" in finding.message
    with rolled_back():
        tiles.filter(index=0).delete()
        (finding,) = verify()
        assert (finding.kind, finding.position) == (Kind.ROOT_MISMATCH, 255)
    for level, index in ((1, 2), (2, 0), (1, -1)):
        with rolled_back():
            tiles.create(level=level, index=index, hash=bytes(32))
            assert kinds(verify()) == {Kind.ROOT_MISMATCH}


def test_moved_leaves_are_named_and_their_neighbors_are_not() -> None:
    sealed_log(5, 40, 5)
    leaves = list(LEAVES.order_by("pk"))
    one, other = leaves[10], leaves[30]
    LEAVES.filter(pk=10).update(position=-1)
    LEAVES.filter(pk=30).update(position=10)
    LEAVES.filter(pk=-1).update(position=30)
    findings = list(verify())
    assert {finding.entry for finding in findings if finding.entry} == {one.entry, other.entry}
    assert kinds(findings) == {Kind.REORDERED, Kind.ROOT_MISMATCH}
    assert [finding.position for finding in findings if finding.kind == Kind.ROOT_MISMATCH] == [44]


def test_findings_after_a_mismatch_are_exact() -> None:
    sealed_log(4, 4, 4, 4)
    changed = [leaf.entry for leaf in LEAVES.filter(pk__in=[1, 13])]
    ENTRIES.filter(pk__in=changed).update(action="invoice.refunded")
    LEAVES.filter(pk=5).delete()
    assert sorted((finding.kind, finding.position) for finding in verify() if finding.position != 5) == [
        (Kind.ALTERED, 1),
        (Kind.ALTERED, 13),
    ]


def test_rewritten_log_is_found_by_an_anchor_only() -> None:
    sealed_log(3, 4)
    notes = list(CHECKPOINTS.order_by("pk").values_list("signature", flat=True))
    assert list(verify(anchors=notes)) == []
    rewrite()
    assert list(verify()) == []
    assert [(finding.kind, finding.position) for finding in verify(anchors=notes)] == [
        (Kind.ANCHOR_INCONSISTENT, 2),
        (Kind.ANCHOR_INCONSISTENT, 6),
    ]


def test_truncated_log_is_found_by_an_anchor_only() -> None:
    sealed_log(3, 4)
    last = CHECKPOINTS.order_by("-pk").first()
    assert last is not None
    LEAVES.filter(pk__gte=3).delete()
    ENTRIES.exclude(pk__in=LEAVES.values("entry")).delete()
    CHECKPOINTS.filter(pk=7).delete()
    assert list(verify()) == []
    (finding,) = verify(anchors=[last.signature])
    assert finding.kind == Kind.ANCHOR_INCONSISTENT
    assert "truncated" in finding.message


def test_checkpoint_without_signature_after_a_signed_one_is_found(settings: Any) -> None:
    key = SigningKey.generate("audit.example.com")
    sealed_log(2)
    settings.AUDIT_SIGNING_KEY = str(key)
    sealed_log(2)
    assert list(verify()) == []
    settings.AUDIT_SIGNING_KEY = ""
    settings.AUDIT_VERIFYING_KEYS = [str(key.verifying_key())]
    sealed_log(2)
    (finding,) = verify()
    assert (finding.kind, finding.position) == (Kind.SIGNATURE_INVALID, 5)


def test_checkpoint_without_signature_between_signed_ones_is_found(settings: Any) -> None:
    settings.AUDIT_VERIFYING_KEYS = [str(KEY.verifying_key())]
    for key in (str(KEY), "", str(KEY)):
        settings.AUDIT_SIGNING_KEY = key
        sealed_log(2)
    (finding,) = verify()
    assert (finding.kind, finding.position) == (Kind.SIGNATURE_INVALID, 3)


def test_checkpoint_of_an_unknown_key_cannot_be_verified(settings: Any) -> None:
    settings.AUDIT_SIGNING_KEY = str(SigningKey.generate("audit.example.com"))
    sealed_log(2)
    settings.AUDIT_SIGNING_KEY = str(SigningKey.generate("audit.example.com"))
    (finding,) = verify()
    assert finding.kind == Kind.KEY_UNKNOWN
    assert exit_status([finding.kind]) == 2


def test_secret_key_in_the_fallbacks_still_verifies(settings: Any) -> None:
    sealed_log(2)
    write(1)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another-secret-key-of-32-characters!!"
    assert list(verify()) == []
    settings.SECRET_KEY_FALLBACKS = []
    assert kinds(verify()) == {Kind.KEY_UNKNOWN, Kind.MAC_INVALID}


def test_removed_secret_key_accuses_no_sealed_entry(settings: Any) -> None:
    settings.AUDIT_SIGNING_KEY = str(SigningKey.generate("audit.example.com"))
    sealed_log(3, 3)
    settings.SECRET_KEY = "another-secret-key-of-32-characters!!"
    assert list(verify()) == []


def test_old_entry_without_a_leaf_is_unsealed(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    write(1)
    assert list(verify()) == []
    monkeypatch.setattr(scan, "LAG", timedelta(seconds=-1))
    (finding,) = verify()
    assert (finding.kind, finding.entry) == (Kind.UNSEALED, ENTRIES.get().pk)
    assert exit_status([finding.kind]) == 3


def test_intent_without_an_outcome_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    with attempt("backup.restored"):
        pass
    crashed = attempt("backup.restored")
    crashed.__enter__()
    assert list(verify()) == []
    monkeypatch.setattr(scan, "_OPEN", timedelta(seconds=-1))
    (finding,) = verify()
    assert crashed.intent is not None
    assert (finding.kind, finding.entry) == (Kind.INTENT_OPEN, crashed.intent.pk)
    assert exit_status([finding.kind]) == 0


def test_queries_do_not_grow_with_intents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "_OPEN", timedelta(seconds=-1))
    counts = []
    for number in (2, 60):
        for _ in range(number):
            with attempt("backup.restored"):
                pass
        crashed = attempt("backup.restored")
        crashed.__enter__()
        seal()
        with CaptureQueriesContext(connection) as queries:
            assert kinds(verify()) == {Kind.INTENT_OPEN}
        counts.append(len(queries))
    assert counts[1] - counts[0] < 5


def test_verification_since_a_checkpoint_ignores_older_leaves() -> None:
    sealed_log(3, 4, 2)
    ENTRIES.filter(pk=LEAVES.get(pk=1).entry).update(action="invoice.refunded")
    assert list(verify(since=3)) == []
    assert list(verify(since=6)) == []
    assert list(verify(since=timezone.now())) == []
    ENTRIES.filter(pk=LEAVES.get(pk=5).entry).delete()
    assert kinds(verify(since=3)) == {Kind.MISSING}
    assert list(verify(since=7)) == []


def test_verification_since_before_the_first_checkpoint_is_rejected() -> None:
    sealed_log(3, 4)
    note = CHECKPOINTS.get(pk=3).signature
    with pytest.raises(ValueError, match="no checkpoint at or before 2"):
        list(verify(since=2))
    with pytest.raises(ValueError, match="Start earlier"):
        list(verify(since=7, anchors=[note]))


@pytest.mark.parametrize(("attack", "kind"), [(edit, Kind.ALTERED), (delete, Kind.MISSING), (insert, Kind.MAC_INVALID)])
def test_single_entry_is_verified(attack: Attack, kind: Kind) -> None:
    sealed_log(5, 5)
    for entry in ENTRIES.all():
        assert list(verify_entry(entry.pk)) == []
    expected = attack(random.Random(1))
    (key,) = expected.entries
    assert kinds(verify_entry(key)) == {kind}


def test_unknown_entry_is_missing() -> None:
    sealed_log(1)
    write(1)
    assert kinds(verify_entry(Entry(action="x").pk)) == {Kind.MISSING}


def test_entries_of_an_organization_are_verified() -> None:
    write(3, organization_id="acme")
    write(3, organization_id="other")
    seal()
    assert list(verify_organization("acme")) == []
    ours, others = (ENTRIES.filter(organization=name).values_list("pk", flat=True)[0] for name in ("acme", "other"))
    ENTRIES.filter(pk=others).update(action="invoice.refunded")
    assert list(verify_organization("acme")) == []
    ENTRIES.filter(pk=ours).update(action="invoice.refunded")
    assert [finding.entry for finding in verify_organization("acme")] == [ours]


def test_hashed_organization_is_verified_after_a_rotation(settings: Any) -> None:
    write(1, organization_id="ada@example.com")
    seal()
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another-secret-key-of-32-characters", [settings.SECRET_KEY]
    ENTRIES.update(action="invoice.refunded")
    assert list(verify_organization("ada@example.com"))


def test_partial_verification_needs_a_valid_checkpoint_and_path() -> None:
    sealed_log(3)
    CHECKPOINTS.update(signature="nothing\n")
    assert kinds(verify_entry(LEAVES.get(pk=0).entry)) == {Kind.SIGNATURE_INVALID}
    with rolled_back():
        LEAVES.filter(pk=2).delete()
        assert Kind.ROOT_MISMATCH in kinds(verify_entry(LEAVES.get(pk=0).entry))
    LEAVES.filter(pk=2).update(hash=bytes(32))
    assert Kind.ROOT_MISMATCH in kinds(verify_entry(LEAVES.get(pk=0).entry))


def test_findings_of_an_empty_log_are_none() -> None:
    assert list(verify()) == []


def test_progress_counts_all_leaves() -> None:
    sealed_log(3, 4)
    calls: list[tuple[int, int]] = []
    assert list(verify(progress=lambda done, total: calls.append((done, total)))) == []
    assert calls == [(7, 7)]


def test_queries_grow_with_thousands_of_entries_only(django_assert_max_num_queries: Any) -> None:
    sealed_log(100, 100, 100, 300)
    with django_assert_max_num_queries(20):
        assert list(verify()) == []


@pytest.mark.parametrize("sealing", [seal, lambda: None], ids=["sealed", "unsealed"])
def test_memory_does_not_grow_with_the_log(sealing: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, size in ((scan, "_CHUNK", 10), (tree, "_CHUNK", 10), (sealer, "BATCH", 5)):
        monkeypatch.setattr(module, name, size)
    peaks: list[int] = []
    for more in (15, 15, 270):
        write(more)
        sealing()
        peaks.append(peak(lambda: list(verify())))
    # The first also fills caches. The last log is ten times as long as the second.
    assert peaks[2] < 2 * peaks[1], peaks


def test_damaged_newest_checkpoint_does_not_hide_entries() -> None:
    sealed_log(3, 3)
    change_checkpoint(random.Random(0))
    CHECKPOINTS.filter(pk=6).update(signature="nothing\n", frontier=b"")
    ENTRIES.filter(pk=LEAVES.get(pk=5).entry).delete()
    assert kinds(verify()) >= {Kind.SIGNATURE_INVALID, Kind.MISSING}


def test_finding_as_json_holds_text_and_numbers() -> None:
    key = Leaf(entry=Entry().pk).entry
    finding = Finding(Kind.ALTERED, "The entry was changed.", key, 3)
    assert finding.as_dict() == {
        "kind": "altered",
        "entry": str(key),
        "position": 3,
        "message": "The entry was changed.",
    }
    assert Finding(Kind.ERASED, "x").as_dict()["entry"] is None
    assert exit_status([Kind.ERASED, Kind.PRUNED]) == 0
    assert exit_status([Kind.KEY_UNKNOWN, Kind.UNSEALED, Kind.ALTERED]) == 1
