from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from django.test.utils import isolate_apps

from dovetail_flags import Declared, FlagRequired, checks
from dovetail_flags.base import get_flag_model
from dovetail_flags.evaluation import decorators
from dovetail_flags.providers.base import Provider
from dovetail_flags.types import declaration

Make = Callable[..., Any]


@pytest.fixture(autouse=True)
def _used_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    keys: set[str] = set()
    monkeypatch.setattr(decorators, "used_keys", keys)
    monkeypatch.setattr(checks, "used_keys", keys)


def ids(messages: Any) -> list[str]:
    return [str(message.id) for message in messages]


@pytest.mark.django_db
def test_minimal_project_has_no_findings() -> None:
    found = run_checks(include_deployment_checks=True, databases=["default"])
    assert [message for message in found if str(message.id).startswith("dovetail_flags")] == []


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("FLAG_MODEL", "Flag", "app_label.ModelName"),
        ("PROVIDER", "nowhere.provider", "cannot be imported"),
        ("PROVIDER", 1, "must be a function or a class"),
        ("PROVIDER_OPTIONS", {"a b": 1}, "keyword arguments"),
        ("CONTEXT", None, "must be a function"),
        ("REFRESH_SECONDS", -1, "from 0 to 3600"),
        ("REFRESH_SECONDS", True, "from 0 to 3600"),
        ("REFRESH_SECONDS", "5", "from 0 to 3600"),
        ("INVALIDATION", "nowhere.Channel", "cannot be imported"),
        ("DECLARED", ["a"], "dict of keys"),
        ("DECLARED", {"a": bool}, "'a' is <class 'bool'>"),
        ("DECLARED", {"A": Declared(bool, False)}, "the key 'A'"),
        ("DECLARED", {"a": Declared(bool, 1)}, "the default of 'a'"),
        ("DECLARED", {"a": Declared(list, [])}, "the type of 'a'"),
        ("UNKNOWN", "ignore", "must be one of"),
        ("EXPOSURE", 1, "must be a function"),
        ("CLIENT_ATTRIBUTES", "plan", "list or tuple"),
        ("PERMISSION_CLASSES", "x", "list or tuple"),
        ("PERMISSION_CLASSES", ["nowhere.X"], "importable"),
        ("STALE_DAYS", 0, "from 1 to 3650 days".removesuffix(" days")),
    ],
)
def test_invalid_setting_is_an_error(settings: Any, name: str, value: Any, text: str) -> None:
    setattr(settings, f"FLAGS_{name}", value)
    [message] = checks.check_settings()
    assert message.id == "dovetail_flags.E001"
    assert text in message.msg
    assert message.hint


@pytest.mark.django_db
@pytest.mark.parametrize("refresh", [0, 5])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DECLARED", ["a"]),
        ("DECLARED", 5),
        ("DECLARED", None),
        ("DECLARED", {"a": Declared([], False)}),  # type: ignore[arg-type]  # the mistake
        ("PROVIDER", "nowhere.provider"),
        ("PROVIDER", None),
        ("REFRESH_SECONDS", "x"),
        ("INVALIDATION", "nowhere.Channel"),
        ("STALE_DAYS", "x"),
        ("FLAG_MODEL", "x"),
        ("FLAG_MODEL", None),
    ],
)
def test_other_checks_run_with_an_invalid_setting(settings: Any, refresh: int, name: str, value: Any) -> None:
    settings.FLAGS_REFRESH_SECONDS = refresh
    setattr(settings, f"FLAGS_{name}", value)
    messages = run_checks(include_deployment_checks=True, databases=["default"])
    assert "dovetail_flags.E001" in ids(messages)


@pytest.mark.django_db
def test_model_without_the_fields_stops_no_check(settings: Any) -> None:
    settings.FLAGS_FLAG_MODEL = "auth.User"
    messages = run_checks(include_deployment_checks=True, databases=["default"])
    assert "dovetail_flags.E002" in ids(messages)


def test_misspelled_setting_is_a_warning(settings: Any) -> None:
    settings.FLAGS_REFRESH_SECOND = 1
    assert ids(checks.check_settings()) == ["dovetail_flags.W001"]


