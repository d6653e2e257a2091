"""JSON Web Tokens (RFC 7519) of sessions, and their users."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias
from uuid import UUID, uuid5

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.db import connections, router
from django.db.models import Exists, IntegerField, Model, OuterRef, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from rest_framework_simplejwt import tokens as simplejwt
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.state import token_backend
from rest_framework_simplejwt.tokens import Token
from rest_framework_simplejwt.utils import get_md5_hash_password

from dovetail_core.sql import CompiledQuery, Placeholder, is_plain, once
from dovetail_identity.models import Session

Values: TypeAlias = Mapping[str, Any]

SESSION_CLAIM: Final = "sid"  # OpenID Connect Front-Channel Logout 1.0
GENERATION_CLAIM: Final = "gen"
#: How far the clocks of two servers may differ, unless ``SIMPLE_JWT["LEEWAY"]`` says otherwise. simplejwt's default is
#: 0: a token from a server whose clock is a second ahead is not valid yet on the next one (RFC 7519 4.1.4, 4.1.6).
LEEWAY: Final = timedelta(seconds=30)


def install_leeway() -> None:
    """Let simplejwt tolerate ``LEEWAY`` if the project does not set its own."""
    if "LEEWAY" not in getattr(settings, "SIMPLE_JWT", {}):
        token_backend.leeway = LEEWAY


# Every process that verifies tokens of sessions imports this module.
install_leeway()


def expiry_limit(now: datetime) -> datetime:
    """Return the time after which a session must expire to be live for its tokens at ``now``."""
    return now - token_backend.get_leeway()


class RefreshToken(simplejwt.RefreshToken):
    """simplejwt's refresh token with a session in place of the blacklist, which stores tokens in clear text."""

    no_copy_claims: Any = (*simplejwt.RefreshToken.no_copy_claims, GENERATION_CLAIM)

    def check_blacklist(self) -> None:
        pass

    def set_position(self, session_id: UUID, generation: int) -> None:
        self[SESSION_CLAIM] = str(session_id)
        self[GENERATION_CLAIM] = generation
        self[api_settings.JTI_CLAIM] = uuid5(session_id, str(generation)).hex

    @property
    def position(self) -> tuple[UUID, int]:
        """The id of the session and the generation. Raises ``TokenError`` if a claim is missing or invalid."""
        generation = self.get(GENERATION_CLAIM)
        if type(generation) is not int or not 0 < generation < 2**31 - 1:
            raise TokenError(_("Token is invalid"))
        return session_id_of(self), generation


def first_refresh_token(user: AbstractBaseUser) -> RefreshToken:
    # Not RefreshToken.for_user, which stores the token in the database if simplejwt's blacklist app is installed.
    return Token.for_user.__func__(RefreshToken, user)  # type: ignore[attr-defined, no-any-return]  # of a classmethod


def session_id_of(token: object) -> UUID:
    """Return the session id of a token or of ``request.auth``. Raise ``TokenError`` if it has none."""
    try:
        return UUID(token.get(SESSION_CLAIM))  # type: ignore[attr-defined]  # other objects raise AttributeError
    except (AttributeError, TypeError, ValueError):
        raise TokenError(_("Token is invalid")) from None


class _Lookup(NamedTuple):
    """The compiled query for a user, and the lowest and highest value of its ``USER_ID_FIELD`` if it is an integer."""

    query: CompiledQuery
    bounds: tuple[int | None, int | None] | None


def user_of_token(token: Token) -> Any:
    """Return the user of a verified token, or None."""
    return _find_user(token, _with_id, {})


def user_and_session_state(
    token: Token, condition: Callable[[Values], Q] | None = None, values: Values = MappingProxyType({})
) -> Any:
    """Return the user of a verified token, or None, in one query. Includes users who may not sign in.

    The attribute ``identity_session_is_live`` of the user is True if the session of the token is live and matches
    ``condition(values)``. The condition must be a function of a module, which is called once; ``values`` are values of
    the fields in ``_VALUES``.
    """
    session = {"session": session_id_of(token), "expiry": expiry_limit(timezone.now())}
    return _find_user(token, _with_session_state, {**session, **values}, condition)


