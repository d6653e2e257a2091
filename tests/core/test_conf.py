from __future__ import annotations

import os
import re
import sys
import types
from typing import Any

import pytest
from django.conf import LazySettings, Settings, settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from dovetail_core import conf as conf_module
from dovetail_core.conf import (
    REQUIRED,
    AppSettings,
    ImportSetting,
    Setting,
    Validator,
    boolean,
    callable_object,
    integer,
    limits,
    model_label,
    one_of,
    optional,
    optional_callable,
    positive_integer,
    sequence_of_strings,
    token_address,
    web_address,
)


def _is_callable(value: object) -> None:
    if not callable(value):
        raise ValueError("must be callable")


class SampleSettings(AppSettings, prefix="SAMPLE_", app_label="dovetail_sample"):
    EXPIRY_DAYS = Setting(7, "Days until it expires.", positive_integer)
    MODEL: Setting[str] = Setting(REQUIRED, "The model.", model_label, hint="Name one of your models.")
    ISSUER: ImportSetting[Any] = ImportSetting("dovetail_core.secrets.random_token", "Issues tokens.", _is_callable)
    HOOK: ImportSetting[Any] = ImportSetting(None, "Called afterwards.")


conf = SampleSettings()


def problems() -> list[tuple[str | None, str]]:
    return [(message.id, message.msg) for message in conf.check()]


@pytest.fixture(autouse=True)
def _model() -> Any:
    with override_settings(SAMPLE_MODEL="auth.User"):
        yield


def test_missing_setting_has_its_default() -> None:
    assert conf.EXPIRY_DAYS == 7


def test_settings_are_read_live() -> None:
    with override_settings(SAMPLE_EXPIRY_DAYS=3):
        assert conf.EXPIRY_DAYS == 3
    assert conf.EXPIRY_DAYS == 7


def test_reading_a_missing_setting_raises_no_exception_in_django(monkeypatch: Any) -> None:
    monkeypatch.setattr(settings, "_wrapped", Settings(os.environ["DJANGO_SETTINGS_MODULE"]))
    asked: list[str] = []
    original = LazySettings.__getattr__

    def counted(lazy: Any, name: str) -> Any:
        asked.append(name)
        return original(lazy, name)

    monkeypatch.setattr(LazySettings, "__getattr__", counted)
    assert [conf.EXPIRY_DAYS, conf.EXPIRY_DAYS] == [7, 7]
    assert asked == []
    settings.SAMPLE_EXPIRY_DAYS = 3
    assert [conf.EXPIRY_DAYS, conf.EXPIRY_DAYS] == [3, 3]
    assert asked == ["SAMPLE_EXPIRY_DAYS"]
    with override_settings(SAMPLE_EXPIRY_DAYS=4):
        assert conf.EXPIRY_DAYS == 4
    settings.SAMPLE_EXPIRY_DAYS = 5
    assert conf.EXPIRY_DAYS == 5
    del settings.SAMPLE_EXPIRY_DAYS
    assert conf.EXPIRY_DAYS == 7


def test_missing_required_setting_raises_with_a_hint() -> None:
    with override_settings():
        del settings.SAMPLE_MODEL
        with pytest.raises(ImproperlyConfigured, match=r"^SAMPLE_MODEL is not set\. Name one of your models\.$"):
            _ = conf.MODEL
        assert problems() == [("dovetail_sample.E001", "SAMPLE_MODEL is required and not set.")]


def test_import_setting_returns_the_imported_object() -> None:
    from dovetail_core.secrets import random_token

    assert conf.ISSUER is random_token


def test_import_setting_returns_other_values_unchanged() -> None:
    def issue() -> None: ...

    with override_settings(SAMPLE_ISSUER=issue):
        assert conf.ISSUER is issue
    assert conf.HOOK is None


