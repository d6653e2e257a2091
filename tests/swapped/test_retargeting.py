"""A setting that names a model is changed in a project full of rows: told by a check, put right by a migration."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.swapped.project import Project

README = (Path(__file__).parents[2] / "packages/tenancy/README.md").read_text()

FIRMS = """
from django.db import models


class Firm(models.Model):
    name = models.CharField(max_length=100)
    organization_id = models.UUIDField(null=True, unique=True)
"""

BEFORE = """
from django.contrib.auth.models import User
from dovetail_tenancy import get_membership_model, services, tenant
from dovetail_tenancy.models import Organization
from documents.models import Folder
from firms.models import Firm

Firm.objects.create(name="was here before")
for number in range(3):
    owner = User.objects.create(username=f"owner{number}")
    organization = services.create_organization(name=f"Organization {number}", owner=owner)
    services.add_member(organization=organization, user=User.objects.create(username=f"member{number}"), role="member")
    Firm.objects.create(name=organization.name, organization_id=organization.pk)
    with tenant(organization):
        Folder.objects.create(name=f"Folder {number}")
"""
AFTER = """
from dovetail_tenancy import get_membership_model, get_organization_model, tenant
from documents.models import Folder
for firm in get_organization_model().objects.exclude(name="was here before").order_by("pk"):
    with tenant(firm):
        members = get_membership_model().objects.filter(organization=firm)
        names = sorted(members.values_list("user__username", flat=True))
        print(firm.name, "|", *names, *Folder.objects.values_list("name", flat=True))
"""
EXPECTED = [f"Organization {number} | member{number} owner{number} Folder {number}" for number in range(3)]
COLUMNS = ("dovetail_tenancy.Membership", "dovetail_tenancy.Invitation", "documents.Folder", "documents.Document")


takes_a_minute = pytest.mark.skipif(
    not {"DATABASE_URL", "TESTS_EXHAUSTIVE"} & {name for name, value in os.environ.items() if value},
    reason="takes a minute: neither DATABASE_URL names a database nor TESTS_EXHAUSTIVE is set",
)


def migration() -> str:
    """The README's own."""
    how_to = README.split("### Changing the organization model later")[1].partition("\n#")[0]
    (code,) = re.findall(r"```python\n(from django.db import migrations.+?)```", how_to, flags=re.DOTALL)
    return str(code)


@pytest.fixture
def moving(project: Callable[..., Project]) -> Project:
    made = project({"firms": FIRMS})
    made.steps("makemigrations firms documents", "migrate")
    made.run(BEFORE)
    made.write("settings.py", made.read("settings.py") + "\nTENANCY_ORGANIZATION_MODEL = 'firms.Firm'\n")
    return made


def rows(made: Project) -> list[str]:
    return [line for line in made.run(AFTER).splitlines() if "|" in line]


def test_organizations_become_the_projects_own_firms_and_back(moving: Project) -> None:
    # Django itself sees nothing.
    moving.manage("makemigrations", "--check", "--dry-run")
    told = moving.manage("check", "--database", "default", fails=True)
    assert told.count("dovetail_tenancy.E010") == len(COLUMNS)
    assert "points at the table dovetail_tenancy_organization" in told
    assert "RetargetForeignKey('dovetail_tenancy.Membership', 'organization', was=" in told
    assert "E010" in moving.manage("migrate", fails=True)

    moving.write("firms/migrations/0002_retarget.py", migration())
    moving.steps("migrate", "check --database default", "makemigrations --check --dry-run")
    assert rows(moving) == EXPECTED

    moving.steps("migrate firms 0001")
    assert "E010" not in moving.manage("check", "--database", "default")  # what puts it right is waiting
    moving.write(
        "settings.py", moving.read("settings.py").replace("= 'firms.Firm'", "= 'dovetail_tenancy.Organization'")
    )
    (moving.folder / "firms/migrations/0002_retarget.py").unlink()
    moving.steps("check --database default", "makemigrations --check --dry-run")
    assert rows(moving) == EXPECTED


