"""An API key as a request has it: ``request.auth`` is its credential, ``request.user`` its principal."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn

from dovetail_apikeys import get_api_key_model


@dataclass(frozen=True, slots=True, kw_only=True)
class APIKeyCredential:
    """An API key as it was when the request came. It does not hold the raw key; ``prefix`` may be shown and logged."""

    id: Any
    prefix: str
    #: The primary key of the organization. Authoritative: a header cannot choose another organization.
    organization_id: Any
    scopes: frozenset[str]
    expires_at: datetime | None = None
    allowed_networks: tuple[str, ...] = ()
    rate_limit: str = ""
    created_by_id: Any = None

    @property
    def instance(self) -> Any:
        """The key's row, read by one query each time. Raises ``DoesNotExist`` if the key was deleted since."""
        return get_api_key_model()._default_manager.get(pk=self.id)


class APIKeyPrincipal:
    """A machine. It is authenticated, and it is not a user: no password, no groups, no Django permissions.

    ``pk`` is unique among keys and users, so REST framework's throttles, which count by it, keep two keys apart.
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

    def has_perm(self, perm: str, obj: Any = None) -> bool:
        return False

    def has_perms(self, perm_list: Any, obj: Any = None) -> bool:
        # As in Django: an empty list is granted, and REST framework's model permissions ask for none on GET.
        return not list(perm_list)

    def has_module_perms(self, app_label: str) -> bool:
        return False

    def get_all_permissions(self, obj: Any = None) -> set[str]:
        return set()

    get_user_permissions = get_group_permissions = get_all_permissions

    def save(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError("An API key is no user. See request.auth.")

    delete = set_password = check_password = save

    def __eq__(self, other: object) -> bool:
        return isinstance(other, APIKeyPrincipal) and other.pk == self.pk

    def __hash__(self) -> int:
        return hash(self.pk)

    def __str__(self) -> str:
        return self.credential.prefix

    def __repr__(self) -> str:
        return f"<APIKeyPrincipal: {self.credential.prefix}>"
