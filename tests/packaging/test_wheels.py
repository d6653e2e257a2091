from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable
from email.message import Message
from email.parser import HeaderParser
from functools import cache
from pathlib import Path

import pytest

from tests.packaging.tree import PACKAGES, ROOT, Package

each_package = pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
Build = Callable[[Package], zipfile.ZipFile]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Build:
    folder = tmp_path_factory.mktemp("wheels")

    @cache
    def build(package: Package) -> zipfile.ZipFile:
        command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
        subprocess.run(command, cwd=package.folder, check=True, capture_output=True)
        (path,) = folder.glob(f"{package.module}-*.whl")
        return zipfile.ZipFile(path)

    return build


def metadata(package: Package, wheel: Build) -> Message:
    text = wheel(package).read(f"{package.module}-{package.version}.dist-info/METADATA").decode()
    return HeaderParser().parsestr(text)


@each_package
def test_a_wheel_holds_the_package_and_its_metadata_and_nothing_else(package: Package, wheel: Build) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", f"packages/{package.name}/src"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    source = {str(Path(path).relative_to(f"packages/{package.name}/src")) for path in listed if (ROOT / path).exists()}
    information = f"{package.module}-{package.version}.dist-info/"
    names = set(wheel(package).namelist())
    assert {name for name in names if not name.startswith(information)} == source
    assert {name.removeprefix(information) for name in names if name.startswith(information)} - {
        "entry_points.txt"
    } == {"METADATA", "WHEEL", "RECORD", "licenses/LICENSE"}
    assert f"{package.module}/py.typed" in source


@each_package
def test_a_wheel_is_of_pure_python_and_every_python_3(package: Package, wheel: Build) -> None:
    information = wheel(package).read(f"{package.module}-{package.version}.dist-info/WHEEL").decode()
    assert "Root-Is-Purelib: true" in information
    assert "Tag: py3-none-any" in information


@each_package
def test_the_metadata_tells_what_it_is_and_needs(package: Package, wheel: Build) -> None:
    found = metadata(package, wheel)
    assert found["Name"] == package.distribution
    assert found["Version"] == package.version
    assert found["Requires-Python"] == ">=3.11"
    assert found["License-Expression"] == "MIT"
    assert found["Description-Content-Type"] == "text/markdown"
    assert found.get_payload() == (package.folder / "README.md").read_text()
    classifiers = found.get_all("Classifier") or []
    assert {c.rpartition(" ")[2] for c in classifiers if c.startswith("Framework :: Django ::")} == {
        "5.2",
        "6.0",
        "6.1",
    }
    assert {c.rpartition(" ")[2] for c in classifiers if "Python :: 3." in c} == {"3.11", "3.12", "3.13", "3.14"}
    assert "Typing :: Typed" in classifiers
    assert not any(classifier.startswith("License ::") for classifier in classifiers)


@each_package
def test_the_licence_is_the_workspaces(package: Package, wheel: Build) -> None:
    text = wheel(package).read(f"{package.module}-{package.version}.dist-info/licenses/LICENSE").decode()
    assert text == (ROOT / "LICENSE").read_text()
    assert text.startswith("MIT License")


@each_package
def test_a_source_archive_builds_the_same_wheel(package: Package, wheel: Build, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", str(tmp_path)]
    subprocess.run(command, cwd=package.folder, check=True, capture_output=True)
    (archive,) = tmp_path.glob("*.tar.gz")
    subprocess.run(["tar", "-xzf", archive.name], cwd=tmp_path, check=True)
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    unpacked = tmp_path / f"{package.module}-{package.version}"
    subprocess.run(command, cwd=unpacked, check=True, capture_output=True)
    (built,) = tmp_path.glob("*.whl")
    assert set(zipfile.ZipFile(built).namelist()) == set(wheel(package).namelist())
