"""A column chart of judgements a day, ready to be drawn as SVG: all positions in percent, so that it needs no style."""

from __future__ import annotations

from datetime import date
from typing import Any

from django.utils import dateformat


def columns(per_day: list[dict[str, Any]]) -> dict[str, Any]:
    """Bars, ticks and labels for [{"day": ISO date, "count", "flagged"?, "skipped"?}, …].

    What was flagged or skipped stands on top of what was kept.
    """
    odd = [day.get("flagged", 0) + day.get("skipped", 0) for day in per_day]
    kept = [day["count"] - day.get("flagged", 0) for day in per_day]
    top = round_up(max((below + above for below, above in zip(kept, odd, strict=True)), default=0))
    step = 100 / max(len(per_day), 1)
    bars = []
    for i, day in enumerate(per_day):
        height, above = 100 * kept[i] / top, 100 * odd[i] / top
        when = date.fromisoformat(day["day"])
        bars.append(
            {
                "x": f"{i * step + step * 0.14:.2f}%",
                "width": f"{step * 0.72:.2f}%",
                "y": f"{100 - height:.2f}%",
                "height": f"{height:.2f}%",
                "odd_y": f"{100 - height - above:.2f}%",
                "odd_height": f"{above:.2f}%",
                "at": f"{i * step:.2f}%",
                "full": f"{step:.2f}%",
                "day": dateformat.format(when, "j M"),
                "count": day["count"],
                "odd": odd[i],
            }
        )
    ticks = [{"y": f"{100 - 25 * i}%", "label": _short(top * i // 4, top)} for i in range(5)]
    return {
        "bars": bars,
        "ticks": ticks,
        "labels": bars[:: max(1, len(bars) // 4)],
        "total": sum(b["count"] for b in bars),
        "odd": sum(odd),
    }


def _short(value: int, top: int) -> str:
    """The words of a tick, which have room for five characters: 0, 4k, 8k, 12k, 16k on a scale that ends there."""
    for least, size, unit in ((1_000_000, 1_000_000, "M"), (10_000, 1_000, "k")):
        if top >= least and value:
            return f"{value / size:g}{unit}"
    return f"{value:,}"


def round_up(value: int) -> int:
    """The next number that a scale of four steps divides evenly."""
    if value <= 4:
        return 4
    size = 10 ** (len(str(value)) - 1)
    return next(
        int(size * m) for m in (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10, 12) if size * m >= value and size * m % 4 == 0
    )
