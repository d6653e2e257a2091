"""Encoded values of all flags that clients may read, shared by the contexts for which all rules decide alike.

Most rules ask for the organization, so its members share one answer until a flag changes. For 200 flags, evaluating and
encoding takes longer than all else that a request needs.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from time import time
from typing import Any, Final
from uuid import UUID

from dovetail_flags.rules.compile import CompiledFlag
from dovetail_flags.types.context import Context

#: Bytes of the answers of a set of flags with what identifies them. Clients that may choose their targeting key or an
#: attribute can cause any number of answers, with texts of any length.
MAX_SIZE: Final = 4 * 1024 * 1024
#: About the bytes of the objects of an answer without its texts.
_OVERHEAD: Final = 500
#: Types whose values decide alike if they are equal. Lists, which cannot be keys, and others are evaluated each time.
_PLAIN: Final = frozenset({str, int, bool, float, UUID, type(None)})


class Answers:
    __slots__ = ("_answers", "_moments", "_names", "_size")

    def __init__(self, flags: Iterable[CompiledFlag]) -> None:
        rules = [rule for flag in flags for rule in flag.rules]
        names = {condition.attribute for rule in rules for condition in rule.conditions}
        self._names = sorted(names | {rule.split.by for rule in rules if rule.split is not None})
        #: When schedules begin and end. Between two of them, the time decides nothing.
        self._moments = sorted({moment for rule in rules for moment in (rule.since, rule.until) if moment is not None})
        self._answers: dict[tuple[Any, ...], tuple[bytes, str]] = {}
        self._size = 0

    def question(self, context: Context) -> tuple[Any, ...] | None:
        """Return what the rules ask of the context, or None if its answer cannot be shared."""
        question: list[Any] = [bisect_right(self._moments, time()) if self._moments else 0]
        attributes = context.attributes
        for name in self._names:
            value = attributes.get(name)
            if type(value) not in _PLAIN:
                return None
            # With its type, because 1 equals True.
            question += (type(value), value)
            if name == "targeting_key":
                question += (name in attributes, context.targeting_key)
        return tuple(question)

    def get(self, question: tuple[Any, ...]) -> tuple[bytes, str] | None:
        """Return the stored content and its entity tag."""
        return self._answers.get(question)

    def store(self, question: tuple[Any, ...], content: bytes, tag: str) -> None:
        size = _OVERHEAD + len(content) + sum(4 * len(part) for part in question if isinstance(part, str))
        if size > MAX_SIZE:
            return
        if self._size + size > MAX_SIZE:
            self.clear()
        self._answers[question] = content, tag
        self._size += size

    def clear(self) -> None:
        self._answers.clear()
        self._size = 0
