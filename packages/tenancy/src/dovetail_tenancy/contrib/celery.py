"""Celery tasks that run for the organization they were enqueued for.

``app = Celery("project", task_cls="dovetail_tenancy.contrib.celery:TenantTask")`` covers every task, including shared
ones. The message carries only the organization's key. An attacker who can write to the broker can run any task, but a
header for "all organizations" would also show a task more rows than it was written for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from celery import Task, shared_task
from celery.signals import before_task_publish
from django.db import router
from django.views.decorators.debug import sensitive_variables

from dovetail_core.queues import publish_task
from dovetail_tenancy import mail, services
from dovetail_tenancy.isolation.scope import dump_current_organization, organization_scope
from dovetail_tenancy.models import Invitation
from dovetail_tenancy.services.invitations import token_of

HEADER = "dovetail_organization"


class TenantTask(Task):  # type: ignore[type-arg]  # not generic at run time
    """Runs with the organization that was active when the task was enqueued, or without one if none was active.

    This also applies to retries, to every part of a canvas, and to tasks that run eagerly in a request, whose
    organization is active again afterwards. A task never inherits ``unscoped``. A task that needs the rows of all
    organizations uses it itself. Called directly (``task()``), the task is a plain function in the caller's scope.
    """

    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        request: Any = self.request
        if request.called_directly or request.get("_dovetail_entered"):
            return super().__call__(*args, **kwargs)
        request._dovetail_entered = True
        with organization_scope((request.headers or {}).get(HEADER)):
            # Not super(): outside a worker it pushes a request without an id, so retry() would lose the task's id.
            return self.run(*args, **kwargs)

    def apply(self, *args: Any, **options: Any) -> Any:
        # An eager task is never published, so the signal below does not reach it.
        options["headers"] = {HEADER: dump_current_organization(), **(options.get("headers") or {})}
        return super().apply(*args, **options)


@before_task_publish.connect(dispatch_uid="dovetail_tenancy.contrib.celery")
def carry_organization(body: object = None, headers: dict[str, Any] | None = None, **kwargs: Any) -> None:
    """Add the organization to a message, and to the signatures that its worker publishes later.

    All ways to enqueue send this signal, ``send_task("name")`` and canvases too. A worker publishes a chord's body and
    a chain's next task when the task's organization is no longer active.
    """
    if headers is None or not isinstance(body, tuple):  # message protocol 1 has no headers
        return
    # A retry already has the header and keeps it, whatever was active when the task failed.
    organization = headers.setdefault(HEADER, dump_current_organization())
    embedded: dict[str, Any] = body[2]
    for name in ("callbacks", "errbacks", "chain", "chord"):
        if embedded.get(name):
            embedded[name] = _bound(embedded[name], organization)


def _bound(signatures: object, organization: str) -> Any:
    """Return copies of the signatures with the organization. The originals may be constants that other requests use."""
    if not isinstance(signatures, Mapping):
        if isinstance(signatures, Iterable):
            return [_bound(signature, organization) for signature in signatures]
        return signatures
    options = dict(signatures.get("options") or {})
    for name in ("link", "link_error", "chord"):
        if options.get(name):
            options[name] = _bound(options[name], organization)
    kwargs = dict(signatures.get("kwargs") or {})
    if signatures.get("subtask_type") in {"chain", "chord", "group"}:
        for name in kwargs.keys() & {"tasks", "header", "body"}:
            kwargs[name] = _bound(kwargs[name], organization)
    else:
        options["headers"] = {HEADER: organization, **(options.get("headers") or {})}
    return {**signatures, "options": options, "kwargs": kwargs}


@shared_task(name="dovetail_tenancy.purge_invitations", ignore_result=True)
def purge_invitations() -> int:
    return services.purge_invitations()


@shared_task(name="dovetail_tenancy.send_invitation", ignore_result=True)
@sensitive_variables()
def send_invitation_by_worker(key: str, language: str | None) -> None:
    """Send the invitation if it is still pending. If it was sent again in the meantime, the newer link is sent."""
    # The primary database: a lagging replica may not have the row yet.
    rows = Invitation._base_manager.using(router.db_for_write(Invitation))
    invitation = rows.filter(pk=key).select_related("organization", "invited_by").first()
    if invitation is not None and invitation.status == "pending" and (token := token_of(invitation)):
        mail.send_invitation(invitation, link=mail.link_for(token), language=language)


def send_invitation(invitation: Invitation, *, link: str, language: str | None) -> None:
    """``TENANCY_INVITATION_SENDER``: a worker computes the link, so the broker holds a key and no secret.

    A thread sends the mail if the broker is down or hung.
    """
    publish_task(
        send_invitation_by_worker,
        str(invitation.pk),
        language,
        otherwise=lambda: mail.send_in_background(invitation, link=link, language=language),
    )
