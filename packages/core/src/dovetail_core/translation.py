"""Translations of the messages of core, which need no entry in ``INSTALLED_APPS``."""

from __future__ import annotations

import gettext as catalogues
from functools import cache
from pathlib import Path

from django.conf import settings
from django.utils import translation


def gettext(message: str) -> str:
    """Translate a message of core. Translations in the catalogues of the project and its apps take precedence."""
    text, language = translation.gettext(message), translation.get_language()
    if text != message or not language or not settings.USE_I18N:
        return text
    return _catalogue(translation.to_locale(language)).gettext(message)


@cache
def _catalogue(locale: str) -> catalogues.NullTranslations:
    # Falls back from de_AT to de, and to no translation at all.
    return catalogues.translation("django", Path(__file__).parent / "locale", languages=[locale], fallback=True)
