"""The doctor: what is missing or contradictory in how a project uses the Dovetail packages.

``manage.py dovetail_doctor`` prints the findings. Each installed package contributes by a module ``doctor``, which is
imported only when the command runs. All names in such a module are optional:

``examine(project)``
    Yields the findings of the package.
``MIDDLEWARE``
    The :class:`MiddlewareOrder` of the package's middleware.
``CREDENTIALS``
    What an authentication class accepts, by the dotted path of the class.
``ISSUERS``
    The :class:`Issuer` objects of the package.
``URLCONFS``
    The :class:`URLconf` objects of the package.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Final, Literal, get_args

from django.apps import apps
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.module_loading import import_string

from dovetail_core.inspection import Route, base_paths, path_of, routes

Level = Literal["error", "warning", "info"]
LEVELS: Final[tuple[Level, ...]] = get_args(Level)

#: The version of the JSON document. New keys do not change it.
JSON_VERSION: Final = 1


@dataclass(frozen=True)
class Finding:
    """``id`` is stable. ``package`` defaults to the package whose module yields the finding."""

    id: str
    level: Level
    message: str
    #: What to do, as a line to paste where possible.
    next_step: str = ""
    package: str = ""


@dataclass(frozen=True)
class MiddlewareOrder:
    """The middleware ``name`` follows all of ``after`` and precedes all of ``before``, if they are installed."""

    name: str
    reason: str
    after: Collection[str] = ()
    before: Collection[str] = ()


@dataclass(frozen=True)
class Issuer:
    """Functions and view classes that issue tokens, and the authentication classes that accept these tokens."""

    tokens: str
    paths: Collection[str]
    accepted_by: Collection[str]


@dataclass(frozen=True)
class URLconf:
    """A module with URLs, and the path at which the package's README includes it."""

    module: str
    path: str
    #: Whether the package is also of use without its URLs.
    optional: bool = False


class Project:
    """The parts of the project that several examinations read. None of the attributes raises an exception."""

    urlconf_error: Exception | None = None

    @cached_property
    def packages(self) -> list[str]:
        """The Dovetail packages in ``INSTALLED_APPS``."""
        return [config.name for config in apps.get_app_configs() if config.name.startswith("dovetail_")]

    @cached_property
    def routes(self) -> list[Route]:
        """All routes, or none if the URLconf cannot be imported: ``urlconf_error`` has the reason."""
        try:
            return list(routes())
        except Exception as error:  # noqa: BLE001  # importing the views of a project can raise anything
            self.urlconf_error = error
            return []

    @cached_property
    def middleware(self) -> dict[str, object]:
        """The entries of ``MIDDLEWARE`` with their objects. The object is the exception if the import fails."""
        return {path: _imported(import_string, path) for path in getattr(settings, "MIDDLEWARE", ())}

    @cached_property
    def contributions(self) -> list[tuple[str, object]]:
        """The modules ``doctor`` of the packages, or the exceptions of their imports."""
        modules = [("dovetail_core", "dovetail_core.inventory")]
        if find_spec("rest_framework"):
            modules.append(("dovetail_core", "dovetail_core.rest.doctor"))
        modules += [(package, f"{package}.doctor") for package in self.packages if package != "dovetail_core"]
        return [(package, _imported(import_module, name)) for package, name in modules if find_spec(name)]

    def contributed(self, name: str) -> Iterator[tuple[str, Any]]:
        """Yield the attribute ``name`` of each module ``doctor`` that has it, with the package."""
        for package, module in self.contributions:
            if isinstance(module, ModuleType) and hasattr(module, name):
                yield package, getattr(module, name)

    def middleware_position(self, name: str) -> int | None:
        """Return the index of the first entry of ``MIDDLEWARE`` that is ``name`` or a subclass of it, or None."""
        entries = enumerate(self.middleware.items())
        return next((index for index, (path, item) in entries if name in {path, *base_paths(item)}), None)


def _imported(load: Callable[[str], object], path: str) -> object:
    try:
        return load(path)
    except Exception as error:  # noqa: BLE001  # importing a module can raise anything
        return error


