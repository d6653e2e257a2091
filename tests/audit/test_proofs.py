"""The stand-alone verifier, against the vectors of the standards and against forgeries."""

from __future__ import annotations

import ast
import base64
import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from dovetail_audit import proofs
from dovetail_audit.proofs import InvalidProof, leaf_hash, node_hash
from dovetail_audit.sealing.checkpoints import SigningKey, signing_key_problem, verifying_key_problem
from dovetail_audit.sealing.merkle import BLOCK, Frontier, IncompleteTree, Tree

# The leaves and roots of the reference tests of Certificate Transparency (RFC 6962).
LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
# RFC 8032, 7.1: public key, message, signature.
ED25519 = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe2"
            "4655141438e7a100b"
        ),
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302ae"
            "eb00d291612bb0c00"
        ),
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28"
            "dc027beceea1ec40a"
        ),
    ),
]
KEY = SigningKey.generate("audit.example.com")
PUBLIC = str(KEY.verifying_key())


class Log:
    """A tree in memory, with the rows that the database would hold."""

    def __init__(self, leaves: list[bytes]) -> None:
        self.levels: dict[int, list[bytes]] = {0: leaves}
        self.frontier = Frontier()
        self.reads = 0
        for leaf in leaves:
            for level, index, digest in self.frontier.append(leaf):
                assert index == len(self.levels.setdefault(level, []))
                self.levels[level].append(digest)

    def read(self, level: int, start: int, stop: int) -> list[bytes]:
        self.reads += stop - start
        return self.levels[level][start:stop]

    def root(self, size: int) -> bytes:
        return plain_root(self.levels[0][:size])


def plain_root(leaves: list[bytes]) -> bytes:
    """The definition of RFC 9162, 2.1.1."""
    if len(leaves) == 1:
        return leaves[0]
    middle = 1 << ((len(leaves) - 1).bit_length() - 1)
    return node_hash(plain_root(leaves[:middle]), plain_root(leaves[middle:]))


def numbered(count: int) -> list[bytes]:
    return [leaf_hash(str(number).encode(), b"") for number in range(count)]


@pytest.fixture(scope="module")
def log() -> Log:
    return Log(numbered(BLOCK * BLOCK + 3 * BLOCK + 77))


def signed(size: int, root: bytes, key: SigningKey = KEY, origin: str = "audit.example.com") -> str:
    text = str(proofs.Checkpoint(origin, size, root, "2026-01-31T12:00:00.000000Z"))
    return f"{text}\n{key.sign(text)}"


@pytest.mark.parametrize("size", range(1, 9))
def test_frontier_has_the_roots_of_certificate_transparency(size: int) -> None:
    frontier = Frontier()
    for leaf in LEAVES[:size]:
        frontier.append(leaf_hash(bytes.fromhex(leaf), b""))
    assert frontier.root().hex() == ROOTS[size - 1]


@given(st.integers(1, 700), st.data())
@settings(deadline=None, max_examples=60)
def test_every_proof_of_a_random_tree_is_valid(size: int, data: st.DataObject) -> None:
    log = Log(numbered(size))
    tree = Tree(log.read)
    index = data.draw(st.integers(0, size - 1))
    first = data.draw(st.integers(1, size))
    earlier = data.draw(st.integers(index + 1, size))
    assert tree.root(size) == log.frontier.root() == log.root(size)
    proofs.verify_inclusion(
        leaf=log.levels[0][index],
        index=index,
        size=earlier,
        proof=tree.inclusion(index, earlier),
        root=log.root(earlier),
    )
    proofs.verify_consistency(
        first_size=first,
        first_root=log.root(first),
        second_size=size,
        second_root=log.root(size),
        proof=tree.consistency(first, size),
    )


