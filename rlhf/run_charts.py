"""The charts of one run, by kind, from its metric rows and its report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.utils.translation import gettext

from rlhf.charts import Band, Chart, Point, Reference, Series, plot, smoothed, trend
from rlhf.models import Run
from rlhf.scales import Axis, Value, percent_words

Rows = Sequence[dict[str, Any]]


def charts_of(kind: str, rows: Rows, config: dict[str, Any], total: int | None = None) -> list[Chart]:
    """What to draw for a run of `kind`; a chart whose metrics are not there yet says so."""
    last = max((row["step"] for row in rows), default=0)
    steps = Axis(low=0, high=max(total or 0, last, 1), fixed=True, ticks=4)
    params = config.get("params") or {}
    charts = _of_kind(kind, rows, steps, params)
    if any("rank" in row for row in rows):
        charts.append(_raw_and_smooth("rank", gettext("Mean rank"), rows, "rank", steps, color="c4"))
    return charts


def _of_kind(kind: str, rows: Rows, steps: Axis, params: dict[str, Any]) -> list[Chart]:
    if kind == Run.Kind.PPO:
        return _ppo(rows, steps, params)
    if kind in Run.ROLLS_OUT:
        return [*_ppo(rows, steps, params), _alike(rows, steps)]
    if kind == Run.Kind.KTO:
        return _judged(rows, steps)
    if kind in (Run.Kind.REWARD, Run.Kind.DPO):
        return _preference(kind, rows, steps)
    if kind in (Run.Kind.SFT, Run.Kind.PRETRAIN):
        return _supervised(rows, steps)
    return []


def calibration(key: str, report_eval: dict[str, Any], *, title: str) -> Chart:
    """Predicted against observed preference on held-out pairs; on the diagonal the model knows how sure it may be."""
    bins = [row for row in report_eval.get("calibration") or [] if row.get("n")]
    ece = report_eval.get("ece")
    observed = [(row["predicted"], row["observed"]) for row in bins]
    points = [
        Point(
            row["predicted"],
            row["observed"],
            title=gettext("Predicted %(predicted)s, observed %(observed)s, %(n)s pairs")
            % {"predicted": f"{row['predicted']:.2f}", "observed": f"{row['observed']:.2f}", "n": f"{row['n']:,}"},
        )
        for row in bins
    ]
    start = min((row["low"] for row in bins), default=0.5)  # confidences begin at one half, probabilities at zero
    side = Axis(low=start, high=1, fixed=True, words=percent_words)
    chart = plot(
        key,
        title,
        x=side,
        y=side,
        series=[
            Series(gettext("Perfect"), [(start, start), (1, 1)], "c5", "dash"),
            Series(gettext("Observed"), observed),
        ],
        points=points,
        finding=_calibration_words(bins, ece),
        x_name=gettext("Predicted"),
        subtitle=gettext("Observed against predicted, held-out pairs"),
        footnote=gettext("Expected calibration error %(ece)s") % {"ece": f"{ece:.3f}"}
        if isinstance(ece, float)
        else "",
        height=220,
    )
    if not bins:  # the diagonal alone is no finding
        chart.lines, chart.dots = [], []
    chart.columns = [gettext("Predicted"), gettext("Observed"), gettext("Pairs")]
    chart.rows = [[f"{row['predicted']:.2f}", f"{row['observed']:.2f}", f"{row['n']:,}"] for row in bins]
    told = {point.title for point in points}
    chart.hits = [hit for hit in chart.hits if hit["title"] in told]
    return chart


def column(rows: Rows, name: str) -> list[tuple[float, Value]]:
    """The (step, value) pairs of the rows that log `name`."""
    return [(row["step"], row[name]) for row in rows if name in row]


def latest(rows: Rows, name: str, *, smooth: bool = True) -> float | None:
    """The last value of `name`, smoothed as the chart shows it."""
    points = column(rows, name)
    known = [float(value) for _, value in (smoothed(points) if smooth else points) if value is not None]
    return known[-1] if known else None


def _ppo(rows: Rows, steps: Axis, params: dict[str, Any]) -> list[Chart]:
    target, limit = params.get("kl_target"), params.get("max_new_tokens")
    kl = latest(rows, "kl")
    above = target is not None and kl is not None and kl > target
    kl_lines = (
        [Reference(target, gettext("target %(target)s") % {"target": f"{target:g}"}, tone="warn")]
        if target is not None
        else []
    )
    length = column(rows, "length")
    tenths = [
        (row["step"], row["length_p10"], row["length_p90"])
        for row in rows
        if "length_p10" in row and "length_p90" in row
    ]
    longest = max((high for _, _, high in tenths if high is not None), default=0)
    limits = (
        [Reference(limit, gettext("limit %(limit)s") % {"limit": f"{limit:,}"})]
        if limit and longest > limit * 0.5
        else []
    )
    return [
        _raw_and_smooth("reward", gettext("Reward"), rows, "reward", steps, color="c1", held_out="eval_reward"),
        plot(
            "kl",
            gettext("KL to reference"),
            x=steps,
            y=Axis(low=0),
            series=[Series(gettext("Nats per answer"), smoothed(column(rows, "kl")), "c3", end_dot=True)],
            references=kl_lines,
            finding=_finding(gettext("KL to the reference by step"), column(rows, "kl"), kl_lines),
            now=_now(kl),
            tag=gettext("above target") if above else "",
        ),
        plot(
            "loss",
            gettext("Loss"),
            x=steps,
            y=Axis(),
            series=[
                Series(gettext("Policy"), smoothed(column(rows, "policy_loss")), "c2"),
                *([Series(gettext("Value"), smoothed(value), "c4")] if (value := column(rows, "value_loss")) else []),
            ],
            finding=_finding(gettext("Policy loss by step"), column(rows, "policy_loss")),
            now=_now(latest(rows, "policy_loss"), 3),
        ),
        plot(
            "length",
            gettext("Answer length"),
            x=steps,
            y=Axis(low=0),
            series=[Series(gettext("Mean"), smoothed(length), end_dot=True)],
            bands=[Band("10 to 90%", tenths)] if tenths else [],
            references=limits,
            finding=_finding(gettext("Answer length by step"), length, unit=gettext("%(value)s tokens")),
            now=_now(latest(rows, "length"), 0),
            unit="tokens",
        ),
    ]


def _preference(kind: str, rows: Rows, steps: Axis) -> list[Chart]:
    accuracy = column(rows, "accuracy")
    pairs = [Series(gettext("Training pairs"), smoothed(accuracy), "c1"), *_held_out(rows, "eval_accuracy")]
    charts = [
        _loss(rows, steps),
        plot(
            "accuracy",
            gettext("Accuracy"),
            x=steps,
            y=Axis(high=1, low=0.5, words=percent_words),
            series=pairs,
            references=[Reference(0.5)],
            finding=_finding(gettext("Share of pairs ordered as people did, by step"), accuracy, percent=True),
            now=_now_percent(latest(rows, "accuracy")),
        ),
        _raw_and_smooth("margin", gettext("Margin"), rows, "margin", steps, color="c4"),
    ]
    if kind == Run.Kind.DPO:
        charts.append(_implied(rows, steps, gettext("Chosen"), gettext("Rejected")))
    else:
        charts.append(_raw_and_smooth("grad", gettext("Gradient norm"), rows, "grad_norm", steps, color="c5"))
    return charts


def _implied(rows: Rows, steps: Axis, better: str, worse: str) -> Chart:
    return plot(
        "implied",
        gettext("Implied reward"),
        x=steps,
        y=Axis(),
        series=[
            Series(better, smoothed(column(rows, "chosen_reward")), "c1"),
            Series(worse, smoothed(column(rows, "rejected_reward")), "c5", "dash"),
        ],
        finding=_finding(
            gettext("Implied reward of the %(better)s answers by step") % {"better": better.lower()},
            column(rows, "chosen_reward"),
        ),
    )


def _judged(rows: Rows, steps: Axis) -> list[Chart]:
    return [
        _loss(rows, steps),
        _implied(rows, steps, gettext("Wanted"), gettext("Unwanted")),
        _raw_and_smooth("margin", gettext("Margin"), rows, "margin", steps, color="c4"),
        _raw_and_smooth("kl", gettext("Reference point"), rows, "kl", steps, color="c3"),
    ]


def _alike(rows: Rows, steps: Axis) -> Chart:
    alike = column(rows, "same_score")
    return plot(
        "alike",
        gettext("Groups that teach nothing"),
        x=steps,
        y=Axis(low=0, high=1, words=percent_words),
        series=[Series(gettext("All answers scored alike"), smoothed(alike), "c5", end_dot=True)],
        finding=_finding(gettext("Share of groups whose answers all scored alike, by step"), alike, percent=True),
        now=_now_percent(latest(rows, "same_score")),
    )


def _supervised(rows: Rows, steps: Axis) -> list[Chart]:
    return [_loss(rows, steps), _raw_and_smooth("grad", gettext("Gradient norm"), rows, "grad_norm", steps, color="c5")]


def _loss(rows: Rows, steps: Axis) -> Chart:
    loss = column(rows, "loss")
    return plot(
        "loss",
        gettext("Loss"),
        x=steps,
        y=Axis(),
        series=[
            Series(gettext("Each step"), loss, "c2", "thin", in_legend=False),
            Series(gettext("Training, smoothed"), smoothed(loss), "c2", end_dot=True),
            *_held_out(rows, "eval_loss"),
        ],
        finding=_finding(gettext("Loss by step"), loss),
        now=_now(latest(rows, "loss"), 3),
    )


def _held_out(rows: Rows, name: str) -> list[Series]:
    points = [(at, value) for at, value in column(rows, name) if value is not None]
    return [Series(gettext("Held out"), points, "c3", "dash", end_dot=True)] if points else []


def _raw_and_smooth(
    key: str, title: str, rows: Rows, name: str, steps: Axis, *, color: str, held_out: str = ""
) -> Chart:
    points = column(rows, name)
    return plot(
        key,
        title,
        x=steps,
        y=Axis(),
        series=[
            Series(gettext("Each step"), points, color, "thin", in_legend=False),
            Series(gettext("Mean, smoothed"), smoothed(points), color, end_dot=True),
            *_held_out(rows, held_out),
        ],
        finding=_finding(gettext("%(title)s by step") % {"title": title}, points),
        now=_now(latest(rows, name)),
    )


def _finding(
    what: str,
    points: Sequence[tuple[float, Value]],
    references: Sequence[Reference] = (),
    *,
    unit: str = "",
    percent: bool = False,
) -> str:
    text = gettext("%(value)s percent") if percent else unit or "%(value)s"

    def words(value: float) -> str:
        return text % {"value": f"{value * 100:.0f}" if percent else f"{value:,.3g}"}

    return f"{what}: {trend(points, words)}" + "".join(
        f"; {reference.text}" for reference in references if reference.text
    )


def _calibration_words(bins: Rows, ece: float | None) -> str:
    if not bins:
        return gettext("Calibration: nothing held out to measure it on")
    weight = sum(row["n"] for row in bins)
    # Over-confident: on the sure side of one half more is predicted than observed, and less below it.
    tilt = sum(row["n"] * (row["predicted"] - row["observed"]) * (1 if row["predicted"] > 0.5 else -1) for row in bins)
    if abs(tilt / weight) < 0.01:
        words = gettext("about as sure as it may be")
    else:
        words = gettext("over-confident") if tilt > 0 else gettext("under-confident")
    error = gettext(", expected calibration error %(ece)s") % {"ece": f"{ece:.3f}"} if isinstance(ece, float) else ""
    return gettext("Calibration, observed against predicted preference: %(words)s%(error)s") % {
        "words": words,
        "error": error,
    }


def _now(value: float | None, digits: int = 2) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def _now_percent(value: float | None) -> str:
    return "" if value is None else f"{value * 100:.1f}%"