def test_dotted_path_is_imported_again_after_a_setting_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("sample_module")
    module.hook = "first"  # type: ignore[attr-defined]  # made up here
    monkeypatch.setitem(sys.modules, "sample_module", module)
    with override_settings(SAMPLE_HOOK="sample_module.hook"):
        assert conf.HOOK == "first"
        module.hook = "second"  # type: ignore[attr-defined]  # made up here
        assert conf.HOOK == "first"
    with override_settings(SAMPLE_HOOK="sample_module.hook"):
        assert conf.HOOK == "second"


def test_invalid_dotted_path_raises_import_error() -> None:
    with override_settings(SAMPLE_HOOK="nowhere.at_all"), pytest.raises(ImportError, match="nowhere"):
        _ = conf.HOOK


def test_valid_settings_pass_the_check() -> None:
    assert conf.check() == []


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("EXPIRY_DAYS", 0, "SAMPLE_EXPIRY_DAYS is 0; it must be a whole number of at least 1."),
        ("EXPIRY_DAYS", "7", "SAMPLE_EXPIRY_DAYS is '7'; it must be a whole number of at least 1."),
        ("MODEL", "User", "SAMPLE_MODEL is 'User'; it must be a model's label in the form 'app_label.ModelName'."),
        ("HOOK", "nowhere.x", "SAMPLE_HOOK is 'nowhere.x', which cannot be imported: No module named 'nowhere'."),
    ],
)
def test_e001_names_the_value_and_the_allowed_values(name: str, value: object, message: str) -> None:
    with override_settings(**{f"SAMPLE_{name}": value}):
        errors = conf.check()
    assert [(error.id, error.msg) for error in errors] == [("dovetail_sample.E001", message)]
    assert isinstance(errors[0], checks.Error)