def examine() -> list[Finding]:
    """Return the findings of all installed packages, sorted by package and level. Raise no exception."""
    project = Project()
    findings = list(_run("dovetail_core", _examine_contributions, project))
    for package, examination in [("dovetail_core", _examine_middleware), *project.contributed("examine")]:
        findings += _run(package, examination, project)
    return sorted(findings, key=lambda finding: (finding.package, LEVELS.index(finding.level), finding.id))


def _run(package: str, examination: Callable[[Project], Iterable[Finding]], project: Project) -> Iterator[Finding]:
    try:
        for finding in examination(project):
            yield replace(finding, package=finding.package or package)
    except Exception as error:  # noqa: BLE001  # a broken project must not hide the other findings
        message = f"{path_of(examination)} fails: {describe(error)}"
        yield Finding("doctor.failed", "error", message, "Correct the error, and run the command again.", package)


def describe(error: object) -> str:
    return f"{type(error).__name__}: {error}"


def _examine_contributions(project: Project) -> Iterator[Finding]:
    for package, module in project.contributions:
        if isinstance(module, Exception):
            message = f"The package cannot be examined: {describe(module)}"
            yield Finding("doctor.failed", "error", message, "Correct the error, and run the command again.", package)


def _examine_middleware(project: Project) -> Iterator[Finding]:
    for path, item in project.middleware.items():
        if isinstance(item, Exception):
            message = f"MIDDLEWARE names {path}, which cannot be imported: {describe(item)}"
            yield Finding("middleware.broken", "error", message, "Correct or remove the entry.")
    for package, orders in project.contributed("MIDDLEWARE"):
        for order in orders:
            for earlier, later in _contradictions(project, order):
                yield Finding(
                    "middleware.order",
                    "warning",
                    f"{later} comes before {earlier}: {order.reason}",
                    f'MIDDLEWARE = [..., "{earlier}", ..., "{later}", ...]',
                    package,
                )


def _contradictions(project: Project, order: MiddlewareOrder) -> Iterator[tuple[str, str]]:
    """Yield pairs in the right order, at most one of each kind, because one move usually corrects the others."""
    entries, position = list(project.middleware), project.middleware_position(order.name)
    if position is None:
        return
    before = [index for name in order.before if (index := project.middleware_position(name)) is not None]
    if before and min(before) < position:
        yield entries[position], entries[min(before)]
    after = [index for name in order.after if (index := project.middleware_position(name)) is not None]
    if after and max(after) > position:
        yield entries[max(after)], entries[position]


class Command(BaseCommand):
    """The command of all packages. Each package has a module ``management/commands/dovetail_doctor.py``."""

    help = (
        "Report how the Dovetail packages are installed, and what is missing or contradictory. "
        "The exit status is 0 if no finding is an error or a warning, and 1 otherwise."
    )
    requires_system_checks = ()  # it runs the checks that it reports

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", dest="as_json", help="Print a JSON document.")
        parser.add_argument(
            "--ignore", action="append", default=[], metavar="ID", help="Leave out findings with this id. Repeatable."
        )

    def handle(self, *args: Any, as_json: bool, ignore: Sequence[str], **options: Any) -> None:
        findings = [finding for finding in examine() if finding.id not in ignore]
        counts = Counter(finding.level for finding in findings)
        if as_json:
            document = {
                "version": JSON_VERSION,
                "findings": [asdict(finding) for finding in findings],
                "counts": {level: counts[level] for level in LEVELS},
            }
            self.stdout.write(json.dumps(document, indent=2, ensure_ascii=False))
        else:
            self._print(findings)
            self.stdout.write(f"Errors: {counts['error']}, warnings: {counts['warning']}, infos: {counts['info']}.")
        if counts["error"] or counts["warning"]:
            raise CommandError("The doctor reports errors or warnings.")

    def _print(self, findings: Iterable[Finding]) -> None:
        styles: dict[Level, Callable[[str], str]] = {
            "error": self.style.ERROR,
            "warning": self.style.WARNING,
            "info": str,
        }
        package = ""
        for finding in findings:
            if finding.package != package:
                package = finding.package
                self.stdout.write(package)
            message = " ".join(finding.message.split())  # errors of database drivers have several lines
            self.stdout.write(f"  {styles[finding.level](finding.level)} {finding.id}: {message}")
            for line in finding.next_step.splitlines():
                self.stdout.write(f"      {line}")