@given(st.integers(2, 300), st.data())
@settings(deadline=None, max_examples=60)
def test_changed_inclusion_proof_is_invalid(size: int, data: st.DataObject) -> None:
    log = Log(numbered(size))
    index = data.draw(st.integers(0, size - 1))
    path = Tree(log.read).inclusion(index, size)
    arguments = {"leaf": log.levels[0][index], "index": index, "size": size, "proof": path, "root": log.root(size)}
    other = bytes(32)
    changes: list[dict[str, Any]] = [
        {"leaf": other},
        {"root": other},
        {"index": data.draw(st.integers(0, size - 1).filter(lambda number: number != index))},
        {"index": size},
        {"index": -1},
        {"proof": path[1:]},
        {"proof": [*path, other]},
        {"proof": [*path[:-1], other]},
    ]
    for change in changes:
        with pytest.raises(InvalidProof):
            proofs.verify_inclusion(**{**arguments, **change})


@given(st.integers(2, 300), st.data())
@settings(deadline=None, max_examples=60)
def test_rewritten_log_is_inconsistent(size: int, data: st.DataObject) -> None:
    log = Log(numbered(size))
    first = data.draw(st.integers(1, size - 1))
    index = data.draw(st.integers(0, first - 1))
    rewritten = Log([*log.levels[0][:index], bytes(32), *log.levels[0][index + 1 :]])
    for proof in (Tree(log.read).consistency(first, size), Tree(rewritten.read).consistency(first, size), []):
        with pytest.raises(InvalidProof):
            proofs.verify_consistency(
                first_size=first,
                first_root=log.root(first),
                second_size=size,
                second_root=rewritten.root(size),
                proof=proof,
            )


def test_trees_of_one_size_are_consistent_only_if_equal() -> None:
    root = plain_root(numbered(5))
    proofs.verify_consistency(first_size=5, first_root=root, second_size=5, second_root=root, proof=[])
    with pytest.raises(InvalidProof, match="rewritten"):
        proofs.verify_consistency(first_size=5, first_root=root, second_size=5, second_root=bytes(32), proof=[])
    with pytest.raises(InvalidProof, match="smaller"):
        proofs.verify_consistency(first_size=6, first_root=root, second_size=5, second_root=root, proof=[])


@pytest.mark.parametrize("index", [0, 255, 256, BLOCK * BLOCK - 1, BLOCK * BLOCK, BLOCK * BLOCK + 3 * BLOCK + 76])
def test_proof_reads_at_most_two_blocks_of_each_level(log: Log, index: int) -> None:
    log.reads = 0
    path = Tree(log.read).inclusion(index, log.frontier.size)
    assert log.reads <= 3 * 2 * BLOCK
    proofs.verify_inclusion(
        leaf=log.levels[0][index], index=index, size=log.frontier.size, proof=path, root=log.frontier.root()
    )


@given(st.integers(1, 700), st.data())
@settings(deadline=None, max_examples=40)
def test_frontier_makes_the_same_proofs_with_fewer_reads(size: int, data: st.DataObject) -> None:
    log = Log(numbered(size))
    index = data.draw(st.integers(0, size - 1))
    expected, log.reads = Tree(log.read).inclusion(index, size), 0
    assert Tree(log.read, log.frontier).inclusion(index, size) == expected
    assert log.reads <= 2 * BLOCK
    assert Tree(log.read, log.frontier).root(size) == log.frontier.root()


def test_tree_names_missing_leaves() -> None:
    log = Log(numbered(600))
    del log.levels[0][590:]
    with pytest.raises(IncompleteTree, match=r"leaves 512 to 599 should be 88 rows; there are 78\."):
        Tree(log.read).inclusion(3, 600)


def test_frontier_survives_its_stored_form() -> None:
    frontier = Log(numbered(300)).frontier
    loaded = Frontier.load(300, frontier.dump())
    assert loaded.root() == frontier.root()
    for size, data in [(299, frontier.dump()), (300, frontier.dump()[:-1])]:
        with pytest.raises(ValueError, match="frontier"):
            Frontier.load(size, data)


@pytest.mark.parametrize(("public", "message", "signature"), ED25519)
def test_signatures_of_the_standard_are_valid(public: str, message: str, signature: str) -> None:
    assert proofs.verify_ed25519(bytes.fromhex(public), bytes.fromhex(message), bytes.fromhex(signature))
    assert not proofs.verify_ed25519(bytes.fromhex(public), bytes.fromhex(message) + b"x", bytes.fromhex(signature))


