"""The languages that pages are offered in: English, and each one with a compiled catalog in `locale/`."""

from pathlib import Path

from django.conf.locale import LANG_INFO
from django.utils.translation import to_language


def available(folder: Path) -> list[tuple[str, str]]:
    """(code, the language's own name) of English and of each language that `folder` has a catalog for."""
    codes = [to_language(path.parent.parent.name) for path in sorted(folder.glob("*/LC_MESSAGES/django.mo"))]
    return [("en", "English"), *((code, _name(code)) for code in codes if code != "en")]


def _name(code: str) -> str:
    known = LANG_INFO.get(code) or LANG_INFO.get(code.split("-")[0]) or {}
    return str(known.get("name_local", code))
