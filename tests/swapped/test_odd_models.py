"""Organizations and users of any shape: inherited or text keys, no slug, no owner, no name, no is_active, no e-mail."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.swapped.project import Project

OWN = """
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager
from django.db import models


class Account(AbstractBaseUser):
    number = models.CharField(max_length=20, primary_key=True)
    is_active = True
    USERNAME_FIELD = "number"
    objects = BaseUserManager()


class Party(models.Model):
    code = models.CharField(max_length=20, blank=True)


class Company(Party):
    {name} = models.CharField(max_length=100)
"""
SETTINGS = """
AUTH_USER_MODEL = "own.Account"
TENANCY_ORGANIZATION_MODEL = "own.Company"
TENANCY_INVITATION_ACCEPT_URL = "https://app.example.com/#{token}"
ROOT_URLCONF = "dovetail_tenancy.api.urls"
ALLOWED_HOSTS = ["testserver"]
"""
USE = """
from rest_framework.test import APIClient
from own.models import Account, Company
from dovetail_tenancy import get_membership_model, services
from dovetail_tenancy.exceptions import LastOwner
ada, bo = Account.objects.create(number="a/1"), Account.objects.create(number="b")
client = APIClient()
client.force_authenticate(ada)
answer = client.post("/organizations/", {"name": "Acme"}, format="json")
print("created", answer.status_code)
if answer.status_code == 201:
    company = Company.objects.get(pk=answer.json()["id"])
    services.add_member(organization=company, user=bo, role="admin")
    path = f"/organizations/{company.pk}/"
    print("members", len(client.get(path + "members/").json()["data"]))
    invited = client.post(path + "invitations/", {"email": "cy@example.com", "role": "member"}, format="json")
    print("invited", invited.status_code, len(client.get(path + "invitations/").json()["data"]))
    print("left", client.post(path + "leave/").status_code)
    try:
        ada.delete()
    except LastOwner:
        print("kept")
    heir = get_membership_model().objects.get(user=bo)
    print("handed over", client.post(path + "transfer-ownership/", {"member": str(heir.pk)}, format="json").status_code)
    ada.delete()
    print("role", get_membership_model().objects.get().role)
"""


@pytest.mark.parametrize("name", ["name", "title"])
def test_organizations_and_users_of_any_shape(project: Callable[..., Project], name: str) -> None:
    # After the project's own settings, which put the app of the user model among the installed ones.
    made = project({"own": OWN.format(name=name)}, SETTINGS)
    made.steps("makemigrations own documents", "check --fail-level ERROR", "migrate")
    told = made.run(USE)
    if name == "title":
        # What the endpoint cannot name it does not create, and that is no server error.
        assert "created 405" in told
        return
    for line in ("created 201", "members 2", "invited 201 1", "left 409", "kept", "handed over 200", "role owner"):
        assert line in told, told
