"""An entry from the arguments of ``record()``, cleaned, redacted and authenticated, but not yet written."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.utils import timezone

from dovetail_audit.entries import canonical, principals, redaction, units
from dovetail_audit.entries.principals import Who
from dovetail_audit.models import Entry
from dovetail_core.models import uuid7

OUTCOMES: Final = frozenset(Entry.Outcome.values)
_ACTION: Final = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)+")
_STATUSES: Final = range(100, 1000)


def build(
    action: str,
    *,
    target: object = None,
    outcome: str = "success",
    actor: object = None,
    organization_id: object = None,
    parameters: Mapping[str, Any] | None = None,
    changes: Mapping[str, Any] | None = None,
    personal: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
    status: int | None = None,
    problem: str = "",
    intent: object = None,
    request: HttpRequest | None = None,
    request_id: str | None = None,
    at: datetime | None = None,
    impersonator: object = None,
) -> Entry:
    """Return an unsaved entry. Raise ``ValueError`` for an action, outcome or status that is not allowed."""
    _validate(action, outcome, status)
    unit = units.current()
    request = request or (unit.request if unit else None)
    person = actor if isinstance(actor, Who) else principals.who(actor, request)
    if intent is not None:
        extra = {**(extra or {}), "intent": intent}
    data, private = _documents(parameters, changes, personal, extra)
    if unit is not None and unit.request_id and not request_id and not principals.request_id_of(request, own=False):
        data["request_id_source"] = "audit"
    entry = Entry(
        id=uuid7(),
        # Without fold, which no database stores.
        at=(at or timezone.now()).replace(fold=0),
        organization=_text(principals.organization_key(organization_id, request), 64),
        action=action[:100],
        outcome=outcome,
        status=status,
        problem=_text(problem, 64),
        data=data,
        private=private or None,
        salt=os.urandom(16),
        version=canonical.VERSION,
        **_actor_columns(person, impersonator),
        **_target_columns(target),
        **_request_columns(request, request_id),
    )
    return authenticate(entry)


def name_actor(entry: Entry, request: HttpRequest | None) -> None:
    """Name the actor of an unsaved, anonymous entry, once the user of its request can be read."""
    if entry.actor_kind == Entry.ActorKind.ANONYMOUS:
        for name, value in _actor_columns(principals.who(None, request), entry.impersonator).items():
            setattr(entry, name, value)
        authenticate(entry)


def authenticate(entry: Entry) -> Entry:
    """Set the commitment and the authentication code of an entry."""
    entry.commitment = canonical.commit(canonical.personal_of(entry), bytes(entry.salt or b""))
    entry.mac = canonical.mac(entry)
    return entry


def outcome_of(error: BaseException | None) -> str:
    """Return the outcome of a block that ended with this exception: ``denied`` if it is a refusal, else ``failed``."""
    if error is None or (isinstance(error, SystemExit) and error.code in {None, 0}):
        return "success"
    # REST framework's errors have a status code.
    denied = isinstance(error, PermissionDenied) or getattr(error, "status_code", None) in {401, 403}
    return "denied" if denied else "failed"


def is_status(value: object) -> bool:
    """Return whether the value is a number from 100 to 999, and so can be an HTTP status."""
    return isinstance(value, int) and value in _STATUSES


def _validate(action: str, outcome: str, status: int | None) -> None:
    if not _ACTION.fullmatch(action):
        raise ValueError(
            f"An action must be lower-case words separated by dots, such as 'api_key.revoked'; got {action!r}."
        )
    if outcome not in OUTCOMES:
        raise ValueError(f"An outcome must be one of {', '.join(sorted(OUTCOMES))}; got {outcome!r}.")
    if status is not None and not is_status(status):
        raise ValueError(f"A status must be an HTTP status from 100 to 999, or None; got {status!r}.")


def _actor_columns(person: Who, impersonator: object) -> dict[str, Any]:
    return {
        "actor_kind": person.kind,
        "actor": _text(person.key, 64),
        "actor_label": _personal(person.label, 256) or None,
        "auth": _text(person.auth, 32),
        "impersonator": _text(principals.key_of(impersonator) or person.impersonator, 64),
    }


def _target_columns(target: object) -> dict[str, Any]:
    kind, key, label = principals.target_of(target)
    return {
        "target_kind": _text(kind, 100),
        "target": _text(key, 64),
        "target_label": _personal(label, 256) or None,
    }


def _request_columns(request: HttpRequest | None, request_id: str | None) -> dict[str, Any]:
    return {
        "origin": _text(units.origin(), 16),
        "request_id": _text(request_id or principals.request_id_of(request), 64),
        "ip": principals.address_of(request),
        "user_agent": _personal(principals.user_agent_of(request), 256),
    }


def _documents(
    parameters: Mapping[str, Any] | None,
    changes: Mapping[str, Any] | None,
    personal: Mapping[str, Any] | None,
    extra: Mapping[str, Any] | None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    sections = {"parameters": parameters, "changes": changes, "extra": extra}
    document = {name: canonical.clean(section) for name, section in sections.items() if section}
    data, private = redaction.redact(document)
    if personal:
        private = redaction.fit({**private, **redaction.without_secrets(canonical.clean(personal))})
    return data, private


def _text(value: str | None, length: int) -> Any:
    return None if value is None else redaction.public_text(value, length)


def _personal(value: str | None, length: int) -> Any:
    return None if value is None else redaction.personal_text(value, length)
