"""A project without ``django.contrib.auth``, with a user model that inherits nothing from Django's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from django.test import RequestFactory
from rest_framework.request import Request
from rest_framework.settings import api_settings
from rest_framework.test import APIClient, APIRequestFactory
from rest_framework.views import APIView

from dovetail_tenancy.api.permissions import HasOrganizationPermission, InOrganization
from dovetail_tenancy.api.views import visible_organizations
from dovetail_tenancy.middleware import TenantMiddleware
from tests.tenancy.factories import make_organization
from tests.without_auth import run


@pytest.fixture
def no_anonymous_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """REST framework's setting for projects without ``django.contrib.auth``."""
    monkeypatch.setattr(api_settings, "UNAUTHENTICATED_USER", None)


@pytest.mark.usefixtures("no_anonymous_user")
@pytest.mark.parametrize("permission", [InOrganization, HasOrganizationPermission("invoices.approve")])
def test_permissions_refuse_a_request_without_a_user(permission: Any) -> None:
    class View(APIView):
        permission_classes = [permission]

    assert TenantMiddleware(View.as_view())(APIRequestFactory().get("/")).status_code == 403


@pytest.mark.django_db
@pytest.mark.usefixtures("no_anonymous_user")
def test_endpoints_refuse_a_request_without_a_user() -> None:
    client = APIClient()
    key = "00000000-0000-0000-0000-000000000000"
    for path in ("organizations", f"organizations/{key}", f"organizations/{key}/members"):
        assert client.get(f"/api/{path}").status_code == 403
    for action, status in (("accept", 403), ("decline", 400)):
        assert client.post(f"/api/invitations/{action}", {"token": "x"}, format="json").status_code == status


@pytest.mark.django_db
@pytest.mark.usefixtures("no_anonymous_user")
def test_a_request_without_a_user_sees_no_organizations() -> None:
    make_organization()
    assert not visible_organizations(Request(RequestFactory().get("/")))


def test_a_user_without_is_staff_does_not_see_every_organization() -> None:
    """``AbstractBaseUser`` has no ``is_staff``, and a project may name a namespace of its own admin."""
    request: Any = RequestFactory().get("/admin/")
    request.user = SimpleNamespace(is_authenticated=True, is_active=True, pk=1)
    request.resolver_match = SimpleNamespace(namespaces=["admin"], app_names=["admin"])
    assert TenantMiddleware(Mock()).process_view(request, object, (), {}) is None


SETTINGS = """
INSTALLED_APPS += ["dovetail_tenancy"]
MIDDLEWARE += ["dovetail_tenancy.middleware.TenantMiddleware"]
ROOT_URLCONF = "dovetail_tenancy.api.urls"
TENANCY_ORGANIZATION_MODEL = "firms.Firm"
TENANCY_ORGANIZATION_CREATION = True
TENANCY_INVITATION_ACCEPT_URL = "https://app.example.com/#{token}"
TENANCY_INVITATION_SENDER = "dovetail_tenancy.mail.send_invitation"
TENANCY_INVITATION_SIGNUP = True
TENANCY_TOKEN_ISSUER = "__main__.issue_tokens"
# rest_framework.views imports the classes, so they must not import it.
REST_FRAMEWORK |= {
    "DEFAULT_PERMISSION_CLASSES": ["dovetail_tenancy.api.permissions.InOrganization"],
    "DEFAULT_PAGINATION_CLASS": "dovetail_core.rest.pagination.KeysetPagination",
}


def issue_tokens(user, *, request, amr):
    return {"access": f"token of {user.email}"}
"""
CODE = """
import re
from importlib.util import find_spec

from django.core import mail
from firms.models import Firm
from rest_framework.generics import GenericAPIView

assert [item.__name__ for item in GenericAPIView.permission_classes] == ["InOrganization"]
for path in ("/organizations/", "/organizations/1/", "/organizations/1/members/", "/organizations/1/invitations/"):
    assert anonymous.get(path).status_code == 401, path
assert client.get("/organizations/").json()["data"] == []

firm = client.post("/organizations/", {"name": "Old Mill"}, format="json").json()
members = f"/organizations/{firm['id']}/members/"
assert client.get(members).json()["data"][0]["user"] == {"id": ada.pk, "email": "ada@example.com"}

for address in ("bo@example.com", "cy@example.com"):
    body = {"email": address, "role": "member"}
    assert client.post(f"/organizations/{firm['id']}/invitations/", body, format="json").status_code == 201
tokens = [re.search("#([A-Za-z0-9_-]+)", message.body)[1] for message in mail.outbox]
Person.objects.create(name="Bo", email="bo@example.com")
accepted = [anonymous.post("/invitations/accept/", {"token": token}, format="json") for token in tokens]
# The first has an account and must sign in.
assert [answer.status_code for answer in accepted] == [401, 200], [answer.content for answer in accepted]
assert accepted[1].json()["access"] == "token of cy@example.com"
assert len(client.get(members).json()["data"]) == 2

# Modules of optional parts that a project may import.
import dovetail_tenancy.testing
if find_spec("channels"):
    import dovetail_tenancy.contrib.channels
"""


def test_organizations_and_invitations_work_without_contrib_auth() -> None:
    run(SETTINGS, CODE)
