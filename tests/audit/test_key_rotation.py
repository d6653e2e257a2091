"""Logs whose checkpoints were authenticated by a secret key that the project has removed."""

from __future__ import annotations

import base64
import io
import random
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from dovetail_audit import proofs
from dovetail_audit.exceptions import BrokenSeal, UnknownSigner
from dovetail_audit.sealing import checkpoints
from dovetail_audit.sealing.checkpoints import SigningKey
from dovetail_audit.services import accept_unknown_key, seal
from dovetail_audit.verification.findings import Kind, exit_status
from dovetail_audit.verification.scan import verify, verify_entry
from tests.audit.logs import CHECKPOINTS, ENTRIES, LEAVES, delete, edit, sealed_log, write

pytestmark = pytest.mark.django_db
NEW = "another-secret-key-of-32-characters!!"


def kinds(findings: Any) -> list[Kind]:
    return [finding.kind for finding in findings]


def test_removed_key_is_unknown_and_accuses_nobody(settings: Any) -> None:
    sealed_log(2, 2)
    settings.SECRET_KEY = NEW
    (finding,) = verify()
    assert (finding.kind, finding.position, exit_status([finding.kind])) == (Kind.KEY_UNKNOWN, 3, 2)
    assert "1 earlier checkpoints" in finding.message
    assert kinds(verify_entry(LEAVES.get(pk=1).entry)) == [Kind.KEY_UNKNOWN]


def test_later_checkpoint_covers_those_of_a_removed_key(settings: Any) -> None:
    sealed_log(2, 2)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = NEW, [settings.SECRET_KEY]
    sealed_log(2)
    settings.SECRET_KEY_FALLBACKS = []
    assert kinds(verify()) == []
    sealed_log(2)
    assert kinds(verify()) == []


def test_signed_log_needs_no_earlier_secret_key(settings: Any) -> None:
    sealed_log(2)
    settings.AUDIT_SIGNING_KEY = str(SigningKey.generate("audit.example.com"))
    sealed_log(2)
    settings.SECRET_KEY = NEW
    sealed_log(2)
    assert kinds(verify()) == []


def test_sealer_stops_at_an_unknown_key_until_it_is_accepted(settings: Any) -> None:
    sealed_log(2, 2)
    settings.SECRET_KEY = NEW
    write(1)
    with pytest.raises(CommandError, match="--accept-unknown-key"):
        call_command("audit_seal", stdout=io.StringIO())
    assert CHECKPOINTS.count() == 2
    output = io.StringIO()
    call_command("audit_seal", "--accept-unknown-key", stdout=output)
    assert output.getvalue() == "6 entries sealed.\n"
    assert ENTRIES.get(action="audit.key_accepted").data["parameters"]["size"] == 4
    assert kinds(verify()) == []
    assert seal() == CHECKPOINTS.get(pk=6)


def test_command_accepts_a_key_only_once() -> None:
    with pytest.raises(CommandError, match="without --loop"):
        call_command("audit_seal", "--loop", "--accept-unknown-key")


def test_known_key_needs_no_acceptance() -> None:
    write(2)
    assert accept_unknown_key() == CHECKPOINTS.get()
    assert not ENTRIES.filter(action="audit.key_accepted").exists()


@pytest.mark.parametrize("attack", [edit, delete])
def test_key_of_a_tampered_log_is_not_accepted(settings: Any, attack: Callable[[random.Random], Any]) -> None:
    sealed_log(3, 3)
    settings.SECRET_KEY = NEW
    attack(random.Random(1))
    with pytest.raises(BrokenSeal, match="tampered"):
        accept_unknown_key()
    assert CHECKPOINTS.count() == 2


def test_changed_columns_of_an_unknown_checkpoint_are_found(settings: Any) -> None:
    sealed_log(3)
    settings.SECRET_KEY = NEW
    CHECKPOINTS.update(root=bytes(32))
    assert Kind.SIGNATURE_INVALID in kinds(verify())
    with pytest.raises(BrokenSeal):
        accept_unknown_key()


def test_invented_key_does_not_continue_a_forged_log(settings: Any) -> None:
    """The attack: rewrite the log, sign it with an invented key, and let the sealer sign what follows."""
    sealed_log(3)
    right = settings.SECRET_KEY
    ENTRIES.all().delete()
    LEAVES.all().delete()
    CHECKPOINTS.all().delete()
    settings.SECRET_KEY = NEW
    sealed_log(3)
    settings.SECRET_KEY = right
    write(1)
    with pytest.raises(UnknownSigner):
        seal()
    assert kinds(verify()) == [Kind.KEY_UNKNOWN]


def test_added_signature_does_not_make_an_hmac_signed(settings: Any) -> None:
    """The attack: somebody without the signing key replaces a checkpoint, and adds a signature of an invented key."""
    settings.AUDIT_SIGNING_KEY = str(SigningKey.generate("audit.example.com"))
    sealed_log(2)
    settings.AUDIT_VERIFYING_KEYS = [str(SigningKey.parse(settings.AUDIT_SIGNING_KEY).verifying_key())]
    settings.AUDIT_SIGNING_KEY = ""
    settings.AUDIT_ORIGIN = "audit.example.com"
    sealed_log(2)
    row = CHECKPOINTS.get(pk=4)
    invented = base64.b64encode(bytes(4) + bytes(64)).decode()
    CHECKPOINTS.filter(pk=4).update(signature=f"{row.signature}— audit.example.com {invented}\n")
    assert checkpoints.verify(CHECKPOINTS.get(pk=4).signature).size == 4
    assert kinds(verify()) == [Kind.SIGNATURE_INVALID]


def test_key_id_does_not_depend_on_the_secret_key_alone(settings: Any) -> None:
    """Equal secrets of two logs are not visible in their checkpoints."""
    settings.AUDIT_ORIGIN = "one.example.com"
    sealed_log(1)
    settings.AUDIT_ORIGIN = "two.example.com"
    sealed_log(1)
    ids = {proofs.SignedNote.parse(row.signature).signatures[0][1] for row in CHECKPOINTS.all()}
    assert len(ids) == 2
