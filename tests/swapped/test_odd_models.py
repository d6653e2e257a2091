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


class Employment(models.Model):
    person = models.ForeignKey(Account, on_delete=models.CASCADE)
    company = models.ForeignKey(Company, on_delete=models.CASCADE)
    level = models.CharField(max_length=20)
"""
SETTINGS = """
AUTH_USER_MODEL = "own.Account"
TENANCY_ORGANIZATION_MODEL = "own.Company"
TENANCY_INVITATION_ACCEPT_URL = "https://app.example.com/#{token}"
ROOT_URLCONF = "dovetail_tenancy.api.urls"
ALLOWED_HOSTS = ["testserver"]
TENANCY_ORGANIZATION_CREATION = True
"""
OTHER_NAMES = """
TENANCY_MEMBERSHIP_MODEL = "own.Employment"
TENANCY_MEMBERSHIP_FIELDS = {"user": "person", "organization": "company", "role": "level"}
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
    member = client.get(path + "members/").json()["data"][0]
    changed = client.patch(path + f"members/{member['id']}/", {"role": "member"}, format="json").json()
    print("changed", changed["role"], changed["user"]["id"])
    print("left", client.post(path + "leave/").status_code)
    try:
        ada.delete()
    except LastOwner:
        print("kept")
    heir = next(row for row in get_membership_model().objects.all() if row.user == bo)
    print("handed over", client.post(path + "transfer-ownership/", {"member": str(heir.pk)}, format="json").status_code)
    ada.delete()
    print("role", get_membership_model().objects.get().role)
"""


@pytest.mark.parametrize(("name", "memberships"), [("name", ""), ("name", OTHER_NAMES), ("title", "")])
def test_organizations_and_users_of_any_shape(project: Callable[..., Project], name: str, memberships: str) -> None:
    # After the project's own settings, which put the app of the user model among the installed ones.
    made = project({"own": OWN.format(name=name)}, SETTINGS + memberships)
    made.steps(
        "makemigrations own documents", "makemigrations --check --dry-run", "check --fail-level ERROR", "migrate"
    )
    told = made.run(USE)
    if name == "title":
        # What the endpoint cannot name it does not create, and that is no server error.
        assert "created 405" in told
        return
    lines = ("created 201", "members 2", "invited 201 1", "changed member b", "left 409", "kept", "handed over 200")
    for line in (*lines, "role owner"):
        assert line in told, told
