"""The form of an entry in the API and in JSON lines."""

from __future__ import annotations

from typing import Any

from dovetail_audit.entries.canonical import rfc3339
from dovetail_audit.models import Entry


def represent(entry: Entry) -> dict[str, Any]:
    """Return the JSON object of an entry. Unknown values are null, and personal ones after an erasure (``erased_at``).

    ``sealed`` is null unless the queryset is annotated (``rows.with_sealed``).
    """
    # Somebody with SQL may have stored another type. The lists must show the entry all the same.
    data = entry.data if isinstance(entry.data, dict) else {"extra": entry.data}
    return {
        "id": str(entry.pk),
        "at": rfc3339(entry.at),
        "organization_id": entry.organization,
        "actor": {
            "kind": entry.actor_kind,
            "id": entry.actor or None,
            "label": entry.actor_label,
            "auth": entry.auth or None,
            "impersonator": entry.impersonator,
        },
        "action": entry.action,
        "outcome": entry.outcome,
        "status": entry.status,
        "code": entry.problem or None,
        "target": {"kind": entry.target_kind or None, "id": entry.target or None, "label": entry.target_label},
        "parameters": data.get("parameters"),
        "changes": data.get("changes"),
        "extra": data.get("extra"),
        "personal": entry.private,
        "ip": entry.ip,
        "user_agent": entry.user_agent,
        "origin": entry.origin or None,
        "request_id": entry.request_id or None,
        "erased_at": None if entry.erased_at is None else rfc3339(entry.erased_at),
        "sealed": getattr(entry, "sealed", None),
    }
