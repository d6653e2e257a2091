"""The domain events of this package (see ``dovetail_core.events``).

=============================  =======  ===============================================================================
name                           target   data
=============================  =======  ===============================================================================
api_key.created                the key  ``prefix``, ``scopes``
api_key.updated                the key  ``prefix``, ``fields``: names of the fields that were written
api_key.rotated                the key  ``prefix``, ``successor_id``, ``successor_prefix``, ``expires_at``: the end of
                                        the old key, which is the target (RFC 3339)
api_key.revoked                the key  ``prefix``
api_key.deleted                the key  as it was before; its row is deleted; ``prefix``
api_key.expiring               the key  ``prefix``, ``expires_at`` (RFC 3339): within ``API_KEYS_EXPIRY_NOTICE_DAYS``.
                                        Once per key and expiry; not for rotated keys, whose event has the expiry
api_key.used_from_new_network  the key  ``prefix``, ``network``: an IPv4 /24 or IPv6 /48 that is new for the key. Not
                                        for the first use of a key; ``target`` is the key's id
=============================  =======  ===============================================================================

``organization_id`` is the owner's. Deleting an organization deletes its keys without an event for each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from dovetail_core import events

API_KEY_CREATED: Final = "api_key.created"
API_KEY_UPDATED: Final = "api_key.updated"
API_KEY_ROTATED: Final = "api_key.rotated"
API_KEY_REVOKED: Final = "api_key.revoked"
API_KEY_DELETED: Final = "api_key.deleted"
API_KEY_EXPIRING: Final = "api_key.expiring"
API_KEY_USED_FROM_NEW_NETWORK: Final = "api_key.used_from_new_network"


def emit_key(name: str, api_key: Any, *, actor: Any, using: str, **data: Any) -> None:
    events.emit(
        name,
        actor=actor,
        organization_id=api_key.organization_id,
        target=api_key,
        data={"prefix": api_key.key_prefix, **data},
        using=using,
    )


def emit_new_network(key_id: Any, row: Mapping[str, Any], *, network: str, using: str) -> None:
    events.emit(
        API_KEY_USED_FROM_NEW_NETWORK,
        organization_id=row["organization_id"],
        target=str(key_id),
        data={"prefix": row["key_prefix"], "network": network},
        using=using,
    )
