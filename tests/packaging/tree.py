"""The packages in the source tree."""

from __future__ import annotations

import tomllib
from functools import cached_property
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]


class Package:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.name
        self.module = f"dovetail_{folder.name}"
        self.distribution = f"dovetail-{folder.name}"
        self.source = folder / "src" / self.module

    @cached_property
    def configuration(self) -> dict[str, Any]:
        return tomllib.loads((self.folder / "pyproject.toml").read_text())

    @property
    def project(self) -> dict[str, Any]:
        return self.configuration["project"]

    @property
    def build_requirements(self) -> list[str]:
        return self.configuration["build-system"]["requires"]

    @property
    def version(self) -> str:
        return self.project["version"]

    @property
    def requirements(self) -> list[Requirement]:
        return [Requirement(line) for line in self.project["dependencies"]]

    def modules(self) -> list[Path]:
        return sorted(path for path in self.source.rglob("*.py") if "migrations" not in path.parts)

    def migrations(self) -> list[Path]:
        return sorted(self.source.glob("migrations/0*.py"))


PACKAGES = [Package(path.parent) for path in sorted(ROOT.glob("packages/*/pyproject.toml"))]
