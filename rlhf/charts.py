"""Data to geometry: what templates/rlhf/_chart.html draws as SVG, in percent and in a box of 1000 by 1000."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar
from urllib.parse import urlencode

from django.utils.translation import gettext

from rlhf.scales import Axis, Scale, Tick, Value, Words, exact_words, is_number, percent, scale_of, tick_words, ticks_of

BOX = 1000
MAX_VERTICES, MAX_HITS, MAX_TABLE_ROWS = 240, 50, 60
NARROW, LETTER, LINE = 260, 6, 12  # px: the narrowest plot with labels, a letter, a line of text
T = TypeVar("T")


@dataclass(frozen=True)
class Series:
    """One line; None breaks it. `style` is a CSS class: dash, thin, or nothing."""

    label: str
    points: Sequence[tuple[float, Value]]
    color: str = "c1"
    style: str = ""
    in_legend: bool = True
    end_dot: bool = False


@dataclass(frozen=True)
class Band:
    """The area between two lines over the same x values."""

    label: str
    points: Sequence[tuple[float, Value, Value]]
    color: str = "c1"


@dataclass(frozen=True)
class Reference:
    """A dashed line at one value of y, or of x when `across` is False."""

    value: float
    text: str = ""
    across: bool = True
    tone: str = ""


@dataclass(frozen=True)
class Point:
    """One estimate with its interval and the words beside it."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    label: str = ""
    color: str = "c1"
    title: str = ""


Place: TypeAlias = tuple[float, float, float]  # left, base line and right of some words, in px


@dataclass
class Chart:
    """Everything the template needs; `table` holds the same data in rows."""

    key: str
    title: str
    finding: str
    height: int = 172
    subtitle: str = ""
    now: str = ""
    unit: str = ""
    tag: str = ""
    footnote: str = ""
    x_ticks: list[Tick] = field(default_factory=list)
    y_ticks: list[Tick] = field(default_factory=list)
    areas: list[dict[str, str]] = field(default_factory=list)
    lines: list[dict[str, str]] = field(default_factory=list)
    references: list[dict[str, object]] = field(default_factory=list)
    whiskers: list[dict[str, str]] = field(default_factory=list)
    dots: list[dict[str, str]] = field(default_factory=list)
    labels: list[dict[str, object]] = field(default_factory=list)
    taken: list[Place] = field(default_factory=list)  # where labels stand
    hits: list[dict[str, str]] = field(default_factory=list)
    legend: list[dict[str, object]] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    as_table: bool = False
    toggle: str = ""  # where the same page shows this chart's other form

    @property
    def is_empty(self) -> bool:
        return not (self.lines or self.dots or self.areas)


def plot(
    key: str,
    title: str,
    *,
    x: Axis,
    y: Axis,
    series: Sequence[Series] = (),
    bands: Sequence[Band] = (),
    references: Sequence[Reference] = (),
    points: Sequence[Point] = (),
    finding: str = "",
    x_name: str = "",
    **words: Any,
) -> Chart:
    """The chart of `series`, `bands` and `points`; empty (`is_empty`) when there is nothing finite to draw."""
    chart = Chart(key, title, finding or gettext("%(title)s: no data yet") % {"title": title}, **words)
    x_name = x_name or gettext("Step")
    chart.columns = [x_name, *[one.label for one in series if one.in_legend], *_band_columns(bands)]
    xs = [at for one in series for at, value in one.points if is_number(value)] + [point.x for point in points]
    ys = [float(value) for value in _y_values(series, bands, points) if is_number(value)]
    if not xs or not ys:
        return chart
    across = scale_of(xs, x)
    up = scale_of([*ys, *[one.value for one in references if one.across]], y)
    x_words, y_words = x.words or tick_words(across.steps), y.words or tick_words(up.steps)
    chart.x_ticks = ticks_of(across, x_words)
    chart.y_ticks = [Tick(percent(1 - up.share(step)), y_words(step)) for step in up.steps]
    chart.areas = [{"d": _area(band.points, across, up), "color": band.color} for band in bands]
    for one in series:
        _draw_line(chart, one, across, up)
    for reference in references:
        chart.references.append(_reference(reference, across, up))
    for point in points:
        _draw_point(chart, point, across, up)
    chart.legend += [{"label": band.label, "color": band.color, "area": True} for band in bands]
    exact = exact_words(y_words, up)
    chart.rows = _rows(series, bands, points, x_words, exact)
    chart.hits = _hits(series, points, across, x_words, exact, x_name)
    return chart


