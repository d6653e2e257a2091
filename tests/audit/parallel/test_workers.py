"""Verification in several processes."""

from __future__ import annotations

import io
import multiprocessing
import signal
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool

import pytest
from django.core.management import call_command
from django.db import connections

from dovetail_audit.verification import scan
from dovetail_audit.verification.findings import Kind
from dovetail_audit.verification.scan import verify
from tests.audit.logs import ENTRIES, LEAVES, sealed_log, write
from tests.audit.parallel.test_sealers import start

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _small_ranges(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(scan, "_CHUNK", 5)
    yield
    assert multiprocessing.active_children() == []
    connections.close_all()


def tampered_log() -> None:
    """Seal 120 entries, of which three are changed, one is deleted and two leaves are exchanged."""
    sealed_log(40, 40, 40)
    entries = list(LEAVES.order_by("pk").values_list("entry", flat=True))
    ENTRIES.filter(pk__in=[entries[0], entries[61], entries[119]]).update(action="invoice.refunded")
    ENTRIES.filter(pk=entries[77]).delete()
    LEAVES.filter(pk=20).update(position=-1)
    LEAVES.filter(pk=30).update(position=20)
    LEAVES.filter(pk=-1).update(position=30)
    write(1)
    ENTRIES.filter(pk=ENTRIES.order_by("-pk")[0].pk).update(actor="1")


def changed_log() -> None:
    """Seal 120 entries, of which the first and the last are changed. Only a comparison of entries finds that."""
    sealed_log(40, 40, 40)
    ends = LEAVES.filter(pk__in=[0, 119]).values_list("entry", flat=True)
    ENTRIES.filter(pk__in=list(ends)).update(action="invoice.refunded")


def test_workers_yield_the_findings_of_one_process_in_their_order() -> None:
    tampered_log()
    findings = list(verify())
    assert {finding.kind for finding in findings} == {
        Kind.ALTERED,
        Kind.MAC_INVALID,
        Kind.MISSING,
        Kind.REORDERED,
        Kind.ROOT_MISMATCH,
    }
    assert list(verify(workers=2)) == findings


def test_command_with_workers_reports_progress_of_the_whole_log() -> None:
    sealed_log(60)
    output, errors = io.StringIO(), io.StringIO()
    call_command("audit_verify", "--workers", "2", stdout=output, stderr=errors)
    assert output.getvalue() == "The log is intact.\n"
    assert errors.getvalue().splitlines()[-1].startswith("60 of 60 entries, ")


def test_each_worker_is_a_process_that_ends_with_the_verification() -> None:
    changed_log()
    findings = verify(workers=2)
    next(findings)
    assert len(multiprocessing.active_children()) == 2
    findings.close()  # type: ignore[attr-defined]  # a generator
    assert multiprocessing.active_children() == []


def test_killed_worker_is_an_error_and_no_finding() -> None:
    changed_log()
    findings = verify(workers=2)
    next(findings)
    for process in multiprocessing.active_children():
        process.kill()
    with pytest.raises(BrokenProcessPool):
        list(findings)


def test_workers_end_with_a_killed_command() -> None:
    changed_log()
    process = start("verifier.py")
    assert process.stdout is not None
    assert process.stdout.readline() == "verifying\n"
    process.send_signal(signal.SIGKILL)
    # The workers have the pipe of the command as their output, so it ends when they have ended.
    assert process.communicate(timeout=60)[0] == ""
