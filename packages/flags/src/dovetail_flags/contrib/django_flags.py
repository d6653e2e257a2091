"""The move from django-flags (``flags``): reading its flags from all of its sources.

``manage.py flags import --from django-flags`` copies them. The conditions ``parameter`` and ``path matches``, and those
of the project, have no equivalent. Clients choose the first two.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.utils.dateparse import parse_datetime
from flags.sources import get_flags  # type: ignore[import-untyped]  # django-flags has no types
from flags.utils import strtobool  # type: ignore[import-untyped]  # as above

from dovetail_flags.contrib.importing import Export

_DATES: Final = {"after date": "from", "before date": "until", "date": "from"}


class _Inexpressible(Exception):
    """The condition has no equivalent."""


class _Never(Exception):
    """The condition is never met."""


def document() -> dict[str, Any]:
    result = Export()
    for name, conditions in sorted(_conditions().items()):
        rules = list(_rules(name, conditions, result.notes))
        always = any(not rule["when"] and not {"from", "until"} & rule.keys() for rule in rules)
        # The simplest flag that is the same for everybody has no rules.
        result.add(name, enabled=bool(rules), rules=[] if always else rules, on=always, description="")
    return result.document()


def _conditions() -> dict[str, list[Any]]:
    return {name: flag.conditions for name, flag in get_flags().items()}


def _rules(name: str, conditions: list[Any], notes: list[str]) -> Iterator[dict[str, Any]]:
    """Yield one rule for each condition that suffices. It also has all conditions that are required."""
    required = [condition for condition in conditions if condition.required]
    sufficient = [[condition] for condition in conditions if not condition.required]
    # Without a sufficient condition, the required ones suffice. Without any condition, the flag is off.
    for number, alternative in enumerate(sufficient or ([[]] if required else []), start=1):
        rule: dict[str, Any] = {"id": f"condition-{number}", "when": [], "serve": "on"}
        try:
            for condition in [*alternative, *required]:
                _add(rule, condition)
        except _Never:
            continue
        except _Inexpressible as error:
            notes.append(f"{name!r}: a rule is not imported, because the condition {error} has no equivalent.")
            continue
        yield rule


def _add(rule: dict[str, Any], condition: Any) -> None:
    kind, value = condition.condition, condition.value
    if kind == "boolean":
        if not _is_true(value):
            raise _Never
    elif kind == "anonymous":
        rule["when"].append({"attribute": "anonymous", "op": "eq", "values": [_is_true(value)]})
    elif kind == "user":
        model = get_user_model()
        key = model._default_manager.filter(**{model.USERNAME_FIELD: value}).values_list("pk", flat=True).first()
        if key is None:
            raise _Never
        rule["when"].append({"attribute": "user", "op": "eq", "values": [str(key)]})
    elif kind in _DATES:
        _add_date(rule, _DATES[kind], value)
    else:
        raise _Inexpressible(f"{kind!r}")


def _add_date(rule: dict[str, Any], name: str, value: Any) -> None:
    moment = parse_datetime(value) if isinstance(value, str) else value
    # django-flags never meets a condition whose time has no offset, because it cannot compare it.
    if moment is None or moment.tzinfo is None:
        raise _Never
    present = rule.get(name)
    strictest = moment
    if present is not None:
        other = datetime.fromisoformat(present)
        strictest = max(moment, other) if name == "from" else min(moment, other)
    rule[name] = strictest.isoformat()


def _is_true(value: Any) -> bool:
    return bool(strtobool(value.strip())) if isinstance(value, str) else bool(value)
