"""Verify proofs of audit entries without the application: no Django, no database and no secret.

This file needs only Python 3.11 and can be copied to an auditor, with the public keys of the log. It checks:

- that an entry is in the log (``verify_entry``, ``verify_inclusion``),
- that a checkpoint was signed by the log (``verify_checkpoint``),
- that a later log contains an earlier one unchanged (``verify_consistency``).

On the command line, FILE holds one proof as JSON, or one in each line, or exported entries with their ``proof``::

    python proofs.py FILE --key 'audit.example.com+5f3c81d2+AeJ…'

Trees are those of RFC 9162 (Certificate Transparency), checkpoints those of https://c2sp.org/tlog-checkpoint, and keys
and signatures those of https://c2sp.org/signed-note with Ed25519 (RFC 8032).
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ED25519: Final = 1
"""The type of a key or signature, as its first byte."""


class InvalidProof(ValueError):
    """The proof does not show what it claims, or is malformed. The message gives the reason."""


# Hashes of the tree (RFC 9162, 2.1)


def leaf_hash(canonical: bytes, mac: bytes) -> bytes:
    """Return the hash of an entry. The prefix keeps a leaf and an inner node apart (second preimages)."""
    return hashlib.sha256(b"\x00" + canonical + mac).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def verify_inclusion(*, leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Raise ``InvalidProof`` unless ``leaf`` is the leaf number ``index`` (from 0) of the tree with this size and root.

    ``proof`` is the audit path from the leaf to the root (RFC 9162, 2.1.3.2).
    """
    if not 0 <= index < size:
        raise InvalidProof(f"The leaf index is {index}; a tree of {size} leaves has the indexes 0 to {size - 1}.")
    number, last, digest = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise InvalidProof(f"The proof has {len(proof)} hashes, which is too many for a tree of {size} leaves.")
        if number & 1 or number == last:
            digest = node_hash(sibling, digest)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            digest = node_hash(digest, sibling)
        number, last = number >> 1, last >> 1
    if last != 0:
        raise InvalidProof(f"The proof has {len(proof)} hashes, which is too few for a tree of {size} leaves.")
    if digest != root:
        raise InvalidProof("The entry is not in the tree: its hashes lead to another root.")


def verify_consistency(
    *, first_size: int, first_root: bytes, second_size: int, second_root: bytes, proof: Sequence[bytes]
) -> None:
    """Raise ``InvalidProof`` unless the second tree begins with all leaves of the first (RFC 9162, 2.1.4.2)."""
    if not 0 < first_size <= second_size:
        raise InvalidProof(f"The sizes are {first_size} and {second_size}; the first must be the smaller, and not 0.")
    if first_size == second_size:
        if proof or first_root != second_root:
            raise InvalidProof(f"Two trees of {first_size} leaves have different roots: the log was rewritten.")
        return
    path = list(proof) if first_size & (first_size - 1) else [first_root, *proof]
    if not path:
        raise InvalidProof("The proof is empty.")
    number, last = first_size - 1, second_size - 1
    while number & 1:
        number, last = number >> 1, last >> 1
    first = second = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise InvalidProof(f"The proof has {len(proof)} hashes, which is too many for these sizes.")
        if number & 1 or number == last:
            first, second = node_hash(sibling, first), node_hash(sibling, second)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            second = node_hash(second, sibling)
        number, last = number >> 1, last >> 1
    if last != 0:
        raise InvalidProof(f"The proof has {len(proof)} hashes, which is too few for these sizes.")
    if first != first_root or second != second_root:
        raise InvalidProof("The second tree does not contain the first unchanged: the log was rewritten.")


# Signed checkpoints


@dataclass(frozen=True)
class VerifyingKey:
    """The public key of a log: ``<name>+<key id, 8 hex digits>+<base64 of the type and 32 bytes>``."""

    name: str
    key_id: bytes
    public: bytes

    @classmethod
    def parse(cls, text: str) -> VerifyingKey:
        """Raise ``InvalidProof`` for a malformed key."""
        name, _, rest = text.strip().partition("+")
        key_id, _, data = rest.partition("+")
        try:
            raw = base64.b64decode(data, validate=True)
        except binascii.Error:
            raw = b""
        if not is_key_name(name) or len(raw) != 33 or raw[0] != ED25519:
            raise InvalidProof("A verifying key has the form <name>+<8 hex digits>+<base64> and is for Ed25519.")
        if key_id != make_key_id(name, raw).hex():
            raise InvalidProof(f"The key id {key_id!r} does not belong to the key. Copy the whole key again.")
        return cls(name, bytes.fromhex(key_id), raw[1:])

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(bytes([ED25519]) + self.public).decode()}"


