"""Checkpoints: the size, root and time of the tree as a signed text (https://c2sp.org/tlog-checkpoint).

With ``AUDIT_SIGNING_KEY``, anybody who has the public key can verify them. Without it, they are authenticated by the
secret keys of the project, and only the project can verify them.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from django.core.exceptions import ImproperlyConfigured
from django.utils.crypto import constant_time_compare

from dovetail_audit import proofs
from dovetail_audit.conf import conf
from dovetail_core.secrets import keyed_hash, keyed_hashes

_PREFIX: Final = "PRIVATE+KEY+"
_PURPOSE: Final = "dovetail_audit.checkpoint.1"
_KEY_PURPOSE: Final = "dovetail_audit.checkpoint_key.1"
#: A type of signature without a number of its own has 255 and a name (https://c2sp.org/signed-note).
_HMAC_KEY: Final = b"\xffdovetail_audit hmac-sha256"


class UnknownKey(Exception):
    """The project has none of the keys that signed the ``checkpoint``, so it cannot be verified."""

    def __init__(self, message: str, checkpoint: proofs.Checkpoint) -> None:
        self.checkpoint = checkpoint
        super().__init__(message)


class InvalidSignature(Exception):
    """The checkpoint is malformed, or is not what was signed."""


@dataclass(frozen=True)
class SigningKey:
    """A secret key: ``PRIVATE+KEY+<name>+<key id, 8 hex digits>+<base64 of the type and 32 bytes>``."""

    name: str
    key_id: str
    seed: bytes

    @classmethod
    def parse(cls, text: object) -> SigningKey:
        """Raise ``ValueError("must …")`` for a malformed key. The message does not contain the key."""
        rest = text.strip().removeprefix(_PREFIX) if isinstance(text, str) and text.startswith(_PREFIX) else ""
        name, _, rest = rest.partition("+")
        key_id, _, data = rest.partition("+")
        try:
            raw = base64.b64decode(data, validate=True)
        except binascii.Error:
            raw = b""
        if not proofs.is_key_name(name) or len(raw) != 33 or raw[0] != proofs.ED25519:
            raise ValueError(f"must have the form {_PREFIX}<name>+<8 hex digits>+<base64>")
        return cls(name, key_id, raw[1:])

    @classmethod
    def generate(cls, name: str) -> SigningKey:
        """Return a new key. Raise ``ValueError`` for a name with spaces or ``+``."""
        from dovetail_audit.sealing import ed25519

        if not proofs.is_key_name(name):
            raise ValueError(f"The name of a key must not be empty or contain spaces or '+'; got {name!r}.")
        seed = ed25519.new_seed()
        raw = bytes([proofs.ED25519]) + ed25519.public_key(seed)
        return cls(name, proofs.make_key_id(name, raw).hex(), seed)

    def verifying_key(self) -> proofs.VerifyingKey:
        from dovetail_audit.sealing import ed25519

        raw = bytes([proofs.ED25519]) + ed25519.public_key(self.seed)
        return proofs.VerifyingKey(self.name, proofs.make_key_id(self.name, raw), raw[1:])

    def sign(self, text: str) -> str:
        from dovetail_audit.sealing import ed25519

        return _line(self.name, bytes.fromhex(self.key_id), ed25519.sign(self.seed, text.encode()))

    def __str__(self) -> str:
        return f"{_PREFIX}{self.name}+{self.key_id}+{base64.b64encode(bytes([proofs.ED25519]) + self.seed).decode()}"

    def __repr__(self) -> str:
        return f"<SigningKey {self.name}+{self.key_id}>"


def signing_key_problem(value: object) -> str | None:
    """Return what is wrong with a value of ``AUDIT_SIGNING_KEY``, or None. The text does not contain the key."""
    try:
        key = SigningKey.parse(value)
        if key.key_id != key.verifying_key().key_id.hex():
            return "must be copied whole: the key id does not belong to the key"
    except ValueError as error:
        return str(error)
    except ImportError:
        return "needs the library cryptography: pip install 'dovetail-audit[signing]'"
    return None


def verifying_key_problem(value: object) -> str | None:
    """Return what is wrong with one of ``AUDIT_VERIFYING_KEYS``, or None."""
    try:
        proofs.VerifyingKey.parse(str(value))
    except proofs.InvalidProof as error:
        return str(error)
    return None


def origin() -> str:
    """Return the name of this log: that of the signing key, or ``AUDIT_ORIGIN``."""
    return SigningKey.parse(conf.SIGNING_KEY).name if conf.SIGNING_KEY else conf.ORIGIN or "dovetail-audit"


def rfc3339(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def sign(*, size: int, root: bytes, at: datetime) -> str:
    """Return the signed note of a checkpoint. Raise ``ImproperlyConfigured`` if the key cannot be used."""
    text = str(proofs.Checkpoint(origin(), size, root, rfc3339(at)))
    if not conf.SIGNING_KEY:
        return f"{text}\n{_line(origin(), next(_hmac_key_ids(origin())), bytes.fromhex(keyed_hash(_PURPOSE, text)))}"
    if problem := signing_key_problem(conf.SIGNING_KEY):
        raise ImproperlyConfigured(f"AUDIT_SIGNING_KEY {problem}.")
    return f"{text}\n{SigningKey.parse(conf.SIGNING_KEY).sign(text)}"


def verify(note: str) -> proofs.Checkpoint:
    """Return the checkpoint of a signed note. Raise ``InvalidSignature`` or ``UnknownKey``.

    Accepted are the keys of ``AUDIT_VERIFYING_KEYS``, that of ``AUDIT_SIGNING_KEY``, and the project's secret keys for
    checkpoints that were made without a signing key.
    """
    try:
        signed = proofs.SignedNote.parse(note)
        checkpoint = proofs.Checkpoint.parse(signed.text)
    except proofs.InvalidProof as error:
        raise InvalidSignature(str(error)) from error
    keys = {(key.name, key.key_id): key for key in verifying_keys()}
    macs = dict(zip(_hmac_key_ids(checkpoint.origin), keyed_hashes(_PURPOSE, signed.text), strict=True))
    accepted = False
    for name, key_id, value in signed.signatures:
        if name != checkpoint.origin:
            raise InvalidSignature(f"The checkpoint is of {checkpoint.origin!r} and was signed by {name!r}.")
        if key_id in macs:
            # Somebody with the secret keys could replace signed checkpoints by these; the scan reports that.
            valid = constant_time_compare(value.hex(), macs[key_id])
        elif (name, key_id) in keys:
            valid = _verify_ed25519(keys[name, key_id].public, signed.text.encode(), value)
        else:
            continue
        if not valid:
            raise InvalidSignature(f"The signature of {name}+{key_id.hex()} does not belong to the checkpoint.")
        accepted = True
    if not accepted:
        names = ", ".join(f"{name}+{key_id.hex()}" for name, key_id, _value in signed.signatures)
        raise UnknownKey(
            f"The checkpoint was signed by {names}, which is neither in AUDIT_VERIFYING_KEYS nor made from an accepted "
            "SECRET_KEY or pepper.",
            checkpoint,
        )
    return checkpoint


def is_signed(note: str) -> bool:
    """Return whether a note that ``verify()`` accepts has a signature that outsiders can verify."""
    # Only known keys: verify() ignores other signatures, which anybody could add to an HMAC.
    keys = {(key.name, key.key_id) for key in verifying_keys()}
    return any((name, key_id) in keys for name, key_id, _value in proofs.SignedNote.parse(note).signatures)


def verifying_keys() -> Iterator[proofs.VerifyingKey]:
    yield from map(proofs.VerifyingKey.parse, conf.VERIFYING_KEYS)
    if conf.SIGNING_KEY:
        yield SigningKey.parse(conf.SIGNING_KEY).verifying_key()


def _hmac_key_ids(name: str) -> Iterator[bytes]:
    """Yield the id of each accepted pepper, newest first, so that a removed pepper is unknown and accuses nobody."""
    for key in keyed_hashes(_KEY_PURPOSE, name):
        yield proofs.make_key_id(name, _HMAC_KEY + bytes.fromhex(key))


def _line(name: str, key_id: bytes, signature: bytes) -> str:
    return f"— {name} {base64.b64encode(key_id + signature).decode()}\n"


def _verify_ed25519(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        from dovetail_audit.sealing import ed25519
    except ImportError:
        return proofs.verify_ed25519(public, message, signature)
    return ed25519.verify(public, message, signature)
