"""The lines of settings in the quick starts, after the settings of different projects."""

from __future__ import annotations

from typing import Any

import pytest

from tests.adoption.adopting import PACKAGES, block

CLASSES = "DEFAULT_AUTHENTICATION_CLASSES"
OWN = {CLASSES: ("projects.OwnAuthentication",), "PAGE_SIZE": 10}
DEFAULTS = ["rest_framework.authentication.SessionAuthentication", "rest_framework.authentication.BasicAuthentication"]
NEW = {"INSTALLED_APPS": ["django.contrib.auth"], "MIDDLEWARE": ["first"]}
OLD = {"INSTALLED_APPS": ("rest_framework", "projects"), "MIDDLEWARE": ("first",), "REST_FRAMEWORK": OWN}


@pytest.fixture
def adopted(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("JWT_SIGNING_KEY", "k" * 32)

    def adopt(package: str, settings: dict[str, Any]) -> dict[str, Any]:
        namespace = dict(settings)
        exec(block(package, "settings.py"), namespace)
        return namespace

    return adopt


@pytest.mark.parametrize("package", PACKAGES)
def test_quick_start_has_lines_for_settings_and_urls(package: str) -> None:
    assert all(block(package, name) for name in ("settings.py", "urls.py", "commands"))


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize("before", [NEW, OLD], ids=["lists", "tuples"])
def test_lines_keep_what_the_project_has(adopted: Any, package: str, before: dict[str, Any]) -> None:
    settings = adopted(package, before)
    apps = settings["INSTALLED_APPS"]
    assert apps == [*dict.fromkeys([*before["INSTALLED_APPS"], "rest_framework", f"dovetail_{package}"])]
    assert "first" in settings["MIDDLEWARE"]
    if "REST_FRAMEWORK" in before:
        assert settings["REST_FRAMEWORK"]["PAGE_SIZE"] == 10
        assert settings["REST_FRAMEWORK"][CLASSES][0] == "projects.OwnAuthentication"
        assert OWN[CLASSES] == ("projects.OwnAuthentication",)


@pytest.mark.parametrize("package", ["apikeys", "identity"])
@pytest.mark.parametrize(("before", "first"), [(NEW, DEFAULTS), (OLD, ["projects.OwnAuthentication"])])
def test_authentication_class_follows_those_of_the_project(
    adopted: Any, package: str, before: dict[str, Any], first: list[str]
) -> None:
    *others, ours = adopted(package, before)["REST_FRAMEWORK"][CLASSES]
    assert others == first
    assert ours.startswith(f"dovetail_{package}.")


def test_own_values_of_simplejwt_win(adopted: Any) -> None:
    settings = adopted("identity", OLD | {"SIMPLE_JWT": {"ALGORITHM": "RS256", "SIGNING_KEY": "pem"}})
    assert settings["SIMPLE_JWT"].items() >= {"ALGORITHM": "RS256", "SIGNING_KEY": "pem"}.items()
    assert settings["SIMPLE_JWT"].keys() > {"ACCESS_TOKEN_LIFETIME"}
