"""Every rule that signs people in and changes or ends their accounts. Works on any ``AUTH_USER_MODEL``."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from django.contrib.auth import authenticate, get_user_model
from django.contrib.auth.hashers import make_password
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest
from django.views.decorators.debug import sensitive_variables
from rest_framework_simplejwt.settings import api_settings

from dovetail_core.events import emit
from dovetail_core.secrets import keyed_hash
from dovetail_identity import events
from dovetail_identity.passwords import change_password, request_password_reset, reset_password
from dovetail_identity.registration import purge_registrations, register, verify_email
from dovetail_identity.sessions import (
    Ended,
    Tokens,
    alias_of,
    issue_tokens,
    network_of,
    purge_sessions,
    refresh_tokens,
    revoke_all_sessions,
    revoke_session,
    verify_token,
)

__all__ = [
    "Ended",
    "Tokens",
    "change_password",
    "delete_user",
    "issue_tokens",
    "purge_registrations",
    "purge_sessions",
    "refresh_tokens",
    "register",
    "request_password_reset",
    "reset_password",
    "revoke_all_sessions",
    "revoke_session",
    "sign_in",
    "update_user",
    "verify_email",
    "verify_token",
]

logger = logging.getLogger("dovetail.identity")


@sensitive_variables("password")
def sign_in(*, username: str, password: str, request: HttpRequest) -> Tokens | None:
    """A token pair for the account that ``username`` (its ``USERNAME_FIELD``) and ``password`` name, or None.

    None does not tell an unknown name from a wrong password, an inactive account or a name that several accounts
    have: each takes one query and one password hash. Emits ``user.signed_in`` or ``user.sign_in_failed``.
    """
    user = _authenticate(username, password, request)
    if user is None or not api_settings.USER_AUTHENTICATION_RULE(user):
        emit(
            events.USER_SIGN_IN_FAILED,
            data={
                "amr": ["pwd"],
                "identifier_hash": keyed_hash("dovetail_identity.sign_in", username.strip().casefold()),
                "network": network_of(request),
            },
        )
        return None
    return issue_tokens(user, request=request)


def update_user(user: Any, *, changes: Mapping[str, Any]) -> None:
    """Write ``changes`` (field name to validated value) and nothing else of ``user``. Emits ``user.updated``."""
    changed = {name: value for name, value in changes.items() if getattr(user, name) != value}
    if not changed:
        return
    for name, value in changed.items():
        setattr(user, name, value)
    using = alias_of(user)
    # A whole save would write back the password and the rights as they were when this request began.
    stamps = [field.name for field in user._meta.concrete_fields if getattr(field, "auto_now", False)]
    with transaction.atomic(using=using):
        user.save(update_fields=[*changed, *stamps], using=using)
        emit(events.USER_UPDATED, target=user, data={"fields": sorted(changed)}, using=using)


def delete_user(user: Any) -> None:
    """Delete the account and what the database cascades to. ``user`` keeps its primary key; emits ``user.deleted``.

    Raises ``ProtectedError`` or ``RestrictedError`` where a foreign key forbids it, and whatever a ``pre_delete``
    receiver raises; then nothing has changed.
    """
    using, user_id = alias_of(user), user.pk
    with transaction.atomic(using=using):
        user.delete(using=using)
        # Receivers and the request's principal still have to say who this was.
        user.pk = user_id
        # After the deletion: a protecting foreign key refuses many, and the log must not say they happened.
        emit(events.USER_DELETED, target=user, data={"user_id": str(user_id)}, using=using)


@sensitive_variables("password")
def _authenticate(username: str, password: str, request: HttpRequest) -> Any:
    model = get_user_model()
    # As Django's login form does: accounts are stored under the normal form.
    username = model.normalize_username(username)
    if _possible(model, username):
        try:
            return authenticate(request, **{model.USERNAME_FIELD: username, "password": password})
        except model.MultipleObjectsReturned:
            logger.warning(
                "Sign-in refused: several rows of %s have the %s that was given. Make it unique in any case.",
                model._meta.label,
                model.USERNAME_FIELD,
            )
    # As ModelBackend does for an unknown name, so that the answer takes no less time.
    make_password(password)
    return None


def _possible(model: Any, username: str) -> bool:
    """Whether the field could hold it: a staff number or UUID is asked for in the query and would raise there."""
    try:
        model._meta.get_field(model.USERNAME_FIELD).to_python(username)
    except ValidationError:
        return False
    return True
