"""Proofs that entries are in the tree, for ``dovetail_audit.proofs``."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from dovetail_audit.entries import databases
from dovetail_audit.entries.canonical import canonical
from dovetail_audit.exceptions import NotSealed
from dovetail_audit.models import Checkpoint, Entry, Leaf, Tile
from dovetail_audit.sealing.merkle import Frontier, Reader, Tree
from dovetail_audit.sealing.sealer import newest


class Prover:
    """Makes proofs for one checkpoint, by default the newest. It reads the tree in blocks and keeps the last ones."""

    def __init__(self, checkpoint: Checkpoint | None = None, *, using: str | None = None) -> None:
        self._using = using or databases.home()
        self._checkpoint = newest(self._using) if checkpoint is None else checkpoint
        self._tree = Tree(reader(self._using), self._frontier())

    def prove(self, entries: Iterable[Entry]) -> dict[UUID, dict[str, Any]]:
        """Return the proofs of the entries that the checkpoint covers, by their ids."""
        if self._checkpoint is None:
            return {}
        rows = {entry.pk: entry for entry in entries}
        leaves = Leaf._base_manager.using(self._using).filter(entry__in=list(rows), pk__lt=self._checkpoint.pk)
        positions = leaves.order_by("pk").values_list("entry", "pk")
        return {entry: self._document(rows[entry], position, self._checkpoint) for entry, position in positions}

    def _frontier(self) -> Frontier | None:
        if self._checkpoint is None:
            return None
        try:
            return Frontier.load(self._checkpoint.pk, bytes(self._checkpoint.frontier))
        except ValueError:  # damaged: the proof does not need it
            return None

    def _document(self, entry: Entry, position: int, checkpoint: Checkpoint) -> dict[str, Any]:
        return {
            "leaf_index": position,
            "tree_size": checkpoint.pk,
            "canonical": canonical(entry).decode(),
            "mac": _base64(bytes(entry.mac)),
            "proof": [_base64(digest) for digest in self._tree.inclusion(position, checkpoint.pk)],
            "checkpoint": checkpoint.signature,
        }


def prove(entry: Entry, checkpoint: Checkpoint | None = None, *, using: str | None = None) -> dict[str, Any]:
    """Return the proof that ``checkpoint``, by default the newest, covers the entry, as a JSON object.

    ``dovetail_audit.proofs.verify_entry()`` verifies it with the public key only. Raise ``NotSealed`` if the checkpoint
    does not cover the entry, and ``IncompleteTree`` if hashes of the tree were deleted.
    """
    documents = prove_all([entry], checkpoint, using=using)
    if entry.pk not in documents:
        raise NotSealed(f"No checkpoint covers the entry {entry.pk} yet. The sealer runs every few seconds; try again.")
    return documents[entry.pk]


def prove_all(
    entries: Iterable[Entry], checkpoint: Checkpoint | None = None, *, using: str | None = None
) -> dict[UUID, dict[str, Any]]:
    """Return the proofs of those entries that the same checkpoint covers, by their ids, with a few queries."""
    return Prover(checkpoint, using=using).prove(entries)


def prove_consistency(first: int, second: int, *, using: str | None = None) -> list[bytes]:
    """Return the proof that the log of ``second`` leaves begins with that of ``first``.

    Raise ``ValueError`` for sizes that are not in ascending order, and ``IncompleteTree`` if hashes are missing.
    """
    return Tree(reader(using or databases.home())).consistency(first, second)


def reader(using: str) -> Reader:
    """Return the function that reads hashes of the tree from the database."""

    def read(level: int, start: int, stop: int) -> Sequence[bytes]:
        rows: QuerySet[Any]
        if level == 0:
            rows = Leaf._base_manager.using(using).filter(pk__gte=start, pk__lt=stop).order_by("pk")
        else:
            rows = (
                Tile._base_manager.using(using).filter(level=level, index__gte=start, index__lt=stop).order_by("index")
            )
        return [bytes(digest) for digest in rows.values_list("hash", flat=True)]

    return read


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
