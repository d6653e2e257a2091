from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.test import TestCase

from dovetail_audit import proofs
from dovetail_audit.models import PERSONAL, Entry
from dovetail_audit.sealing.checkpoints import SigningKey
from dovetail_audit.services import erase_subject, parse_erasures, record, replay_erasures, seal
from dovetail_audit.verification.findings import Kind
from dovetail_audit.verification.prove import prove
from dovetail_audit.verification.scan import verify
from dovetail_core.events import emit
from tests.audit.logs import ENTRIES

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada() -> Any:
    users: Any = get_user_model()._base_manager
    return users.create(username="ada", email="Ada@example.com")


@pytest.fixture
def storage(settings: Any, tmp_path: Path) -> Path:
    backend = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": tmp_path}}
    settings.STORAGES = {**settings.STORAGES, "audit": backend}
    return tmp_path


def erased() -> set[str]:
    rows = ENTRIES.exclude(erased_at=None)
    assert all(getattr(row, name) is None for row in rows for name in PERSONAL)
    return {row.action for row in rows}


def record_activity(ada: Any) -> None:
    record("order.paid", actor=ada)
    record("user.suspended", target=ada)
    record("invitation.sent", personal={"to": ["Ada <ADA@example.com>"]})
    record("order.shipped", personal={"to": "not-ada@example.com"})
    record("order.viewed", target=("shop.Order", ada.pk))
    seal()


def test_person_is_erased_by_key_and_address(ada: Any) -> None:
    record_activity(ada)
    assert erase_subject(user=ada, reason="request 7") == 3
    assert erased() == {"order.paid", "user.suspended", "invitation.sent"}
    text = json.dumps([*ENTRIES.values("private", "actor_label", "target_label")])
    assert "ada" not in text.lower().replace("not-ada@example.com", "")


def test_key_and_address_alone_erase_their_own_entries(ada: Any) -> None:
    record_activity(ada)
    assert erase_subject(email=" ada@EXAMPLE.com", reason="request 7") == 1
    assert erased() == {"invitation.sent"}
    assert erase_subject(user=ada.pk, reason="request 7") == 2


def test_erasure_keeps_the_log_and_its_proofs_valid(ada: Any, settings: Any) -> None:
    key = SigningKey.generate("audit.example.com")
    settings.AUDIT_SIGNING_KEY = str(key)
    record_activity(ada)
    before = prove(ENTRIES.get(action="order.paid"))
    erase_subject(user=ada, reason="request 7")
    assert prove(ENTRIES.get(action="order.paid")) == before
    assert proofs.verify_entry(before, [str(key.verifying_key())])["action"] == "order.paid"
    seal()
    (finding,) = verify()
    assert finding.kind == Kind.ERASED
    assert "3 entries" in finding.message


def test_record_of_an_erasure_does_not_name_the_person(ada: Any) -> None:
    record_activity(ada)
    erase_subject(user=ada, reason="request 7")
    entry = ENTRIES.get(action="audit.subject_erased")
    data = entry.data["parameters"]
    assert (data["count"], data["reason"]) == (3, "request 7")
    assert [len(digest) for digest in data["subject_hashes"]] == [64, 64]
    text = json.dumps([entry.data, entry.private, entry.target, entry.actor_label])
    # As a word: the digits of a hash may be "ada".
    assert not re.search(r"\bada\b", text, re.IGNORECASE)


def test_entry_with_the_address_in_other_characters_is_erased() -> None:
    record("invitation.sent", personal={"to": "jürgen@exämple.de"})
    assert erase_subject(email="Jürgen@exämple.de", reason="request 7") == 1


def test_second_erasure_finds_nothing(ada: Any) -> None:
    record_activity(ada)
    erase_subject(user=ada, reason="request 7")
    assert erase_subject(user=ada, reason="request 7") == 0
    assert {finding.kind for finding in verify()} == {Kind.ERASED}


@pytest.mark.parametrize(
    "arguments",
    [{"reason": "x"}, {"user": "", "reason": "x"}, {"email": " ", "reason": "x"}, {"email": "a@b.c", "reason": " "}],
)
def test_erasure_needs_a_person_and_a_reason(arguments: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"Name the person|Give the reason"):
        erase_subject(**arguments)


def restore(rows: list[Entry]) -> None:
    """Restore a backup from before the erasure."""
    ENTRIES.all().delete()
    ENTRIES.bulk_create(rows)


