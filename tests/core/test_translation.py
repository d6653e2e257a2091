from __future__ import annotations

import pytest
from django.test import override_settings
from django.utils import translation

from dovetail_core.translation import gettext

ENGLISH, GERMAN = "%(number)d %(rows)s deleted.", "%(number)d %(rows)s gelöscht."


@pytest.mark.parametrize(
    ("language", "text"), [("de", GERMAN), ("de-at", GERMAN), ("en", ENGLISH), ("fr", ENGLISH), (None, ENGLISH)]
)
def test_messages_are_in_the_active_language(language: str | None, text: str) -> None:
    with translation.override(language):
        assert gettext(ENGLISH) == text


def test_messages_are_not_translated_without_use_i18n() -> None:
    with override_settings(USE_I18N=False, LANGUAGE_CODE="de"):
        assert gettext(ENGLISH) == ENGLISH


def test_translations_of_the_project_take_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django.utils.translation.gettext", lambda message: "Fertig.")
    with translation.override("de"):
        assert gettext(ENGLISH) == "Fertig."
