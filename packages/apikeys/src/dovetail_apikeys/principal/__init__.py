"""The principal of a request with an API key (the key or a user), and the organization whose keys it manages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NoReturn

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import PermissionDenied
from django.utils.translation import gettext_lazy as _

from dovetail_apikeys import get_api_key_model
from dovetail_apikeys.conf import conf
from dovetail_core.accounts import may_sign_in
from dovetail_core.context import Credential

if TYPE_CHECKING:
    from rest_framework.request import Request

    from dovetail_apikeys.base import AbstractAPIKey


@dataclass(frozen=True, slots=True, kw_only=True)
class APIKeyCredential:
    """``request.auth``: an API key as of the start of the request.

    It does not contain the raw key. ``prefix`` may be shown and logged.
    """

    id: Any
    prefix: str
    #: The primary key of the row that owns the key: an organization, or a user if users own keys.
    owner_id: Any
    scopes: frozenset[str]
    expires_at: datetime | None = None
    allowed_networks: tuple[str, ...] = ()
    rate_limit: str = ""
    created_by_id: Any = None

    @property
    def organization_id(self) -> Any:
        """The primary key of the organization. Authoritative: a header cannot select another organization.

        None if users own keys: the key of user 2 must not open organization 2.
        """
        return None if users_own_keys() else self.owner_id

    @property
    def instance(self) -> AbstractAPIKey:
        """The key's row, read by one query each time. Raises ``DoesNotExist`` if the key has been deleted."""
        return get_api_key_model()._default_manager.get(pk=self.id)


class NotAUser(PermissionDenied):
    """Code has used the principal of a key as a user. The response is 403.

    The response has a text for the client. ``str()`` names the attribute and what to do, for the developer.
    """

    def __init__(self, text: str) -> None:
        # An argument, and not a default, because REST framework creates the same error again with another text.
        super().__init__(_("API keys cannot perform this action. Sign in as a user."))
        self.text = text

    def __str__(self) -> str:
        return self.text


class UserRequired(NotAUser, AttributeError):
    """Code has read an attribute that only a user has. An ``AttributeError``, for ``hasattr()``."""


_NOT_A_VALUE: Final = (
    "The principal of an API key is not a value of a foreign key to users. Require a user with "
    "dovetail_apikeys.api.permissions.IsHuman, or let keys act for a user with API_KEYS_PRINCIPAL."
)


class PrincipalKey(str):
    """The ``pk`` of a key's principal: text that no field converts to the primary key of a user."""

    __slots__ = ()

    def __int__(self) -> NoReturn:
        # filter(user_id=request.user.pk) calls int(), which would raise ValueError: 500 instead of 403.
        raise NotAUser(_NOT_A_VALUE)

    def replace(self, old: Any, new: Any, *count: Any, **named: Any) -> str:
        if old == "urn:":
            # UUID() calls it first.
            raise NotAUser(_NOT_A_VALUE)
        return super().replace(old, new, *count, **named)


class APIKeyPrincipal:
    """``request.user`` for a key: authenticated, but not a user. It has no password, groups or Django permissions.

    An attribute that only a user has raises ``UserRequired``, which is 403 and not 500. ``hasattr()`` is False for it.

    ``pk`` is unique among keys and users, so REST framework's throttles, which count by it, tell two keys apart.
    """

    __slots__ = ("credential",)

    is_authenticated = True
    is_anonymous = False
    is_active = True
    is_staff = False
    is_superuser = False

    def __init__(self, credential: APIKeyCredential) -> None:
        self.credential = credential

    @property
    def pk(self) -> str:
        return PrincipalKey(f"apikey:{self.credential.id}")

    id = pk

    @property
    def organization_id(self) -> Any:
        return self.credential.organization_id

    def get_username(self) -> str:
        return self.credential.prefix

    username = property(get_username)
    __str__ = get_username

    def has_perm(self, perm: str, obj: object = None) -> bool:
        return False

    def has_perms(self, perm_list: Iterable[str], obj: object = None) -> bool:
        # As in Django, an empty list is granted: REST framework's model permissions require none for GET.
        return not list(perm_list)

    def has_module_perms(self, app_label: str) -> bool:
        return False

    def get_all_permissions(self, obj: object = None) -> set[str]:
        return set()

    get_user_permissions = get_group_permissions = get_all_permissions

    def __getattr__(self, name: str) -> NoReturn:
        # copy and pickle look for special methods.
        if name.startswith("__"):
            raise AttributeError(name)
        raise UserRequired(
            f"The principal of an API key has no attribute {name!r}, because a key is not a user. Require a user with "
            "dovetail_apikeys.api.permissions.IsHuman, or let keys act for a user with API_KEYS_PRINCIPAL."
        )

    def replace(self, *args: object) -> NoReturn:
        # Fields convert the value of filter(user=request.user), by int() or UUID(), which calls replace(). UUIDField
        # would catch an AttributeError.
        raise NotAUser(_NOT_A_VALUE)

    __int__ = replace

    def save(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise NotAUser("The principal of an API key is not a user. See request.auth.")

    delete = set_password = check_password = save

    def __eq__(self, other: object) -> bool:
        return isinstance(other, APIKeyPrincipal) and other.pk == self.pk

    def __hash__(self) -> int:
        return hash(self.pk)

    def __repr__(self) -> str:
        return f"<APIKeyPrincipal: {self.credential.prefix}>"


def owner(credential: APIKeyCredential) -> AbstractBaseUser | None:
    """Return the user who owns the key, if ``API_KEYS_ORGANIZATION_MODEL`` is the user model. One query."""
    return _active_user(credential.owner_id)


def creator(credential: APIKeyCredential) -> AbstractBaseUser | None:
    """Return the user who created the key, so that the key has no more rights than that user. One query."""
    return _active_user(credential.created_by_id)


def default_principal() -> Any:
    """Return the default of ``API_KEYS_PRINCIPAL``: ``owner`` if users own keys, else ``APIKeyPrincipal``.

    Tokens of other libraries act as their user, so their clients change nothing only if imported keys do too.
    """
    return owner if get_user_model()._meta.label == conf.ORGANIZATION_MODEL else APIKeyPrincipal


def organization_of(request: Request) -> Any:
    """Return the owner of the API key, else the signed-in user if users own keys, else the credential's organization.

    This is the default of ``API_KEYS_ORGANIZATION_RESOLVER``.
    """
    credential = getattr(request, "auth", None)
    if isinstance(credential, APIKeyCredential):
        return credential.owner_id
    user = request.user
    if users_own_keys():
        return user.pk if isinstance(user, get_user_model()) else None
    return credential.organization_id if isinstance(credential, Credential) else None


def users_own_keys() -> bool:
    owner_model: Any = get_api_key_model()._meta.get_field("organization").related_model
    return owner_model is get_user_model()


def _active_user(key: Any) -> AbstractBaseUser | None:
    user = None if key is None else get_user_model()._default_manager.filter(pk=key).first()
    return user if user is not None and may_sign_in(user) else None
