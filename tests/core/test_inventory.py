from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.checks import Error, Info, Warning  # noqa: A004  # Django's names
from django.core.checks.registry import CheckRegistry, Tags
from django.db.migrations.recorder import MigrationRecorder
from django.urls import include, path
from django.views import View

from dovetail_core import inventory
from dovetail_core.doctor import URLconf
from tests.core.parcel import CORE, PACKAGE, Distribution, examine, named, urlconf

pytestmark = pytest.mark.django_db

URLS = f"{PACKAGE}.api.urls"


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> CheckRegistry:
    registry = CheckRegistry()
    monkeypatch.setattr(inventory, "registry", registry)
    return registry


def dovetail_check(registry: CheckRegistry, result: Any, *tags: str, **options: Any) -> None:
    def check(**kwargs: Any) -> Any:
        return result(kwargs) if callable(result) else [result]

    check.__module__ = "dovetail_parcel.checks"
    registry.register(check, *tags, **options)


def test_installed_packages_are_listed() -> None:
    findings = named(examine(), "package.installed")
    assert [(finding.package, finding.message) for finding in findings] == [
        ("dovetail_core", "dovetail-core 1.0 is installed."),
        ("dovetail_parcel", "dovetail-parcel 1.0 is installed."),
    ]


def test_installed_package_that_is_no_app_is_a_warning() -> None:
    (finding,) = named(examine(parcel=False), "package.not_in_apps")
    assert (finding.level, finding.package) == ("warning", "dovetail_parcel")
    assert finding.next_step == 'INSTALLED_APPS = [..., "dovetail_parcel"]'


def test_app_without_a_distribution_is_named() -> None:
    (finding,) = named(examine(installed=(CORE,)), "package.no_distribution")
    # Anyone may register the name of an app of the project.
    assert (finding.level, finding.next_step) == ("info", "")


def test_distribution_of_an_own_app_is_suggested() -> None:
    (finding,) = named(examine(parcel=False, apps=["dovetail_core"], installed=()), "package.no_distribution")
    assert finding.next_step == "pip install dovetail-core"


def test_other_distributions_are_no_packages() -> None:
    others = (Distribution("dovetail-joints"), Distribution("carrier", "dovetail-core>=1"), CORE, CORE)
    assert len(named(examine(parcel=False, installed=others), "package.installed")) == 1
    assert named(examine(parcel=False, installed=others), "package.not_in_apps") == []


def test_missing_urls_are_a_warning_with_the_line_to_add() -> None:
    (finding,) = named(examine(ROOT_URLCONF=urlconf()), "urls.missing")
    assert (finding.level, finding.package) == ("warning", "dovetail_parcel")
    assert finding.next_step == f'path("post/", include("{URLS}")),'