@isolate_apps("tests.flags")
def test_model_without_the_fields_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import models

    class Toggle(models.Model):
        class Meta:
            app_label = "flags"

    monkeypatch.setattr(checks, "get_flag_model", lambda: Toggle)
    [message] = checks.check_model()
    assert message.id == "dovetail_flags.E002"
    assert "variants" in message.msg


def test_provider_without_the_methods_is_an_error(settings: Any) -> None:
    class Incomplete:
        def details(self) -> None: ...

    settings.FLAGS_PROVIDER = Incomplete
    [message] = checks.check_provider()
    assert message.id == "dovetail_flags.E003"
    assert "keys, health" in message.msg
    settings.FLAGS_PROVIDER = Provider
    assert not list(checks.check_provider())
    settings.FLAGS_PROVIDER = "nowhere.provider"
    assert not list(checks.check_provider())


@pytest.fixture
def _declared() -> Iterator[None]:
    declaration.declare("new-checkout", bool, default=False)
    yield
    del declaration._declared["new-checkout"]


@pytest.mark.usefixtures("_declared")
def test_two_different_declarations_are_an_error(settings: Any) -> None:
    settings.FLAGS_DECLARED = {"new-checkout": Declared(bool, default=False)}
    assert not list(checks.check_declared())
    settings.FLAGS_DECLARED = {"new-checkout": Declared(bool, default=True)}
    assert ids(checks.check_declared()) == ["dovetail_flags.E004"]


def test_stored_flag_of_another_type_is_a_warning(make: Make, settings: Any) -> None:
    make()
    settings.FLAGS_DECLARED = {"new-checkout": Declared(bool, default=False), "theme": Declared(str, default="x")}
    assert not list(checks.check_types(databases=["default"]))
    settings.FLAGS_DECLARED = {"new-checkout": Declared(str, default="x")}
    assert not list(checks.check_types(databases=[]))
    [message] = checks.check_types(databases=["default"])
    assert message.id == "dovetail_flags.W005"
    assert "type boolean, but declared as string" in message.msg


def test_undeclared_flag_of_a_view_is_a_warning(settings: Any) -> None:
    FlagRequired("new-checkout")
    [message] = checks.check_used()
    assert message.id == "dovetail_flags.W002"
    assert "new-checkout" in message.msg
    settings.FLAGS_DECLARED = {"new-checkout": Declared(bool, default=False)}
    assert not list(checks.check_used())


@pytest.fixture
def template(settings: Any, tmp_path: Path) -> Callable[..., None]:
    """Write a template of the project, which declares the flag ``known``."""
    settings.FLAGS_DECLARED = {"known": Declared(bool, default=False)}
    configured: dict[str, Any] = {**settings.TEMPLATES[0], "DIRS": [tmp_path]}

    def write(source: str, name: str = "shop/cart.html", **options: Any) -> None:
        settings.TEMPLATES = [{**configured, "OPTIONS": {**configured["OPTIONS"], **options}}]
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)

    return write


LOAD = "{% load dovetail_flags %}"


@pytest.mark.parametrize(
    "source",
    [
        LOAD + '{% flag "new-checkout" %}{% endflag %}',
        LOAD + "{% if x %}{% flag 'new-checkout' %}{% else %}{% endflag %}{% endif %}",
        LOAD + '{% flag_value "new-checkout" "light" as theme %}',
        LOAD + '{% flag_value key="new-checkout" %}',
        '{% load flag from dovetail_flags %}{% flag "new-checkout" %}{% endflag %}',
        '{% load flag from other %}{% load i18n dovetail_flags %}{% flag "new-checkout" %}{% endflag %}',
        LOAD + '{% endnothing %}{% %}{% flag "new-checkout" %}',
        LOAD + '{% comment "why" %}{% endcomment %}{% verbatim x %}{% endverbatim x %}{% flag "new-checkout" %}',
        LOAD + "{% flag_value 'known' %}" + '{% flag "new-checkout" %}{% endflag %}' * 2,
    ],
)
def test_undeclared_flag_of_a_template_is_a_warning(template: Callable[..., None], source: str) -> None:
    template(source)
    [message] = checks.check_templates()
    assert message.id == "dovetail_flags.W002"
    assert "'new-checkout', which is not declared: shop/cart.html." in message.msg


