"""The catalog that a page brings for its scripts (static/js/words.mjs): what they say, in the reader's language."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from django.conf import settings
from django.utils.translation import get_language
from django.utils.translation.trans_real import DjangoTranslation
from django.views.i18n import JavaScriptCatalog

SOURCE = "en"  # the language that the texts in the code are written in
FORMS = 200  # counts whose plural form is listed; from there on each language looks at the last two digits


def for_scripts() -> dict[str, Any] | None:
    """{"catalog": {text: translation or its plural forms}, "plurals": [form of 0, of 1, …]}; None for English."""
    language = get_language()
    return None if language in (None, SOURCE) else _catalog(str(language))


@lru_cache(maxsize=32)
def _catalog(language: str) -> dict[str, Any]:
    translation = DjangoTranslation(
        language, domain="djangojs", localedirs=[str(path) for path in settings.LOCALE_PATHS]
    )
    view = JavaScriptCatalog()
    view.translation = translation
    return {"catalog": view.get_catalog(), "plurals": [translation.plural(n) for n in range(FORMS)]}