def shows_as_table(chart: Chart, tables: Sequence[str]) -> Chart:
    """The chart with its toggle: `tables` are the keys that the address asks for as tables."""
    chart.as_table = chart.key in tables
    others = [key for key in tables if key != chart.key]
    chart.toggle = "?" + urlencode([("table", key) for key in (others if chart.as_table else [*others, chart.key])])
    return chart


def smoothed(points: Sequence[tuple[float, Value]], window: float = 0.08) -> list[tuple[float, Value]]:
    """The running mean with exponential weights over about `window` of the line; None stays None."""
    keep = 1 - 1 / max(1.0, len(points) * window / 2)
    total = weight = 0.0
    result: list[tuple[float, Value]] = []
    for at, value in points:
        if not is_number(value):
            result.append((at, None))
            continue
        total, weight = total * keep + float(value), weight * keep + 1
        result.append((at, total / weight))
    return result


def thinned(points: Sequence[tuple[float, Value]], limit: int = MAX_VERTICES) -> list[tuple[float, Value]]:
    """At most `limit` points that keep each stretch's extreme value, so that no spike disappears."""
    if len(points) <= limit:
        return list(points)
    kept = [points[0]]
    inner = points[1:-1]
    size = len(inner) / (limit - 2)
    for index in range(limit - 2):
        part = inner[int(index * size) : int((index + 1) * size)]
        finite = [(at, value) for at, value in part if is_number(value)]
        if not finite:
            kept.append(part[0])
            continue
        mean = sum(value for _, value in finite) / len(finite)
        kept.append(max(finite, key=lambda point: abs(point[1] - mean)))
    return [*kept, points[-1]]


