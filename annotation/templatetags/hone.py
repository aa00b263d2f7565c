"""Small tags and filters that every page uses."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django import template
from django.templatetags.static import static
from django.utils import dateformat, timezone
from django.utils.html import format_html, format_html_join, json_script
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from annotation import rendering, sealing, shell, words

register = template.Library()


@register.simple_tag
def icon(name: str, classes: str = "") -> SafeString:
    """One symbol of the icon sheet; decoration only, the words beside it carry the meaning."""
    extra = f"{classes} i" if classes else "i"
    return format_html(
        '<svg class="{}" aria-hidden="true"><use href="{}#i-{}"/></svg>', extra, static("img/icons.svg"), name
    )


@register.inclusion_tag("_side_bar.html", takes_context=True)
def side_bar(context: template.Context) -> dict[str, Any]:
    """The side bar of the context's project, or of the one this person opened last."""
    return shell.side_bar(context["request"], context.get("project"))


@register.inclusion_tag("_more.html", takes_context=True)
def more_pages(context: template.Context) -> dict[str, Any]:
    """The links that the tab bar of a small screen leaves out."""
    bar = shell.side_bar(context["request"], context.get("project"))
    return {"links": [link for link in bar["links"] + bar["work_links"] if link.extra or link in bar["work_links"]]}


@register.simple_tag(takes_context=True)
def side_keys(context: template.Context) -> SafeString:
    """The G-then-a-letter rows of the key list: the links this person has."""
    bar = shell.side_bar(context["request"], context.get("project"))
    links = [link for link in bar["links"] + bar["work_links"] if link.key]
    return format_html_join(
        "",
        "<div><dt><kbd>G</kbd><kbd>{}</kbd></dt><dd>{}</dd></div>",
        ((link.key.upper(), link.label) for link in links),
    )


@register.filter
def sealed(task_id: int) -> int:
    """The number that stands for a task in addresses that annotators see."""
    return sealing.seal(sealing.Of.TASK, task_id)


@register.simple_tag
def script_words() -> SafeString:
    """The catalog of the page's scripts as data; nothing where the page is in English."""
    told = words.for_scripts()
    return json_script(told, "words") if told else SafeString()


@register.filter
def percent_class(share: float | None) -> str:
    """The class that sets a width of `share` (0 to 1): p0 to p100."""
    return f"p{max(0, min(100, round(100 * float(share or 0))))}"


@register.filter
def percent(share: float | str | None, digits: int = 0) -> str:
    return "–" if share in (None, "") else f"{100 * float(share):.{digits}f}%"


@register.filter
def between(share: dict[str, float | None] | None) -> str:
    """The interval of a share, as 86 to 90%; nothing where there is none."""
    if not share or share["low"] is None or share["high"] is None:
        return ""
    told = {"low": f"{100 * share['low']:.0f}", "high": f"{100 * share['high']:.0f}"}
    return gettext("%(low)s to %(high)s%%") % told


@register.filter
def markdown(text: str) -> SafeString:
    return rendering.render_markdown(text or "")


@register.filter
def compact(value: float | str | None) -> str:
    """1,204 in full up to five figures, then 12.3k, 4.5M, 1.2B; a dash for what a template does not find.

    What is no whole number has two decimals below a hundred, and none where they would say nothing.
    """
    if value is None or isinstance(value, str):
        return "–"
    if abs(value) < 100_000:
        return f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 100 else f"{value:,.2f}"
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.1f}{unit}"
    return f"{value:,.0f}"


@register.filter
def pace(value: float) -> str:
    """So many a day: 0.4, 12.5, 1,833; as exactly as such a thing is known."""
    return f"{value:,.0f}" if value >= 100 or float(value).is_integer() else f"{value:,.1f}"


@register.filter
def seconds(value: float | None) -> str:
    """A span of time in its two largest units: 48 s, 3 min 10 s, 2 h 5 min, 3 d 4 h."""
    if value is None or value == "":
        return "–"
    if value < 10:
        return f"{value:.1f} s"
    whole = round(value)
    for size, unit, small, small_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // small
            return f"{whole // size} {unit} {rest} {small_unit}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"


@register.filter
def about(value: float | None) -> str:
    """A span of time as roughly as an estimate deserves: 40 s, 39 min, 4 h 20 min, 3 d 4 h."""
    if not value:
        return seconds(value)
    unit = next((unit for least, unit in ((86400, 3600), (3600, 600), (60, 60)) if value >= least), 10)
    return seconds(max(unit, unit * round(value / unit)))


@register.filter
def ago(moment: datetime | None) -> str:
    """How long ago, as said aloud; a date once it is more than a week."""
    if moment is None:
        return gettext("never")
    past = (timezone.now() - moment).total_seconds()
    if past < 60:
        return gettext("now")
    steps: list[tuple[int, Callable[[int], str]]] = [
        (3600, lambda s: gettext("%(count)s min ago") % {"count": s // 60}),
        (86400, lambda s: gettext("%(count)s h ago") % {"count": s // 3600}),
        (172800, lambda s: gettext("yesterday")),
        (604800, lambda s: gettext("%(count)s days ago") % {"count": s // 86400}),
    ]
    for limit, said in steps:
        if past < limit:
            return said(int(past))
    return dateformat.format(moment, "j M" if moment.year == timezone.now().year else "j M Y")


@register.filter
def initials(name: str) -> str:
    words = [word for word in name.replace("-", " ").replace("_", " ").split() if word]
    return ("".join(word[0] for word in words[:2]) if len(words) > 1 else name[:2]).upper()


@register.filter
def translated(label: str) -> str:
    """A label that is marked for translation where it is written, in the reader's language."""
    return gettext(label)
