from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.db.models import UUIDField
from django.test import RequestFactory
from rest_framework import permissions, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIClient

from dovetail_apikeys import get_actor, get_api_key_model, register_scopes
from dovetail_apikeys.api.permissions import IsHuman
from dovetail_apikeys.models import APIKey
from dovetail_apikeys.principal import APIKeyCredential, APIKeyPrincipal, NotAUser, UserRequired, organization_of
from dovetail_apikeys.restrictions import scopes
from dovetail_apikeys.testing import api_key_client
from dovetail_apikeys.verification.authentication import request_settings
from dovetail_core.context import Credential, Principal
from tests.apikeys.factories import make_firm, make_key, make_user
from tests.apikeys.firms.models import Firm
from tests.apikeys.firms.views import Plain


def credential(**fields: Any) -> APIKeyCredential:
    return APIKeyCredential(**{"id": 1, "prefix": "dvt_live_x", "owner_id": 7, "scopes": frozenset(), **fields})


def test_principal_and_credential_match_the_protocols() -> None:
    assert isinstance(APIKeyPrincipal(credential()), Principal)
    assert isinstance(credential(), Credential)


def test_principal_has_no_permissions_and_is_immutable() -> None:
    principal = APIKeyPrincipal(credential())
    assert (principal.pk, principal.id, principal.organization_id) == ("apikey:1", "apikey:1", 7)
    assert (principal.is_authenticated, principal.is_anonymous, principal.is_staff) == (True, False, False)
    assert not principal.has_perm("x.y")
    assert not principal.has_perms(["x.y"])
    assert principal.has_perms([])
    assert not principal.has_module_perms("x")
    assert principal.get_all_permissions() == principal.get_user_permissions() == set()
    assert principal == APIKeyPrincipal(credential())
    assert len({principal, APIKeyPrincipal(credential()), APIKeyPrincipal(credential(id=2))}) == 2
    assert principal != AnonymousUser()
    assert str(principal) == principal.username == "dvt_live_x"
    for change in (principal.save, principal.delete, principal.set_password, principal.check_password):
        with pytest.raises(NotAUser, match=r"request\.auth"):
            change()
    assert (json.dumps(principal.pk), principal.pk.replace(":", "-")) == ('"apikey:1"', "apikey-1")
    assert type(copy.copy(principal.pk)) is type(pickle.loads(pickle.dumps(principal.pk))) is type(principal.pk)
    with pytest.raises(AttributeError):
        principal.is_staff = True  # type: ignore[misc]  # the test assigns it
    with pytest.raises(AttributeError):
        credential().owner_id = 8  # type: ignore[misc]  # as above
    assert pickle.loads(pickle.dumps(credential())) == credential()


@pytest.mark.django_db
@pytest.mark.parametrize(
    "permission",
    [
        permissions.AllowAny,
        permissions.IsAuthenticated,
        permissions.IsAdminUser,
        permissions.IsAuthenticatedOrReadOnly,
        permissions.DjangoModelPermissions,
        permissions.DjangoModelPermissionsOrAnonReadOnly,
        permissions.DjangoObjectPermissions,
    ],
)
def test_rest_framework_permissions_accept_the_principal(monkeypatch: pytest.MonkeyPatch, permission: type) -> None:
    monkeypatch.setattr(Plain, "permission_classes", [permission])
    monkeypatch.setattr(Plain, "queryset", Firm.objects.all(), raising=False)
    client = api_key_client(make_firm())
    assert client.get("/plain/").status_code == (403 if permission is permissions.IsAdminUser else 200)


def test_key_of_a_user_names_no_organization(monkeypatch: pytest.MonkeyPatch) -> None:
    assert credential().organization_id == credential().owner_id == 7
    monkeypatch.setitem(vars(APIKey._meta.get_field("organization")), "related_model", User)
    assert (credential().organization_id, credential().owner_id) == (None, 7)
    request = Request(RequestFactory().get("/"))
    request.user, request.auth = APIKeyPrincipal(credential()), credential()
    assert organization_of(request) == 7


@pytest.mark.django_db
def test_testing_client_authenticates_by_key() -> None:
    firm = make_firm()
    client = api_key_client(firm, scopes=["orders:read"], name="Own")
    assert isinstance(client, APIClient)
    assert client.get("/orders/").json()["organization"] == str(firm.pk)
    assert client.api_key.name == "Own"  # type: ignore[attr-defined]  # set by the helper
    assert client.post("/orders/").status_code == 403


