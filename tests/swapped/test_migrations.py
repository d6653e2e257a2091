"""Any of our models may be replaced: migrations run from zero and back, and write nothing anew."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.swapped.project import Project

ORGANIZATION = """
from django.db import models
from dovetail_tenancy.base import AbstractOrganization


class Organization(AbstractOrganization):
    country = models.CharField(max_length=2)
"""

MEMBERSHIP = """
from django.db import models
from dovetail_tenancy.base import AbstractMembership


class Membership(AbstractMembership):
    title = models.CharField(max_length=100)
"""

# Names that sort before and after ours: what works by alphabetical luck works for one of them only.
LANES = {
    "neither": ({}, ""),
    "organization before": ({"aorg": ORGANIZATION}, "TENANCY_ORGANIZATION_MODEL = 'aorg.Organization'"),
    "organization after": ({"zorg": ORGANIZATION}, "TENANCY_ORGANIZATION_MODEL = 'zorg.Organization'"),
    "membership before": ({"amember": MEMBERSHIP}, "TENANCY_MEMBERSHIP_MODEL = 'amember.Membership'"),
    "membership after": ({"zmember": MEMBERSHIP}, "TENANCY_MEMBERSHIP_MODEL = 'zmember.Membership'"),
    "both in two apps": (
        {"zorg": ORGANIZATION, "amember": MEMBERSHIP},
        "TENANCY_ORGANIZATION_MODEL = 'zorg.Organization'\nTENANCY_MEMBERSHIP_MODEL = 'amember.Membership'",
    ),
    "both in one app": (
        {"zorg": ORGANIZATION + MEMBERSHIP},
        "TENANCY_ORGANIZATION_MODEL = 'zorg.Organization'\nTENANCY_MEMBERSHIP_MODEL = 'zorg.Membership'",
    ),
}

USE = """
from django.contrib.auth.models import User
from dovetail_tenancy import get_membership_model, get_organization_model, tenant
from documents.models import Document, Folder

user = User.objects.create(username="ada")
Organization, Membership = get_organization_model(), get_membership_model()
extra = {field: "x" for field in ("country",) if hasattr(Organization, field)}
organization = Organization.objects.create(name="Acme", slug="acme", owner=user, **extra)
Membership.objects.create(organization=organization, user=user, role="owner")
with tenant(organization):
    folder = Folder.objects.create(name="Inbox")
    Document.objects.create(folder=folder, author=user)
    print("documents", Document.objects.count(), "of", Membership.objects.get().organization_id == organization.pk)
"""


def goes_forth_and_back(project: Project, *apps: str) -> None:
    project.steps(
        f"makemigrations {' '.join(apps)} documents",
        "check --fail-level WARNING",
        "migrate",
        "makemigrations --check --dry-run",
    )
    assert "documents 1 of True" in project.run(USE)
    project.steps("flush --noinput", *(f"migrate {app} zero" for app in ("documents", "dovetail_tenancy", *apps)))
    assert "dovetail_tenancy_" not in project.run(
        "from django.db import connection; print(connection.introspection.table_names())"
    )


@pytest.mark.parametrize("lane", LANES)
def test_replacing(project: Callable[..., Project], lane: str) -> None:
    apps, settings = LANES[lane]
    goes_forth_and_back(project(apps, settings), *apps)


def test_a_replaced_table_is_not_created(project: Callable[..., Project]) -> None:
    apps, settings = LANES["both in two apps"]
    made = project(apps, settings)
    made.steps(f"makemigrations {' '.join(apps)} documents", "migrate")
    tables = made.run("from django.db import connection; print(connection.introspection.table_names())")
    assert "zorg_organization" in tables
    assert "dovetail_tenancy_organization" not in tables
    assert "dovetail_tenancy_membership" not in tables


COMPANY = """
from django.db import models


class Industry(models.Model):
    name = models.CharField(max_length=100)


class {name}(models.Model):
    title = models.CharField(max_length=100)
"""

INDUSTRY_ONLY = COMPANY.split("class {name}", maxsplit=1)[0]

COMPANY_IN_USE = """
from django.contrib.auth.models import User
from dovetail_tenancy import get_membership_model, get_organization_model, tenant
from documents.models import Folder

user, _ = User.objects.get_or_create(username="ada")
company, _ = get_organization_model().objects.get_or_create(title="Acme")
membership, _ = get_membership_model().objects.get_or_create(organization=company, user=user, role="owner")
with tenant(company):
    Folder.objects.get_or_create(name="Inbox")
    print("folders", Folder.objects.count(), "of", type(company).__name__, type(company.pk).__name__)
"""


def with_late_company(project: Callable[..., Project], app: str = "firms") -> Project:
    """A project whose tenant, a model of its own with integer keys, came with its second migration."""
    made = project({app: INDUSTRY_ONLY})
    made.manage("makemigrations", app)
    made.write(f"{app}/models.py", COMPANY.format(name="Firm"))
    made.manage("makemigrations", app)
    made.write("settings.py", made.read("settings.py") + f"\nTENANCY_ORGANIZATION_MODEL = '{app}.Firm'\n")
    return made


def test_a_company_that_came_with_the_second_migration(project: Callable[..., Project]) -> None:
    made = with_late_company(project)
    made.manage("makemigrations", "documents")
    # The dependency is on the migration that creates it: Django's own would be on the first.
    assert "('firms', '0002_firm')" in made.read("documents/migrations/0001_initial.py")
    made.steps("migrate", "makemigrations --check --dry-run")
    assert "folders 1 of Firm int" in made.run(COMPANY_IN_USE)
    made.steps(*(f"migrate {app} zero" for app in ("documents", "dovetail_tenancy", "firms")))


# The label decides whether the renaming comes before or after our migrations on a new database.
@pytest.mark.parametrize("app", ["afirms", "zfirms"])
@pytest.mark.parametrize("migrated_before", [True, False])
def test_a_company_that_is_renamed_later(project: Callable[..., Project], app: str, migrated_before: bool) -> None:
    made = with_late_company(project, app)
    dependencies = f"('{app}', '0002_firm'), ('contenttypes', '0002_remove_content_type_name')"
    if migrated_before:
        made.steps("makemigrations documents", "migrate")
        # The project orders its own migrations, as with any foreign key: Django leaves a renaming's place open.
        dependencies += ", ('documents', '0001_initial')"
        assert "folders 1 of Firm int" in made.run(COMPANY_IN_USE)
    made.write(f"{app}/models.py", COMPANY.format(name="Company"))
    made.write(
        f"{app}/migrations/0003_rename.py",
        "from django.db import migrations\n"
        "class Migration(migrations.Migration):\n"
        f"    dependencies = [{dependencies}]\n"
        "    operations = [migrations.RenameModel('Firm', 'Company')]\n",
    )
    made.write("settings.py", made.read("settings.py").replace(f"{app}.Firm", f"{app}.Company"))
    if not migrated_before:
        made.manage("makemigrations", "documents")
    made.steps("migrate", "makemigrations --check --dry-run")
    assert "folders 1 of Company int" in made.run(COMPANY_IN_USE)
    made.steps("migrate documents zero", "migrate dovetail_tenancy zero")


def test_a_label_that_names_nothing_says_what_it_takes(project: Callable[..., Project]) -> None:
    made = project({}, "TENANCY_ORGANIZATION_MODEL = 'Company'")
    assert "app_label.ModelName" in made.manage("check", fails=True)
