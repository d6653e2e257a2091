"""Only members create keys that end with the membership of their creator (``API_KEYS_REVOKE_WITH_MEMBER``)."""

from __future__ import annotations

from typing import Any

from dovetail_apikeys.base import AbstractAPIKey
from dovetail_apikeys.conf import conf
from dovetail_apikeys.exceptions import NotAMember
from dovetail_core.transactions import lock


def require_membership(api_key: AbstractAPIKey, creator: Any, *, using: str) -> None:
    """Raise ``NotAMember`` if the key would be revoked, because its creator is not a member. Call it in a transaction.

    Raise ``Vanished`` if the organization was deleted.

    The race: a member creates a key while their membership is being removed. Whoever ends a membership locks the
    organization's row, so this function runs before or after it: the removal revokes the key, or this function refuses
    it.
    """
    if not conf.REVOKE_WITH_MEMBER or creator is None:
        return
    field: Any = api_key._meta.get_field("organization")
    organizations = field.related_model._base_manager.using(using).filter(pk=api_key.organization_id)
    lock(organizations)
    if not conf.IS_MEMBER(api_key.organization_id, creator):
        raise NotAMember