@pytest.mark.django_db
def test_credential_reads_its_row_in_one_query(django_assert_num_queries: Any) -> None:
    api_key, _raw = make_key()
    with django_assert_num_queries(1):
        assert credential(id=api_key.pk).instance == api_key
    api_key.delete()
    with pytest.raises(APIKey.DoesNotExist):
        _ = credential(id=api_key.pk).instance


@pytest.mark.django_db
def test_deferred_columns_take_no_further_query(django_assert_num_queries: Any) -> None:
    for _ in range(3):
        make_key()
    with django_assert_num_queries(1):
        assert len([api_key.name for api_key in APIKey.objects.only("name")]) == 3
    with django_assert_num_queries(1):
        assert len([repr(api_key) for api_key in APIKey.objects.defer("hashed_key", "scopes")]) == 3


@pytest.mark.django_db
def test_get_actor_returns_user_or_key_id() -> None:
    request = Request(RequestFactory().get("/"))
    request.user, request.auth = APIKeyPrincipal(credential()), credential()
    assert get_actor(request) == (None, 1)
    user = make_user()
    request.user, request.auth = user, None
    assert get_actor(request) == (user, None)
    request.user = AnonymousUser()
    assert get_actor(request) == (None, None)
    assert get_api_key_model() is APIKey


def test_registered_scopes_are_declared_with_wildcards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scopes, "_registered", dict(scopes._registered))
    register_scopes({"stock:read": "See the stock"})
    declared = scopes.declared_scopes()
    assert declared["stock:read"] == "See the stock"
    assert {"stock:*", "orders:read", "api_keys:write"} <= set(declared)
    assert list(declared) == sorted(declared)
    for invalid in ("stock", "Stock:read", "stock:*", "stock:read:all", "", ":", "stock: read"):
        with pytest.raises(ValueError, match="resource:action"):
            register_scopes({invalid: ""})
    assert scopes.covers(["stock:*"], "stock:read")
    assert not scopes.covers(["stock:*"], "stocks:read")
    assert not scopes.covers(["stock:read"], "stock:*")


@pytest.mark.parametrize("name", ["email", "timezone", "organisations", "groups", "first_name"])
def test_attribute_of_a_user_raises_an_error_naming_is_human(name: str) -> None:
    principal = APIKeyPrincipal(credential())
    with pytest.raises(UserRequired, match=rf"'{name}'.*IsHuman"):
        getattr(principal, name)
    assert not hasattr(principal, name)
    assert copy.copy(principal) == pickle.loads(pickle.dumps(principal)) == principal


class UserSerializer(serializers.Serializer[Any]):
    mail = serializers.CharField(source="user.email")


@pytest.mark.django_db
@pytest.mark.parametrize(
    "read",
    [
        lambda request: request.user.email,
        lambda request: UserSerializer(request).data,
        lambda request: list(User.objects.filter(pk=request.user)),
        lambda request: User.objects.filter(groups__user=request.user).exists(),
        lambda request: UUIDField().get_prep_value(request.user),
        lambda request: list(User.objects.filter(pk=request.user.pk)),
        lambda request: UUIDField().get_prep_value(request.user.pk),
        lambda request: request.user.save(),
        lambda request: request.user.delete(),
    ],
)
def test_view_for_users_responds_403_to_a_key(monkeypatch: pytest.MonkeyPatch, read: Any) -> None:
    monkeypatch.setattr(Plain, "get", lambda view, request: Response(str(read(request))))
    response = api_key_client(make_firm()).get("/plain/")
    assert (response.status_code, response.data["detail"]) == (403, IsHuman.message)


@pytest.mark.django_db
def test_view_without_rest_framework_responds_403_to_a_key(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.apikeys.firms.views.Plain.handle_exception", raise_again)
    monkeypatch.setattr(Plain, "get", lambda view, request: Response(request.user.email))
    assert api_key_client(make_firm()).get("/plain/").status_code == 403


def raise_again(view: Plain, exc: Exception) -> None:
    raise exc


@pytest.mark.django_db
def test_key_owned_by_a_user_acts_as_the_user_by_default(settings: Any) -> None:
    assert request_settings().principal is APIKeyPrincipal
    settings.API_KEYS_ORGANIZATION_MODEL = "auth.User"
    user = make_user()
    assert request_settings().principal(credential(owner_id=user.pk)) == user
    settings.API_KEYS_PRINCIPAL = "dovetail_apikeys.principal.APIKeyPrincipal"
    assert request_settings().principal is APIKeyPrincipal
