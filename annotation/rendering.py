"""Markdown made safe, and the word-level differences between two rendered texts."""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import nh3
from django.core.cache import cache
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext
from markdown_it import MarkdownIt
from markdown_it.token import Token
from pygments import highlight
from pygments.formatters.html import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

from annotation.wordmatch import operations

MARKDOWN_LIMIT = 100_000  # characters; a longer text is shown as it is, because parsing it would be felt
COLOR_LIMIT = 20_000  # characters; the code in a longer text has no colors: they take longer than all the rest of it
CACHE_SECONDS = 3600

TAGS = {
    *("a", "b", "blockquote", "br", "code", "dd", "del", "div", "dl", "dt", "em", "h1", "h2", "h3", "h4", "h5", "h6"),
    *("hr", "i", "ins", "kbd", "li", "ol", "p", "pre", "s", "span", "strong", "sub", "sup"),
    *("table", "tbody", "td", "th", "thead", "tr", "ul"),
}
ATTRIBUTES = {
    "a": {"href", "title"},
    "ol": {"start"},
    "td": {"align"},
    "th": {"align"},
    "pre": {"tabindex", "role", "aria-label"},
    "span": {"class"},
    "code": {"class"},
    "div": {"dir"},
}
SCHEMES = {"http", "https", "mailto"}


def _code(text: str, language: str, _attributes: str) -> str:
    """A code block with classes for its colors; scrolls sideways in a box that keys can reach."""
    body = escape(text)
    if language:
        with suppress(ClassNotFound):  # an unknown language is shown without colors
            body = highlight(text, get_lexer_by_name(language, stripnl=False), HtmlFormatter(nowrap=True))
    return _block(body, language)


def _colorless(text: str, language: str, _attributes: str) -> str:
    return _block(escape(text), language)


def _block(body: str, language: str) -> str:
    label = f"{language} code" if language else "Code"
    return f'<pre tabindex="0" role="group" aria-label="{escape(label)}"><code>{body}</code></pre>'


def _plain_code(_renderer: object, tokens: list[Token], index: int, _options: object, _env: object) -> str:
    return _block(escape(tokens[index].content), "")


def _parser(code: Callable[[str, str, str], str]) -> MarkdownIt:
    options = {"html": False, "linkify": False, "highlight": code}
    parser = MarkdownIt("commonmark", options).enable(["table", "strikethrough"])
    parser.add_render_rule("code_block", _plain_code)
    return parser


PARSER, COLORLESS = _parser(_code), _parser(_colorless)


def render_markdown(text: str) -> SafeString:
    """`text` as safe HTML: no raw HTML, no images, no script; remembered by its content."""
    if len(text) > MARKDOWN_LIMIT:
        plain = '<pre class="plain" tabindex="0" role="group" aria-label="{}">{}</pre>'
        return format_html(plain, gettext("Plain text"), text)
    key = "md:" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    if (known := cache.get(key)) is None:
        known = _render(text)
        cache.set(key, known, CACHE_SECONDS)
    return mark_safe(known)  # noqa: S308  cleaned by nh3, or escaped


def _render(text: str) -> str:
    html = nh3.clean(
        (PARSER if len(text) <= COLOR_LIMIT else COLORLESS).render(text),
        tags=TAGS,
        attributes=ATTRIBUTES,
        url_schemes=SCHEMES,
        link_rel="noopener noreferrer nofollow",
    )
    return html.replace("<a href=", '<a target="_blank" href=')


def raw(text: str) -> SafeString:
    """`text` for a <pre>, character for character: a parser would drop a first line break and fold a return."""
    return mark_safe("\n" + escape(text).replace("\r", "&#13;"))  # noqa: S308  escaped


TOKEN = re.compile(r"<[^>]*>|&[#\w]+;|[^\s<&]+|\s+|&")
ALIKE = 0.2  # of the words of the shorter text: with fewer in common, differences are no news
INLINE = re.compile(r"</?(?:a|b|code|del|em|i|ins|kbd|s|span|strong|sub|sup)\b")


def difference_marks(a: str, b: str) -> tuple[SafeString, SafeString]:
    """Both texts rendered, with <mark> around the words that the other one does not have at that place.

    Two that share next to nothing have no marks: all of both would be marked, and tell nothing.
    """
    key = "diff:" + hashlib.sha256(f"{a}\0{b}".encode("utf-8", "surrogatepass")).hexdigest()
    if (known := cache.get(key)) is None:
        known = _differences(str(render_markdown(a)), str(render_markdown(b)))
        cache.set(key, known, CACHE_SECONDS)
    return mark_safe(known[0]), mark_safe(known[1])  # noqa: S308  cleaned before the marks went in


