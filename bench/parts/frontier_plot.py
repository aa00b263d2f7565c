"""The frontier as a picture: true utility against KL, one line for each way to get there."""

import math
from collections.abc import Callable, Sequence
from html import escape

Scale = Callable[[float], float]
Curve = Sequence[tuple[float, float, float, float]]  # KL, utility, low, high
WIDE, TALL, LEFT, BOTTOM, TOP, RIGHT = 720, 420, 60, 50, 20, 150
COLORS = ("#2457c5", "#777777", "#c2571a", "#2f8f4e", "#8b3fa8")


def draw(curves: dict[str, Curve], *, across: str, up: str) -> str:
    """An SVG of the curves with their intervals; nothing in it needs a script or a font of its own."""
    points = [point for curve in curves.values() for point in curve]
    right = max(point[0] for point in points) * 1.05 or 1.0
    low, high = min(point[2] for point in points), max(point[3] for point in points)
    room = (high - low) * 0.05 or 1.0
    low, high = low - room, high + room

    def x(value: float) -> float:
        return LEFT + value / right * (WIDE - LEFT - RIGHT)

    def y(value: float) -> float:
        return TOP + (high - value) / (high - low) * (TALL - TOP - BOTTOM)

    body = _axes(x, y, right, low, high, across, up)
    for number, (name, curve) in enumerate(curves.items()):
        color = COLORS[number % len(COLORS)]
        ordered = sorted(curve)
        line = " ".join(f"{x(kl):.1f},{y(mean):.1f}" for kl, mean, _, _ in ordered)
        body.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="2"/>')
        for kl, mean, below, above in ordered:
            body.append(f'<line x1="{x(kl):.1f}" x2="{x(kl):.1f}" y1="{y(below):.1f}" y2="{y(above):.1f}"'
                        f' stroke="{color}" stroke-opacity="0.5"/>')  # fmt: skip
            body.append(f'<circle cx="{x(kl):.1f}" cy="{y(mean):.1f}" r="3" fill="{color}"/>')
        place = TOP + 16 + 20 * number
        body.append(f'<rect x="{WIDE - RIGHT + 12}" y="{place - 9}" width="12" height="12" fill="{color}"/>')
        body.append(f'<text x="{WIDE - RIGHT + 30}" y="{place + 2}">{escape(name)}</text>')
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {TALL}" font-family="sans-serif" font-size="13">'
    )
    return "\n".join([head, f'<rect width="{WIDE}" height="{TALL}" fill="#ffffff"/>', *body, "</svg>", ""])


def _axes(x: Scale, y: Scale, right: float, low: float, high: float, across: str, up: str) -> list[str]:
    body = []
    for value in _ticks(0.0, right):
        body.append(f'<line x1="{x(value):.1f}" x2="{x(value):.1f}" y1="{TOP}" y2="{TALL - BOTTOM}" stroke="#e5e5e5"/>')
        body.append(f'<text x="{x(value):.1f}" y="{TALL - BOTTOM + 18}" text-anchor="middle">{value:g}</text>')
    for value in _ticks(low, high):
        body.append(f'<line x1="{LEFT}" x2="{WIDE - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#e5e5e5"/>')
        body.append(f'<text x="{LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g}</text>')
    middle = (LEFT + WIDE - RIGHT) / 2
    body.append(f'<text x="{middle}" y="{TALL - 10}" text-anchor="middle">{escape(across)}</text>')
    body.append(
        f'<text x="16" y="{TALL / 2}" text-anchor="middle" transform="rotate(-90 16 {TALL / 2})">{escape(up)}</text>'
    )
    return body


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers between the two, about six of them."""
    rough = (high - low) / 6
    step = next((each for each in (0.1, 0.2, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0) if each >= rough), rough)
    return [round(step * n, 6) for n in range(math.ceil(low / step), math.floor(high / step) + 1)]