def test_e001_gives_the_reason_why_an_import_is_improperly_configured(tmp_path: Any, monkeypatch: Any) -> None:
    """Such as a serializer of a user model that is not installed."""
    (tmp_path / "unconfigured.py").write_text(
        "from django.core.exceptions import ImproperlyConfigured\nraise ImproperlyConfigured('No user model')"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with override_settings(SAMPLE_HOOK="unconfigured.hook"):
        (message,) = conf.check()
    assert message.msg == "SAMPLE_HOOK is 'unconfigured.hook', which cannot be imported: No user model."


def test_import_of_an_invalid_object_is_e001() -> None:
    with override_settings(SAMPLE_ISSUER="django.VERSION"):
        (error,) = conf.check()
    assert error.id == "dovetail_sample.E001"
    assert "must be callable" in error.msg


def test_e001_hint_contains_meaning_and_default() -> None:
    with override_settings(SAMPLE_EXPIRY_DAYS=None):
        (error,) = conf.check()
    assert error.hint == "Days until it expires. Default: 7."
    with override_settings(SAMPLE_MODEL=1):
        (error,) = conf.check()
    assert error.hint == "Name one of your models."


def test_w001_suggests_the_correct_spelling() -> None:
    with override_settings(SAMPLE_EXPIRY_DAY=3):
        (warning,) = conf.check()
    assert (warning.id, warning.msg) == ("dovetail_sample.W001", "The setting SAMPLE_EXPIRY_DAY is unknown.")
    assert warning.hint == "Did you mean SAMPLE_EXPIRY_DAYS?"
    assert isinstance(warning, checks.Warning)


def test_check_ignores_other_settings_with_the_same_prefix() -> None:
    with override_settings(SAMPLE_SOMETHING_ELSE_ENTIRELY=1):
        assert conf.check() == []


def test_install_defaults_sets_only_missing_settings() -> None:
    with override_settings(SAMPLE_EXPIRY_DAYS=3):
        conf.install_defaults("EXPIRY_DAYS", "HOOK")
        assert settings.SAMPLE_EXPIRY_DAYS == 3
        assert settings.SAMPLE_HOOK is None
        del settings.SAMPLE_HOOK
    assert not hasattr(settings, "SAMPLE_HOOK")


def test_class_attribute_is_the_declaration() -> None:
    assert SampleSettings.EXPIRY_DAYS.name == "SAMPLE_EXPIRY_DAYS"
    assert SampleSettings.EXPIRY_DAYS.meaning == "Days until it expires."
    assert list(SampleSettings.declared()) == ["EXPIRY_DAYS", "MODEL", "ISSUER", "HOOK"]


def test_documentation_is_a_table_of_all_settings() -> None:
    assert conf.documentation().splitlines() == [
        "| setting | default | meaning |",
        "| --- | --- | --- |",
        "| `SAMPLE_EXPIRY_DAYS` | `7` | Days until it expires. |",
        "| `SAMPLE_MODEL` | `required` | The model. |",
        "| `SAMPLE_ISSUER` | `'dovetail_core.secrets.random_token'` | Issues tokens. |",
        "| `SAMPLE_HOOK` | `None` | Called afterwards. |",
    ]


_NO_LIMITS = [
    3,
    (3, 60),
    [(3,)],
    [(3, 60, 1)],
    [(0, 60)],
    [(3, -1)],
    [(3, 60.0)],
    [(True, 60)],
    ["ab"],
    "3/min",
    "",
    None,
]
_NO_ADDRESSES = ["/b", "//a.example/{token}", "https://", "ftp://a.example", "javascript:x", "http://[", 7, None]


@pytest.mark.parametrize(
    ("validate", "good", "bad"),
    [
        (boolean, [True, False], [0, 1, "True", None]),
        (positive_integer, [1, 10**9], [0, -1, 1.0, True, "1", None]),
        (model_label, ["auth.User"], ["User", "a.b.C", "auth.", ".User", "auth.My-User", "", None, 3]),
        (sequence_of_strings, [(), [], ["a"], ("a", "b")], ["abc", [1], {"a"}, None, 3]),
        (one_of("a", None), ["a", None], ["b", 0]),
        (integer(0, 9), [0, 9], [-1, 10, 1.0, False, "1", None]),
        (integer(24), [24, 10**9], [23, True, None]),
        (callable_object, [print, dict], ["builtins.print", 7, None]),
        (limits, [(), [], ((3, 60),), [[3, 60], (5, 3600)]], _NO_LIMITS),
        (optional_callable, [print, None], ["builtins.print", 7]),
        (optional(positive_integer), [1, None], [0, "1"]),
        (web_address, ["", "https://a.example/b?c#d", "http://[::1]:80"], _NO_ADDRESSES),
        (token_address, ["", "https://a.example/#{token}"], _NO_ADDRESSES),
    ],
)
def test_validators_accept_and_reject_values(validate: Validator, good: list[object], bad: list[object]) -> None:
    for value in good:
        validate(value)
    for value in bad:
        with pytest.raises(ValueError, match=r"^must be "):
            validate(value)


def test_one_of_lists_the_allowed_values() -> None:
    with pytest.raises(ValueError, match=re.escape("must be one of: 'a', None")):
        one_of("a", None)("b")


@pytest.mark.parametrize(
    ("validate", "value", "message"),
    [
        (integer(0, 9), 10, "must be a whole number from 0 to 9"),
        (integer(1, 366, "days"), 0, "must be a whole number of days from 1 to 366"),
        (integer(24), 1, "must be a whole number of at least 24"),
        (optional_callable, 7, "must be a function or a class, or its dotted path, or None"),
        (token_address, "https://a.example/", "must contain {token}"),
    ],
)
def test_error_text_of_validator_names_the_allowed_values(validate: Validator, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        validate(value)


def test_core_settings_have_valid_defaults() -> None:
    assert conf_module.conf.check() == []
    assert conf_module.conf.TRAILING_SLASH is True
    with override_settings(DOVETAIL_TRAILING_SLASH="no"):
        assert [message.id for message in conf_module.conf.check()] == ["dovetail_core.E001"]


def test_system_check_reports_invalid_core_settings() -> None:
    with override_settings(DOVETAIL_TRUSTED_PROXIES="10.0.0.0/8"):
        (error,) = [message for message in checks.run_checks() if message.id.startswith("dovetail_core.")]
    assert error.msg == "DOVETAIL_TRUSTED_PROXIES is '10.0.0.0/8'; it must be a list or tuple of strings."
