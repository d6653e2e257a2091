"""The domain events of this package (see ``dovetail_core.events``).

=============================  ===================================================================================
name                           data, in addition to ``prefix``
=============================  ===================================================================================
api_key.created                ``scopes``
api_key.updated                ``fields``: the names of the changed fields
api_key.rotated                ``successor_id``, ``successor_prefix``, ``expires_at``: the new expiry of the rotated
                               key, which is the target (RFC 3339)
api_key.revoked                (none)
api_key.deleted                The target is the key before its deletion
api_key.creator_left           ``user_id``: the creator, whose membership has ended. The key stays valid. Emitted for
                               each active key, unless ``API_KEYS_REVOKE_WITH_MEMBER`` revokes it
api_key.expiring               ``expires_at`` (RFC 3339), within ``API_KEYS_EXPIRY_NOTICE_DAYS``. Emitted once per key
                               and expiry; not for rotated keys, because their own event contains the expiry
api_key.used_from_new_network  ``network``: an IPv4 /24 or IPv6 /48 that the key has not been used from. Not emitted
                               for the first use of a key. The target is the key's id
=============================  ===================================================================================

The target is the key unless the table names another. ``organization_id`` is the primary key of the key's owner.
Deleting an organization deletes its keys without emitting events for them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from dovetail_apikeys.base import AbstractAPIKey
from dovetail_core import events

API_KEY_CREATED: Final = "api_key.created"
API_KEY_UPDATED: Final = "api_key.updated"
API_KEY_ROTATED: Final = "api_key.rotated"
API_KEY_REVOKED: Final = "api_key.revoked"
API_KEY_DELETED: Final = "api_key.deleted"
API_KEY_CREATOR_LEFT: Final = "api_key.creator_left"
API_KEY_EXPIRING: Final = "api_key.expiring"
API_KEY_USED_FROM_NEW_NETWORK: Final = "api_key.used_from_new_network"


def emit_key(
    name: str, api_key: AbstractAPIKey, *, actor: object = None, target: object = None, using: str, **data: object
) -> None:
    events.emit(
        name,
        actor=actor,
        organization_id=api_key.organization_id,
        target=target or api_key,
        data={"prefix": api_key.key_prefix, **data},
        using=using,
    )


def emit_rotation(
    api_key: AbstractAPIKey, successor: AbstractAPIKey, end: datetime, *, actor: object = None, using: str
) -> None:
    data = {"successor_id": str(successor.pk), "successor_prefix": successor.key_prefix, "expires_at": end.isoformat()}
    emit_key(API_KEY_ROTATED, api_key, actor=actor, using=using, **data)
