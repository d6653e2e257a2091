from __future__ import annotations

import io
import logging
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import django
import pytest
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.utils import timezone

from dovetail_audit.models import Checkpoint
from dovetail_audit.sealing import anchors
from dovetail_audit.services import anchor, seal
from dovetail_audit.verification.scan import verify
from tests.audit.logs import CHECKPOINTS, sealed_log, write

pytestmark = pytest.mark.django_db
MODULE = "dovetail_audit.sealing.anchors"


@pytest.fixture
def storage(settings: Any, tmp_path: Path) -> Path:
    backend = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": tmp_path}}
    settings.STORAGES = {**settings.STORAGES, "audit": backend}
    settings.AUDIT_ANCHORS = [f"{MODULE}.storage"]
    return tmp_path


class Notary:
    """A server that accepts checkpoints, or answers with an error."""

    def __init__(self) -> None:
        self.status = 204
        self.notes: list[str] = []
        notary = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                if notary.status == 204:
                    notary.notes.append(body)
                self.send_response(notary.status)
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/notes"


@pytest.fixture
def notary(settings: Any) -> Iterator[Notary]:
    server = Notary()
    settings.AUDIT_ANCHOR_URL = server.url
    thread = threading.Thread(target=server.server.serve_forever)
    thread.start()
    yield server
    server.server.shutdown()
    thread.join()
    server.server.server_close()


def test_checkpoint_is_saved_once_an_hour(storage: Path) -> None:
    assert anchor() is None
    sealed_log(2)
    first = anchor()
    assert first is not None
    assert (storage / "checkpoints" / "0000000000000000002.txt").read_text() == first.signature
    sealed_log(1)
    assert anchor() is None
    CHECKPOINTS.filter(pk=2).update(anchored_at=timezone.now() - timedelta(minutes=61))
    second = anchor()
    assert second is not None
    assert second.pk == 3
    assert anchor(force=True) is None  # nothing new
    sealed_log(1)
    assert anchor(force=True) is not None


def test_saved_checkpoint_verifies_the_log(storage: Path) -> None:
    sealed_log(2)
    anchor()
    sealed_log(3)
    note = (storage / "checkpoints" / "0000000000000000002.txt").read_text()
    assert list(verify(anchors=[note])) == []


def test_failed_anchor_alone_is_tried_again(storage: Path, settings: Any, notary: Notary) -> None:
    settings.AUDIT_ANCHORS = [f"{MODULE}.storage", f"{MODULE}.url"]
    notary.status = 503
    sealed_log(2)
    row = anchor()
    assert row is not None
    assert row.anchored_at is None
    assert list(anchors.places(row)) == [f"{MODULE}.storage"]
    sealed_log(1)
    notary.status = 204
    row = anchor()
    assert row is not None
    assert (row.pk, row.anchored_at is None) == (2, False)
    assert notary.notes == [row.signature]
    assert len(list((storage / "checkpoints").iterdir())) == 1
    assert anchor() is None


def test_anchor_that_fails_for_an_hour_gets_a_newer_checkpoint(settings: Any, notary: Notary) -> None:
    settings.AUDIT_ANCHORS = [f"{MODULE}.url"]
    notary.status = 503
    sealed_log(2)
    anchor()
    CHECKPOINTS.update(at=timezone.now() - timedelta(minutes=61))
    notary.status = 204
    CHECKPOINTS.create(size=3, root=bytes(32), at=timezone.now(), frontier=b"", signature="the newest\n")
    row = anchor()
    assert row is not None
    assert row.pk == 3
    assert notary.notes == ["the newest\n"]


def test_failed_anchor_stops_neither_others_nor_sealing(
    storage: Path, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(checkpoint: Checkpoint) -> str:
        raise RuntimeError("no network")

    settings.AUDIT_ANCHORS = [broken, f"{MODULE}.storage"]
    write(1)
    output = io.StringIO()
    with caplog.at_level(logging.ERROR):
        call_command("audit_seal", stdout=output)
    assert output.getvalue() == "1 entries sealed. Checkpoint anchored.\n"
    assert "broken failed" in caplog.text
    assert len(list((storage / "checkpoints").iterdir())) == 1


def test_checkpoint_is_logged_and_mailed(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    # Before Django 6.0, an entry is a pair of a name and an address.
    settings.ADMINS = ["admin@example.com"] if django.VERSION >= (6, 0) else [("Admin", "admin@example.com")]
    settings.AUDIT_ANCHORS = [f"{MODULE}.log", anchors.mail]
    sealed_log(1)
    with caplog.at_level(logging.INFO, "dovetail.audit"):
        row = anchor()
    assert row is not None
    assert caplog.records[-1].checkpoint == row.signature  # type: ignore[attr-defined]  # of extra
    assert mail.outbox[-1].body == row.signature
    assert mail.outbox[-1].subject.endswith("dovetail-audit")


def test_anchor_without_its_place_is_misconfigured(settings: Any) -> None:
    sealed_log(1)
    row = seal()
    assert row is not None
    with pytest.raises(ImproperlyConfigured, match="AUDIT_ANCHOR_URL"):
        anchors.url(row)
    with pytest.raises(ImproperlyConfigured, match="AUDIT_STORAGE"):
        anchors.storage(row)


def test_instance_is_an_anchor_with_the_name_of_its_class(settings: Any) -> None:
    class Bucket:
        def __call__(self, checkpoint: Checkpoint) -> str:
            return "s3://bucket"

    settings.AUDIT_ANCHORS = [Bucket()]
    sealed_log(1)
    row = anchor()
    assert row is not None
    ((name, place),) = anchors.places(row).items()
    assert (name.rpartition(".")[2], place) == ("Bucket", "s3://bucket")


def test_no_anchors_are_no_work(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert anchor() is None
