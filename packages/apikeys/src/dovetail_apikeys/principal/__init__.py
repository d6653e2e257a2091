"""The principal of a request with an API key (the key or a user), and the organization whose keys it manages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser

from dovetail_apikeys import get_api_key_model
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
    #: The primary key of the organization. Authoritative: a header cannot select another organization.
    organization_id: Any
    scopes: frozenset[str]
    expires_at: datetime | None = None
    allowed_networks: tuple[str, ...] = ()
    rate_limit: str = ""
    created_by_id: Any = None

    @property
    def instance(self) -> AbstractAPIKey:
        """The key's row, read by one query each time. Raises ``DoesNotExist`` if the key has been deleted."""
        return get_api_key_model()._default_manager.get(pk=self.id)


class APIKeyPrincipal:
    """``request.user`` for a key: authenticated, but not a user. It has no password, groups or Django permissions.

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
        return f"apikey:{self.credential.id}"

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

    def save(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError("The principal of an API key is not a user. See request.auth.")

    delete = set_password = check_password = save

    def __eq__(self, other: object) -> bool:
        return isinstance(other, APIKeyPrincipal) and other.pk == self.pk

    def __hash__(self) -> int:
        return hash(self.pk)

    def __repr__(self) -> str:
        return f"<APIKeyPrincipal: {self.credential.prefix}>"


def owner(credential: APIKeyCredential) -> AbstractBaseUser | None:
    """Return the user who owns the key, if ``API_KEYS_ORGANIZATION_MODEL`` is the user model. One query."""
    return _active_user(credential.organization_id)


def creator(credential: APIKeyCredential) -> AbstractBaseUser | None:
    """Return the user who created the key, so that the key has no more rights than that user. One query."""
    return _active_user(credential.created_by_id)


def organization_of(request: Request) -> Any:
    """Return the organization of the credential, else the signed-in user if users own keys, else None.

    This is the default of ``API_KEYS_ORGANIZATION_RESOLVER``.
    """
    credential = getattr(request, "auth", None)
    if isinstance(credential, Credential) and credential.organization_id is not None:
        return credential.organization_id
    user, user_model = request.user, get_user_model()
    owner_model = get_api_key_model()._meta.get_field("organization").related_model
    return user.pk if owner_model is user_model and isinstance(user, user_model) else None


def _active_user(key: Any) -> AbstractBaseUser | None:
    user = None if key is None else get_user_model()._default_manager.filter(pk=key).first()
    return user if user is not None and may_sign_in(user) else None
