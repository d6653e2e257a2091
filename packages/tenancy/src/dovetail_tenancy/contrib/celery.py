"""Celery tasks that run for the organization they were enqueued for.

``app = Celery("project", task_cls="dovetail_tenancy.contrib.celery:TenantTask")`` covers every task, the shared ones
too. The message carries the organization's key and nothing else: who can write to the broker can already run any task,
but an "all organizations" in a header would reach past what the task itself was written to see.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from celery import Task, shared_task
from celery.signals import before_task_publish

from dovetail_tenancy import services
from dovetail_tenancy.isolation.background import dump_current_organization, organization_scope

HEADER = "dovetail_organization"


class TenantTask(Task):  # type: ignore[type-arg]  # not generic at run time
    """Runs with the organization that was active when it was enqueued, and with none where there was none.

    That holds for retries, for every part of a canvas, and for tasks that run eagerly inside a request, whose own
    organization is active again afterwards. ``unscoped`` is never inherited: a task that must see every organization
    says so itself. Called directly (``task()``) it is a plain function in the caller's organization.
    """

    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        request: Any = self.request
        if request.called_directly or request.get("_dovetail_entered"):
            return super().__call__(*args, **kwargs)
        request._dovetail_entered = True
        with organization_scope((request.headers or {}).get(HEADER)):
            # Not super(): outside of a worker it would push a request without id, and retry() would lose its own.
            return self.run(*args, **kwargs)

    def apply(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:  # type: ignore[override]  # passed on
        # What runs at once is never published.
        options["headers"] = _with_organization(options.get("headers"), dump_current_organization())
        return super().apply(args, kwargs, **options)


@before_task_publish.connect(dispatch_uid="dovetail_tenancy.contrib.celery")
def carry_organization(body: Any = None, headers: dict[str, Any] | None = None, **kwargs: Any) -> None:
    """Put the organization into a message and into whatever the message will have published when it is done.

    At the last moment, where ``send_task("name")`` and every canvas come by. A chord's body or a chain's next task
    is published by some worker, after the task's own organization was left.
    """
    if headers is None or not isinstance(body, tuple):  # message protocol 1 has no headers to carry it in
        return
    # A retry has it already: it stays with its task, whatever the task had entered when it gave up.
    organization = headers.setdefault(HEADER, dump_current_organization())
    embedded: dict[str, Any] = body[2]
    for name in ("callbacks", "errbacks", "chain", "chord"):
        if embedded.get(name):
            embedded[name] = _bound(embedded[name], organization)


def _bound(signatures: Any, organization: str) -> Any:
    """A copy of a signature or several: the original may be a module's constant, used again by another request."""
    if not isinstance(signatures, Mapping):
        return [_bound(each, organization) for each in signatures] if isinstance(signatures, Iterable) else signatures
    options = dict(signatures.get("options") or {})
    for name in ("link", "link_error", "chord"):
        if options.get(name):
            options[name] = _bound(options[name], organization)
    kwargs = dict(signatures.get("kwargs") or {})
    if signatures.get("subtask_type") in {"chain", "chord", "group"}:
        for name in kwargs.keys() & {"tasks", "header", "body"}:
            kwargs[name] = _bound(kwargs[name], organization)
    else:
        options["headers"] = _with_organization(options.get("headers"), organization)
    return {**signatures, "options": options, "kwargs": kwargs}


def _with_organization(headers: Mapping[str, Any] | None, organization: str) -> dict[str, Any]:
    return {HEADER: organization, **(headers or {})}


@shared_task(name="dovetail_tenancy.purge_invitations")
def purge_invitations() -> int:
    """The command of the same name, for a schedule; how many were deleted."""
    return services.purge_invitations()
