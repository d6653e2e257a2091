"""Who acts behind an API key: ``API_KEYS_PRINCIPAL`` makes ``request.user`` of ``request.auth``."""

from __future__ import annotations

from typing import Any, NoReturn

from django.contrib.auth import get_user_model

from dovetail_apikeys.credential import APIKeyCredential


class APIKeyPrincipal:
    """A machine. It is authenticated, and no user: no password, no groups, no permission of Django's.

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
        # As Django's: what asks for nothing is granted, and REST framework's permissions ask for nothing on GET.
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


def owner(credential: APIKeyCredential) -> Any:
    """The person who owns the key, where ``API_KEYS_ORGANIZATION_MODEL`` is the user model. One query a request."""
    return _active_user(credential.organization_id)


def creator(credential: APIKeyCredential) -> Any:
    """The person who created the key: it can do no more, and no longer, than that person. One query a request."""
    return _active_user(credential.created_by_id)


def _active_user(key: Any) -> Any:
    if key is None:
        return None
    model = get_user_model()
    user = model._default_manager.filter(pk=key).first()
    return user if user is not None and getattr(user, "is_active", True) else None
