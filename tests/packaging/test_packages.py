from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib

import pytest
from packaging.version import Version

from tests.packaging.tree import PACKAGES, ROOT, Package

each_package = pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
VERSIONS = {package.distribution: Version(package.version) for package in PACKAGES}
# What a settings module may import from: it is read before anything is configured.
EARLY = ("", ".conf", ".middleware")
# The models that settings name; an app that is not installed gives them no defaults.
NAMED = {
    "API_KEYS_ORGANIZATION_MODEL": "auth.Group",
    "NOTIFY_NOTIFICATION_MODEL": "auth.Group",
    "TENANCY_ORGANIZATION_MODEL": "auth.Group",
    "TENANCY_MEMBERSHIP_MODEL": "auth.Permission",
}


def test_the_workspace_is_no_distribution() -> None:
    """With a [project] of its own, building all packages breaks."""
    assert "project" not in tomllib.loads((ROOT / "pyproject.toml").read_text())


@each_package
def test_a_version_is_static_and_has_its_entry_in_the_changelog(package: Package) -> None:
    assert "dynamic" not in package.project
    assert str(Version(package.version)) == package.version
    changelog = (package.folder / "CHANGELOG.md").read_text()
    headings = re.findall(r"^## \[(.+?)\] - (?:unreleased|\d{4}-\d{2}-\d{2})$", changelog, flags=re.MULTILINE)
    assert headings[0] == package.version
    entry = changelog.split(f"## [{package.version}]")[1].split("\n## ")[0]
    assert re.search(r"^### (Added|Changed|Deprecated|Removed|Fixed|Security)\n\n- ", entry, flags=re.MULTILINE)


@each_package
def test_a_siblings_bound_admits_the_tree_and_ends_before_the_next_incompatible_version(package: Package) -> None:
    siblings = {found.name: found.specifier for found in package.requirements if found.name in VERSIONS}
    assert siblings.keys() == (set() if package.name == "core" else {"dovetail-core"})
    for name, bound in siblings.items():
        version = VERSIONS[name]
        assert bound.contains(version)
        assert not bound.contains(Version(f"{version.major + 1}.0" if version.major else f"0.{version.minor + 1}"))


@each_package
def test_every_dependency_has_a_floor_and_django_no_ceiling(package: Package) -> None:
    for requirement in package.requirements:
        assert any(clause.operator == ">=" for clause in requirement.specifier), requirement
    (django,) = (found for found in package.requirements if found.name == "Django")
    assert str(django.specifier) == ">=5.2"


def test_every_other_module_of_core_is_kept_from_its_folder_rest() -> None:
    (core,) = (package for package in PACKAGES if package.name == "core")
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (kept,) = (found for found in contracts if found.get("forbidden_modules") == ["dovetail_core.rest"])
    modules = {f"dovetail_core.{path.stem}" for path in core.source.glob("*.py") if path.stem != "__init__"}
    assert set(kept["source_modules"]) == modules


def test_core_depends_on_django_alone() -> None:
    (core,) = (package for package in PACKAGES if package.name == "core")
    assert [requirement.name for requirement in core.requirements] == ["Django"]
    assert not core.project.get("optional-dependencies")


@each_package
def test_a_readme_says_for_whom_it_is_how_to_install_it_and_has_sections(package: Package) -> None:
    readme = (package.folder / "README.md").read_text()
    assert readme.startswith(f"# {package.distribution}\n")
    assert len(re.findall(r"^## \S", readme, flags=re.MULTILINE)) >= 3
    for part in ("**For you**", "**Not for you**", f"pip install {package.distribution}"):
        assert part in readme
    # Pages of an index show no files of the repository: a relative link is a dead one there.
    assert re.findall(r"\]\((?!https?://|#)[^)]+\)", readme) == []


def test_the_import_contracts_hold() -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "example_project")}
    finished = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert re.search(r"Contracts: [1-9]\d* kept, 0 broken", finished.stdout), finished.stdout


def test_every_package_is_under_the_import_contracts() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    modules = {package.module for package in PACKAGES}
    assert modules <= set(contracts["root_packages"])
    layers = next(contract["layers"] for contract in contracts["contracts"] if contract["type"] == "layers")
    assert modules <= set(re.findall(r"\w+", " ".join(layers)))
    acyclic = next(contract for contract in contracts["contracts"] if contract["type"] == "acyclic_siblings")
    assert modules == set(acyclic["ancestors"])


def imports(code: str) -> None:
    finished = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr


@each_package
def test_what_settings_import_is_importable_before_anything_is_configured(package: Package) -> None:
    modules = [name for name in EARLY if not name or (package.source / f"{name[1:].replace('.', '/')}.py").exists()]
    imports("; ".join(f"import {package.module}{name}" for name in modules))


@pytest.mark.parametrize("package", [p for p in PACKAGES if (p.source / "base.py").exists()], ids=lambda p: p.name)
def test_the_abstract_models_are_importable_where_the_app_is_not_installed(package: Package) -> None:
    apps = ["django.contrib.contenttypes", "django.contrib.auth"]
    imports(
        "import sys, django; from django.conf import settings; "
        f"settings.configure(INSTALLED_APPS={apps}, **{NAMED}); django.setup(); "
        f"import {package.module}.base; assert '{package.module}.models' not in sys.modules"
    )


@each_package
def test_no_module_has_more_than_400_lines(package: Package) -> None:
    long = {path.name: lines for path in package.modules() if (lines := len(path.read_text().splitlines())) > 400}
    assert long == {}


def test_every_module_of_core_is_documented_and_tested() -> None:
    """Core is a set of small libraries: each has a docstring, a section of the README, and tests of its own."""
    (core,) = (package for package in PACKAGES if package.name == "core")
    sections = re.findall(r"^## (\w+): ", (core.folder / "README.md").read_text(), flags=re.MULTILINE)
    tested = {path.stem.removeprefix("test_") for path in (ROOT / "tests/core").glob("test_*.py")}
    for path in core.modules():
        *folders, name = path.relative_to(core.source).with_suffix("").parts
        assert ast.get_docstring(ast.parse(path.read_text())), path
        if name != "__init__":
            assert [*folders, name][0] in sections, path
            assert "_".join([*folders, name]) in tested, path
