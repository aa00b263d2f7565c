"""What looks like data about a person in the records of a file: counted and told by line, for whoever imports it.

A look at the form of words, not a promise: e-mail and postal addresses written out in sentences, names and the like are
not found, and some numbers are taken for telephone numbers that are none.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

MOST_LINES = 5  # told as examples
LONGEST = 20_000  # characters of one text that are looked at
FEWEST = 8  # digits of a number that belongs to somebody
MOSTLY = 0.5  # of its filled cells: such a column is personal as a whole
EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)*\.[a-zA-Z]{2,24}\b")
NUMBER = re.compile(r"(?<![\w.,/+-])[+(]?\d[\d ().-]{6,40}\d(?![\w/-])")  # digits with what stands between them
GROUPS = re.compile(r"[ ().-]+")
AMERICAN = re.compile(r"\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}")
IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b")
IP = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])")
DATE = re.compile(r"\d\d[ .-]\d\d[ .-](?:19|20)\d\d.*")
DIGITS = re.compile(r"\d[\d .()-]{3,}\d")  # what all but an address in words have
KINDS = {
    "email": "an e-mail address",
    "phone": "a telephone number",
    "card": "a payment card's number",
    "iban": "a bank account",
    "ip": "an internet address",
}


@dataclass
class Found:
    """One kind of thing in one field: in how many records, and the lines of the first ones."""

    field: str
    kind: str
    count: int = 0
    lines: list[int] = dataclasses.field(default_factory=list)


@dataclass
class Personal:
    """What was found so far; the texts themselves are not kept."""

    found: dict[tuple[str, str], Found] = field(default_factory=dict)

    def look(self, line: int, row: dict[str, Any]) -> None:
        for name, value in row.items():
            for kind in {kind for text in _texts(value) for kind in kinds(text)}:
                one = self.found.setdefault((name, kind), Found(name, kind))
                one.count += 1
                if len(one.lines) < MOST_LINES:
                    one.lines.append(line)

    def in_order(self) -> list[Found]:
        return sorted(self.found.values(), key=lambda one: -one.count)


def kinds(text: str) -> set[str]:
    """What this text seems to hold."""
    text = text[:LONGEST]
    found = {"email"} if "@" in text and EMAIL.search(text) else set()
    runs = [match[0] for match in DIGITS.finditer(text)]
    if any(run.count(".") >= 3 for run in runs) and any(_is_ip(match[0]) for match in IP.finditer(text)):
        found.add("ip")
    if not any(sum(map(str.isdigit, run)) >= FEWEST for run in runs):
        return found
    if any(_is_iban(match[0]) for match in IBAN.finditer(text)):
        found.add("iban")
    for match in NUMBER.finditer(text):
        if _is_card(match[0]):
            found.add("card")
        elif _is_phone(match[0]) and "iban" not in found:
            found.add("phone")
    return found


def is_personal(values: list[Any]) -> bool:
    """Whether a column with these values is about people as a whole: most of its cells are nothing but such a thing."""
    filled = [value.strip() for value in values if isinstance(value, str) and value.strip()]
    return bool(filled) and sum(map(_is_alone, filled)) > MOSTLY * len(filled)


def _is_alone(cell: str) -> bool:
    number = NUMBER.fullmatch(cell)
    return bool(EMAIL.fullmatch(cell) or (number and _is_phone(cell)) or (IBAN.fullmatch(cell) and _is_iban(cell)))


def _texts(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item


def _is_phone(match: str) -> bool:
    """Eight to fifteen digits that begin as numbers do which somebody dials: years in a row and sums do not."""
    groups = [group for group in GROUPS.split(match.lstrip("+")) if group]
    begins = match[0] in "+(" or (match[0] == "0" and len(groups[0]) > 1) or AMERICAN.fullmatch(match)
    if not begins or any(len(group) < 2 for group in groups[1:]) or DATE.fullmatch(match):
        return False
    return FEWEST <= sum(map(len, groups)) <= 15


def _is_ip(match: str) -> bool:
    return all(int(part) < 256 for part in match.split("."))


def _is_card(match: str) -> bool:
    """Luhn's check: doubling every second digit from the right, the digits add up to a multiple of ten."""
    digits = [int(character) for character in match if character.isdigit()]
    if not 13 <= len(digits) <= 19 or digits[0] not in (3, 4, 5, 6) or len(set(digits)) == 1:
        return False
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _is_iban(match: str) -> bool:
    """ISO 7064: with the first four characters at the end and letters as numbers, the remainder by 97 is 1."""
    plain = match.replace(" ", "")
    return 15 <= len(plain) <= 34 and int("".join(str(int(one, 36)) for one in plain[4:] + plain[:4])) % 97 == 1
