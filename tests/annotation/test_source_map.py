"""A selection on the page is counted in the text as sent, whatever markdown made of it."""

import html
import re
from itertools import pairwise

import pytest

from annotation.rendering import MARKDOWN_LIMIT, render_markdown
from annotation.source_map import SPACE, source_runs


def places(text: str) -> list[tuple[str, str]]:
    """Each visible character of the rendered text with the source character it is said to come from."""
    visible = SPACE.sub("", html.unescape(re.sub(r"<[^>]*>", "", str(render_markdown(text)))))
    runs = [*source_runs(text), (len(visible), 0)]
    found = []
    for (first, at), (last, _) in pairwise(runs):
        for index in range(first, last):
            while SPACE.match(text[at]):
                at += 1
            found.append((visible[index], text[at], at))
            at += 1
    assert len(found) == len(visible)
    return found


@pytest.mark.parametrize(
    "text",
    [
        "Plain words.",
        "Some **bold**, *soft*, ~~gone~~ and `code` words.",
        "# A title #\n\nA title\n=======\n\nand more",
        "- one\n- two\n  - three\n\n1. four\n2. five",
        "> quoted **line**\n> and on\n\nafter",
        "```python\nx = 1\n\nif x:\n\treturn x\n```\n\n    indented code\n    more",
        "| a | b |\n| - | - |\n| same | same |\n| **x** | `y` |",
        "See [the docs](https://the.docs/docs 'docs') docs, [docs][1] and <https://docs.org> docs.\n\n[1]: https://x.org",
        "First line  \nsecond line\\\nthird 🛢 line and שלום",
        "line one\r\nline two\r\n\r\n- item",
        "a \\*star\\* and 2 * 3 * 4",
        "![a picture](https://x.org/a.png) and words",
        "",
    ],
)
def test_every_visible_character_is_found_in_the_source(text: str) -> None:
    assert all(shown == source for shown, source, _ in places(text))


def test_an_entity_is_where_it_is_written() -> None:
    assert [at for _, _, at in places("a &amp;amp b &lt; c")] == [0, 2, 7, 8, 9, 11, 13, 18]


def test_a_word_that_is_also_in_an_address_is_the_word() -> None:
    text = "[oil](http://oil.org/oil) oil"
    assert [at for _, _, at in places(text)] == [1, 2, 3, 26, 27, 28]


def test_cells_that_say_the_same_are_told_apart() -> None:
    text = "| a | a |\n| - | - |\n| a | a |"
    assert [at for _, _, at in places(text)] == [2, 6, 22, 26]


def test_a_text_too_long_to_be_rendered_stands_for_itself() -> None:
    assert source_runs("word " * MARKDOWN_LIMIT) == [(0, 0)]
