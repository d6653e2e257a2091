"""The wheels, installed into a project that stood before them, and taken out again.

Settings are enough, and with tenancy admin classes that show one company at a time.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.established.installation import MIGRATE, PYTHONS, Installation
from tests.established.packages import PARTS, files, settings, urls
from tests.wheels import ROOT

SETS = [*((name,) for name in PARTS), tuple(PARTS)]
EXHAUSTIVE = os.environ.get("TESTS_EXHAUSTIVE") == "1"
# All packages together run with every Django. A package that needs another one fails with any Django, so each package
# alone runs with the oldest only, which has the fewest features. TESTS_EXHAUSTIVE=1 runs it with the others too.
CELLS = [
    (django, packages, None)
    for django in PYTHONS
    for packages in SETS
    if packages == SETS[-1] or django == "5.2" or EXHAUSTIVE
] + [
    ("6.1", SETS[-1], "POSTGRES_SERVER"),
    ("6.1", SETS[-1], "MARIADB_SERVER"),
]

TENANT_ORDERS = """
from django.db import models
from dovetail_tenancy.models import TenantForeignKey, TenantModel


class Order(TenantModel):
    company = TenantForeignKey("companies.Company", on_delete=models.CASCADE, related_name="orders")
    number = models.CharField(max_length=20)
    total = models.DecimalField(max_digits=10, decimal_places=2)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["company", "number"], name="order_number_once_a_company")]
"""
ADOPTION = """
from django.db import migrations
from dovetail_core.models import dependency
from dovetail_tenancy.operations import AddOrganization


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("orders", "0001_initial"), dependency("TENANCY_ORGANIZATION_MODEL")]
    operations = [AddOrganization("Order", "company")]
"""

# The check dovetail_core.W002 names the project's own classes, which show every company.
ADMINS = {
    "companies/admin.py": """
from django.contrib import admin
from companies.models import Company, Industry
from dovetail_core.admin import LimitToOrganizations


@admin.register(Company)
class CompanyAdmin(LimitToOrganizations, admin.ModelAdmin):
    organization_field = "pk"


admin.site.register(Industry)
""",
    "accounts/admin.py": """
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from accounts.models import User
from dovetail_core.admin import LimitToOrganizations


@admin.register(User)
class LimitedUserAdmin(LimitToOrganizations, UserAdmin):
    organization_field = "company"
""",
}

CHECK = "check --fail-level WARNING"
DRIFT = "makemigrations --check --dry-run"


@pytest.mark.parametrize(
    ("django", "packages", "server"), CELLS, ids=[f"dj{d}-{'+'.join(p)}-{s or 'sqlite'}" for d, p, s in CELLS]
)
def test_the_wheels_work_in_an_established_project_and_leave_it_whole(
    install: Callable[[str, str | None], Installation],
    wheels: dict[str, Path],
    django: str,
    packages: tuple[str, ...],
    server: str | None,
) -> None:
    if server is not None and server not in os.environ:
        pytest.skip(f"{server} names no server, such as postgres://postgres@127.0.0.1:5432")
    project = install(django, os.environ[server] if server else None)
    tables = project.begin()

    project.install(*(wheels[name] for name in ("core", *packages)))
    project.write("with_packages.py", settings(*packages))
    project.write("with_packages_urls.py", urls(*packages))
    project.settings = "with_packages"
    for path, text in files(*packages).items():
        project.write(path, text)
    if "tenancy" in packages:
        for path, text in ADMINS.items():
            project.write(path, text)
    both = ["both"] if len(packages) > 1 else []
    # The project's own tests know nothing of the packages.
    added = project.tables(CHECK, *MIGRATE, DRIFT, "session", *packages, *both, "test") - tables
    assert {table for table in added if not table.startswith("dovetail_")} == set()
    assert added.isdisjoint({"dovetail_identity_user", "dovetail_tenancy_organization"})

    project.run(*(f"migrate dovetail_{package} zero" for package in reversed(packages)))
    for path in ADMINS:
        project.write(path, (ROOT / "tests/projects/established" / path).read_text())
    for path in files(*packages):
        (project.project / path).unlink()
    project.settings = "established.settings"
    project.pip("uninstall", *(f"dovetail-{name}" for name in ("core", *packages)))
    up_to_date = (f"{migrate} --check" for migrate in MIGRATE)
    assert project.tables(CHECK, *up_to_date, DRIFT, "session", "test") == tables


@pytest.mark.parametrize("server", [None, "POSTGRES_SERVER", "MARIADB_SERVER"])
def test_a_full_table_of_the_established_project_adopts_isolation(
    install: Callable[[str, str | None], Installation], wheels: dict[str, Path], server: str | None
) -> None:
    if server is not None and server not in os.environ:
        pytest.skip(f"{server} names no server, such as postgres://postgres@127.0.0.1:5432")
    project = install("6.1", os.environ[server] if server else None)
    project.begin()
    project.run("many_orders")
    project.install(wheels["core"], wheels["tenancy"])
    report = 'TENANCY_ENFORCEMENT = "report"\n'
    project.write("with_packages.py", settings("tenancy") + report)
    project.write("with_packages_urls.py", urls("tenancy"))
    project.settings = "with_packages"
    project.run(MIGRATE[0])

    project.write("orders/models.py", TENANT_ORDERS)
    project.write("orders/migrations/0002_order_organization.py", ADOPTION)
    project.run("migrate orders", DRIFT, "check", "adoption_reported")
    project.write("with_packages.py", settings("tenancy"))
    project.run("adoption_enforced", "isolation")

    before = (ROOT / "tests/projects/established/orders/models.py").read_text()
    project.run("migrate orders 0001")
    project.write("orders/models.py", before)
    (project.project / "orders/migrations/0002_order_organization.py").unlink()
    project.run(DRIFT, "migrate dovetail_tenancy zero")
