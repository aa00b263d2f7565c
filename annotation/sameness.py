"""When two prompts count as the same one: a split, a withdrawal and a search for duplicates must all agree on it.

The rule: the same roles in the same order, and the same text in each message after Unicode compatibility forms (NFKC)
and upper and lower case are made alike, runs of white space become one space, and spaces and the marks . ! ? … at the
end are dropped. "What is  a fjord?" and "what is a fjord" are one prompt; another word makes another prompt.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable

ENDS = " .!?…"


def prompt_key(prompt: Iterable[dict[str, str]]) -> str:
    """A digest that all messages share which count as the same prompt."""
    return key_of(texts_of(prompt))


def texts_of(prompt: Iterable[dict[str, str]]) -> list[str]:
    """Role and plain text of each message, one after the other."""
    found: list[str] = []
    for message in prompt:
        found += (message["role"], plain(message["content"]))
    return found


def key_of(texts: list[str]) -> str:
    """The digest of a prompt that `texts_of` took apart."""
    return digest_of(texts).hex()


def digest_of(texts: list[str]) -> bytes:
    return hashlib.sha256("\x00".join(texts).encode()).digest()


def plain(text: str) -> str:
    """The text without the differences that do not make another prompt."""
    if text.isascii():
        if "  " in text or text[:1] == " " or not text.isprintable():  # else there is nothing to fold
            text = " ".join(text.split())
        return text.lower().rstrip(ENDS)
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split()).rstrip(ENDS)