@takes_a_minute
def test_rows_without_a_counterpart_stop_it_and_lose_nothing(moving: Project) -> None:
    moving.run("from firms.models import Firm; Firm.objects.filter(name='Organization 1').update(organization_id=None)")
    moving.write("firms/migrations/0002_retarget.py", migration())
    told = moving.manage("migrate", fails=True)
    assert re.search(r"1 keys of \S+ have no firms\.Firm: [0-9a-f-]{36}, …", told), told
    moving.run(
        "from dovetail_tenancy.models import Organization; from firms.models import Firm; "
        "key = Organization._base_manager.get(name='Organization 1').pk if not Organization._meta.swapped else None; "
        "from django.db import connection; c = connection.cursor(); "
        "c.execute(\"SELECT id FROM dovetail_tenancy_organization WHERE name = 'Organization 1'\"); "
        "Firm.objects.filter(name='Organization 1').update(organization_id=c.fetchone()[0])"
    )
    moving.steps("migrate")
    assert rows(moving) == EXPECTED


@takes_a_minute
def test_a_new_database_has_nothing_to_retarget(project: Callable[..., Project]) -> None:
    made = project({"firms": FIRMS}, "TENANCY_ORGANIZATION_MODEL = 'firms.Firm'\n")
    made.steps("makemigrations firms documents")
    made.write("firms/migrations/0002_retarget.py", migration())
    made.steps("migrate", "check --database default", "makemigrations --check --dry-run")
    made.steps(*(f"migrate {app} zero" for app in ("documents", "dovetail_tenancy", "firms")))


TWO = """
from django.db import models


class Company(models.Model):
    name = models.CharField(max_length=100)


class Firm(models.Model):
    name = models.CharField(max_length=100)
"""
CROSSED = """
from django.contrib.auth.models import User
from dovetail_tenancy import services
from firms.models import Company, Firm
for name in ("a", "b", "c"):
    services.create_organization(name=name, owner=User.objects.create(username=name))
for name in ("c", "a", "b"):
    Firm.objects.create(name=name)
"""
CROSSING = """
from django.db import migrations
from dovetail_tenancy.operations import RetargetForeignKey


def keys(apps):
    firms = dict(apps.get_model("firms", "Firm").objects.values_list("name", "pk"))
    return {pk: firms[name] for pk, name in apps.get_model("firms", "Company").objects.values_list("pk", "name")}


class Migration(migrations.Migration):
    dependencies = [("firms", "0001_initial"), ("dovetail_tenancy", "0003_invitation"), ("documents", "0001_initial")]
    operations = [
        RetargetForeignKey(model, "organization", was="firms.Company", keys=keys)
        for model in ("dovetail_tenancy.Membership", "dovetail_tenancy.Invitation", "documents.Folder",
                      "documents.Document")
    ]
"""
OWNERS = """
from dovetail_tenancy import get_membership_model
print("owners", *sorted(f"{m.organization.name}={m.user.username}" for m in get_membership_model().objects.all()))
"""


@takes_a_minute
def test_keys_that_change_places(project: Callable[..., Project]) -> None:
    made = project({"firms": TWO}, "TENANCY_ORGANIZATION_MODEL = 'firms.Company'\n")
    made.steps("makemigrations firms documents", "migrate")
    made.run(CROSSED)
    made.write("settings.py", made.read("settings.py").replace("firms.Company", "firms.Firm"))
    made.write("firms/migrations/0002_retarget.py", CROSSING)
    made.steps("migrate", "check --database default")
    assert "owners a=a b=b c=c" in made.run(OWNERS)
    made.steps("migrate firms 0001")
    made.write("settings.py", made.read("settings.py").replace("firms.Firm", "firms.Company"))
    (made.folder / "firms/migrations/0002_retarget.py").unlink()
    assert "owners a=a b=b c=c" in made.run(OWNERS)
