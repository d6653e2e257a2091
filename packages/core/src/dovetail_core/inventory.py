"""The installed Dovetail packages: distributions, apps, URLs, optional libraries, migrations and system checks."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distributions
from typing import Any, Final

from django.apps import apps
from django.core import checks
from django.core.checks.registry import registry
from django.db import connections, router
from django.db.migrations.executor import MigrationExecutor

from dovetail_core.doctor import Finding, Level, MiddlewareOrder, Project, describe
from dovetail_core.inspection import base_paths, path_of
from dovetail_core.optional import SPECTACULAR

MIDDLEWARE: Final = [
    MiddlewareOrder(
        "dovetail_core.net.ProxyHeadersMiddleware",
        "Middleware in front of it trusts headers that a client can forge.",
        before=[
            "django.middleware.security.SecurityMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
        ],
    ),
]

#: Name, extras, versions, and the extra that it is for. Requirements with other markers are left to pip.
_REQUIREMENT: Final = re.compile(r"""([\w.-]+)(?:\[([\w, -]+)\])?([^;]*);\s*extra\s*==\s*["']([\w-]+)["']""")
#: Packages whose distributions are ours. Anyone may register the name of another app that begins with dovetail.
_OURS: Final = {
    f"dovetail_{name}"
    for name in ("apikeys", "audit", "contract", "core", "flags", "identity", "magiclink", "notify", "tenancy")
}


def examine(project: Project) -> Iterator[Finding]:
    installed = dovetail_distributions()
    yield from _packages(project, installed)
    yield from _urls(project)
    yield from _extras(installed)
    yield from _checks(project)
    yield from _migrations(project)


def dovetail_distributions() -> dict[str, Distribution]:
    """Return the installed distributions that are core or require it, by the name of their import package."""
    installed: dict[str, Distribution] = {}
    for distribution in distributions():
        name = str(distribution.metadata["Name"])
        if name == "dovetail-core" or (name.startswith("dovetail-") and _requires_core(distribution)):
            # The first one on the path is the one that is imported.
            installed.setdefault(name.replace("-", "_"), distribution)
    return dict(sorted(installed.items()))


def _requires_core(distribution: Distribution) -> bool:
    return any(re.match(r"dovetail[-_]core\b", line) for line in distribution.requires or ())


def _packages(project: Project, installed: Mapping[str, Distribution]) -> Iterator[Finding]:
    for package, distribution in installed.items():
        name = f"{distribution.metadata['Name']} {distribution.version}"
        if package in project.packages or package == "dovetail_core":
            yield Finding("package.installed", "info", f"{name} is installed.", package=package)
        else:
            yield Finding(
                "package.not_in_apps",
                "warning",
                f"{name} is installed, but {package!r} is not in INSTALLED_APPS.",
                f'INSTALLED_APPS = [..., "{package}"]',
                package,
            )
    for package in project.packages:
        if package not in installed:
            message = f"{package!r} is in INSTALLED_APPS, but no distribution provides it."
            next_step = f"pip install {package.replace('_', '-')}" if package in _OURS else ""
            yield Finding("package.no_distribution", "info", message, next_step, package)


def _urls(project: Project) -> Iterator[Finding]:
    routes = project.routes
    if project.urlconf_error is not None:
        message = f"ROOT_URLCONF cannot be imported, so no view is examined: {describe(project.urlconf_error)}"
        yield Finding("urls.broken", "error", message, "Correct the error, and run the command again.")
        return
    names = {name for route in routes for name in (*route.modules, *_view_paths(route.callback))}
    for package, urlconfs in project.contributed("URLCONFS"):
        if not any(name.startswith(f"{package}.") for name in names):
            level: Level = "info" if all(urlconf.optional for urlconf in urlconfs) else "warning"
            includes = [f'path("{urlconf.path}", include("{urlconf.module}")),' for urlconf in urlconfs]
            message = "ROOT_URLCONF includes no URLs of the package."
            yield Finding("urls.missing", level, message, "\n".join(includes), package)


def _view_paths(callback: Any) -> list[str]:
    """Return the paths of the bases of a view class: projects also route views and subclasses themselves."""
    return base_paths(getattr(callback, "cls", None) or getattr(callback, "view_class", None))


def _extras(installed: Mapping[str, Distribution]) -> Iterator[Finding]:
    for package, distribution in installed.items():
        for extra in dict.fromkeys(match[4] for match in _requirements(distribution)):
            yield _extra(package, f"{package.replace('_', '-')}[{extra}]", _libraries(distribution, extra))
    # Of all packages, by dovetail_core.optional.
    yield _extra("dovetail_core", f"drf-spectacular>={SPECTACULAR}", [("drf-spectacular", SPECTACULAR)])


def _requirements(package: Distribution) -> Iterator[re.Match[str]]:
    return filter(None, map(_REQUIREMENT.fullmatch, package.requires or ()))


def _libraries(package: Distribution, extra: str) -> Iterator[tuple[str, str]]:
    """Yield the libraries of the extra and their oldest supported releases, also those of extras of the libraries."""
    for match in _requirements(package):
        library, nested, versions, name = match.groups()
        if name != extra:
            continue
        floor = re.search(r">=\s*([\d.]+)", versions)
        yield library, floor[1] if floor else ""
        for own in re.findall(r"[\w-]+", nested or ""):
            try:
                yield from _libraries(Distribution.from_name(library), own)
            except PackageNotFoundError:
                break  # the library itself is reported


def _extra(package: str, requirement: str, libraries: Iterable[tuple[str, str]]) -> Finding:
    states: list[str] = []
    absent = outdated = False
    for library, floor in libraries:
        try:
            release = Distribution.from_name(library).version
        except PackageNotFoundError:
            absent = True
            states.append(f"{library} is not installed")
        else:
            outdated |= _numbers(release) < _numbers(floor)
            states.append(f"{library} {release}" + (f" (at least {floor})" if floor else ""))
    message = f"{requirement}: {', '.join(states)}."
    if outdated:
        return Finding("extra.outdated", "warning", message, f'pip install --upgrade "{requirement}"', package)
    if absent:
        return Finding("extra.absent", "info", message, f'pip install "{requirement}"', package)
    return Finding("extra.present", "info", message, "", package)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", text)[:3]))


def _checks(project: Project) -> Iterator[Finding]:
    for check in registry.get_checks(include_deployment_checks=True):
        # Checks of other packages report no Dovetail ids, and some are slow: drf-spectacular's generates the schema.
        if not check.__module__.startswith(("django.", "dovetail_")):
            continue
        options = {"databases": list(connections)} if checks.Tags.database in check.tags else {}
        try:
            messages = list(check(app_configs=None, **options))
        except Exception as error:  # noqa: BLE001  # a check of a broken project can raise anything
            yield from _failed_check(project, check, error)
            continue
        for message in messages:
            if str(message.id).startswith("dovetail_"):
                yield _reported(message, deploy=check in registry.deployment_checks)


def _failed_check(project: Project, check: Callable[..., Any], error: Exception) -> Iterator[Finding]:
    # Each check that reads URLs would repeat the finding "urls.broken".
    if repr(error) != repr(project.urlconf_error):
        message = f"The system check {path_of(check)} fails: {describe(error)}"
        package = check.__module__.partition(".")[0] if check.__module__.startswith("dovetail_") else ""
        yield Finding("check.failed", "error", message, "Correct the error, and run the command again.", package)


def _reported(message: checks.CheckMessage, *, deploy: bool) -> Finding:
    level: Level = "info"
    if message.level >= checks.WARNING and not deploy:
        level = "error" if message.level >= checks.ERROR else "warning"
    name, text, package = str(message.id), str(message.msg), str(message.id).partition(".")[0]
    if message.is_silenced():
        level = "warning" if level == "error" else "info"
        name, text = "check.silenced", f"SILENCED_SYSTEM_CHECKS hides {name}: {text}"
    if deploy:
        text += " (check --deploy)"
    return Finding(name, level, text, str(message.hint or ""), package)


def _migrations(project: Project) -> Iterator[Finding]:
    labels: dict[str, set[str]] = defaultdict(set)
    for config in apps.get_app_configs():
        if config.name in project.packages:
            for model in config.get_models(include_swapped=True):
                labels[router.db_for_write(model)].add(config.label)
    for alias, own in labels.items():
        try:
            executor = MigrationExecutor(connections[alias])
            plan = executor.migration_plan([node for node in executor.loader.graph.leaf_nodes() if node[0] in own])
        except Exception as error:  # noqa: BLE001  # of the driver, or of the graph of migrations
            message = f"The migrations in the database {alias!r} cannot be read: {describe(error)}"
            yield Finding(
                "migrations.unreadable", "error", message, f"python manage.py migrate --plan --database {alias}"
            )
            continue
        for label in sorted(own):
            if names := [migration.name for migration, _ in plan if migration.app_label == label]:
                yield Finding(
                    "migrations.unapplied",
                    "error",
                    f"Not applied in the database {alias!r}: {', '.join(names)}.",
                    f"python manage.py migrate {label} --database {alias}",
                    apps.get_app_config(label).name,
                )