def _differences(a: str, b: str) -> tuple[str, str]:
    left, right = TOKEN.findall(a), TOKEN.findall(b)
    words_left = [i for i, token in enumerate(left) if _is_word(token)]
    words_right = [i for i, token in enumerate(right) if _is_word(token)]
    found = operations([left[i] for i in words_left], [right[i] for i in words_right])
    same_left: set[int] = set()
    same_right: set[int] = set()
    for a0, a1, b0, b1 in _telling_matches(found):
        same_left.update(words_left[a0:a1])
        same_right.update(words_right[b0:b1])
    if len(same_left) < ALIKE * min(len(words_left), len(words_right)):
        return a, b
    return _marked(left, same_left), _marked(right, same_right)


def _telling_matches(operations: Sequence[tuple[str, int, int, int, int]]) -> Iterator[tuple[int, int, int, int]]:
    """The equal runs, without those that are there by chance: a few words between much longer differences."""
    sizes = [0 if name == "equal" else max(a1 - a0, b1 - b0) for name, a0, a1, b0, b1 in operations]
    for i, (name, a0, a1, b0, b1) in enumerate(operations):
        inside = 0 < i < len(operations) - 1
        by_chance = inside and 2 * (a1 - a0) < min(sizes[i - 1], sizes[i + 1])
        if name == "equal" and not by_chance:
            yield a0, a1, b0, b1


def _is_word(token: str) -> bool:
    return token[0] != "<" and not token.isspace()  # a "<" that is no tag was escaped


def _marked(tokens: list[str], same: set[int], tag: str = "mark", gone: dict[int, str] | None = None) -> str:
    """The tokens again, runs of differing words in <mark>; a mark never spans a tag, so the nesting stays right.

    Before the token of that number stands what is `gone`, in <del>.
    """
    out: list[str] = []
    run: list[str] = []
    for i, token in enumerate(tokens):
        if gone and i in gone:
            out += [*_wrapped(run, tag), f"<del>{gone[i]}</del> "]
        if token[0] != "<" and i not in same and (run or not token.isspace()):
            run.append(token)
            continue
        out += [*_wrapped(run, tag), token]
    return "".join([*out, *_wrapped(run, tag)])


def _wrapped(run: list[str], tag: str) -> list[str]:
    """The run inside of the tag, without the space at its end; it is empty afterwards."""
    text = "".join(run)
    run.clear()
    words = text.rstrip()
    return [f"<{tag}>{words}</{tag}>{text[len(words) :]}"] if text else []


def changed_share(before: str, after: str) -> float:
    """How much of the words of `before` is gone from `after`, 0 to 1."""
    words = before.split()
    same = sum(a1 - a0 for name, a0, a1, _, _ in operations(words, after.split()) if name == "equal")
    return 1 - same / len(words) if words else 0.0


def estimated_tokens(text: str) -> int:
    """About how many tokens a byte-pair tokenizer makes of `text`: one for each four bytes of UTF-8."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // 4)


def changes(before: str, after: str) -> SafeString:
    """`after` rendered, with <ins> around words that `before` does not have there, and in <del> those that are gone."""
    left, right = TOKEN.findall(str(render_markdown(before))), TOKEN.findall(str(render_markdown(after)))
    words_left = [i for i, token in enumerate(left) if _is_word(token)]
    words_right = [i for i, token in enumerate(right) if _is_word(token)]
    same: set[int] = set()
    gone: dict[int, str] = {}
    for name, a0, a1, b0, b1 in operations([left[i] for i in words_left], [right[i] for i in words_right]):
        if name == "equal":
            same.update(words_right[b0:b1])
        elif a1 > a0:
            at = words_right[b0] if b0 < len(words_right) else len(right)
            gone[at] = _plain(left[words_left[a0] : words_left[a1 - 1] + 1])
    last = f"<p><del>{gone[len(right)]}</del></p>" if len(right) in gone else ""
    return mark_safe(_marked(right, same, "ins", gone) + last)  # noqa: S308  both were cleaned


def _plain(tokens: list[str]) -> str:
    """The words of rendered text in one line; tags inside of words leave no space."""
    spaced = ("" if INLINE.match(token) else " " if token[0] == "<" else token for token in tokens)
    return " ".join("".join(spaced).split())
