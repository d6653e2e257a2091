"""Registration. An account is created only when its address is verified; until then, there is a ``Registration``."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.db import IntegrityError, router, transaction
from django.http import HttpRequest
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from dovetail_core.accounts import accounts_with, email_field, has_field, normalize_address
from dovetail_core.attempts import Reservation
from dovetail_core.commands import Progress, delete_in_batches
from dovetail_core.events import emit
from dovetail_core.transactions import retry_on_conflict
from dovetail_identity import events, mail
from dovetail_identity.conf import conf
from dovetail_identity.exceptions import InvalidOrExpired
from dovetail_identity.models import Registration
from dovetail_identity.registration.link_tokens import registration_of_token
from dovetail_identity.registration.passwords import check_strength
from dovetail_identity.sessions.attempts import begin_link
from dovetail_identity.sessions.queries import Tokens


@sensitive_variables("password")
def register(*, email: str, password: str, first_name: str = "", last_name: str = "") -> None:
    """Mail a link that creates the account. If the address already has an account, its owner is informed by mail.

    Takes one password hash, one new row and one mail in both cases; the account is looked up after the commit. Raises
    ``ValidationError`` with the key ``password`` for a weak password.
    """
    names = {"first_name": first_name, "last_name": last_name}
    # Validators compare the password with an unsaved user, which does not depend on whether the address has an account.
    model, field = get_user_model(), email_field()
    values = names | ({field.name: email} if field else {})
    user = model(**{name: value for name, value in values.items() if has_field(model, name)})
    check_strength(password, user, "password")
    using = router.db_for_write(Registration)
    with transaction.atomic(using=using):
        now = timezone.now()
        registration = Registration(
            email=normalize_address(email),
            password=make_password(password),
            created_at=now,
            expires_at=now + timedelta(hours=conf.REGISTRATION_EXPIRY_HOURS),
            **names,
        )
        registration.save(using=using, force_insert=True)
        mail.schedule("registration", registration, using=using)


@sensitive_variables("token")
def verify_email(token: str, *, request: HttpRequest | None) -> tuple[Any, Tokens]:
    """Create the account of a registration and sign it in. Emits ``user.registered``.

    Raises ``InvalidOrExpired`` for the token, and if the address has an account by now; and ``TooManyAttempts``.
    """
    reservation = begin_link(request)
    return _create_verified(registration_of_token(token), reservation, request)


# Without the count of the attempt, which is not rolled back: a second attempt would count again.
@retry_on_conflict
def _create_verified(key: UUID, reservation: Reservation, request: HttpRequest | None) -> tuple[Any, Tokens]:
    # Imported late: see sessions/queries.py.
    from dovetail_identity.sessions.sign_in import issue_tokens

    using = router.db_for_write(Registration)
    rows = Registration._base_manager.using(using).filter(pk=key, expires_at__gt=timezone.now())
    registration = rows.first()
    with transaction.atomic(using=using):
        # Only one of two parallel requests deletes the row.
        if registration is None or not rows.delete()[0] or accounts_with(registration.email):
            raise InvalidOrExpired
        reservation.refund()
        user = _create_account(registration, using)
        Registration._base_manager.using(using).filter(email=registration.email).delete()
        emit(events.USER_REGISTERED, actor=user, target=user, using=using)
        return user, issue_tokens(user, request=request, amr=("otp",))


def purge_registrations(*, batch_size: int = 1000, progress: Progress | None = None) -> int:
    """Delete expired registrations and return their number. Each batch is committed."""
    registrations = Registration._base_manager.using(router.db_for_write(Registration))
    expired = registrations.filter(expires_at__lte=timezone.now()).order_by("expires_at")
    return delete_in_batches(expired, batch_size=batch_size, progress=progress)


def _create_account(registration: Registration, using: str) -> Any:
    names = ("email", "password", "first_name", "last_name")
    try:
        with transaction.atomic(using=using):
            return conf.CREATE_USER(**{name: getattr(registration, name) for name in names})
    except IntegrityError as error:
        raise InvalidOrExpired from error
