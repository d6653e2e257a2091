from __future__ import annotations

from django.contrib.auth import get_user_model
from django.db import router

from console.notifications import Invited
from dovetail_notify import notify
from dovetail_tenancy.models import Invitation


def notify_invited_person(key: str) -> None:
    """Notify the account with the address of an invitation, if there is one. A repetition has no effect."""
    rows = Invitation._base_manager.using(router.db_for_write(Invitation)).select_related("organization", "invited_by")
    invitation = rows.filter(pk=key).first()
    if invitation is None:
        return
    invited = get_user_model()._default_manager.filter(email=invitation.email)
    # Without an organization, because the invited person is not a member yet.
    notification = Invited(organization=invitation.organization.name)
    notify(notification, to=invited, actor=invitation.invited_by, dedupe=f"invitation:{invitation.pk}")