def test_replay_after_a_restored_backup_erases_again(ada: Any, storage: Path) -> None:
    record_activity(ada)
    backup = list(ENTRIES.all())
    with TestCase.captureOnCommitCallbacks(execute=True):
        erase_subject(user=ada, reason="request 7")
    restore(backup)
    assert erased() == set()
    record("order.refunded", actor=ada)  # after the erasure
    output = io.StringIO()
    call_command("audit_erase", "--replay", stdout=output)
    assert output.getvalue() == "The personal data of 3 entries was erased.\n"
    assert erased() == {"order.paid", "user.suspended", "invitation.sent"}
    assert {finding.kind for finding in verify()} == {Kind.ERASED}
    assert replay_erasures() == 0


def test_replay_reads_an_export(ada: Any, tmp_path: Path) -> None:
    record_activity(ada)
    backup = list(ENTRIES.all())
    erase_subject(user=ada, reason="request 7")
    entry = ENTRIES.get(action="audit.subject_erased")
    line = {"action": entry.action, "at": entry.at.isoformat(), "parameters": entry.data["parameters"]}
    path = tmp_path / "export.jsonl"
    path.write_text(json.dumps({"action": "order.paid", "at": "x"}) + "\n\n" + json.dumps(line))
    restore(backup)
    call_command("audit_erase", "--replay", str(path), stdout=io.StringIO())
    assert erased() == {"order.paid", "user.suspended", "invitation.sent"}


def test_replay_finds_the_person_after_a_change_of_secret_keys(ada: Any, settings: Any) -> None:
    record_activity(ada)
    erase_subject(user=ada, reason="request 7")
    backup = [row for row in ENTRIES.all() if row.erased_at is None]
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another-secret-key-of-32-characters!!"
    record("order.refunded", actor=ada)
    restored = ENTRIES.get(action="order.refunded")
    ENTRIES.filter(pk=restored.pk).update(at=backup[-1].at)
    assert replay_erasures() == 1


def test_key_that_was_hashed_before_a_rotation_is_erased(settings: Any) -> None:
    """Keys that are addresses are hashed."""
    record("order.paid", actor="ada@example.com", personal={"name": "Ada"})
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another-secret-key-of-32-characters!!"
    record("order.sent", actor="ada@example.com", personal={"name": "Ada"})
    assert erase_subject(user="ada@example.com", reason="request 7") == 2


def test_replay_without_recorded_erasures_reads_no_entries(django_assert_max_num_queries: Any, storage: Path) -> None:
    record("order.paid")
    with django_assert_max_num_queries(1):
        assert replay_erasures() == 0


@pytest.mark.parametrize("text", ["no json", "[]", '{"subject_hashes": ["x"], "at": "today"}'])
def test_malformed_erasures_are_rejected(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        list(parse_erasures(text))


def test_deleted_user_is_erased_only_if_configured(ada: Any, settings: Any) -> None:
    record_activity(ada)
    emit("user.deleted", target=ada, data={"user_id": str(ada.pk)})
    assert erased() == set()
    settings.AUDIT_ERASE_ON_USER_DELETED = True
    emit("user.deleted", target=ada, data={"user_id": str(ada.pk)})
    assert erased() == {"order.paid", "user.suspended", "invitation.sent", "user.deleted"}
    emit("user.updated", target=ada)
    assert "user.updated" not in erased()


def test_command_erases_a_user_with_the_address(ada: Any) -> None:
    record_activity(ada)
    output = io.StringIO()
    call_command("audit_erase", "--user", str(ada.pk), "--reason", "request 7", stdout=output)
    assert output.getvalue() == "The personal data of 3 entries was erased.\n"


def test_command_erases_a_user_who_is_deleted_already(ada: Any) -> None:
    record_activity(ada)
    key = str(ada.pk)
    ada.delete()
    call_command("audit_erase", "--user", key, "--email", "ada@example.com", "--reason", "x", stdout=io.StringIO())
    assert erased() == {"order.paid", "user.suspended", "invitation.sent"}
    call_command("audit_erase", "--user", "no key", "--reason", "x", stdout=io.StringIO())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--email", "a@b.c"], "Give the reason"),
        (["--reason", "x"], "Name the person"),
        (["--replay", "--reason", "x"], "without --user"),
        (["--replay", "/nowhere/file"], "cannot be read"),
    ],
)
def test_command_explains_wrong_arguments(arguments: list[str], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        call_command("audit_erase", *arguments)
