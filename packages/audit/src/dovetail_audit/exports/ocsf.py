"""Open Cybersecurity Schema Framework 1.3.0: API Activity (6003), Authentication (3002) and Account Change (3001).

One JSON object per line. A test validates the objects with the schemas of ocsf.io.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from dovetail_audit.conf import conf
from dovetail_audit.exports.cef import PRODUCT, VENDOR, product_version
from dovetail_audit.exports.json_lines import encode
from dovetail_audit.models import Entry

VERSION: Final = "1.3.0"

_API_ACTIVITY: Final = 6003
_AUTHENTICATION: Final = 3002
_ACCOUNT_CHANGE: Final = 3001
_CATEGORIES: Final = {_API_ACTIVITY: 6, _AUTHENTICATION: 3, _ACCOUNT_CHANGE: 3}
_OTHER: Final = 99


class Activity(NamedTuple):
    """``class_uid`` and ``activity_id`` of OCSF."""

    event_class: int
    number: int


#: The activities of sign-ins and accounts. Every other action is API Activity, by its last word.
ACTIVITIES: Final[Mapping[str, Activity]] = {
    "auth.signed_in": Activity(_AUTHENTICATION, 1),
    "auth.sign_in_failed": Activity(_AUTHENTICATION, 1),
    "auth.signed_out": Activity(_AUTHENTICATION, 2),
    "user.signed_in": Activity(_AUTHENTICATION, 1),
    "user.sign_in_failed": Activity(_AUTHENTICATION, 1),
    "user.sign_in_limited": Activity(_AUTHENTICATION, 1),
    "user.signed_out": Activity(_AUTHENTICATION, 2),
    "session.revoked": Activity(_AUTHENTICATION, 2),
    "magic_link.verified": Activity(_AUTHENTICATION, 1),
    "user.registered": Activity(_ACCOUNT_CHANGE, 1),
    "user.created": Activity(_ACCOUNT_CHANGE, 1),
    "user.activated": Activity(_ACCOUNT_CHANGE, 2),
    "user.password_changed": Activity(_ACCOUNT_CHANGE, 3),
    "user.password_reset": Activity(_ACCOUNT_CHANGE, 4),
    "user.deactivated": Activity(_ACCOUNT_CHANGE, 5),
    "user.deleted": Activity(_ACCOUNT_CHANGE, 6),
    "user.updated": Activity(_ACCOUNT_CHANGE, _OTHER),
}
_VERBS: Final = {
    **dict.fromkeys(("added", "created", "issued", "registered", "requested"), 1),
    **dict.fromkeys(("exported", "listed", "read", "verified", "viewed"), 2),
    **dict.fromkeys(("changed", "renamed", "resent", "revoked", "rotated", "transferred", "updated"), 3),
    **dict.fromkeys(("deleted", "pruned", "purged", "removed"), 4),
}
_STATUSES: Final = {"success": (1, "Success"), "denied": (2, "Failure"), "failed": (2, "Failure")}
_SEVERITIES: Final = {"success": (1, "Informational"), "intent": (1, "Informational"), "failed": (3, "Medium")}
_USER_TYPES: Final = {"user": (1, "User"), "system": (3, "System")}


def line(entry: Entry) -> bytes:
    """Return the OCSF object of an entry, as one line."""
    return encode(event(entry))


def event(entry: Entry) -> dict[str, Any]:
    """Return the OCSF object of an entry. Attributes without a value are left out."""
    activity = activity_of(entry.action)
    severity, severity_name = _SEVERITIES.get(entry.outcome, (3, "Medium"))
    status, status_name = _STATUSES.get(entry.outcome, (0, "Unknown"))
    document: dict[str, Any] = {
        "class_uid": activity.event_class,
        "category_uid": _CATEGORIES[activity.event_class],
        "activity_id": activity.number,
        "activity_name": entry.action,
        "type_uid": activity.event_class * 100 + activity.number,
        "time": int(entry.at.timestamp() * 1000),
        "severity_id": severity,
        "severity": severity_name,
        "status_id": status,
        "status": status_name,
        "status_code": entry.problem,
        "message": entry.action,
        "metadata": _metadata(entry),
        "actor": {"user": _actor(entry)},
        "src_endpoint": _endpoint(entry),
        "http_request": {"user_agent": entry.user_agent, "uid": entry.request_id} if entry.user_agent else None,
        "unmapped": {"outcome": entry.outcome, "auth": entry.auth, "impersonator": entry.impersonator},
    }
    document = _without_nulls(document | _of_class(entry, activity.event_class))
    # Unchanged, because a null in it is a value.
    document["unmapped"]["data"] = entry.data
    return document


def activity_of(action: str) -> Activity:
    if action in ACTIVITIES:
        return ACTIVITIES[action]
    return Activity(_API_ACTIVITY, _VERBS.get(action.rpartition(".")[2].rpartition("_")[2], _OTHER))


def _of_class(entry: Entry, event_class: int) -> dict[str, Any]:
    if event_class == _API_ACTIVITY:
        resource = {"type": entry.target_kind, "uid": entry.target, "name": entry.target_label}
        request = {"uid": entry.request_id} if entry.request_id else None
        response = {"code": entry.status, "error": entry.problem} if entry.status else None
        api = {"operation": entry.action, "request": request, "response": response}
        return {"api": api, "resources": [resource] if entry.target_kind or entry.target else None}
    # The account of the event: the target, or else the actor (a failed sign-in has neither).
    user = {"uid": entry.target, "name": entry.target_label} if entry.target else _actor(entry)
    service = {"service": {"name": conf.ORIGIN or PRODUCT}} if event_class == _AUTHENTICATION else {}
    return {"user": user, **service}


def _metadata(entry: Entry) -> dict[str, Any]:
    return {
        "version": VERSION,
        "uid": str(entry.pk),
        "correlation_uid": entry.request_id,
        "event_code": entry.action,
        "tenant_uid": entry.organization,
        "product": {"name": PRODUCT, "vendor_name": VENDOR, "version": product_version()},
        "log_provider": conf.ORIGIN,
    }


def _actor(entry: Entry) -> dict[str, Any]:
    number, name = _USER_TYPES.get(entry.actor_kind, (_OTHER, entry.actor_kind))
    # OCSF requires a name or a uid. An erased or anonymous actor has neither.
    label = entry.actor_label or (None if entry.actor else entry.actor_kind)
    return {"type_id": number, "type": name, "uid": entry.actor, "name": label}


def _endpoint(entry: Entry) -> dict[str, Any]:
    # AUDIT_RECORD_IP may record networks, which are no addresses.
    if entry.ip and "/" not in entry.ip:
        return {"ip": entry.ip}
    return {"name": entry.ip or entry.origin or "unknown"}


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None and item != ""}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value
