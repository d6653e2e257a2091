"""Support access ends with the sessions and the account of its administrator."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.signals import user_logged_out

from dovetail_adminapi.conf import conf
from dovetail_core.events import Event, domain_event


def on_domain_event(event: Event, **_: Any) -> None:
    # session.revoked: a sign-out, a changed password, or a deactivation that ends sessions.
    if event.name in {"session.revoked", "user.deleted"} and event.target is not None:
        _end(event.target)


def on_signed_out(user: Any, **_: Any) -> None:
    # Django also sends it for requests without a session.
    if user is not None:
        _end(user)


def _end(user: Any) -> None:
    # Not only for staff: the person may have lost the status since.
    if conf.IMPERSONATION and (key := getattr(user, "pk", None)) is not None:
        from dovetail_adminapi.support.access import end_support_accesses_of

        end_support_accesses_of(str(key))


def connect() -> None:
    domain_event.connect(on_domain_event, dispatch_uid="dovetail_adminapi.support")
    user_logged_out.connect(on_signed_out, dispatch_uid="dovetail_adminapi.support")
