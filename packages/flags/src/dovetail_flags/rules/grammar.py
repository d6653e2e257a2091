"""The grammar of flags. All mistakes of a document are reported at once, each with a JSON pointer (RFC 6901).

Limits keep the evaluation short: 20 variants of 8 KB together, 50 rules, 20 conditions a rule, 1 000 values a condition
of 500 characters each.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from django.utils.translation import gettext as _

from dovetail_flags.exceptions import Mistake
from dovetail_flags.rules.bucketing import BUCKETS
from dovetail_flags.rules.operators import MANY, ONE, OPERATORS, build, parse_time
from dovetail_flags.types.context import encodable
from dovetail_flags.types.kinds import LARGEST_INTEGER, PYTHON_TYPES, Fault, is_key, value_fault

MAX_VARIANTS: Final = 20
MAX_VARIANTS_BYTES: Final = 8192
MAX_RULES: Final = 50
MAX_CONDITIONS: Final = 20
MAX_VALUES: Final = 1000
MAX_TEXT: Final = 500
MAX_NAME: Final = 100
SPLIT_KEYS: Final = ("targeting_key", "user", "organization")

_RULE: Final = frozenset({"id", "when", "serve", "from", "until"})
_CONDITION: Final = frozenset({"attribute", "op", "values"})
_SPLIT: Final = frozenset({"split", "by"})


class Mistakes(list[Mistake]):
    """The mistakes of a document, in its order."""

    def report(self, pointer: Iterable[object], code: str, message: str) -> None:
        path = "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in pointer)
        self.append(Mistake(encodable(path), code, encodable(message)))


def mistakes_in(flag: Mapping[str, Any]) -> list[Mistake]:
    """Return the mistakes in the key, type, variants, names of variants, rules and tags of a flag.

    ``flag`` has JSON values. An empty list means that the flag can be compiled.
    """
    mistakes = Mistakes()
    if not is_key(flag.get("key")):
        mistakes.report(
            ["key"],
            "invalid_key",
            _(
                "A key has 1 to 100 lower-case letters and digits, in parts that “-”, “_” or “.” separates, and begins "
                "with a letter."
            ),
        )
    kind = flag.get("type")
    if not isinstance(kind, str) or kind not in PYTHON_TYPES:
        mistakes.report(["type"], "unknown_type", _("Must be one of: %s.") % ", ".join(PYTHON_TYPES))
        return mistakes
    names = _variants(flag.get("variants"), kind, mistakes)
    for field in ("off_variant", "default_variant"):
        _variant(flag.get(field), names, [field], mistakes)
    _rules(flag.get("rules", []), names, mistakes)
    _tags(flag.get("tags", []), mistakes)
    return mistakes


def _variants(variants: Any, kind: str, mistakes: Mistakes) -> set[str]:
    if not isinstance(variants, Mapping) or not 1 <= len(variants) <= MAX_VARIANTS:
        text = _("Must be an object of 1 to %(number)d variants: names and values.") % {"number": MAX_VARIANTS}
        mistakes.report(["variants"], "invalid_variants", text)
        return set()
    for name, value in variants.items():
        if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME or not name.isprintable():
            text = _("The name of a variant has 1 to %(number)d printable characters.") % {"number": MAX_NAME}
            mistakes.report(["variants", name], "invalid_name", text)
        if problem := _problem(value, kind):
            mistakes.report(["variants", name], "wrong_type", problem)
        elif not is_storable(value):
            mistakes.report(["variants", name], "invalid_value", not_storable())
    if _size(variants) > MAX_VARIANTS_BYTES:
        text = _("All variants together have at most %(number)d bytes of JSON.") % {"number": MAX_VARIANTS_BYTES}
        mistakes.report(["variants"], "too_large", text)
    return set(variants)


def _problem(value: object, kind: str) -> str | None:
    """Return an error text, or None if ``value`` is of the type ``kind``."""
    fault = value_fault(value, kind)
    if fault is Fault.TYPE:
        return _("Must be of the type %(type)s; %(value)s is not.") % {"type": kind, "value": f"{value!r:.80}"}
    if fault is Fault.TOO_LARGE:
        text = _("Must be from -%(number)d to %(number)d, which JavaScript reads exactly.")
        return text % {"number": LARGEST_INTEGER}
    return None if fault is None else _("Must be a finite number, because JSON has no other.")


def not_storable() -> str:
    return _("Must contain no NUL characters, no halves of surrogate pairs, and at most 10 levels.")


def is_storable(value: Any, depth: int = 10) -> bool:
    """Return whether PostgreSQL stores the JSON value: no NUL, no half of a surrogate pair, at most 10 levels."""
    if isinstance(value, str):
        return "\x00" not in value and not any("\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Mapping):
        return depth > 0 and all(is_storable(item, depth - 1) for pair in value.items() for item in pair)
    if isinstance(value, list):
        return depth > 0 and all(is_storable(item, depth - 1) for item in value)
    return value is None or isinstance(value, int)


def _size(value: Any) -> int:
    try:
        # NaN is no JSON, and a deep nesting no flag.
        return len(json.dumps(value, allow_nan=False, ensure_ascii=False).encode())
    except (TypeError, ValueError, RecursionError):
        return MAX_VARIANTS_BYTES + 1


def _variant(name: Any, names: set[str], pointer: list[object], mistakes: Mistakes) -> None:
    if not isinstance(name, str) or name not in names:
        text = _("%(name)s is no variant. The variants are: %(names)s.")
        mistakes.report(
            pointer, "unknown_variant", text % {"name": f"{name!r:.100}", "names": ", ".join(sorted(map(str, names)))}
        )


def _rules(rules: Any, names: set[str], mistakes: Mistakes) -> None:
    if not isinstance(rules, list) or len(rules) > MAX_RULES:
        mistakes.report(
            ["rules"], "invalid_rules", _("Must be a list of at most %(number)d rules.") % {"number": MAX_RULES}
        )
        return
    ids: set[str] = set()
    for index, rule in enumerate(rules):
        _rule(rule, names, ids, ["rules", index], mistakes)


def _rule(rule: Any, names: set[str], ids: set[str], pointer: list[object], mistakes: Mistakes) -> None:
    if not _is_object(rule, _RULE, pointer, mistakes):
        return
    identifier = rule.get("id")
    if not isinstance(identifier, str) or not 1 <= len(identifier) <= MAX_NAME or not identifier.isprintable():
        text = _("Must be a text of 1 to %(number)d printable characters.") % {"number": MAX_NAME}
        mistakes.report([*pointer, "id"], "invalid_id", text)
    elif identifier in ids:
        mistakes.report([*pointer, "id"], "duplicate_id", _("Another rule has this id."))
    else:
        ids.add(identifier)
    _when(rule.get("when", []), [*pointer, "when"], mistakes)
    _serve(rule.get("serve"), names, [*pointer, "serve"], mistakes)
    _schedule(rule, pointer, mistakes)


def _is_object(value: Any, allowed: frozenset[str], pointer: list[object], mistakes: Mistakes) -> bool:
    if not isinstance(value, Mapping):
        text = _("Must be an object with the members: %s.") % ", ".join(sorted(allowed))
        mistakes.report(pointer, "not_an_object", text)
        return False
    for name in value:
        if name not in allowed:
            text = _("Unknown member. The members are: %s.") % ", ".join(sorted(allowed))
            mistakes.report([*pointer, name], "unknown_member", text)
    return True


def _when(when: Any, pointer: list[object], mistakes: Mistakes) -> None:
    if not isinstance(when, list) or len(when) > MAX_CONDITIONS:
        text = _("Must be a list of at most %(number)d conditions.") % {"number": MAX_CONDITIONS}
        mistakes.report(pointer, "invalid_conditions", text)
        return
    for index, condition in enumerate(when):
        _condition(condition, [*pointer, index], mistakes)


def _condition(condition: Any, pointer: list[object], mistakes: Mistakes) -> None:
    if not _is_object(condition, _CONDITION, pointer, mistakes):
        return
    attribute = condition.get("attribute")
    if not isinstance(attribute, str) or not 1 <= len(attribute) <= MAX_NAME or not attribute.isprintable():
        text = _("Must be the name of an attribute, of 1 to %(number)d printable characters.") % {"number": MAX_NAME}
        mistakes.report([*pointer, "attribute"], "invalid_attribute", text)
    op = condition.get("op")
    if not isinstance(op, str) or op not in OPERATORS:
        mistakes.report([*pointer, "op"], "unknown_operator", _("Must be one of: %s.") % ", ".join(OPERATORS))
        return
    _values(op, condition.get("values", []), [*pointer, "values"], mistakes)


def _values(op: str, values: Any, pointer: list[object], mistakes: Mistakes) -> None:
    if not isinstance(values, list):
        mistakes.report(pointer, "invalid_values", _("Must be a list."))
        return
    number = len(values)
    if op in MANY and not 1 <= number <= MAX_VALUES:
        text = _("The operator takes 1 to %(number)d values.") % {"number": MAX_VALUES}
    elif op in ONE and number != 1:
        text = _("The operator takes exactly one value.")
    elif op == "exists" and values not in ([], [True], [False]):
        text = _("The operator takes no value, true, or false for a missing attribute.")
    else:
        text = ""
    if text:
        mistakes.report(pointer, "invalid_values", text)
        return
    before = len(mistakes)
    for index, value in enumerate(values):
        _value(value, [*pointer, index], mistakes)
    if len(mistakes) == before:
        try:
            build(op, values)
        except ValueError:
            if op == "semver_gte":
                text = _("Must be a semantic version such as 2.10.0.")
            else:
                text = _("Must be a number, or a time with an offset such as 2026-12-01T09:00:00+01:00.")
            mistakes.report([*pointer, 0], "invalid_value", text)


def _value(value: Any, pointer: list[object], mistakes: Mistakes) -> None:
    kind = {bool: "boolean", str: "string", int: "number", float: "number"}.get(type(value))
    if kind is None:
        mistakes.report(pointer, "invalid_value", _("Must be a text, a number, true or false."))
    elif problem := _problem(value, kind):
        mistakes.report(pointer, "invalid_value", problem)
    elif isinstance(value, str) and not 1 <= len(value) <= MAX_TEXT:
        text = _("Must have 1 to %(number)d characters.") % {"number": MAX_TEXT}
        mistakes.report(pointer, "invalid_value", text)
    elif not is_storable(value):
        mistakes.report(pointer, "invalid_value", not_storable())


def _serve(serve: Any, names: set[str], pointer: list[object], mistakes: Mistakes) -> None:
    if not isinstance(serve, Mapping):
        _variant(serve, names, pointer, mistakes)
        return
    _is_object(serve, _SPLIT, pointer, mistakes)
    if serve.get("by", "targeting_key") not in SPLIT_KEYS:
        mistakes.report([*pointer, "by"], "unknown_key", _("Must be one of: %s.") % ", ".join(SPLIT_KEYS))
    _split(serve.get("split"), names, [*pointer, "split"], mistakes)


def _split(split: Any, names: set[str], pointer: list[object], mistakes: Mistakes) -> None:
    if not isinstance(split, list) or not 1 <= len(split) <= MAX_VARIANTS:
        text = _("Must be a list of 1 to %(number)d pairs: a variant and its weight.") % {"number": MAX_VARIANTS}
        mistakes.report(pointer, "invalid_split", text)
        return
    total, valid = 0, True
    for index, pair in enumerate(split):
        if not isinstance(pair, list) or len(pair) != 2:
            mistakes.report([*pointer, index], "invalid_split", _("Must be a pair: a variant and its weight."))
            valid = False
            continue
        _variant(pair[0], names, [*pointer, index, 0], mistakes)
        if type(pair[1]) is not int or not 0 <= pair[1] <= BUCKETS:
            text = _("Must be a whole number from 0 to %(number)d.") % {"number": BUCKETS}
            mistakes.report([*pointer, index, 1], "invalid_weight", text)
            valid = False
        else:
            total += pair[1]
    if valid and total != BUCKETS:
        text = _("The weights sum to %(total)d; they must sum to %(number)d, which is 100 %%.")
        mistakes.report(pointer, "invalid_sum", text % {"total": total, "number": BUCKETS})


def _schedule(rule: Mapping[str, Any], pointer: list[object], mistakes: Mistakes) -> None:
    moments = {}
    for name in ("from", "until"):
        value = rule.get(name)
        if value is None:
            continue
        if (moment := parse_time(value)) is None:
            text = _("Must be a time with an offset, such as 2026-12-01T09:00:00+01:00.")
            mistakes.report([*pointer, name], "invalid_time", text)
        else:
            moments[name] = moment
    if len(moments) == 2 and moments["until"] <= moments["from"]:
        mistakes.report([*pointer, "until"], "invalid_time", _("Must be after “from”."))


def _tags(tags: Any, mistakes: Mistakes) -> None:
    valid = isinstance(tags, list) and len(tags) <= 20
    if not valid or not all(isinstance(tag, str) and 1 <= len(tag) <= 50 and tag.isprintable() for tag in tags):
        mistakes.report(["tags"], "invalid_tags", _("Must be a list of at most 20 texts of 1 to 50 characters."))