@pytest.mark.parametrize(
    "source",
    [
        LOAD + '{% flag "known" %}{% endflag %}',
        LOAD + "{% flag key %}{% endflag %}",
        LOAD + '{% flag "new-checkout"|add:suffix %}{% endflag %}',
        LOAD + "{% flag %}",
        LOAD + '{% comment %}{% flag "new-checkout" %}{% endflag %}{% endcomment %}',
        LOAD + '{# {% flag "new-checkout" %}{% endflag %} #}',
        LOAD + '{% verbatim %}{% flag "new-checkout" %}{% endflag %}{% endverbatim %}',
        LOAD + '{% verbatim x %}{% endverbatim %}{% flag "new-checkout" %}{% endflag %}{% endverbatim x %}',
        '{% flag "new-checkout" %}{% endflag %}',
        '{% load flag_value from dovetail_flags %}{% flag "new-checkout" %}{% endflag %}',
        LOAD + '{% load flag from tests_other %}{% flag "new-checkout" %}{% endflag %}',
        "",
    ],
)
def test_other_tags_of_templates_are_no_warning(template: Callable[..., None], source: str) -> None:
    template(source, libraries={"tests_other": "tests.flags.other_tags"})
    assert not list(checks.check_templates())


def test_template_finds_the_tag_among_the_builtins(template: Callable[..., None]) -> None:
    template('{% flag "new-checkout" %}{% endflag %}', builtins=["dovetail_flags.templatetags.dovetail_flags"])
    assert ids(checks.check_templates()) == ["dovetail_flags.W002"]


def test_warning_names_three_templates_of_a_flag(template: Callable[..., None]) -> None:
    for number in range(5):
        template(LOAD + '{% flag "new-checkout" %}{% endflag %}', f"{number}.html")
    [message] = checks.check_templates()
    assert ".html and 2 more." in message.msg
    assert message.msg.count(".html") == 3


def test_template_that_another_one_replaces_is_not_read(template: Callable[..., None], settings: Any) -> None:
    template(LOAD + '{% flag "new-checkout" %}{% endflag %}', "later/cart.html")
    template("Without flags", "earlier/cart.html")
    folder = settings.TEMPLATES[0]["DIRS"][0]
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [folder / "earlier", folder / "later"]}]
    assert not list(checks.check_templates())
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [folder / "later", folder / "earlier"]}]
    assert ids(checks.check_templates()) == ["dovetail_flags.W002"]


def test_templates_are_not_read_without_declarations(template: Callable[..., None], settings: Any) -> None:
    template(LOAD + '{% flag "new-checkout" %}{% endflag %}')
    settings.FLAGS_DECLARED = {}
    assert not list(checks.check_templates())


def test_templates_that_cannot_be_loaded_stop_no_check(template: Callable[..., None], settings: Any) -> None:
    template(LOAD + '{% flag "new-checkout" %}{% endflag %}', builtins=["nowhere.tags"])
    assert not list(checks.check_templates())
    settings.TEMPLATES = [{"BACKEND": "django.template.backends.dummy.TemplateStrings"}]
    assert not list(checks.check_templates())
    settings.TEMPLATES = []
    assert not list(checks.check_templates())


def test_missing_middleware_is_a_warning_under_asgi(settings: Any) -> None:
    settings.MIDDLEWARE = []
    assert not list(checks.check_middleware())
    settings.ASGI_APPLICATION = "project.asgi.application"
    assert ids(checks.check_middleware()) == ["dovetail_flags.W003"]


def test_query_at_each_request_with_many_flags_is_a_warning(make: Make, settings: Any) -> None:
    settings.FLAGS_REFRESH_SECONDS = 0
    model = get_flag_model()
    fields = {"variants": {"on": True}, "off_variant": "on", "default_variant": "on"}
    model.objects.bulk_create([model(key=f"flag-{number}", **fields) for number in range(101)])
    assert ids(checks.check_refresh(databases=["default"])) == ["dovetail_flags.W004"]
    assert not list(checks.check_refresh(databases=[]))
    settings.FLAGS_REFRESH_SECONDS = 5
    assert not list(checks.check_refresh(databases=["default"]))


def test_stale_flags_are_named_at_deployment(make: Make) -> None:
    make()
    assert not list(checks.check_stale(databases=["default"]))
    make("old", expires_at="2020-01-01T00:00:00Z")
    assert ids(checks.check_stale(databases=["default"])) == ["dovetail_flags.I001"]