@dataclass(frozen=True)
class SignedNote:
    """A text, which ends in a newline, and its signatures: name of the key, key id, signature."""

    text: str
    signatures: tuple[tuple[str, bytes, bytes], ...]

    @classmethod
    def parse(cls, note: str) -> SignedNote:
        """Raise ``InvalidProof`` for a malformed note."""
        text, separator, lines = note.rpartition("\n\n")
        if not separator or not lines.endswith("\n") or re.search(r"[\x00-\x09\x0b-\x1f\ud800-\udfff]", note):
            raise InvalidProof("A signed note is a text, an empty line, and lines with signatures.")
        return cls(text + "\n", tuple(_signature(line) for line in lines[:-1].split("\n")))


@dataclass(frozen=True)
class Checkpoint:
    """The state of a log: its ``origin`` (a name), number of leaves, root hash, and time (RFC 3339, UTC)."""

    origin: str
    size: int
    root: bytes
    at: str

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Parse the text of a note. Raise ``InvalidProof`` if it is malformed."""
        lines = text.split("\n")
        try:
            origin, size, root, at = lines[:4]
            digest = base64.b64decode(root, validate=True)
        except ValueError:  # too few lines, or no base64
            raise InvalidProof("A checkpoint has the lines: origin, size, root hash, time.") from None
        if lines[4:] != [""] or not origin or not re.fullmatch(r"0|[1-9][0-9]{0,18}", size) or len(digest) != 32:
            raise InvalidProof("A checkpoint has the lines: origin, size, root hash, time.")
        if not re.fullmatch(r"at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", at):
            raise InvalidProof("The time of a checkpoint has the form 'at 2026-01-31T12:00:00.000000Z'.")
        return cls(origin, int(size), digest, at.removeprefix("at "))

    def __str__(self) -> str:
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\nat {self.at}\n"


def verify_checkpoint(note: str, keys: Sequence[str]) -> Checkpoint:
    """Return the checkpoint that ``note`` holds, if one of the verifying ``keys`` signed it.

    Raise ``InvalidProof`` if no key did, if a signature is wrong, or if the checkpoint is of another log than the key:
    the origin must be the name of the key. Signatures of unknown keys are ignored.
    """
    signed = SignedNote.parse(note)
    trusted = {(key.name, key.key_id): key for key in map(VerifyingKey.parse, keys)}
    signatures = [
        (trusted[name, key_id], value) for name, key_id, value in signed.signatures if (name, key_id) in trusted
    ]
    if not signatures:
        names = ", ".join(f"{name}+{key_id.hex()}" for name, key_id, _value in signed.signatures)
        raise InvalidProof(f"None of your keys signed the checkpoint. It was signed by: {names}.")
    checkpoint = Checkpoint.parse(signed.text)
    for key, value in signatures:
        if not verify_ed25519(key.public, signed.text.encode(), value):
            raise InvalidProof(f"The signature of {key.name}+{key.key_id.hex()} is wrong: the checkpoint was changed.")
        if key.name != checkpoint.origin:
            raise InvalidProof(f"The checkpoint is of the log {checkpoint.origin!r}, and the key of {key.name!r}.")
    return checkpoint


def verify_entry(document: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """Return the fields of the entry that ``document`` proves, or raise ``InvalidProof``.

    ``document`` has ``canonical`` (the hashed JSON text of the entry), ``mac``, ``leaf_index``, ``tree_size``,
    ``proof`` (hashes in base64, as ``mac``) and ``checkpoint`` (a signed note).
    """
    try:
        checkpoint = verify_checkpoint(str(document["checkpoint"]), keys)
    except (KeyError, TypeError) as error:
        raise InvalidProof(f"The proof is malformed: {type(error).__name__}: {error}") from None
    return verify_document(document, size=checkpoint.size, root=checkpoint.root)


def verify_document(document: Mapping[str, Any], *, size: int, root: bytes) -> dict[str, Any]:
    """Return the fields of the entry, if ``document`` proves that it is in the tree with a size and root you trust."""
    try:
        canonical, mac = str(document["canonical"]), base64.b64decode(document["mac"], validate=True)
        path = [base64.b64decode(item, validate=True) for item in document["proof"]]
        index, tree_size = document["leaf_index"], document["tree_size"]
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidProof(f"The proof is malformed: {type(error).__name__}: {error}") from None
    if type(index) is not int or type(tree_size) is not int or any(len(item) != 32 for item in path):
        raise InvalidProof("The proof is malformed: indexes are whole numbers, and hashes have 32 bytes.")
    if tree_size != size:
        raise InvalidProof(f"The proof is for {tree_size} leaves, and the checkpoint for {size}.")
    try:
        content = canonical.encode()
    except UnicodeEncodeError:
        raise InvalidProof("The proof is malformed: its text has a lone surrogate, which UTF-8 cannot hold.") from None
    verify_inclusion(leaf=leaf_hash(content, mac), index=index, size=size, proof=path, root=root)
    fields: dict[str, Any] = json.loads(canonical)
    return fields


def is_key_name(name: str) -> bool:
    return bool(name) and not re.search(r"[\s+\x00-\x1f]", name)


def make_key_id(name: str, key: bytes) -> bytes:
    """Return the first four bytes of the hash of a key, whose first byte is its type."""
    return hashlib.sha256(name.encode() + b"\n" + key).digest()[:4]


def _signature(line: str) -> tuple[str, bytes, bytes]:
    match = re.fullmatch(r"— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})", line)
    try:
        raw = base64.b64decode(match[2], validate=True) if match else b""
    except binascii.Error:
        raw = b""
    if match is None or len(raw) < 5:
        raise InvalidProof(f"A line of a signature has the form '— <name> <base64>'; got {line!r}.")
    return match[1], raw[:4], raw[4:]


# Ed25519 (RFC 8032, 5.1). It handles public data only, so its time need not be constant.

_P: Final = 2**255 - 19
_ORDER: Final = 2**252 + 27742317777372353535851937790883648493
_D: Final = -121665 * pow(121666, -1, _P) % _P
_ROOT_OF_MINUS_ONE: Final = pow(2, (_P - 1) // 4, _P)
_Point = tuple[int, int, int, int]
_NEUTRAL: Final[_Point] = (0, 1, 1, 0)


def verify_ed25519(public: bytes, message: bytes, signature: bytes) -> bool:
    """Return whether ``signature`` (64 bytes) is the signature of ``message`` by the owner of ``public`` (32 bytes)."""
    if len(public) != 32 or len(signature) != 64:
        return False
    key, scalar = _decompress(public), int.from_bytes(signature[32:], "little")
    # A scalar beyond the order would make a second valid signature of the same message.
    if key is None or scalar >= _ORDER:
        return False
    digest = hashlib.sha512(signature[:32] + public + message).digest()
    challenge = int.from_bytes(digest, "little") % _ORDER
    x, y, z, t = key
    return _compress(_add(_multiply(scalar, _BASE), _multiply(challenge, (-x % _P, y, z, -t % _P)))) == signature[:32]


def _add(one: _Point, other: _Point) -> _Point:
    a = (one[1] - one[0]) * (other[1] - other[0]) % _P
    b = (one[1] + one[0]) * (other[1] + other[0]) % _P
    c = 2 * one[3] * other[3] * _D % _P
    d = 2 * one[2] * other[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _multiply(scalar: int, point: _Point) -> _Point:
    result = _NEUTRAL
    while scalar:
        if scalar & 1:
            result = _add(result, point)
        point, scalar = _add(point, point), scalar >> 1
    return result


def _compress(point: _Point) -> bytes:
    inverse = pow(point[2], -1, _P)
    x, y = point[0] * inverse % _P, point[1] * inverse % _P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _decompress(encoded: bytes) -> _Point | None:
    y = int.from_bytes(encoded, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    if y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _ROOT_OF_MINUS_ONE % _P
    if (x * x - square) % _P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = _P - x
    return x, y, 1, x * y % _P


_BASE: Final = _decompress((4 * pow(5, -1, _P) % _P).to_bytes(32, "little")) or _NEUTRAL


# Command line


def _documents(path: str) -> Iterator[Mapping[str, Any] | None]:
    """Yield the proofs, and None for exported entries that were not sealed yet."""
    text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    try:
        documents = [json.loads(text)]
    except ValueError:
        documents = [json.loads(line) for line in text.split("\n") if line.strip()]
    for document in documents:
        nested = document.get("proof") if isinstance(document, Mapping) else None
        if isinstance(document, Mapping) and nested is None and "proof" in document and "canonical" not in document:
            yield None
        else:
            yield nested if isinstance(nested, Mapping) else document


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify the proofs in a file, and return the exit status.

    It is 0 if all entries have valid proofs, 1 if a proof is invalid, 2 if the file holds no proof or cannot be read,
    and 3 if all proofs are valid but an entry has none. An entry that was not sealed has none, but so does one whose
    proof was removed to hide a change, so the status is never 0.
    """
    parser = argparse.ArgumentParser(description="Verify proofs of audit entries.")
    parser.add_argument("file", help="A JSON document or JSON lines; - for standard input.")
    parser.add_argument("--key", action="append", required=True, help="A verifying key of the log; can be repeated.")
    options = parser.parse_args(arguments)
    status = 0
    try:
        documents = list(_documents(options.file))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"Cannot read {options.file}: {error}\n")
        return 2
    for number, document in enumerate(documents, 1):
        if document is None:
            sys.stdout.write(f"{number}: no proof: the entry is not verified. Export it again after it is sealed.\n")
            continue
        try:
            fields = verify_entry(document, options.key)
        except InvalidProof as error:
            status = 1
            sys.stdout.write(f"{number}: INVALID: {error}\n")
        else:
            sys.stdout.write(f"{number}: valid: {json.dumps(fields, sort_keys=True)}\n")
    if all(document is None for document in documents):
        sys.stderr.write(f"{options.file} holds no proof.\n")
        return 2
    return status or (3 if None in documents else 0)


if __name__ == "__main__":
    sys.exit(main())
