"""The move from django-waffle: reading its flags and switches, and the attributes that its rules need.

``manage.py flags import --from waffle`` copies flags and switches. Set the context first, and keep it::

    FLAGS_CONTEXT = "dovetail_flags.contrib.waffle.context"

Percentages choose other people than waffle's, which are random for each visitor and stored in a cookie. Samples are
random for each call and have no equivalent. The test cookie and ``WAFFLE_OVERRIDE`` let clients choose their flags, and
have none either.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.http import HttpRequest
from django.utils import translation
from waffle import get_waffle_flag_model, get_waffle_sample_model, get_waffle_switch_model

from dovetail_flags.contrib.importing import Export, serve_on
from dovetail_flags.evaluation.context import default_context


def context(request: HttpRequest | None) -> tuple[str | None, Mapping[str, Any]]:
    """Return the default context with the attributes ``superuser``, ``groups`` (names) and ``language``.

    The groups are read with one query for each request that evaluates a flag with a rule.
    """
    targeting_key, attributes = default_context(request)
    user: Any = getattr(request, "user", None)
    more: dict[str, Any] = {
        "superuser": bool(getattr(user, "is_superuser", False)),
        "language": getattr(request, "LANGUAGE_CODE", None) or translation.get_language(),
    }
    if user is not None and user.is_authenticated and hasattr(user, "groups"):
        more["groups"] = list(user.groups.values_list("name", flat=True))
    return targeting_key, {**attributes, **more}


def document() -> dict[str, Any]:
    """Read all flags and switches from waffle's tables, not from its cache."""
    result = Export()
    for flag in get_waffle_flag_model().objects.order_by("name"):
        # None means that the other columns decide.
        everyone = flag.everyone is True
        rules = [] if flag.everyone is not None else list(_rules(flag))
        enabled = flag.everyone is not False
        result.add(flag.name, enabled=enabled, rules=rules, on=everyone, description=flag.note)
        if flag.everyone is None and flag.testing:
            result.notes.append(f"{flag.name!r} has the test mode, in which clients choose. It is not imported.")
        if flag.everyone is None and flag.percent:
            result.notes.append(
                f"{flag.name!r} serves {flag.percent} % of the users, but other users than waffle does."
            )
    for switch in get_waffle_switch_model().objects.order_by("name"):
        result.add(switch.name, enabled=switch.active, on=True, description=switch.note)
    for sample in get_waffle_sample_model().objects.order_by("name"):
        result.notes.append(f"The sample {sample.name!r} is not imported, because it is random for each call.")
    return result.document()


def _rules(flag: Any) -> Iterator[dict[str, Any]]:
    """Yield the rules in waffle's order. Each serves ``on``, so only the percentage must come last."""
    languages = [language.strip() for language in flag.languages.split(",") if language.strip()]
    yield from serve_on("languages", "language", "in", languages)
    if flag.authenticated:
        yield from serve_on("authenticated", "anonymous", "eq", [False])
    if flag.staff:
        yield from serve_on("staff", "staff", "eq", [True])
    if flag.superusers:
        yield from serve_on("superusers", "superuser", "eq", [True])
    # A project's own model of flags may have neither.
    if hasattr(flag, "users"):
        yield from serve_on(
            "users", "user", "in", [str(key) for key in flag.users.order_by("pk").values_list("pk", flat=True)]
        )
    if hasattr(flag, "groups"):
        yield from serve_on("groups", "groups", "in", list(flag.groups.order_by("name").values_list("name", flat=True)))
    if flag.percent:
        weight = int(flag.percent * 1000)
        yield {
            "id": "percent",
            "when": [],
            "serve": {"split": [["on", weight], ["off", 100_000 - weight]], "by": "user"},
        }
