"""Where each character of rendered markdown stands in the text it was made from.

The page needs it to turn a selection into offsets of the text as sent. White space is left out on the rendered side,
because browsers and renderers fold it as they like; every other character keeps its order.
"""

from __future__ import annotations

import hashlib
import html
import re

from django.core.cache import cache
from markdown_it.token import Token

from annotation import rendering

Run = tuple[int, int]  # from this many-th visible character on, the source is read from this offset on

LINE = re.compile(r"\r\n?|\n")
ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
TAG = re.compile(r"<[^>]*>")
SPACES = " \t\n\r\f\v"  # as in static/js/spans.mjs
SPACE = re.compile(f"[{SPACES}]+")


def source_runs(text: str) -> list[Run]:
    """The runs of visible characters of `text` rendered, in code points; none where they cannot be told for sure."""
    if len(text) > rendering.MARKDOWN_LIMIT:
        return [(0, 0)]  # shown as it is
    key = "runs:" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    if (known := cache.get(key)) is None:
        known = _runs(text)
        cache.set(key, known, rendering.CACHE_SECONDS)
    return known


def _runs(text: str) -> list[Run]:
    aligner = _Aligner(text)
    for token in rendering.PARSER.parse(text):
        aligner.block(token)
    visible = SPACE.sub("", html.unescape(TAG.sub("", str(rendering.render_markdown(text)))))
    if visible != "".join(aligner.seen):
        return []
    return _joined(text, aligner.places)


def _joined(text: str, places: list[int]) -> list[Run]:
    """Places as runs: within one, the source goes on from visible character to visible character."""
    runs: list[Run] = []
    expected = -1
    for index, place in enumerate(places):
        if place != expected:
            runs.append((index, place))
        expected = place + 1
        while expected < len(text) and text[expected] in SPACES:
            expected += 1
    return runs


class _Aligner:
    """Walks the tokens and the source side by side; `places` are offsets of the visible characters `seen`."""

    def __init__(self, text: str) -> None:
        self.places: list[int] = []
        self.seen: list[str] = []
        self.starts = [0, *(match.end() for match in LINE.finditer(text))]
        self.lines = LINE.split(text)
        self.cell = (-1, 0)  # the table row whose cells are being read, and how far

    def block(self, token: Token) -> None:
        first = token.map[0] if token.map else 0
        if token.type == "inline":
            self._inline(token, first)
        elif token.type in ("fence", "code_block"):
            skip = 1 if token.type == "fence" else 0
            for number, line in enumerate(token.content.split("\n")):
                if line:
                    self._emit(line, self._places_of(line, first + skip + number))

    def _places_of(self, line: str, number: int, begin: int = 0) -> list[int]:
        """The offset of each character of `line`, which is a part of the source's line of that number."""
        source = self.lines[number] if number < len(self.lines) else ""
        at = source.find(line, begin) if begin or not source.endswith(line) else len(source) - len(line)
        if at < 0 and (bare := line.lstrip()) and (at := source.find(bare)) >= 0:
            at -= len(line) - len(bare)  # a tab was made into spaces
        at = max(at, 0)
        start = self.starts[min(number, len(self.starts) - 1)]
        return [start + at + index for index in range(len(line))]

    def _inline(self, token: Token, first: int) -> None:
        content, places = token.content, []
        row, begin = self.cell
        begin = begin if row == first else 0
        for number, line in enumerate(content.split("\n")):
            found = self._places_of(line, first + number, begin)
            places += [*found, (found[-1] if found else self.starts[min(first, len(self.starts) - 1)]) + 1]
        if content and "\n" not in content:  # the next cell of a table row stands further on in the same line
            self.cell = (first, places[len(content) - 1] + 1 - self.starts[min(first, len(self.starts) - 1)])
        self._children(token.children or [], content, places)

    def _children(self, children: list[Token], content: str, places: list[int]) -> None:
        at = 0
        for child in children:
            if child.type == "text":
                at = self._text(child.content, content, at, places)
            elif child.type == "code_inline":
                at = max(content.find(child.markup, at), at) + len(child.markup)
                at = self._text(child.content, content, at, places, literal=True)
                at = max(content.find(child.markup, at), at) + len(child.markup)
            elif child.type == "link_close":
                at = _after_link(content, at)
            elif child.type == "image":
                at = _after_link(content, max(content.find("](", at), at))
            elif child.nesting and child.markup and content.startswith(child.markup, at):
                at += len(child.markup)

    def _text(self, said: str, content: str, at: int, places: list[int], *, literal: bool = False) -> int:
        if "&" not in said and content.startswith(said, at):  # as it is written: nothing to look for
            self._emit(said, places[at : at + len(said)])
            return at + len(said)
        for character in said:
            if character in SPACES:
                continue
            found, after = _find(character, content, at, literal)
            self._emit(character, [places[min(found, len(places) - 1)]])
            at = after
        return at

    def _emit(self, characters: str, places: list[int]) -> None:
        kept = [(one, place) for one, place in zip(characters, places, strict=True) if one not in SPACES]
        self.seen += [one for one, _ in kept]
        self.places += [place for _, place in kept]


def _find(character: str, content: str, at: int, literal: bool) -> tuple[int, int]:
    """Where `character` is written from `at` on, and where the reading goes on."""
    place = at
    while place < len(content):
        entity = None if literal else ENTITY.match(content, place)
        if entity and (meant := html.unescape(entity.group())) != entity.group():
            if meant == character:
                return place, entity.end()
            place = entity.end()
            continue
        if content[place] == character:
            return place, place + 1
        place += 1
    return at, at


def _after_link(content: str, at: int) -> int:
    """Behind the "](address)" or "][name]" or ">" that closes the link whose words end at `at`."""
    if content.startswith(">", at):
        return at + 1
    close = content.find("]", at)
    if close < 0:
        return at
    following = content[close + 1 : close + 2]
    if following == "[":
        return max(content.find("]", close + 2), close) + 1
    if following != "(":
        return close + 1
    depth = 0
    for place in range(close + 1, len(content)):
        escaped = content[place - 1] == "\\"
        depth += (content[place] == "(" and not escaped) - (content[place] == ")" and not escaped)
        if depth == 0:
            return place + 1
    return len(content)
