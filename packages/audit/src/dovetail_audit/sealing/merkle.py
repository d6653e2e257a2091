"""The Merkle tree of RFC 9162, appended to in logarithmic memory and read in blocks of 256 hashes.

The tree keeps two kinds of rows: its leaves, and the root of every complete block of ``256 ** level`` leaves (a tile).
Tiles cost one row for 256 leaves. With them, a proof reads at most 512 hashes for each level, of which a billion leaves
have four; without them, it would read every leaf.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from dovetail_audit.proofs import leaf_hash, node_hash

__all__ = ["BLOCK", "Frontier", "Tree", "leaf_hash", "node_hash"]

#: The hashes of a block: eight levels of the binary tree are one level of tiles.
BLOCK: Final = 256
_BITS: Final = 8
_HASH: Final = 32

#: The blocks that a tree keeps: enough for proofs in the order of the leaves, and about 2 MB.
_BLOCKS_KEPT: Final = 64

#: Returns the hashes ``start`` to ``stop`` of a level: of leaves (level 0), or of tiles.
Reader = Callable[[int, int, int], Sequence[bytes]]


class Frontier:
    """The roots of the complete subtrees that a tree of ``size`` leaves consists of, the largest first.

    It is all that is needed to append leaves and to compute the root: one hash for each bit that is 1 in ``size``.
    """

    def __init__(self, size: int = 0, hashes: Sequence[bytes] = ()) -> None:
        if len(hashes) != size.bit_count():
            raise ValueError(f"The frontier of {size} leaves has {size.bit_count()} hashes; got {len(hashes)}.")
        self.size = size
        self.hashes = list(hashes)

    @classmethod
    def load(cls, size: int, data: bytes) -> Frontier:
        """Return the frontier that ``dump()`` wrote. Raise ``ValueError`` if it does not fit ``size``."""
        if len(data) % _HASH:
            raise ValueError(f"A frontier consists of hashes of {_HASH} bytes; got {len(data)} bytes.")
        return cls(size, [data[start : start + _HASH] for start in range(0, len(data), _HASH)])

    def dump(self) -> bytes:
        return b"".join(self.hashes)

    def append(self, leaf: bytes) -> list[tuple[int, int, bytes]]:
        """Add a leaf, and return the tiles that it completes: level, index, hash."""
        self.hashes.append(leaf)
        self.size += 1
        completed = []
        # As many subtrees merge as the new size has zeros at its end.
        for level in range(1, (self.size & -self.size).bit_length()):
            right = self.hashes.pop()
            self.hashes.append(node_hash(self.hashes.pop(), right))
            if level % _BITS == 0:
                completed.append((level // _BITS, (self.size >> level) - 1, self.hashes[-1]))
        return completed

    def nodes(self) -> dict[tuple[int, int], bytes]:
        """Return the hashes by the level and index of their subtrees."""
        levels = [level for level in range(self.size.bit_length()) if self.size >> level & 1]
        # Left of a subtree are only larger ones, so its index is the size without the smaller bits.
        return {
            (level, (self.size >> level) - 1): digest for level, digest in zip(levels[::-1], self.hashes, strict=True)
        }

    def root(self) -> bytes:
        """Return the root of the tree. Raise ``ValueError`` for an empty tree."""
        if not self.hashes:
            raise ValueError("A tree without leaves has no root here: nothing was sealed.")
        root = self.hashes[-1]
        for digest in reversed(self.hashes[:-1]):
            root = node_hash(digest, root)
        return root


class Tree:
    """Proofs from the stored hashes of a tree. The last blocks are kept, for the next proof."""

    def __init__(self, read: Reader, frontier: Frontier | None = None) -> None:
        """``frontier`` saves reading the right edge of the tree with its size: half of the blocks of a proof."""
        self._read = read
        self._size, self._edge = (0, {}) if frontier is None else (frontier.size, frontier.nodes())
        self._blocks: dict[tuple[int, int, int], Sequence[bytes]] = {}

    def root(self, size: int) -> bytes:
        return self._range(0, size, size)

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """Return the path from a leaf to the root of the tree with ``size`` leaves (RFC 9162, 2.1.3.1)."""
        if not 0 <= index < size:
            raise ValueError(f"A tree of {size} leaves has no leaf {index}.")
        start, stop = 0, size
        path: list[bytes] = []
        while stop - start > 1:
            middle = start + _split(stop - start)
            sibling = (middle, stop) if index < middle else (start, middle)
            path.append(self._range(*sibling, size))
            start, stop = (start, middle) if index < middle else (middle, stop)
        return path[::-1]

    def consistency(self, first: int, second: int) -> list[bytes]:
        """Return the proof that the tree of ``second`` leaves begins with that of ``first`` (RFC 9162, 2.1.4.1)."""
        if not 0 < first <= second:
            raise ValueError(f"The first size must be from 1 to the second; got {first} and {second}.")
        start, stop, complete = 0, second, True
        path: list[bytes] = []
        while first != stop:
            middle = start + _split(stop - start)
            if first <= middle:
                path.append(self._range(middle, stop, second))
                stop = middle
            else:
                path.append(self._range(start, middle, second))
                start, complete = middle, False
        if not complete:
            path.append(self._range(start, stop, second))
        return path[::-1]

    def _range(self, start: int, stop: int, size: int) -> bytes:
        """Return the root of the leaves ``start`` to ``stop``, which are a subtree of a tree of ``size`` leaves."""
        width = stop - start
        if width & (width - 1) == 0:
            return self._node(width.bit_length() - 1, start // width, size)
        middle = start + _split(width)
        return node_hash(self._range(start, middle, size), self._range(middle, stop, size))

    def _node(self, level: int, index: int, size: int) -> bytes:
        """Return the root of a complete subtree, from a part of one block."""
        if size == self._size and (level, index) in self._edge:
            return self._edge[level, index]
        tiles, rest = divmod(level, _BITS)
        start = index << rest
        hashes = self._block(tiles, start // BLOCK, size)[start % BLOCK : start % BLOCK + (1 << rest)]
        while len(hashes) > 1:
            hashes = [node_hash(hashes[number], hashes[number + 1]) for number in range(0, len(hashes), 2)]
        return hashes[0]

    def _block(self, level: int, number: int, size: int) -> Sequence[bytes]:
        start = number * BLOCK
        # A tile that is completed later is no part of this tree.
        stop = min(start + BLOCK, size >> (_BITS * level))
        if (level, start, stop) not in self._blocks:
            hashes = self._read(level, start, stop)
            if len(hashes) != stop - start:
                raise IncompleteTree(level, start, stop, len(hashes))
            if len(self._blocks) == _BLOCKS_KEPT:
                # The oldest of the lowest level: those above it serve more proofs.
                del self._blocks[min(self._blocks)]
            self._blocks[level, start, stop] = hashes
        return self._blocks[level, start, stop]


class IncompleteTree(Exception):
    """Hashes of the tree are missing from the database."""

    def __init__(self, level: int, start: int, stop: int, count: int) -> None:
        rows = "leaves" if level == 0 else f"tiles of level {level}"
        super().__init__(f"The {rows} {start} to {stop - 1} should be {stop - start} rows; there are {count}.")


def _split(width: int) -> int:
    """Return the largest power of two below ``width``, which is the size of a tree's left subtree."""
    return 1 << ((width - 1).bit_length() - 1)


def blocks(size: int) -> Iterator[tuple[int, int]]:
    """Yield the level and number of tiles that a tree of ``size`` leaves has."""
    level = 1
    while count := size >> (_BITS * level):
        yield level, count
        level += 1
