import re

import pytest

from annotation import rendering


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        '<img src="x" onerror="alert(1)">',
        "[click](javascript:alert(1))",
        "![picture](https://example.org/pixel.png)",
        '<a href="x" style="color:red">x</a>',
        "[x](data:text/html;base64,PHNjcmlwdD4=)",
    ],
)
def test_nothing_that_acts_or_loads_gets_through(text: str) -> None:
    html = str(rendering.render_markdown(text))
    assert not re.search(r"<script|<img|<[^>]*(style|onerror)=|<[^>]*href=.(javascript|data)", html)


def test_markdown_becomes_html_with_a_scroll_box_for_code() -> None:
    html = str(rendering.render_markdown("**bold** `code`\n\n```python\nx = 1\n```\n\n| a | b |\n| - | - |\n| 1 | 2 |"))
    assert "<strong>bold</strong>" in html and "<table>" in html
    assert '<pre tabindex="0" role="group" aria-label="python code">' in html
    assert 'class="' in html and "style=" not in html


def test_a_link_opens_elsewhere_and_tells_nothing_about_us() -> None:
    html = str(rendering.render_markdown("[x](https://example.org)"))
    assert 'target="_blank"' in html and 'rel="noopener noreferrer nofollow"' in html


def test_a_text_beyond_the_limit_is_shown_as_it_is() -> None:
    html = str(rendering.render_markdown("<b>" + "word " * rendering.MARKDOWN_LIMIT))
    assert html.startswith('<pre class="plain"') and "&lt;b&gt;" in html


def test_the_words_that_differ_are_marked_on_both_sides() -> None:
    left, right = rendering.difference_marks("the cat **sat** here", "the dog **sat** there")
    assert str(left) == "<p>the <mark>cat</mark> <strong>sat</strong> <mark>here</mark></p>\n"
    assert str(right) == "<p>the <mark>dog</mark> <strong>sat</strong> <mark>there</mark></p>\n"


def test_a_run_of_different_words_is_one_mark_and_equal_texts_have_none() -> None:
    left, right = rendering.difference_marks("one two three", "one 2 3")
    assert "<mark>two three</mark>" in left and "<mark>2 3</mark>" in right
    assert "<mark>" not in "".join(rendering.difference_marks("same words", "same words"))


def test_a_word_that_two_different_passages_share_by_chance_is_marked_with_them() -> None:
    left, _ = rendering.difference_marks(
        "so it is. ships sail far over the cold grey sea", "so it is. cats sleep long under the warm red sun"
    )
    assert "so it is. <mark>ships sail far over the cold grey sea</mark>" in left


def test_two_texts_that_share_next_to_nothing_have_no_marks() -> None:
    a, b = "**Water** is heavier, because it is denser.", "There are several things to consider here: it depends."
    assert rendering.difference_marks(a, b) == (rendering.render_markdown(a), rendering.render_markdown(b))
    assert "<mark>" not in "".join(rendering.difference_marks("Water.", "Oil."))
    assert "<mark>" in "".join(rendering.difference_marks("a b c d e", "a w x y z"))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("a < b & c", "a < d & c"),
        ("`x <y>`", "`x <z>`"),
        ("- one\n- two", "1. one\n2. three"),
        ("", "something"),
        ("&amp;", "&lt;"),
    ],
)
def test_marks_change_nothing_else(a: str, b: str) -> None:
    for text, marked in zip((a, b), rendering.difference_marks(a, b), strict=True):
        plain = str(marked).replace("<mark>", "").replace("</mark>", "")
        assert plain == str(rendering.render_markdown(text))


def test_changes_show_what_went_and_what_came() -> None:
    html = str(rendering.changes("Dear **Sir** or Madam, <b>\n\nBye.", "# Dear Mr Hale, <b>"))
    wanted = "Dear <del>Sir or Madam,</del> <ins>Mr Hale,</ins> &lt;b&gt;"
    assert html == f"<h1>{wanted}</h1>\n<p><del>Bye.</del></p>"


def test_a_long_text_is_rendered_without_colors_and_every_code_block_can_be_reached() -> None:
    code = "```python\nimport os\n```\n\n    indented\n"
    short, long = str(rendering.render_markdown(code)), str(rendering.render_markdown(code + "word " * 10_000))
    assert short.count("<span") and not long.count("<span")
    for html in (short, long):
        assert html.count('<pre tabindex="0" role="group"') == 2 and 'aria-label="python code"' in html