def test_missing_urls_that_are_optional_are_an_info(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dovetail_parcel.doctor.URLCONFS", [URLconf(URLS, "post/", optional=True)])
    (finding,) = named(examine(ROOT_URLCONF=urlconf()), "urls.missing")
    assert finding.level == "info"


def test_included_urls_are_no_finding() -> None:
    assert named(examine(ROOT_URLCONF=urlconf(path("", include(URLS)))), "urls.missing") == []


def test_subclass_of_a_view_counts_as_included() -> None:
    from django.utils.module_loading import import_string

    own = type("OwnView", (import_string(f"{URLS}.ParcelView"),), {})
    assert named(examine(ROOT_URLCONF=urlconf(path("own/", own.as_view()))), "urls.missing") == []
    other = type("OtherView", (View,), {})
    assert named(examine(ROOT_URLCONF=urlconf(path("other/", other.as_view()))), "urls.missing")


def test_package_without_urls_needs_none() -> None:
    assert named(examine(parcel=False, apps=["dovetail_core"]), "urls.missing") == []


@pytest.mark.parametrize(
    ("requires", "id", "level", "text", "next_step"),
    [
        ("Django>=5.2", "extra.present", "info", "Django {} (at least 5.2).", ""),
        ("Django<100,>=99.1", "extra.outdated", "warning", "(at least 99.1).", "pip install --upgrade {}"),
        ("carrier>=1", "extra.absent", "info", "carrier is not installed.", "pip install {}"),
    ],
)
def test_extra_is_present_outdated_or_absent(requires: str, id: str, level: str, text: str, next_step: str) -> None:  # noqa: A002
    import django

    distribution = Distribution("dovetail-parcel", "dovetail-core>=1", f'{requires} ; extra == "road"')
    findings = [item for item in examine(installed=(CORE, distribution)) if item.id.startswith("extra.")]
    (finding,) = [item for item in findings if item.package == "dovetail_parcel"]
    assert (finding.id, finding.level) == (id, level)
    assert finding.message.startswith("dovetail-parcel[road]: ")
    assert finding.message.endswith(text.format(django.__version__))
    assert finding.next_step == next_step.format('"dovetail-parcel[road]"')


@pytest.mark.parametrize(
    ("libraries", "text"),
    [
        ({"carrier": ["oar<5,>=3; extra == 'fast'"]}, "carrier 1.0 (at least 1), oar is not installed."),
        ({"carrier": ["oar==1.*; extra == 'fast'"], "oar": []}, "carrier 1.0 (at least 1), oar 1.0."),
        ({"carrier": ["sail; extra == 'slow'", "mast"]}, "carrier 1.0 (at least 1)."),
        ({}, "carrier is not installed."),
    ],
)
def test_extras_of_libraries_are_required_too(
    libraries: dict[str, list[str]], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def from_name(name: str) -> Distribution:
        if name not in libraries:
            raise PackageNotFoundError
        return Distribution(name, *libraries[name])

    monkeypatch.setattr(inventory, "Distribution", SimpleNamespace(from_name=from_name))
    parcel = Distribution("dovetail-parcel", "dovetail-core>=1", "carrier[fast]>=1; extra == 'road'")
    messages = {item.message: item.id for item in examine(installed=(CORE, parcel))}
    level = "absent" if "not installed" in text else "present"
    assert messages[f"dovetail-parcel[road]: {text}"] == f"extra.{level}"


def test_drf_spectacular_is_an_extra_of_all_packages() -> None:
    (finding,) = [item for item in examine() if item.message.startswith("drf-spectacular>=0.28: ")]
    assert finding.package == "dovetail_core"


@pytest.mark.parametrize(
    ("result", "level"),
    [
        (Error("Wet.", hint="Dry it.", id="dovetail_parcel.E001"), "error"),
        (Warning("Wet.", hint="Dry it.", id="dovetail_parcel.E001"), "warning"),
        (Info("Wet.", hint="Dry it.", id="dovetail_parcel.E001"), "info"),
    ],
)
def test_system_checks_are_findings(registry: CheckRegistry, result: Any, level: str) -> None:
    dovetail_check(registry, result)
    (finding,) = named(examine(), "dovetail_parcel.E001")
    assert (finding.level, finding.package) == (level, "dovetail_parcel")
    assert (finding.message, finding.next_step) == ("Wet.", "Dry it.")


def test_checks_for_deployment_are_infos(registry: CheckRegistry) -> None:
    dovetail_check(registry, Error("Wet.", id="dovetail_parcel.E001"), deploy=True)
    (finding,) = named(examine(), "dovetail_parcel.E001")
    assert (finding.level, finding.message, finding.next_step) == ("info", "Wet. (check --deploy)", "")


def test_checks_of_databases_get_all_databases(registry: CheckRegistry) -> None:
    received: list[Any] = []
    dovetail_check(registry, lambda kwargs: received.append(kwargs) or [], Tags.database)
    examine()
    assert received == [{"app_configs": None, "databases": ["default"]}]


def test_checks_of_others_are_left_to_django(registry: CheckRegistry) -> None:
    dovetail_check(registry, Error("Wet.", id="depot.E001"))

    @registry.register
    def check_depot(**kwargs: Any) -> list[Any]:
        raise AssertionError

    assert [item for item in examine() if item.level == "error" and item.id != "migrations.unapplied"] == []


@pytest.mark.parametrize(("result", "level"), [(Error, "warning"), (Warning, "info"), (Info, "info")])
def test_silenced_checks_are_named(registry: CheckRegistry, result: Any, level: str) -> None:
    dovetail_check(registry, result("Wet.", id="dovetail_parcel.E001"))
    (finding,) = named(examine(SILENCED_SYSTEM_CHECKS=["dovetail_parcel.E001"]), "check.silenced")
    assert (finding.level, finding.package) == (level, "dovetail_parcel")
    assert finding.message == "SILENCED_SYSTEM_CHECKS hides dovetail_parcel.E001: Wet."


@pytest.mark.parametrize(("module", "package"), [("dovetail_parcel.checks", PACKAGE), ("django.x", "dovetail_core")])
def test_check_that_fails_is_an_error(registry: CheckRegistry, module: str, package: str) -> None:
    def check(**kwargs: Any) -> Any:
        raise KeyError("box")

    check.__module__ = module
    registry.register(check)
    (finding,) = named(examine(), "check.failed")
    assert (finding.level, finding.package) == ("error", package)
    assert finding.message.endswith("check fails: KeyError: 'box'")


def test_check_that_reads_a_broken_urlconf_is_not_repeated(registry: CheckRegistry) -> None:
    from django.urls import get_resolver

    dovetail_check(registry, lambda kwargs: get_resolver().url_patterns)
    assert named(examine(ROOT_URLCONF="nowhere.urls"), "check.failed") == []


def test_unapplied_migrations_are_an_error() -> None:
    (finding,) = named(examine(), "migrations.unapplied")
    assert (finding.level, finding.package) == ("error", "dovetail_parcel")
    assert finding.message == "Not applied in the database 'default': 0001_initial."
    assert finding.next_step == "python manage.py migrate dovetail_parcel --database default"


def test_applied_migrations_are_no_finding() -> None:
    from django.db import connection

    MigrationRecorder(connection).record_applied("dovetail_parcel", "0001_initial")
    assert named(examine(), "migrations.unapplied") == []


def test_unreachable_database_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(connection: Any) -> Any:
        raise OSError("connection refused")

    monkeypatch.setattr(inventory, "MigrationExecutor", unreachable)
    (finding,) = named(examine(), "migrations.unreadable")
    assert finding.level == "error"
    assert finding.message == "The migrations in the database 'default' cannot be read: OSError: connection refused"


def test_proxy_headers_middleware_comes_first() -> None:
    middleware = ["django.middleware.security.SecurityMiddleware", "dovetail_core.net.ProxyHeadersMiddleware"]
    (finding,) = named(examine(MIDDLEWARE=middleware), "middleware.order")
    assert finding.package == "dovetail_core"
    assert named(examine(MIDDLEWARE=middleware[::-1]), "middleware.order") == []
