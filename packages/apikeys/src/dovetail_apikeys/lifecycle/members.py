"""Keys whose creator leaves the organization.

A key belongs to the organization and not to the person who created it: systems that use it must not stop because an
employee leaves. By default the key stays, and ``api_key.creator_left`` names it, so that somebody can decide. With
``API_KEYS_REVOKE_WITH_MEMBER`` it is revoked.
"""

from __future__ import annotations

from typing import Any, Final

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import router
from django.db.models import Model, Q
from django.utils import timezone

from dovetail_apikeys import events, get_api_key_model
from dovetail_apikeys.conf import conf
from dovetail_apikeys.services import revoke_api_keys
from dovetail_core.events import Event

#: Emitted in the transaction that ends a membership, with ``organization_id`` and ``user_id`` in its data.
MEMBER_REMOVED: Final = "member.removed"


def receive(event: Event, **_: Any) -> None:
    if event.name != MEMBER_REMOVED or "user_id" not in event.data or not _owns_keys(event):
        return
    try:
        user_id = _key(get_user_model()._meta.pk, event.data["user_id"])
        organization_id = _key(_owner_field().target_field, event.organization_id)
    except ValidationError:
        return  # Not of the models that own and create keys.
    creator_left(organization_id=organization_id, user_id=user_id, actor=event.actor)


def _owns_keys(event: Event) -> bool:
    """Return whether the event's organization is of the model that owns keys, and that is not the user model.

    Its key alone does not say so: organization 2 would end the personal keys of user 2. The membership, which is the
    target, refers to the organization. An event of the project may have no such target.
    """
    owner_model = _owner_field().related_model
    if owner_model is get_user_model():
        return False
    if not isinstance(event.target, Model):
        return True
    keys: list[Any] = [field for field in event.target._meta.concrete_fields if field.is_relation]
    return any(
        field.related_model._meta.concrete_model is owner_model._meta.concrete_model
        and getattr(event.target, field.attname) == event.organization_id
        for field in keys
    )


def _owner_field() -> Any:
    return get_api_key_model()._meta.get_field("organization")


def _key(field: Any, value: object) -> Any:
    """Convert a primary key. Raise ``ValidationError``, also for an integer that is too large for the column."""
    value = field.to_python(value)
    field.run_validators(value)
    return value


def creator_left(*, organization_id: Any, user_id: Any, actor: object = None) -> int:
    """Revoke the active keys of the organization that the user created, or emit ``api_key.creator_left`` for each.

    Return their number. Call it in the transaction that ends the membership, if no ``member.removed`` does.
    """
    model = get_api_key_model()
    using = router.db_for_write(model)
    rows = model._base_manager.using(using).filter(organization=organization_id, created_by=user_id)
    if conf.REVOKE_WITH_MEMBER:
        return revoke_api_keys(rows, actor=actor)
    active = Q(revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=timezone.now()))
    keys = list(rows.filter(active).order_by("pk"))
    for api_key in keys:
        events.emit_key(events.API_KEY_CREATOR_LEFT, api_key, actor=actor, using=using, user_id=str(user_id))
    return len(keys)
