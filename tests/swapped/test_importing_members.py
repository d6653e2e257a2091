"""A project imports its members: by a migration from a table and a many-to-many field, and again by the command."""

from __future__ import annotations

from collections.abc import Callable

from tests.swapped.project import Project

FIRMS = """
from django.conf import settings
from django.db import models


class Company(models.Model):
    name = models.CharField(max_length=100, unique=True)
    staff = models.ManyToManyField(settings.AUTH_USER_MODEL)


class Employment(models.Model):
    worker = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    invited_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, related_name="+")
    firm = models.ForeignKey(Company, on_delete=models.CASCADE, to_field="name")
    level = models.CharField(max_length=20)


class Seat(models.Model):
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    company = models.ForeignKey(Company, on_delete=models.CASCADE, related_name="+")
    level = models.CharField(max_length=20)
"""
SETTINGS = """
TENANCY_ORGANIZATION_MODEL = "firms.Company"
TENANCY_MEMBERSHIP_MODEL = "firms.Seat"
TENANCY_MEMBERSHIP_FIELDS = {"user": "person", "organization": "company", "role": "level"}
"""
FILL = """
from django.contrib.auth.models import User
from firms.models import Company, Employment
ada, bo, cy = (User.objects.create(username=name) for name in ("ada", "bo", "cy"))
acme, globex = (Company.objects.create(name=name) for name in ("Acme", "Globex"))
Employment.objects.create(worker=ada, firm=acme, level="boss", invited_by=cy)
Employment.objects.create(worker=ada, firm=globex, level="boss")
acme.staff.set([ada, bo])
globex.staff.set([cy])
"""
MIGRATION = """
from django.db import migrations

from dovetail_core.models import dependency
from dovetail_tenancy.operations import ImportMembers


class Migration(migrations.Migration):
    dependencies = [("firms", "0001_initial"), dependency("TENANCY_MEMBERSHIP_MODEL")]
    operations = [
        ImportMembers("firms.Employment", user="worker", role_field="level", roles={"boss": "owner"}),
        ImportMembers("firms.Company.staff", role="member"),
    ]
"""
USE = """
from django.core.management import call_command
from firms.models import Seat
call_command("migrate", verbosity=0)
call_command("makemigrations", check=True, dry_run=True, verbosity=0)
call_command("tenancy_import_members", "auth.User.company", role="member")
call_command("migrate", "firms", "0001", verbosity=0)
for seat in Seat.objects.order_by("person__username", "company__name"):
    print(seat.person.username, seat.company.name, seat.level)
"""


def test_members_are_imported_by_migration_and_command(project: Callable[..., Project]) -> None:
    made = project({"firms": FIRMS}, SETTINGS)
    made.steps("makemigrations firms documents", "migrate")
    made.run(FILL)
    made.write("firms/migrations/0002_members.py", MIGRATION)
    lines = made.run(USE).splitlines()
    assert lines[-4:] == ["ada Acme owner", "ada Globex owner", "bo Acme member", "cy Globex member"]
    assert lines[:3] == [
        "Created: 0.",
        "Already members: 3, with another role: 1.",
        "Rows without a user or an organization: 0.",
    ]
