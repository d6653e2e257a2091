"""Why a flag has its value for a context: what each rule decided."""

from __future__ import annotations

from dataclasses import dataclass
from time import time
from typing import Any

from dovetail_flags.base import AbstractFlag
from dovetail_flags.rules.bucketing import bucket
from dovetail_flags.rules.compile import INVALID, CompiledFlag, Rule, invalid
from dovetail_flags.types.context import Context
from dovetail_flags.types.details import Details, ErrorCode, failure


@dataclass(frozen=True, slots=True)
class Step:
    """A rule and its outcome: ``matched``, ``condition`` with the first one that failed, ``schedule`` or ``no_key``.

    Rules after the one that matched have no step. ``bucket`` is that of a percentage, from 0 to 99 999.
    """

    rule: str
    outcome: str
    condition: dict[str, Any] | None = None
    bucket: int | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    details: Details
    steps: tuple[Step, ...]


def compiled(flag: AbstractFlag) -> CompiledFlag:
    """Compile a row, saved or not. Raises one of ``INVALID`` for invalid variants or rules."""
    return CompiledFlag(**{name: getattr(flag, name) for name in COLUMNS})


#: The columns of a flag that its evaluation needs.
COLUMNS = (
    "key",
    "type",
    "variants",
    "enabled",
    "off_variant",
    "default_variant",
    "rules",
    "salt",
    "version",
    "client_visible",
)


def explain(flag: AbstractFlag, context: Context) -> Explanation:
    """Evaluate a row, saved or not. A disabled flag has no steps.

    A row that was changed without the services may be invalid. As in evaluations, the result is then ``PARSE_ERROR``.
    """
    try:
        prepared = compiled(flag)
    except INVALID:
        return Explanation(failure(None, ErrorCode.PARSE_ERROR, invalid(flag.key), flag.version), ())
    steps: list[Step] = []
    # The rules of a disabled flag are not compiled, and may be anything.
    for rule, document in zip(prepared.rules, flag.rules if prepared.rules else (), strict=True):
        steps.append(_step(rule, document, context))
        if steps[-1].outcome == "matched":
            break
    return Explanation(prepared.details(None, context), tuple(steps))


def _step(rule: Rule, document: dict[str, Any], context: Context) -> Step:
    if not rule.is_current(time()):
        return Step(rule.id, "schedule")
    for condition, written in zip(rule.conditions, document.get("when", ()), strict=True):
        if not condition.holds(context):
            return Step(rule.id, "condition", written)
    if rule.split is None:
        return Step(rule.id, "matched")
    key = rule.split.key(context)
    if key is None:
        return Step(rule.id, "no_key")
    return Step(rule.id, "matched", None, bucket(rule.split.salt, key))