@given(st.binary(max_size=200), st.integers(0, 511))
@settings(deadline=None, max_examples=30)
def test_signature_agrees_with_cryptography(message: bytes, bit: int) -> None:
    key = Ed25519PrivateKey.generate()
    public, signature = key.public_key().public_bytes_raw(), bytearray(key.sign(message))
    assert proofs.verify_ed25519(public, message, bytes(signature))
    signature[bit // 8] ^= 1 << bit % 8
    assert not proofs.verify_ed25519(public, message, bytes(signature))


def test_second_form_of_a_signature_is_invalid() -> None:
    public, message, signature = (bytes.fromhex(text) for text in ED25519[1])
    order = 2**252 + 27742317777372353535851937790883648493
    scalar = int.from_bytes(signature[32:], "little") + order
    assert not proofs.verify_ed25519(public, message, signature[:32] + scalar.to_bytes(32, "little"))


@pytest.mark.parametrize(
    ("public", "signature"), [(b"\xff" * 32, bytes(64)), (bytes(31), bytes(64)), (bytes(32), bytes(63))]
)
def test_malformed_signature_is_invalid(public: bytes, signature: bytes) -> None:
    assert not proofs.verify_ed25519(public, b"", signature)


def test_checkpoint_needs_a_known_key_and_its_own_text() -> None:
    note = signed(3, bytes(32))
    assert proofs.verify_checkpoint(note, [PUBLIC]).size == 3
    with pytest.raises(InvalidProof, match="None of your keys"):
        proofs.verify_checkpoint(note, [str(SigningKey.generate("audit.example.com").verifying_key())])
    with pytest.raises(InvalidProof, match="was changed"):
        proofs.verify_checkpoint(note.replace("\n3\n", "\n4\n"), [PUBLIC])


def test_checkpoint_of_another_log_is_invalid() -> None:
    with pytest.raises(InvalidProof, match=r"log 'staging\.example\.com'"):
        proofs.verify_checkpoint(signed(3, bytes(32), origin="staging.example.com"), [PUBLIC])


@pytest.mark.parametrize(
    "note",
    [
        "",
        "one paragraph\n",
        "audit.example.com\n3\n\n— audit.example.com AAAA\n",
        signed(3, bytes(32)).replace("\n3\n", "\n03\n"),
        signed(3, bytes(32)).replace("at 2026", "on 2026"),
        signed(3, bytes(32)).rstrip("\n"),
        signed(3, bytes(32)).replace("— ", "- "),
        signed(3, bytes(32)).replace("\n3\n", "\n3\r\n"),
        signed(3, bytes(31)),
    ],
)
def test_malformed_checkpoint_is_invalid(note: str) -> None:
    with pytest.raises(InvalidProof):
        proofs.verify_checkpoint(note, [PUBLIC])


@pytest.mark.parametrize("key", ["", "name", "name+00000000+AAAA", PUBLIC.replace("+", "+0", 1), f"a b{PUBLIC}"])
def test_malformed_verifying_key_is_named(key: str) -> None:
    with pytest.raises(InvalidProof, match=r"form|belong"):
        proofs.verify_checkpoint(signed(3, bytes(32)), [key])
    assert verifying_key_problem(key)


def test_key_pair_survives_its_text() -> None:
    assert SigningKey.parse(str(KEY)) == KEY
    assert signing_key_problem(str(KEY)) is None
    assert verifying_key_problem(PUBLIC) is None


@pytest.mark.parametrize("value", ["", None, "secret", str(KEY).replace("+audit", "+audIt"), str(KEY)[:-4]])
def test_problem_of_a_signing_key_does_not_show_it(value: str | None) -> None:
    problem = signing_key_problem(value)
    assert problem is not None
    assert base64.b64encode(KEY.seed).decode()[:20] not in problem
    assert base64.b64encode(KEY.seed).decode()[:20] not in repr(KEY)


def test_name_of_a_key_has_no_spaces() -> None:
    with pytest.raises(ValueError, match="spaces"):
        SigningKey.generate("two words")


def document() -> dict[str, Any]:
    canonical = json.dumps({"action": "api_key.revoked", "version": 1})
    leaves = [*numbered(4), leaf_hash(canonical.encode(), b"m" * 32), *numbered(6)]
    log = Log(leaves)
    return {
        "canonical": canonical,
        "mac": base64.b64encode(b"m" * 32).decode(),
        "leaf_index": 4,
        "tree_size": 11,
        "proof": [base64.b64encode(item).decode() for item in Tree(log.read).inclusion(4, 11)],
        "checkpoint": signed(11, log.frontier.root()),
    }


def test_entry_with_a_valid_proof_returns_its_fields() -> None:
    assert proofs.verify_entry(document(), [PUBLIC]) == {"action": "api_key.revoked", "version": 1}


@pytest.mark.parametrize(
    "change",
    [
        {"canonical": '{"action": "api_key.created", "version": 1}'},
        {"mac": base64.b64encode(bytes(32)).decode()},
        {"mac": "?"},
        {"leaf_index": 5},
        {"leaf_index": "4"},
        {"leaf_index": True},
        {"tree_size": 12},
        {"proof": []},
        {"proof": None},
        {"proof": ["AAAA"]},
        {"checkpoint": "nothing"},
        {"canonical": "\ud800"},
        {"checkpoint": "a\ud800\n\n— a AAAAAAAA\n"},
    ],
)
def test_entry_with_a_changed_proof_is_invalid(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidProof):
        proofs.verify_entry({**document(), **change}, [PUBLIC])


@pytest.mark.parametrize("missing", ["canonical", "mac", "leaf_index", "tree_size", "proof", "checkpoint"])
def test_entry_without_a_part_of_the_proof_is_invalid(missing: str) -> None:
    incomplete = document()
    del incomplete[missing]
    with pytest.raises(InvalidProof, match="malformed"):
        proofs.verify_entry(incomplete, [PUBLIC])


def test_verifier_imports_only_the_standard_library() -> None:
    tree = ast.parse(Path(proofs.__file__).read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names


def test_copied_verifier_checks_files_on_the_command_line(tmp_path: Path) -> None:
    verifier = tmp_path / "proofs.py"
    verifier.write_text(Path(proofs.__file__).read_text())
    forged = copy.deepcopy(document())
    forged["canonical"] = forged["canonical"].replace("revoked", "created")
    lines = tmp_path / "export.jsonl"
    lines.write_text("\n".join(json.dumps({"id": "x", "proof": item}) for item in (document(), forged)))
    single = tmp_path / "proof.json"
    single.write_text(json.dumps(document(), indent=2))

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        # -I: without site-packages of the user and without the working directory.
        command = [sys.executable, "-I", "-S", str(verifier), *map(str, arguments)]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    valid, mixed = run(single, "--key", PUBLIC), run(lines, "--key", PUBLIC)
    assert (valid.returncode, valid.stdout[:9]) == (0, "1: valid:")
    assert mixed.returncode == 1
    assert [line[:10] for line in mixed.stdout.splitlines()] == ["1: valid: ", "2: INVALID"]
    absent = run(tmp_path / "absent", "--key", PUBLIC)
    assert (absent.returncode, absent.stdout) == (2, "")
    assert "Cannot read" in absent.stderr


def test_exported_entry_without_proof_is_not_verified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = tmp_path / "export.jsonl"
    # The break of a line in Unicode stays within the text of JSON.
    unsealed = {"id": "x", "user_agent": "a\u2028b", "proof": None}
    lines.write_text("\n".join(json.dumps(item, ensure_ascii=False) for item in (unsealed, {"proof": document()})))
    # Not 0: the exporter could hide a changed entry by removing its proof.
    assert proofs.main([str(lines), "--key", PUBLIC]) == 3
    assert [line[:11] for line in capsys.readouterr().out.splitlines()] == ["1: no proof", "2: valid: {"]
    lines.write_text(json.dumps(unsealed))
    assert proofs.main([str(lines), "--key", PUBLIC]) == 2
    lines.write_text(json.dumps({**document(), "proof": None}))
    assert proofs.main([str(lines), "--key", PUBLIC]) == 1
