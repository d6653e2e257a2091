"""Receivers of the domain events of all packages, and of Django's sign-in signals."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any, Final
from uuid import UUID

from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import connections, transaction
from django.db.models.signals import pre_save
from django.utils.module_loading import import_string

from dovetail_audit.conf import conf, rule_for
from dovetail_audit.entries import databases, refusals, units
from dovetail_audit.entries.building import build, is_status
from dovetail_audit.entries.writing import write
from dovetail_audit.exceptions import AppendOnly
from dovetail_audit.models import Entry
from dovetail_core.events import Event, domain_event
from dovetail_core.secrets import keyed_hash

_ENDINGS: Final = (
    (re.compile(r"(?:.*_)?(?:denied|limited|refused|blocked)"), "denied"),
    (re.compile(r"(?:.*_)?failed"), "failed"),
)
#: Keys of an event's data that are parts of an entry. Other packages and projects use these names too, so a value of
#: another kind (the status of an order) stays in the data.
_PARTS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "changes": lambda value: isinstance(value, Mapping),
    "impersonator_id": lambda value: isinstance(value, str | int | UUID),
    "parameters": lambda value: isinstance(value, Mapping),
    "personal": lambda value: isinstance(value, Mapping),
    "problem": lambda value: isinstance(value, str),
    "status": is_status,
}
#: The reasons of ``session.revoked`` that follow from another event or are a person's own routine.
_ROUTINE: Final = frozenset({"signed_out", "password_changed", "password_reset"})


def is_theft_or_administration(event: Event) -> bool:
    """Return whether a session was ended for theft (``reused``), by somebody else, or for a reason of the project."""
    reason = event.data.get("reason")
    if reason != "revoked":
        return reason not in _ROUTINE
    return event.actor is not None and getattr(event.actor, "pk", event.actor) != getattr(event.target, "pk", None)


#: What ``AUDIT_EVENTS`` does not name. These two are most of the events of a service, and say little.
DEFAULT_RULES: Final[Mapping[str, Any]] = {
    "user.signed_in": False,
    "session.revoked": is_theft_or_administration,
}


def on_domain_event(event: Event, **kwargs: Any) -> None:
    """Write the entry of an event in the transaction of its change."""
    arguments = arguments_of(event)
    if arguments is None:
        return
    entry = build(**arguments)
    unit = units.current()
    if unit is not None and unit.request is not None and entry.outcome in {"denied", "failed"}:
        refusals.defer(unit, entry)
    elif _belongs_to_another_database(event.using):
        # The other database may still roll back. Robust, because the change is committed by then.
        transaction.on_commit(lambda: write([entry], using=None), using=event.using, robust=True)
    else:
        write([entry], using=event.using)


def arguments_of(event: Event) -> dict[str, Any] | None:
    """Return the arguments of the entry, or None if ``AUDIT_EVENTS`` ignores the event."""
    decision = _decision(event)
    if decision is False:
        return None
    data = dict(event.data)
    parts = {
        name: data.pop(name)
        for name, fits in _PARTS.items()
        if name in data and (data[name] is None or fits(data[name]))
    }
    parameters = parts.get("parameters")
    arguments: dict[str, Any] = {
        "action": event.name,
        "outcome": _outcome(event.name),
        "actor": event.actor,
        "organization_id": event.organization_id,
        "target": event.target if event.target is not None else _operation(data),
        "parameters": data if parameters is None else parameters,
        "extra": None if parameters is None else data,
        "changes": parts.get("changes"),
        "personal": parts.get("personal"),
        "status": parts.get("status"),
        "problem": parts.get("problem") or "",
        "impersonator": parts.get("impersonator_id"),
        "request_id": event.request_id,
        "at": event.occurred_at,
    }
    return {**arguments, **decision} if isinstance(decision, Mapping) else arguments


def _decision(event: Event) -> bool | Mapping[str, Any]:
    # Verification reads the entries of erasures and prunings.
    if event.name.startswith("audit."):
        return True
    rule = rule_for(event.name, conf.EVENTS)
    if rule is None:
        rule = rule_for(event.name, DEFAULT_RULES)
    if isinstance(rule, str):
        rule = import_string(rule)
    answer = rule(event) if callable(rule) else rule
    if answer is None:
        return True
    if not isinstance(answer, bool | Mapping):
        raise TypeError(
            f"The function of AUDIT_EVENTS for {event.name} returned {answer!r}. It must return True, False, or a dict "
            "of arguments for record()."
        )
    return answer


def _outcome(name: str) -> str:
    happened = name.rpartition(".")[2]
    return next((outcome for pattern, outcome in _ENDINGS if pattern.fullmatch(happened)), "success")


def _operation(data: Mapping[str, Any]) -> object:
    """Return the operation of an event of the admin API as a target, so that entries can be searched by it."""
    operation = data.get("operation")
    return ("operation", operation) if isinstance(operation, str) else None


def _belongs_to_another_database(using: str | None) -> bool:
    return using is not None and using != databases.alias_for(using) and connections[using].in_atomic_block


def on_signed_in(request: Any, user: Any, **kwargs: Any) -> None:
    if conf.SIGN_INS:
        write([build("auth.signed_in", actor=user, target=user, request=request)], using=None)


def on_signed_out(request: Any, user: Any, **kwargs: Any) -> None:
    # Django also sends it for requests without a session.
    if conf.SIGN_INS and user is not None:
        write([build("auth.signed_out", actor=user, target=user, request=request)], using=None)


def on_sign_in_failed(credentials: Mapping[str, Any], request: Any = None, **kwargs: Any) -> None:
    """Record a failed sign-in. The username is hashed, because people type passwords into the wrong field."""
    if not conf.SIGN_INS:
        return
    names = [str(value).casefold() for value in credentials.values() if isinstance(value, str) and "*" not in value]
    hashed = keyed_hash("dovetail_audit.identifier.1", names[0]) if names else None
    entry: Entry = build(
        "auth.sign_in_failed", outcome="failed", parameters={"identifier_hash": hashed}, request=request
    )
    unit = units.current()
    if unit is not None and unit.request is not None:
        # identity emits user.sign_in_failed for the same attempt.
        refusals.defer(unit, entry, unless_recorded=True)
    else:
        write([entry], using=None)


def refuse_fixtures(raw: bool, **kwargs: Any) -> None:
    """Refuse entries of ``loaddata``, which were never authenticated by this database."""
    if raw:
        raise AppendOnly("loaddata cannot create audit entries. Restore them with the tools of the database.")


def on_task_started(task_result: Any, **kwargs: Any) -> None:
    units.begin_task(task_result.id)


def on_task_finished(task_result: Any, **kwargs: Any) -> None:
    units.end_task(task_result.id)


def connect() -> None:
    if find_spec("django.tasks"):  # Django 6
        from django.tasks.signals import task_finished, task_started

        task_started.connect(on_task_started, dispatch_uid="dovetail_audit")
        task_finished.connect(on_task_finished, dispatch_uid="dovetail_audit")
    domain_event.connect(on_domain_event, dispatch_uid="dovetail_audit")
    user_logged_in.connect(on_signed_in, dispatch_uid="dovetail_audit")
    user_logged_out.connect(on_signed_out, dispatch_uid="dovetail_audit")
    user_login_failed.connect(on_sign_in_failed, dispatch_uid="dovetail_audit")
    pre_save.connect(refuse_fixtures, sender=Entry, dispatch_uid="dovetail_audit")