def trend(points: Sequence[tuple[float, Value]], words: Words) -> str:
    """`rises from 0.20 to 1.84` in words, for the label that a screen reader speaks."""
    values = [float(value) for _, value in points if is_number(value)]
    if not values:
        return gettext("no data yet")
    part = max(1, len(values) // 10)
    first, last = sum(values[:part]) / part, sum(values[-part:]) / part
    spread = max(values) - min(values)
    if spread == 0 or abs(last - first) < 0.1 * spread:
        return gettext("stays near %(last)s") % {"last": words(last)}
    text = gettext("rises from %(first)s to %(last)s") if last > first else gettext("falls from %(first)s to %(last)s")
    return text % {"first": words(first), "last": words(last)}


def _y_values(series: Sequence[Series], bands: Sequence[Band], points: Sequence[Point]) -> Iterable[Value]:
    for one in series:
        yield from (value for _, value in one.points)
    for band in bands:
        for _, low, high in band.points:
            yield from (low, high)
    for point in points:
        yield from (point.y, point.low, point.high)


def _xy(at: float, value: float, across: Scale, up: Scale) -> str:
    return f"{across.share(at) * BOX:.0f} {(1 - up.share(value)) * BOX:.0f}"


def _path(points: Sequence[tuple[float, Value]], across: Scale, up: Scale) -> str:
    parts, pen = [], "M"
    for at, value in points:
        if not is_number(value):
            pen = "M"
            continue
        parts.append(pen + _xy(at, float(value), across, up))
        pen = "L"
    return "".join(parts)


def _area(points: Sequence[tuple[float, Value, Value]], across: Scale, up: Scale) -> str:
    full = [(at, low, high) for at, low, high in points if is_number(low) and is_number(high)]
    step = max(1, len(full) // MAX_VERTICES)
    full = full[::step] + ([full[-1]] if full and (len(full) - 1) % step else [])
    there = [_xy(at, high, across, up) for at, _, high in full]
    back = [_xy(at, low, across, up) for at, low, _ in reversed(full)]
    return "M" + "L".join([*there, *back]) + "Z" if full else ""


def _draw_line(chart: Chart, one: Series, across: Scale, up: Scale) -> None:
    finite = [(at, float(value)) for at, value in one.points if is_number(value)]
    if one.in_legend:
        chart.legend.append({"label": one.label, "color": one.color, "area": False})
    if not finite:
        return
    if len(finite) > 1:
        css = f"ln {one.color} {one.style}".strip()
        chart.lines.append({"d": _path(thinned(one.points), across, up), "css": css})
    if one.end_dot or len(finite) == 1:
        at, value = finite[-1]
        chart.dots.append({"x": percent(across.share(at)), "y": percent(1 - up.share(value)), "color": one.color})


def _draw_point(chart: Chart, point: Point, across: Scale, up: Scale) -> None:
    at, height = percent(across.share(point.x)), percent(1 - up.share(point.y))
    if point.low is not None and point.high is not None:
        low, high = percent(1 - up.share(point.low)), percent(1 - up.share(point.high))
        chart.whiskers.append({"x": at, "y1": low, "y2": high, "color": point.color})
    chart.dots.append({"x": at, "y": height, "color": point.color})
    if point.label:
        ends, dy = _free_spot(chart, point.label, across.share(point.x), 1 - up.share(point.y))
        chart.labels.append({"x": at, "y": height, "text": point.label, "end": ends, "dy": dy})


def _free_spot(chart: Chart, text: str, x: float, y: float) -> tuple[bool, int]:
    """Whether a point's words end at it, and how far below it they stand: off the rising line and off other words."""
    is_right = x > 0.6  # there the room is on the left
    spots = [(ends, dy) for ends in (is_right, not is_right) for dy in ((-8, 14) if is_right else (14, -8))]
    width, boxes = len(text) * LETTER, {}
    for ends, dy in spots:
        left = x * NARROW + (-9 - width if ends else 8)
        boxes[ends, dy] = (left, y * chart.height + dy, left + width)
    inside = [spot for spot in spots if boxes[spot][0] >= 0 and boxes[spot][2] <= NARROW]
    free = [spot for spot in inside if not any(_meet(boxes[spot], other) for other in chart.taken)]
    spot = (free or spots)[0]
    chart.taken.append(boxes[spot])
    return spot


def _meet(one: Place, other: Place) -> bool:
    return one[0] < other[2] and other[0] < one[2] and abs(one[1] - other[1]) < LINE


def _reference(reference: Reference, across: Scale, up: Scale) -> dict[str, object]:
    share = 1 - up.share(reference.value) if reference.across else across.share(reference.value)
    # A label above a line at the very top would leave the plot.
    return {
        "at": percent(share),
        "across": reference.across,
        "text": reference.text,
        "tone": reference.tone,
        "below": reference.across and share < 0.08,
        "end": not reference.across and share > 0.7,
    }


def _band_columns(bands: Sequence[Band]) -> list[str]:
    return [f"{band.label}, {end}" for band in bands for end in ("low", "high")]


def _spread_out(rows: Sequence[T], limit: int) -> list[T]:
    """At most `limit` of `rows`, evenly apart, the first and the last among them."""
    if len(rows) <= limit:
        return list(rows)
    return [rows[round(index * (len(rows) - 1) / (limit - 1))] for index in range(limit)]


def _rows(
    series: Sequence[Series], bands: Sequence[Band], points: Sequence[Point], x_words: Words, exact: Words
) -> list[list[str]]:
    named = [dict(one.points) for one in series if one.in_legend]
    ends = [{at: row[end] for at, *row in band.points} for band in bands for end in (0, 1)]
    places = sorted({at for column in [*named, *ends] for at, value in column.items() if is_number(value)})
    rare = {at for column in named if len(column) <= MAX_TABLE_ROWS // 2 for at in column if is_number(column[at])}
    rows = [
        [
            x_words(at),
            *[exact(float(value)) if is_number(value := column.get(at)) else "" for column in [*named, *ends]],
        ]
        for at in sorted({*_spread_out(places, MAX_TABLE_ROWS), *rare})
    ]
    return rows or [[point.label or x_words(point.x), point.title or exact(point.y)] for point in points]


def _hits(
    series: Sequence[Series], points: Sequence[Point], across: Scale, x_words: Words, exact: Words, x_name: str
) -> list[dict[str, str]]:
    named = [(one.label, dict(one.points)) for one in series if one.in_legend]
    places = sorted({at for _, column in named for at, value in column.items() if is_number(value)})
    titled = {point.x: point.title for point in points if point.title}
    shown = _spread_out(places, MAX_HITS) if places else sorted(titled)
    hits = []
    for index, at in enumerate(shown):
        left = (shown[index - 1] + at) / 2 if index else at - (shown[1] - at) / 2 if len(shown) > 1 else across.low
        right = (at + shown[index + 1]) / 2 if index + 1 < len(shown) else 2 * at - left if index else across.high
        values = [f"{label.lower()} {exact(y)}" for label, column in named if is_number(y := column.get(at))]
        title = titled.get(at) or f"{x_name} {x_words(at)}: {', '.join(values)}"
        start, end = across.share(left), across.share(right)
        hits.append({"x": percent(start), "width": percent(end - start), "title": title})
    return hits