#: The values of each execution of a query, by name, and the fields of the session that prepare them.
_VALUES: Final = {
    "session": "id",
    "expiry": "expires_at",
    "previous": "generation",
    "generation": "generation",
    "next": "generation",
    "tolerated_since": "rotated_at",
}


def _find_user(token: Token, build: Callable[..., QuerySet[Any]], values: Values, *arguments: Any) -> Any:
    model, name, key = get_user_model(), api_settings.USER_ID_FIELD, token.get(api_settings.USER_ID_CLAIM)
    # The database for writes, because a replica may not have a sign-in or sign-out yet.
    using = router.db_for_write(model)
    values = {**values, "user": key}
    lookup = once(_compile, model, name, build, *arguments, using=using)
    try:
        if lookup is None or not _is_within(lookup.bounds, key):
            return build(model, name, values, *arguments).using(using).get()
        return next(iter(lookup.query.instances(values)), None)
    except (model.DoesNotExist, ValidationError, ValueError, TypeError):
        # Other errors than DoesNotExist occur for an id like "42" after the primary key was changed to a UUID.
        return None


def _with_id(model: type[Model], name: str, values: Values) -> QuerySet[Any]:
    users: QuerySet[Any] = model._default_manager.filter(**{name: values["user"]})
    return users


def _with_session_state(
    model: type[Model], name: str, values: Values, condition: Callable[[Values], Q] | None
) -> QuerySet[Any]:
    session = Session._base_manager.filter(
        condition(values) if condition else Q(),
        pk=values["session"],
        user=OuterRef("pk"),
        revoked_at=None,
        expires_at__gt=values["expiry"],
    )
    users: QuerySet[Any] = _with_id(model, name, values).annotate(identity_session_is_live=Exists(session))
    return users


def _compile(
    model: type[Model], name: str, build: Callable[..., QuerySet[Any]], *arguments_and_alias: Any
) -> _Lookup | None:
    """Compile the query, or return None if the ORM must build it each time."""
    *arguments, using = arguments_and_alias
    name = model._meta.pk.name if name == "pk" else name
    field: Any = next((field for field in model._meta.concrete_fields if field.name == name), None)
    # A project's manager may select other users for each request, and its field may have its own comparison.
    if field is None or not field.unique or not is_plain(model._default_manager):
        return None
    target = field
    while target.remote_field:
        target = target.target_field
    if not target.get_lookup("exact").__module__.startswith("django."):
        return None
    fields: dict[str, Any] = {key: Session._meta.get_field(of) for key, of in _VALUES.items()} | {"user": target}
    places = {key: Placeholder(key, of) for key, of in fields.items()}
    rows = build(model, name, places, *arguments).using(using).order_by()
    query = CompiledQuery(rows, using=using, reads=[model, Session])
    range_of = connections[using].ops.integer_field_range
    return _Lookup(query, range_of(target.get_internal_type()) if isinstance(target, IntegerField) else None)


def _is_within(bounds: tuple[int | None, int | None] | None, key: Any) -> bool:
    """Return whether a column can hold the key. The ORM's comparison with a larger integer makes no query."""
    low, high = bounds or (None, None)
    return (low is None or int(key) >= low) and (high is None or int(key) <= high)


def check_sign_in_allowed(user: AbstractBaseUser | None, token: Token) -> None:
    """Raise ``TokenError`` if ``user`` is None or may not sign in.

    With simplejwt's ``CHECK_REVOKE_TOKEN``, also raise it for a token that is older than the password.
    """
    if user is None or not api_settings.USER_AUTHENTICATION_RULE(user):
        raise TokenError(_("No active account found for the given token."))
    revocable = api_settings.CHECK_REVOKE_TOKEN
    if revocable and token.get(api_settings.REVOKE_TOKEN_CLAIM) != get_md5_hash_password(user.password):
        raise TokenError(_("The user's password has been changed."))
