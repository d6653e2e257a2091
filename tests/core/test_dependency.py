"""``dependency()`` and ``target()`` with different migration histories of the target model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.core.migrated import Project

FIELDS = "[('id', models.AutoField(primary_key=True, serialize=False)), ('name', models.CharField(max_length=9))]"
INDUSTRY = f"CreateModel('Industry', {FIELDS})"
COMPANY = f"CreateModel('Company', {FIELDS})"
FIRM = f"CreateModel('Firm', {FIELDS})"
RENAME = "RenameModel('Firm', 'Company')"
CLEAN = "makemigrations --check --dry-run"

Make = Callable[..., Project]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Project] = []

    def project(*apps: str, model: str = "companies.Company", more: str = "") -> Project:
        made.append(Project(tmp_path, *(apps or ("companies",)), model=model, more=more))
        made[0].on_server("DROP DATABASE IF EXISTS {}", "CREATE DATABASE {}")
        return made[0]

    yield project
    for created in made:
        created.on_server("DROP DATABASE IF EXISTS {}")


def migrates_forward_and_back(project: Project) -> None:
    all_to_zero = [f"migrate {app} zero" for app in project.apps]
    project.manage("migrate", CLEAN, "try", *all_to_zero, "migrate", "try")


def test_model_created_by_a_later_migration(make: Make) -> None:
    project = make()
    project.models("companies", "Industry", "Company")
    project.migration("companies/0001_initial", INDUSTRY)
    project.migration("companies/0002_company", COMPANY)
    migrates_forward_and_back(project)


def renamed(project: Project) -> None:
    project.models("companies", "Industry", "Company")
    project.migration("companies/0001_initial", INDUSTRY)
    project.migration("companies/0002_firm", FIRM)
    project.migration("companies/0003_rename", RENAME)


def test_model_renamed_before_our_migration(make: Make) -> None:
    project = make()
    renamed(project)
    migrates_forward_and_back(project)


@pytest.mark.parametrize("app", ["companies", "zoo"])
def test_earlier_renaming_with_either_app_first(make: Make, app: str) -> None:
    """Without dependencies, Django migrates apps in the order of their labels."""
    project = make(app, model=f"{app}.Company")
    project.models(app, "Company")
    project.migration(f"{app}/0001_initial", FIRM)
    project.migration(f"{app}/0002_rename", RENAME)
    migrates_forward_and_back(project)


@pytest.mark.parametrize("app", ["companies", "zoo"])
def test_model_renamed_after_our_migration(make: Make, app: str) -> None:
    project = make(app, model=f"{app}.Firm")
    project.models(app, "Firm")
    project.migration(f"{app}/0001_initial", FIRM)
    project.manage("migrate", "try")

    project.models(app, "Company")
    project.migration(f"{app}/0002_rename", RENAME)
    project.configure(f"{app}.Company")
    project.manage("migrate", "try", CLEAN, "migrate keys zero")
    migrates_forward_and_back(project)


def test_model_moved_from_another_app_by_state_operations(make: Make) -> None:
    project = make("old", "companies")
    project.models("companies", "Company", table="old_company")
    project.migration("old/0001_initial", COMPANY)
    project.migration("companies/0001_initial", after=[])
    moved = f"CreateModel('Company', {FIELDS}, {{'db_table': 'old_company'}})"
    project.migration(
        "companies/0002_move",
        f"SeparateDatabaseAndState([], [{moved}])",
        after=[("companies", "0001_initial"), ("old", "0001_initial")],
    )
    project.migration(
        "old/0002_move",
        "SeparateDatabaseAndState([], [DeleteModel('Company')])",
        after=[("old", "0001_initial"), ("companies", "0002_move")],
    )
    migrates_forward_and_back(project)


@pytest.mark.parametrize("old_files", ["kept", "removed"])
@pytest.mark.parametrize("rename", ["folded in", "left apart"])
def test_squashed_migrations(make: Make, old_files: str, rename: str) -> None:
    project = make()
    renamed(project)
    operations = (INDUSTRY, COMPANY) if rename == "folded in" else (INDUSTRY, FIRM, RENAME)
    replaced = ["0001_initial", "0002_firm", "0003_rename"]
    project.migration("companies/0001_squashed_0003_rename", *operations, after=[], replaces=replaced)
    if old_files == "removed":
        for name in replaced:
            project.remove(f"companies/{name}")
    migrates_forward_and_back(project)


def test_migrations_squashed_and_removed_after_our_migration(make: Make) -> None:
    project = make()
    renamed(project)
    project.manage("migrate")
    replaced = ["0001_initial", "0002_firm", "0003_rename"]
    project.migration("companies/0001_squashed_0003_rename", INDUSTRY, COMPANY, after=[], replaces=replaced)
    project.manage("migrate", "try")
    for name in replaced:
        project.remove(f"companies/{name}")
    project.manage("migrate")
    migrates_forward_and_back(project)


def test_migration_that_depends_on_a_replaced_one(make: Make) -> None:
    project = make()
    project.models("companies", "Industry", "Enterprise")
    project.migration("companies/0001_initial", INDUSTRY)
    project.migration("companies/0002_firm", FIRM)
    replaced = ["0001_initial", "0002_firm"]
    project.migration("companies/0001_squashed_0002_firm", INDUSTRY, FIRM, after=[], replaces=replaced)
    # Sorts before the squashed migration by name, but depends on it.
    project.migration("companies/0000_rename", "RenameModel('Firm', 'Enterprise')", after=[("companies", "0002_firm")])
    project.configure("companies.Enterprise")
    migrates_forward_and_back(project)


def test_squashed_migration_that_is_partially_applied(make: Make) -> None:
    project = make()
    project.models("companies", "Industry", "Company")
    project.migration("companies/0001_initial", INDUSTRY)
    project.manage("migrate companies 0001")
    project.migration("companies/0002_company", COMPANY)
    replaced = ["0001_initial", "0002_company"]
    project.migration("companies/0001_squashed_0002_company", INDUSTRY, COMPANY, after=[], replaces=replaced)
    migrates_forward_and_back(project)


@pytest.mark.parametrize("depends_on", ["zoo", "old"])
def test_migration_that_replaces_one_of_another_app(make: Make, depends_on: str) -> None:
    """The app ``old`` was renamed to ``zoo``, and its migrations replace those with the old label."""
    project = make("zoo", model="zoo.Company")
    project.models("zoo", "Company")
    project.migration("zoo/0001_initial", FIRM, after=[], replaces=[("old", "0001_initial")])
    project.migration("zoo/0002_rename", RENAME, after=[(depends_on, "0001_initial")])
    migrates_forward_and_back(project)


def test_model_deleted_and_created_again(make: Make) -> None:
    project = make()
    project.models("companies", "Company")
    project.migration("companies/0001_initial", COMPANY)
    project.migration("companies/0002_delete", "DeleteModel('Company')")
    project.migration("companies/0003_again", COMPANY)
    migrates_forward_and_back(project)


def test_model_whose_former_name_belongs_to_another_model(make: Make) -> None:
    project = make()
    project.models("companies", "Company", "Firm")
    project.migration("companies/0001_initial", FIRM)
    project.migration("companies/0002_rename", RENAME)
    project.migration("companies/0003_firm", FIRM)
    migrates_forward_and_back(project)


def test_migrations_in_another_module(make: Make) -> None:
    project = make(more='MIGRATION_MODULES = {"companies": "companies.history"}')
    project.models("companies", "Company")
    project.write("companies/history/__init__.py", "")
    project.migration("companies/history/0001_initial", INDUSTRY)
    project.migration("companies/history/0002_company", "DeleteModel('Industry')", COMPANY)
    migrates_forward_and_back(project)


def test_app_without_migrations(make: Make) -> None:
    project = make(more='MIGRATION_MODULES = {"companies": None}')
    project.models("companies", "Company")
    project.manage("migrate --run-syncdb", "try")


def test_app_whose_first_migration_is_not_written_yet(make: Make) -> None:
    project = make()
    project.models("companies", "Company")
    project.manage("makemigrations companies")
    migrates_forward_and_back(project)


def test_django_user_model(make: Make) -> None:
    project = make("django.contrib.contenttypes", "django.contrib.auth", model="auth.Group")
    project.manage("migrate", "try", CLEAN)
