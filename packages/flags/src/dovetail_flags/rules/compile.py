"""Flags in the form in which they are evaluated: no query, no lock, and no new object for each result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from time import time
from typing import Any, Final

from dovetail_flags.rules.bucketing import bucket
from dovetail_flags.rules.operators import Test, build, parse_time
from dovetail_flags.types.context import Context, text
from dovetail_flags.types.details import Details, ErrorCode, Reason, failure, own_value
from dovetail_flags.types.kinds import PYTHON_TYPES, accepts

#: The exceptions of :class:`CompiledFlag` for a row that was changed without the services.
INVALID: Final = (AttributeError, IndexError, KeyError, TypeError, ValueError)


def invalid(key: str) -> str:
    """Return the text of ``PARSE_ERROR`` for a row that cannot be compiled."""
    return f"The flag {key!r} has invalid variants or rules."


class Condition:
    __slots__ = ("attribute", "exists", "op", "test")

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.attribute: str = document["attribute"]
        self.op: str = document["op"]
        values: Sequence[Any] = document.get("values", ())
        self.test: Test = build(self.op, values)
        #: False if the attribute must be missing.
        self.exists = not (self.op == "exists" and list(values) == [False])

    def holds(self, context: Context) -> bool:
        attribute = self.attribute
        value = context.attributes.get(attribute)
        # An OFREP client that may choose the targeting key has its own one among the attributes. It could otherwise
        # read the flags of another organization, whose rules name that key.
        if value is None and attribute == "targeting_key" and attribute not in context.attributes:
            value = context.targeting_key
        # A missing attribute meets no other condition, not even "not_in": nothing is known about it.
        if value is None:
            return not self.exists
        return self.exists and self.test(value)


class Split:
    """Chooses among details by the bucket of the targeting key, the user or the organization."""

    __slots__ = ("by", "ranges", "salt")

    def __init__(self, salt: str, by: str, ranges: Sequence[tuple[int, Details]]) -> None:
        self.salt = salt
        self.by = by
        #: The first bucket after each range, and its details.
        self.ranges = tuple(ranges)

    def key(self, context: Context) -> str | None:
        if self.by == "targeting_key":
            return context.targeting_key
        value = context.attributes.get(self.by)
        return None if value is None else text(value)

    def choose(self, key: str) -> Details:
        number = bucket(self.salt, key)
        for end, details in self.ranges:
            if number < end:
                return details
        return self.ranges[-1][1]


class Rule:
    __slots__ = ("conditions", "fixed", "id", "scheduled", "since", "split", "until")

    def __init__(self, document: Mapping[str, Any], flag: CompiledFlag, salt: str) -> None:
        self.id: str = document.get("id", "")
        self.conditions = tuple(map(Condition, document.get("when", ())))
        self.since = _timestamp(document.get("from"))
        self.until = _timestamp(document.get("until"))
        self.scheduled = self.since is not None or self.until is not None
        self.fixed: Details | None = None
        self.split: Split | None = None
        serve = document["serve"]
        if isinstance(serve, str):
            self.fixed = flag.serve(serve, Reason.TARGETING_MATCH, self.id)
        else:
            ranges, end = [], 0
            for variant, weight in serve["split"]:
                end += weight
                ranges.append((end, flag.serve(variant, Reason.SPLIT, self.id)))
            self.split = Split(salt, serve.get("by", "targeting_key"), ranges)

    def is_current(self, now: float) -> bool:
        """Return whether ``now``, a POSIX timestamp, is in the time of the rule."""
        return (self.since is None or now >= self.since) and (self.until is None or now < self.until)

    def evaluate(self, context: Context) -> Details | None:
        """Return the details if the rule matches."""
        if self.scheduled and not self.is_current(time()):
            return None
        for condition in self.conditions:
            if not condition.holds(context):
                return None
        if self.split is None:
            return self.fixed
        # Without a key there is no stable choice, so the next rule decides.
        key = self.split.key(context)
        return None if key is None else self.split.choose(key)


class CompiledFlag:
    """A flag that is ready for evaluation. Raises one of ``INVALID`` for invalid variants or rules."""

    __slots__ = ("client_visible", "copied", "fallback", "key", "kind", "rules", "types", "variants", "version")

    def __init__(
        self,
        *,
        key: str,
        type: str,  # noqa: A002  # the name of the field
        variants: Mapping[str, Any],
        enabled: bool,
        off_variant: str,
        default_variant: str,
        rules: Sequence[Mapping[str, Any]],
        salt: str,
        version: int,
        client_visible: bool = False,
    ) -> None:
        self.key = key
        self.kind = type
        self.types = PYTHON_TYPES[type]
        # JSON does not distinguish 1 and 1.0. A float keeps the type of the flag in OpenFeature and in its clients.
        self.variants = {name: float(value) for name, value in variants.items()} if type == "number" else variants
        self.version = version
        self.client_visible = client_visible
        self.copied = type == "object"
        self.rules: tuple[Rule, ...] = ()
        if not enabled:
            self.fallback = self.serve(off_variant, Reason.DISABLED)
        else:
            self.rules = tuple(Rule(document, self, salt) for document in rules)
            self.fallback = self.serve(default_variant, Reason.DEFAULT if self.rules else Reason.STATIC)

    def serve(self, variant: str, reason: Reason, rule: str | None = None) -> Details:
        return Details(self.variants[variant], variant, reason, rule, None, self.version)

    def evaluate(self, context: Context) -> Details:
        for rule in self.rules:
            details = rule.evaluate(context)
            if details is not None:
                return details
        return self.fallback

    def details(self, default: Any, context: Context) -> Details:
        """Return the details, or those of a failure if the value does not have the type of ``default``."""
        if default is not None and type(default) not in self.types and not accepts(self.types, default):
            return self.mismatch(default)
        details = self.evaluate(context) if self.rules else self.fallback
        return replace(details, value=own_value(details.value)) if self.copied else details

    def mismatch(self, default: Any) -> Details:
        message = f"The flag {self.key!r} is of the type {self.kind}; the default {default!r:.80} is not."
        return failure(default, ErrorCode.TYPE_MISMATCH, message, self.version)


def _timestamp(value: Any) -> float | None:
    if value is None:
        return None
    moment = parse_time(value)
    if moment is None:
        raise ValueError(f"{value!r} is not a time with an offset.")
    return moment.timestamp()
