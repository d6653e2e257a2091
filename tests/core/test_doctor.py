from __future__ import annotations

import json
import sys
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils.module_loading import import_string

import dovetail_core
from dovetail_core.doctor import Command, Finding, Project
from tests.core import parcel
from tests.core.parcel import PARCEL_MIDDLEWARE, examine, named

pytestmark = pytest.mark.django_db

AUTHENTICATION = "django.contrib.auth.middleware.AuthenticationMiddleware"
COMMON = "django.middleware.common.CommonMiddleware"


def own_middleware(get_response: Any) -> Any:
    return get_response


def run(*arguments: str, findings: list[Finding], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("dovetail_core.doctor.examine", lambda: findings)
    output = StringIO()
    try:
        call_command(Command(), *arguments, "--no-color", stdout=output)
    except CommandError as error:
        output.write(f"exit status {error.returncode}")
    return output.getvalue()


LATE = Finding("parcel.late", "info", "A parcel is late.", "Call\nthe carrier.", "dovetail_parcel")
LOST = Finding("parcel.lost", "error", "A parcel is lost.", "", "dovetail_parcel")
WET = Finding("depot.wet", "warning", "The depot\n\tis wet.", "", "dovetail_depot")


def test_command_groups_findings_and_counts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(findings=[WET, LOST, LATE], monkeypatch=monkeypatch).splitlines() == [
        "dovetail_depot",
        "  warning depot.wet: The depot is wet.",
        "dovetail_parcel",
        "  error parcel.lost: A parcel is lost.",
        "  info parcel.late: A parcel is late.",
        "      Call",
        "      the carrier.",
        "Errors: 1, warnings: 1, infos: 1.",
        "exit status 1",
    ]


def test_command_prints_json(monkeypatch: pytest.MonkeyPatch) -> None:
    assert json.loads(run("--json", findings=[LATE], monkeypatch=monkeypatch)) == {
        "version": 1,
        "findings": [
            {
                "id": "parcel.late",
                "level": "info",
                "message": "A parcel is late.",
                "next_step": "Call\nthe carrier.",
                "package": "dovetail_parcel",
            }
        ],
        "counts": {"error": 0, "warning": 0, "info": 1},
    }


@pytest.mark.parametrize(("findings", "failed"), [([], False), ([LATE], False), ([WET], True), ([LOST], True)])
def test_exit_status_tells_errors_and_warnings(
    findings: list[Finding], failed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(findings=findings, monkeypatch=monkeypatch).endswith("exit status 1") == failed


def test_ignored_findings_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = run("--ignore", "parcel.lost", "--ignore", "depot.wet", findings=[WET, LOST], monkeypatch=monkeypatch)
    assert printed == "Errors: 0, warnings: 0, infos: 0.\n"


def test_findings_of_packages_name_their_package() -> None:
    (finding,) = named(examine(), "parcel.late")
    assert finding == LATE


def test_package_without_module_doctor_is_examined(monkeypatch: pytest.MonkeyPatch) -> None:
    with parcel.project():
        monkeypatch.setattr("dovetail_core.doctor.find_spec", lambda name: None)
        assert Project().contributions == []


def test_findings_are_sorted_by_package_and_level(monkeypatch: pytest.MonkeyPatch) -> None:
    findings = examine(MIDDLEWARE=[PARCEL_MIDDLEWARE, AUTHENTICATION])
    order = [(finding.package, ["error", "warning", "info"].index(finding.level)) for finding in findings]
    assert order == sorted(order)
    assert len(order) > 4


def test_examination_that_fails_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dovetail_parcel.doctor.examine", lambda project: 1 / 0)
    findings = examine()
    (finding,) = named(findings, "doctor.failed")
    assert (finding.level, finding.package) == ("error", "dovetail_parcel")
    assert "ZeroDivisionError: division by zero" in finding.message
    assert named(findings, "package.installed")


def test_module_that_cannot_be_imported_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dovetail_parcel.doctor", None)
    monkeypatch.setattr("dovetail_core.doctor.find_spec", lambda name: name == "dovetail_parcel.doctor")
    (finding,) = named(examine(), "doctor.failed")
    assert finding.package == "dovetail_parcel"
    assert "cannot be examined: ModuleNotFoundError" in finding.message


@pytest.mark.parametrize(
    ("middleware", "earlier", "later"),
    [
        ([PARCEL_MIDDLEWARE, AUTHENTICATION], AUTHENTICATION, PARCEL_MIDDLEWARE),
        ([COMMON, AUTHENTICATION, PARCEL_MIDDLEWARE], PARCEL_MIDDLEWARE, COMMON),
    ],
)
def test_wrong_order_of_middleware_is_a_warning(middleware: list[str], earlier: str, later: str) -> None:
    (finding,) = named(examine(MIDDLEWARE=middleware), "middleware.order")
    assert (finding.level, finding.package) == ("warning", "dovetail_parcel")
    assert finding.message == f"{later} comes before {earlier}: Parcels need a user."
    assert finding.next_step == f'MIDDLEWARE = [..., "{earlier}", ..., "{later}", ...]'


@pytest.mark.parametrize(
    "middleware",
    [
        [],
        [PARCEL_MIDDLEWARE],
        [COMMON, AUTHENTICATION],
        [f"{__name__}.own_middleware", AUTHENTICATION, PARCEL_MIDDLEWARE, COMMON],
    ],
)
def test_correct_order_of_middleware_is_no_finding(middleware: list[str]) -> None:
    assert [item for item in examine(MIDDLEWARE=middleware) if item.id.startswith("middleware.")] == []


def test_order_applies_to_subclasses(monkeypatch: pytest.MonkeyPatch) -> None:
    base = import_string(PARCEL_MIDDLEWARE)
    monkeypatch.setattr(sys.modules[__name__], "OwnMiddleware", type("Own", (base,), {}), raising=False)
    (finding,) = named(examine(MIDDLEWARE=[f"{__name__}.OwnMiddleware", AUTHENTICATION]), "middleware.order")
    assert finding.message.startswith(f"{__name__}.OwnMiddleware comes before")


def test_middleware_that_cannot_be_imported_is_an_error() -> None:
    (finding,) = named(examine(MIDDLEWARE=["nowhere.Middleware", AUTHENTICATION]), "middleware.broken")
    assert finding.level == "error"
    assert "MIDDLEWARE names nowhere.Middleware, which cannot be imported: ModuleNotFoundError" in finding.message


def test_broken_urlconf_is_one_finding() -> None:
    findings = [item for item in examine(ROOT_URLCONF="nowhere.urls") if item.level != "info"]
    assert [finding.id for finding in findings] == ["urls.broken", "migrations.unapplied"]
    assert "ModuleNotFoundError: No module named 'nowhere'" in findings[0].message
    assert dovetail_core.__name__ == findings[0].package
