from __future__ import annotations

from celery import shared_task

from dovetail_tenancy import services


@shared_task(name="dovetail_tenancy.purge_invitations")
def purge_invitations() -> int:
    """The command of the same name, for a schedule; how many were deleted."""
    return services.purge_invitations()
