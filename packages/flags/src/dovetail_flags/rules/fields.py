"""The fields of flags as callers write them: defaults, ids of rules, and values of the wrong type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django.utils.translation import gettext as _

from dovetail_flags.base import CHANGEABLE, AbstractFlag
from dovetail_flags.exceptions import InvalidFlag
from dovetail_flags.rules.grammar import Mistakes, is_storable, not_storable
from dovetail_flags.rules.operators import parse_time

BOOLEAN_VARIANTS: Final[Mapping[str, Any]] = {"on": True, "off": False}
_TEXTS: Final = {"name": 200, "description": 10_000, "owner": 200}
_BOOLEANS: Final = ("enabled", "client_visible", "temporary")


def with_defaults(values: dict[str, Any]) -> dict[str, Any]:
    if values.get("type") == "boolean":
        values.setdefault("variants", dict(BOOLEAN_VARIANTS))
    variants = values.get("variants")
    names = list(variants) if isinstance(variants, Mapping) else []
    if names:
        values.setdefault("off_variant", "off" if "off" in names else names[0])
        values.setdefault("default_variant", "on" if "on" in names else names[-1])
    return values


def with_ids(rules: Any) -> Any:
    """Give rules without an id the next free one of ``rule-1``, ``rule-2`` and so on."""
    if not isinstance(rules, list):
        return rules
    used = {rule["id"] for rule in rules if isinstance(rule, Mapping) and isinstance(rule.get("id"), str)}
    free = (name for number in range(1, len(rules) + len(used) + 1) if (name := f"rule-{number}") not in used)
    return [
        {"id": next(free), **rule} if isinstance(rule, Mapping) and rule.get("id") is None else rule for rule in rules
    ]


def writable_names(model: type[AbstractFlag]) -> set[str]:
    """Return the names of fields that a caller may set, including those that a project has added."""
    own = {field.name for field in AbstractFlag._meta.local_fields}
    added = {field.name for field in model._meta.concrete_fields} - own
    return {"key", "type", "salt", *CHANGEABLE, *added}


def parsed(values: Mapping[str, Any], allowed: set[str] | None = None) -> dict[str, Any]:
    """Return the values as the model stores them. Raise ``InvalidFlag`` for unknown names and values of wrong types."""
    mistakes = Mistakes()
    result = dict(values)
    for name, value in values.items():
        if allowed is not None and name not in allowed:
            text = _("Unknown or fixed. The fields are: %s.") % ", ".join(sorted(allowed))
            mistakes.report([name], "unknown_field", text)
        elif name in _BOOLEANS and not isinstance(value, bool):
            mistakes.report([name], "not_a_boolean", _("Must be true or false."))
        elif name in _TEXTS and not is_text(value, _TEXTS[name]):
            text = _("Must be a text of at most %(number)d characters, without NUL characters.")
            mistakes.report([name], "invalid_text", text % {"number": _TEXTS[name]})
        elif name == "salt" and not (is_text(value, 32) and value.isalnum()):
            mistakes.report([name], "invalid_salt", _("Must be 1 to 32 letters and digits."))
        elif name == "expires_at" and value is not None:
            result[name] = parse_time(value)
            if result[name] is None:
                text = _("Must be a time with an offset, such as 2026-12-01T09:00:00+01:00.")
                mistakes.report([name], "invalid_time", text)
        elif name in {"variants", "rules", "tags"} and not is_storable(value):
            mistakes.report([name], "invalid_value", not_storable())
    if mistakes:
        raise InvalidFlag(mistakes)
    return result


def is_text(value: Any, longest: int) -> bool:
    return isinstance(value, str) and len(value) <= longest and is_storable(value)
