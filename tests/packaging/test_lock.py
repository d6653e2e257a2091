"""requirements.txt has every dependency, with hashes and without addresses."""

from __future__ import annotations

import platform
import re
import tomllib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.lock import LOCK, requirements, without
from tests.packaging.tree import PACKAGES, ROOT

TEXT = LOCK.read_text()
PINS = [Requirement(line) for line in requirements(TEXT)]
PYTHONS = ["3.11.0", "3.12.0", "3.13.0", "3.14.0"]
OURS = {package.distribution for package in PACKAGES}


def sources() -> dict[str, list[str]]:
    """The requirements of every dependency group and of every package, its extras and its build included."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    declared = {f"group {name}": lines for name, lines in groups.items()}
    for package in PACKAGES:
        extras = package.project.get("optional-dependencies", {})
        declared[package.distribution] = [
            *package.project["dependencies"],
            *(line for lines in extras.values() for line in lines),
            *package.build_requirements,
        ]
    return declared


def version(name: str, python: str) -> Version | None:
    """The locked version of a package for a version of Python on the platform of this process."""
    environment = {"python_full_version": python, "python_version": python.rpartition(".")[0]}
    for pin in PINS:
        if pin.name == canonicalize_name(name) and (pin.marker is None or pin.marker.evaluate(environment)):
            return Version(next(iter(pin.specifier)).version)
    return None


def missing(declared: Iterable[Requirement], python: str) -> set[str]:
    return {
        f"{requirement} on Python {python}"
        for requirement in declared
        if canonicalize_name(requirement.name) not in OURS
        if (locked := version(requirement.name, python)) is None or locked not in requirement.specifier
    }


def installed(roots: Iterable[Requirement]) -> list[Requirement]:
    """The requirements of ``roots`` and, as far as they are installed here, of their dependencies."""
    closure: dict[str, Requirement] = {}
    waiting = list(roots)
    while waiting:
        requirement = waiting.pop()
        if str(requirement) in closure:
            continue
        closure[str(requirement)] = requirement
        try:
            metadata = distribution(requirement.name).requires or []
        except PackageNotFoundError:
            continue
        for line in metadata:
            dependency = Requirement(line)
            extras = ["", *requirement.extras]
            if dependency.marker is None or any(dependency.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(dependency)
    return list(closure.values())


@pytest.mark.parametrize("source", sources())
def test_the_lock_satisfies_every_requirement(source: str) -> None:
    declared = [Requirement(line) for line in sources()[source]]
    unlocked = set().union(*(missing(declared, python) for python in PYTHONS))
    assert unlocked == set(), "requirements.txt does not satisfy these requirements. Run: make lock"


def test_the_lock_satisfies_the_dependencies_of_what_is_installed() -> None:
    """A pin that was raised by hand may need a package that the lock lacks."""
    roots = [Requirement(line) for lines in sources().values() for line in lines]
    closure = installed(roots)
    assert len(closure) > len(roots)
    assert missing(closure, platform.python_version()) == set(), (
        "requirements.txt lacks these dependencies. Run: make lock"
    )


def test_every_entry_of_the_lock_has_hashes_and_no_address() -> None:
    comment, requirement, digest = (
        r"#.*",
        r"[a-z0-9-]+==[^\s;@/]+( ; [^@/]+)? \\",
        r" {4}--hash=sha256:[0-9a-f]{64}( \\)?",
    )
    lines = TEXT.splitlines()
    assert [line for line in lines if not re.fullmatch(f"{comment}|{requirement}|{digest}", line)] == []
    assert "://" not in TEXT
    assert len(PINS) == sum(bool(re.fullmatch(requirement, line)) for line in lines) > 100


def test_the_lock_says_how_to_update_it() -> None:
    assert "make lock" in TEXT[: TEXT.index("==")]


def test_the_lock_names_no_package_of_ours() -> None:
    assert {pin.name for pin in PINS} & OURS == set()


def test_an_entry_is_left_out_of_the_lock_with_its_hashes() -> None:
    django = [line for line in requirements(TEXT) if line.startswith("django==")]
    rest = without({"django"}, TEXT)
    assert len(django) == 2, "One version for Python 3.11, and one for the newer Pythons"
    assert requirements(rest) == [line for line in requirements(TEXT) if line not in django]
    assert TEXT.count("--hash") - rest.count("--hash") == 4
